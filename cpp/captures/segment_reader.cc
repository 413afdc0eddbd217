#include "captures/segment_reader.h"

#include <algorithm>
#include <span>

#include "bytes/hex.h"
#include "crypto/hpke.h"
#include "error.h"

namespace edgeward {
namespace {

// hole_count() reads at most this many times the file's size: any number of heads could claim all that follows.
constexpr uint64_t kMaxReadsPerByte = 4;
// It looks for heads in as much of the file at a time.
constexpr uint64_t kWindowBytes = uint64_t{64} << 10;

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
  head_digest_ = sha256(std::as_bytes(std::span(&head_, 1)));
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

std::optional<FrameHead> SegmentReader::try_read_head(uint64_t offset) const {
  std::byte bytes[sizeof(FrameHead)];
  const auto head = std::span(bytes).first(frame_head_bytes(format_of(head_)));
  if (file_.size_bytes() < head.size() || offset > file_.size_bytes() - head.size()) return std::nullopt;
  try {
    file_.read_at(offset, head);
  } catch (const Error&) {
    return std::nullopt;  // the file was cut short meanwhile
  }
  return try_frame_head(head, head_);
}

// The head of the whole frame that begins at `offset`, and all of its bytes.
std::optional<FrameHead> SegmentReader::frame_at(uint64_t offset, std::vector<std::byte>& buffer) const {
  const auto claimed = try_read_head(offset);
  if (!claimed) return std::nullopt;
  const uint64_t size_bytes = frame_bytes(format_of(head_), claimed->payload_bytes);
  if (size_bytes > file_.size_bytes() - offset) return std::nullopt;
  buffer.resize(size_bytes);
  try {
    file_.read_at(offset, buffer);
  } catch (const Error&) {
    return std::nullopt;
  }
  // Use what was compared: take the head from the bytes that the CRC covers.
  const auto head = try_frame_head(buffer, head_);
  if (!head || head->payload_bytes != claimed->payload_bytes || !is_whole_frame(buffer, head_, *head))
    return std::nullopt;
  return head;
}

// The frame in the buffer, decrypted. Last frames that are never encrypted show it by their type, which is
// authenticated with every other.
std::optional<Frame> SegmentReader::opened(const FrameHead& head) {
  const uint32_t format = format_of(head_);
  const auto payload = std::span(buffer_).subspan(frame_head_bytes(format), head.payload_bytes);
  const auto type = static_cast<FrameType>(head.type);
  const bool is_clear = type == FrameType::recovered || (format == 1 && type == FrameType::footer);
  if (content_key_ == nullptr || is_clear) return Frame{head, payload};
  Aead cipher(AeadAlgorithm::chacha20_poly1305, content_key_->bytes(), Aead::Direction::open);
  std::vector<std::byte> associated;
  if (format == 2) associated = associated_data(head_digest_, head);
  if (!cipher.open(nonce_of(head.index), associated, payload, head.tag, payload)) return std::nullopt;
  return Frame{head, payload};
}

std::optional<Frame> SegmentReader::try_read(uint64_t offset, uint64_t index) {
  const auto head = frame_at(offset, buffer_);
  if (!head || head->index != index) return std::nullopt;
  return opened(*head);
}

// Whether the last frame fits what was read before it, and ends the file.
bool SegmentReader::agrees(const Frame& last) {
  if (offset_ + buffer_.size() != file_.size_bytes()) return false;
  // Without the key a footer of format 2 cannot be read; what it says is then believed.
  if (last.type() == FrameType::footer && format_of(head_) == 2 && !is_readable()) return true;
  const auto footer = try_read_footer(last.payload, format_of(head_));
  is_recovered_ = last.type() == FrameType::recovered || (footer && footer->flags == kRecoveredFlag);
  return footer && footer->frame_count == frame_count_ && footer->size_bytes == offset_ &&
         footer->index_offset == index_offset_ && (format_of(head_) == 1 || last.head.record_count == record_count_) &&
         hash_.finish() == footer->digest;
}

std::optional<Frame> SegmentReader::next() {
  if (is_complete_) return std::nullopt;
  const auto head = frame_at(offset_, buffer_);
  if (!head || head->index != frame_count_) return std::nullopt;
  const auto type = static_cast<FrameType>(head->type);
  const bool is_last = is_last_frame(type);
  if (!is_last) hash_.add(buffer_);
  auto frame = opened(*head);
  if (!frame) return std::nullopt;
  if (is_last) {
    is_complete_ = agrees(*frame);
    if (!is_complete_) return std::nullopt;
    return frame;
  }
  if (type == FrameType::index) index_offset_ = offset_;
  record_count_ += head->record_count;
  offset_ += buffer_.size();
  ++frame_count_;
  return frame;
}

uint64_t SegmentReader::hole_count() const {
  if (is_complete_) return 0;
  uint64_t count = 0;
  uint64_t left_bytes = kMaxReadsPerByte * file_.size_bytes();
  std::vector<std::byte> buffer;
  std::vector<std::byte> window;
  uint64_t window_offset = 0;
  for (uint64_t offset = offset_ + kFrameAlignment; offset < file_.size_bytes();) {
    const uint64_t window_end = window_offset + window.size();
    if (offset + frame_head_bytes(format_of(head_)) > window_end && window_end < file_.size_bytes()) {
      window.resize(std::min(kWindowBytes, file_.size_bytes() - offset));
      window_offset = offset;
      try {
        file_.read_at(offset, window);
      } catch (const Error&) {
        return count;  // the file was cut short meanwhile
      }
    }
    const auto claimed = try_frame_head(Bytes(window).subspan(offset - window_offset), head_);
    const uint64_t size_bytes = claimed ? frame_bytes(format_of(head_), claimed->payload_bytes) : 0;
    const bool is_inside = claimed && size_bytes <= file_.size_bytes() - offset;
    const bool is_whole = is_inside && frame_at(offset, buffer).has_value();
    count += is_whole ? 1 : 0;
    if (is_inside && size_bytes > left_bytes) break;
    left_bytes -= is_inside ? size_bytes : 0;
    offset += is_whole ? size_bytes : kFrameAlignment;
  }
  return count;
}

}  // namespace edgeward
