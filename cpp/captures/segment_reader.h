// SegmentReader: the frames of a segment, in order up to the first that is not whole, or those that the caller knows
// where to find. It trusts nothing that it has not compared. Layout: docs/capture-format.md, section 3. One thread at a
// time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "captures/moment.h"
#include "captures/segment_format.h"
#include "crypto/crypto.h"
#include "system/file.h"

namespace edgeward {

struct Frame {
  FrameHead head;  // readable also where the payload is encrypted
  Bytes payload;   // valid until the next call of next() or try_read()

  FrameType type() const { return static_cast<FrameType>(head.type); }
};

class SegmentReader {
 public:
  // `key` opens an encrypted one. Throws std::filesystem::filesystem_error, Error(malformed_capture) when the head is
  // none, Error(wrong_key).
  SegmentReader(const std::string& path, const PrivateKey* key);

  const std::string& path() const { return file_.path(); }
  uint64_t size_bytes() const { return file_.size_bytes(); }  // at opening
  bool is_encrypted() const { return is_encrypted_; }
  // Whether payloads come in clear: it is not encrypted, or there is the key.
  bool is_readable() const { return !is_encrypted_ || content_key_ != nullptr; }
  const SegmentHead& head() const { return head_; }
  // When it was begun.
  Moment moment() const;

  // The next whole frame. Nothing at the end, and where a frame is not whole.
  std::optional<Frame> next();
  // True once the last frame was read and agrees with all that came before it.
  bool is_complete() const { return is_complete_; }
  // True once the last frame was read, and is one that a recovery wrote.
  bool is_recovered() const { return is_recovered_; }
  uint64_t frame_count() const { return frame_count_; }  // whole ones so far, without the last
  // Bytes that belong to whole frames, so far.
  uint64_t whole_bytes() const { return offset_; }
  // Whole frames of this segment behind the point where next() stopped: none after a crash alone. The count is a lower
  // bound for a file that was crafted to take long.
  uint64_t hole_count() const;

  // The frame that begins at `offset` and is the one of this index. Nothing when it is not whole. next() goes on where
  // it was.
  std::optional<Frame> try_read(uint64_t offset, uint64_t index);
  // The head alone, without its CRC.
  std::optional<FrameHead> try_read_head(uint64_t offset) const;

 private:
  std::optional<FrameHead> frame_at(uint64_t offset, std::vector<std::byte>& buffer) const;
  std::optional<Frame> opened(const FrameHead& head);
  bool agrees(const Frame& last);

  File file_;
  SegmentHead head_;
  bool is_encrypted_ = false;
  bool is_complete_ = false;
  bool is_recovered_ = false;
  uint64_t offset_ = kSegmentHeadBytes;
  uint64_t frame_count_ = 0;
  uint64_t record_count_ = 0;
  uint64_t index_offset_ = 0;  // of the last index; 0 before one
  std::unique_ptr<Secret> content_key_;
  Digest head_digest_;
  Sha256 hash_;
  std::vector<std::byte> buffer_;
};

}  // namespace edgeward
