#include "captures/segment_format.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "bytes/crc32c.h"
#include "bytes/hex.h"

namespace edgeward {
namespace {

constexpr std::array<char, 8> kFirstMagic = {'E', 'W', 'S', 'E', 'G', '0', '1', '\0'};
constexpr std::array<char, 8> kSecondMagic = {'E', 'W', 'S', 'E', 'G', '0', '2', '\0'};
constexpr uint32_t kFirstFrameMagic = 0x52465745;   // "EWFR"
constexpr uint32_t kSecondFrameMagic = 0x32465745;  // "EWF2"
constexpr char kFirstInfo[] = "edgeward/ewc/v1";    // with its zero
constexpr char kSecondInfo[] = "edgeward/ewc/v2";
static_assert(sizeof(kFirstInfo) == sizeof(kSecondInfo));
constexpr size_t kNumberDigits = 20;

struct FirstFrameHead {
  uint32_t magic;
  uint32_t type;
  uint64_t salt;
  uint64_t ring_id;
  uint64_t index;
  uint32_t payload_bytes;
  uint32_t crc;
  Tag tag;
  uint64_t sequence;  // of a record; else zero
};
static_assert(sizeof(FirstFrameHead) == 64);

struct FirstFooter {
  uint64_t frame_count;
  uint64_t size_bytes;
  uint32_t flags;
  uint32_t zero;
  Digest digest;
};
static_assert(sizeof(FirstFooter) == 56);

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

size_t frame_head_bytes(uint32_t format) { return format == 1 ? sizeof(FirstFrameHead) : sizeof(FrameHead); }

uint64_t frame_bytes(uint32_t format, uint32_t payload_bytes) {
  return round_up(frame_head_bytes(format) + payload_bytes, kFrameAlignment);
}

std::optional<FrameHead> try_frame_head(Bytes frame, const SegmentHead& segment) {
  FrameHead head{};
  bool is_known = false;
  if (format_of(segment) == 1) {
    const auto first = try_read<FirstFrameHead>(frame, 0);
    if (!first) return std::nullopt;
    const bool is_record = first->type == static_cast<uint32_t>(FrameType::record);
    head = {first->magic,         first->type,     first->salt,     first->ring_id,
            first->index,         first->sequence, first->sequence, is_record ? uint64_t{1} : 0,
            first->payload_bytes, first->crc,      first->tag};
    is_known = head.magic == kFirstFrameMagic && head.type >= static_cast<uint32_t>(FrameType::ring) &&
               head.type <= static_cast<uint32_t>(FrameType::footer) && (head.last_sequence == 0 || is_record);
  } else {
    const auto second = try_read<FrameHead>(frame, 0);
    if (!second) return std::nullopt;
    head = *second;
    const auto type = static_cast<FrameType>(head.type);
    const bool has_sequences = head.first_sequence != 0 || head.last_sequence != 0;
    is_known = head.magic == kSecondFrameMagic && type >= FrameType::ring && type <= FrameType::recovered &&
               type != FrameType::record && (type == FrameType::block || !has_sequences) &&
               (type == FrameType::block || is_last_frame(type) || head.record_count == 0) &&
               (type != FrameType::block || head.record_count <= UINT32_MAX);
  }
  if (!is_known || head.salt != segment.salt || head.payload_bytes > kMaxPayloadBytes) return std::nullopt;
  return head;
}

bool is_whole_frame(Bytes frame, const SegmentHead& segment, const FrameHead& head) {
  const uint32_t format = format_of(segment);
  const size_t crc_at = format == 1 ? offsetof(FirstFrameHead, crc) : offsetof(FrameHead, crc);
  const size_t end = frame_head_bytes(format) + head.payload_bytes;
  constexpr uint32_t kNoCrc = 0;
  uint32_t crc = crc32c(bytes_of(kNoCrc), crc32c(frame.first(crc_at)));
  crc = crc32c(frame.subspan(crc_at + sizeof(crc), end - crc_at - sizeof(crc)), crc);
  const Bytes padding = frame.subspan(end);
  return crc == head.crc && is_zero(padding);
}

FrameRow row_of(FrameType type, uint64_t ring_id, const RecordSpan& span, uint64_t offset) {
  return {offset,
          ring_id,
          span.first_sequence,
          span.last_sequence,
          span.least_wall_ns,
          span.most_wall_ns,
          span.least_monotonic_ns,
          span.most_monotonic_ns,
          static_cast<uint32_t>(type),
          static_cast<uint32_t>(span.record_count),
          span.reasons,
          (span.has_replaced ? kReplacingFlag : 0) | (span.is_odd ? kOddFlag : 0)};
}

FrameHead head_of(const FrameRow& row) {
  FrameHead head{};
  head.type = row.type;
  head.ring_id = row.ring_id;
  head.first_sequence = row.first_sequence;
  head.last_sequence = row.last_sequence;
  head.record_count = row.record_count;
  return head;
}

bool fits(const FrameHead& head, const FrameRow& row) {
  return head.type == row.type && head.ring_id == row.ring_id && head.first_sequence == row.first_sequence &&
         head.last_sequence == row.last_sequence && head.record_count == row.record_count;
}

std::optional<SegmentFooter> try_read_footer(Bytes payload, uint32_t format) {
  if (format == 2) {
    if (payload.size() != sizeof(SegmentFooter)) return std::nullopt;
    const auto footer = try_read<SegmentFooter>(payload, 0);
    return footer && footer->flags == 0 && footer->zero == 0 ? footer : std::nullopt;
  }
  const auto first = try_read<FirstFooter>(payload, 0);
  if (!first || payload.size() != sizeof(FirstFooter)) return std::nullopt;
  return SegmentFooter{first->frame_count, first->size_bytes, first->flags, first->zero, 0, first->digest};
}

void lay_frame(FrameHead head, Bytes stored_payload, std::vector<std::byte>& frame) {
  head.magic = kSecondFrameMagic;
  head.payload_bytes = static_cast<uint32_t>(stored_payload.size());
  head.crc = 0;
  head.crc = crc32c(stored_payload, crc32c(bytes_of(head)));
  frame.clear();
  frame.reserve(frame_bytes(2, head.payload_bytes));
  const Bytes bytes = bytes_of(head);
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  frame.insert(frame.end(), stored_payload.begin(), stored_payload.end());
  frame.resize(frame_bytes(2, head.payload_bytes));
}

void lay_recovered_frame(const SegmentHead& segment, const SegmentFooter& footer, uint64_t record_count,
                         std::vector<std::byte>& frame) {
  if (format_of(segment) == 2) {
    FrameHead head{};
    head.type = static_cast<uint32_t>(FrameType::recovered);
    head.salt = segment.salt;
    head.index = footer.frame_count;
    head.record_count = record_count;
    lay_frame(head, bytes_of(footer), frame);
    return;
  }
  const FirstFooter first{footer.frame_count, footer.size_bytes, kRecoveredFlag, 0, footer.digest};
  FirstFrameHead head{};
  head.magic = kFirstFrameMagic;
  head.type = static_cast<uint32_t>(FrameType::footer);
  head.salt = segment.salt;
  head.index = footer.frame_count;
  head.payload_bytes = sizeof(first);
  head.crc = crc32c(bytes_of(first), crc32c(bytes_of(head)));
  frame.assign(frame_bytes(1, sizeof(first)), std::byte{0});
  std::memcpy(frame.data(), &head, sizeof(head));
  std::memcpy(frame.data() + sizeof(head), &first, sizeof(first));
}

std::vector<std::byte> associated_data(const Digest& head_digest, FrameHead head) {
  head.magic = kSecondFrameMagic;
  head.crc = 0;
  head.tag = {};
  std::vector<std::byte> bytes(head_digest.begin(), head_digest.end());
  const Bytes more = bytes_of(head);
  bytes.insert(bytes.end(), more.begin(), more.end());
  return bytes;
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
