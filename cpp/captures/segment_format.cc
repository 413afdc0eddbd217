#include "captures/segment_format.h"

#include <cstring>
#include <span>

#include "bytes/crc32c.h"
#include "bytes/hex.h"

namespace edgeward {
namespace {

constexpr std::array<char, 8> kFirstMagic = {'E', 'W', 'S', 'E', 'G', '0', '1', '\0'};
constexpr std::array<char, 8> kSecondMagic = {'E', 'W', 'S', 'E', 'G', '0', '2', '\0'};
constexpr uint32_t kFrameMagic = 0x52465745;      // "EWFR"
constexpr char kFirstInfo[] = "edgeward/ewc/v1";  // with its zero
constexpr char kSecondInfo[] = "edgeward/ewc/v2";
static_assert(sizeof(kFirstInfo) == sizeof(kSecondInfo));
constexpr size_t kNumberDigits = 20;

template <class T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

std::string open_segment_path(const std::string& directory, int64_t number, uint64_t salt) {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < kNumberDigits ? kNumberDigits - digits.size() : 0, '0');
  return directory + "/" + digits + "-" + hex(bytes_of(salt)) + std::string(kOpenSuffix);
}

std::string sealed_segment_path(const std::string& open_path) {
  return open_path.substr(0, open_path.size() - kOpenSuffix.size()) + std::string(kSealedSuffix);
}

SegmentHead segment_head(uint64_t salt) {
  SegmentHead head{};
  head.magic = kSecondMagic;
  head.salt = salt;
  return head;
}

uint32_t crc_of(const SegmentHead& head) { return crc32c(bytes_of(head).first(sizeof(head) - sizeof(head.crc))); }

bool is_segment_head(const SegmentHead& head) {
  const bool is_known = head.magic == kFirstMagic || head.magic == kSecondMagic;
  return is_known && head.crc == crc_of(head) && head.flags <= kEncryptedFlag && head.zero == 0;
}

uint32_t format_of(const SegmentHead& head) { return head.magic == kFirstMagic ? 1 : 2; }

bool is_frame_head(const FrameHead& head, uint64_t salt) {
  const auto type = static_cast<FrameType>(head.type);
  return head.magic == kFrameMagic && head.salt == salt && type >= FrameType::ring && type <= FrameType::footer &&
         (head.sequence == 0 || type == FrameType::record) && head.payload_bytes <= kMaxPayloadBytes;
}

uint32_t crc_of(FrameHead head, Bytes stored_payload) {
  head.crc = 0;
  return crc32c(stored_payload, crc32c(bytes_of(head)));
}

uint64_t frame_bytes(uint32_t payload_bytes) {
  return (sizeof(FrameHead) + payload_bytes + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment;
}

void lay_frame(FrameHead head, Bytes stored_payload, std::vector<std::byte>& frame) {
  head.magic = kFrameMagic;
  head.payload_bytes = static_cast<uint32_t>(stored_payload.size());
  head.crc = crc_of(head, stored_payload);
  frame.assign(frame_bytes(head.payload_bytes), std::byte{0});
  std::memcpy(frame.data(), &head, sizeof(head));
  if (!stored_payload.empty()) std::memcpy(frame.data() + sizeof(head), stored_payload.data(), stored_payload.size());
}

void lay_footer(uint64_t salt, const SegmentFooter& footer, std::vector<std::byte>& frame) {
  FrameHead head{};
  head.type = static_cast<uint32_t>(FrameType::footer);
  head.salt = salt;
  head.index = footer.frame_count;
  lay_frame(head, bytes_of(footer), frame);
}

Nonce nonce_of(uint64_t frame_index) {
  Nonce nonce{};
  for (size_t i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::byte>(frame_index >> (8 * (7 - i)));
  return nonce;
}

std::vector<std::byte> info_of(const SegmentHead& head) {
  const auto& text = format_of(head) == 1 ? kFirstInfo : kSecondInfo;
  std::vector<std::byte> info(sizeof(text) + sizeof(head.salt));
  std::memcpy(info.data(), text, sizeof(text));
  std::memcpy(info.data() + sizeof(text), &head.salt, sizeof(head.salt));
  return info;
}

}  // namespace edgeward
