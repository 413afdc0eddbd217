#include "captures/segment_reader.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "bytes/hex.h"
#include "crypto/hpke.h"
#include "error.h"

namespace edgeward {
namespace {

// hole_count() reads at most this many times the file's size: any number of heads could claim all that follows.
constexpr uint64_t kMaxReadsPerByte = 4;

}  // namespace

SegmentReader::SegmentReader(const std::string& path, const PrivateKey* key)
    : file_("segment", path, File::Links::refused) {
  const auto malformed = [&](const auto&... parts) {
    throw Error(Code::malformed_capture, "segment \"", path, "\": ", parts...);
  };
  if (file_.size_bytes() < sizeof(head_))
    malformed("expected at least ", sizeof(head_), " bytes, got ", file_.size_bytes());
  file_.read_at(0, std::as_writable_bytes(std::span(&head_, 1)));
  if (!is_segment_head(head_)) malformed("expected the head of a segment, got other bytes");
  hash_.add(std::as_bytes(std::span(&head_, 1)));
  is_encrypted_ = head_.flags == kEncryptedFlag;
  if (!is_encrypted_ || key == nullptr) return;
  content_key_ = std::make_unique<Secret>();
  if (!hpke_open(HpkeAead::chacha20_poly1305, key->secret, head_.encapsulated, info_of(head_), {}, head_.wrapped_key,
                 content_key_->bytes())) {
    throw Error(Code::wrong_key, "segment \"", path, "\": expected the private key of ", hex(head_.recipient),
                ", got another");
  }
}

Moment SegmentReader::moment() const {
  return {head_.boot_id, static_cast<int64_t>(head_.monotonic_ns), head_.created_ns};
}

// The whole frame that begins at `offset`; `end` is set to where the next one begins.
std::optional<Frame> SegmentReader::frame_at(uint64_t offset, std::vector<std::byte>& buffer, uint64_t& end) const {
  FrameHead head;
  if (file_.size_bytes() < sizeof(head) || offset > file_.size_bytes() - sizeof(head)) return std::nullopt;
  try {
    file_.read_at(offset, std::as_writable_bytes(std::span(&head, 1)));
    if (!is_frame_head(head, head_.salt)) return std::nullopt;
    end = offset + frame_bytes(head.payload_bytes);
    if (end > file_.size_bytes()) return std::nullopt;
    buffer.resize(end - offset);
    file_.read_at(offset, buffer);
  } catch (const Error&) {
    return std::nullopt;  // the file was cut short meanwhile
  }
  // Use what was compared: take the head from the bytes that the CRC covers.
  std::memcpy(&head, buffer.data(), sizeof(head));
  if (!is_frame_head(head, head_.salt) || end != offset + frame_bytes(head.payload_bytes)) return std::nullopt;
  const auto stored = std::span(buffer).subspan(sizeof(head), head.payload_bytes);
  if (crc_of(head, stored) != head.crc) return std::nullopt;
  const auto padding = std::span(buffer).subspan(sizeof(head) + head.payload_bytes);
  if (std::any_of(padding.begin(), padding.end(), [](std::byte byte) { return byte != std::byte{0}; }))
    return std::nullopt;
  return Frame{static_cast<FrameType>(head.type), head.ring_id, head.sequence, stored};
}

std::optional<Frame> SegmentReader::next() {
  if (is_complete_) return std::nullopt;
  uint64_t end = 0;
  auto frame = frame_at(offset_, buffer_, end);
  if (!frame) return std::nullopt;
  FrameHead head;
  std::memcpy(&head, buffer_.data(), sizeof(head));
  if (head.index != frame_count_) return std::nullopt;
  if (frame->type == FrameType::footer) {
    const auto footer = try_read<SegmentFooter>(frame->payload, 0);
    is_complete_ = footer && frame->payload.size() == sizeof(SegmentFooter) && footer->frame_count == frame_count_ &&
                   footer->size_bytes == offset_ && end == file_.size_bytes() && hash_.finish() == footer->digest;
    if (!is_complete_) return std::nullopt;
    return frame;
  }
  hash_.add(buffer_);
  if (content_key_ != nullptr) {
    const auto payload = std::span(buffer_).subspan(sizeof(head), head.payload_bytes);
    Aead cipher(AeadAlgorithm::chacha20_poly1305, content_key_->bytes(), Aead::Direction::open);
    if (!cipher.open(nonce_of(head.index), {}, payload, head.tag, payload)) return std::nullopt;
  }
  offset_ = end;
  ++frame_count_;
  return frame;
}

uint64_t SegmentReader::hole_count() const {
  if (is_complete_) return 0;
  uint64_t count = 0;
  uint64_t left_bytes = kMaxReadsPerByte * file_.size_bytes();
  std::vector<std::byte> buffer;
  for (uint64_t offset = offset_ + kFrameAlignment; offset < file_.size_bytes();) {
    uint64_t end = 0;
    const bool is_whole = frame_at(offset, buffer, end).has_value();
    count += is_whole ? 1 : 0;
    const uint64_t read_bytes = end > file_.size_bytes() ? 0 : std::max(end, offset) - offset;
    if (read_bytes > left_bytes) break;
    left_bytes -= read_bytes;
    offset = is_whole ? end : offset + kFrameAlignment;
  }
  return count;
}

}  // namespace edgeward
