// SegmentReader: the frames of a segment in order, up to the first that is not whole. It trusts nothing that it has not
// compared. Layout: docs/capture-format.md, section 3. One thread at a time.
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
  FrameType type;
  uint64_t ring_id;
  uint64_t sequence;  // of a record, also where its payload is encrypted; 0 in other frames
  Bytes payload;      // valid until the next call of next()
};

class SegmentReader {
 public:
  // `key` opens an encrypted one. Throws std::filesystem::filesystem_error, Error(malformed_capture) when the head is
  // none, Error(wrong_key).
  SegmentReader(const std::string& path, const PrivateKey* key);

  bool is_encrypted() const { return is_encrypted_; }
  const SegmentHead& head() const { return head_; }
  // When it was begun.
  Moment moment() const;
  // The next whole frame. Nothing at the end, and where a frame is not whole.
  std::optional<Frame> next();
  // True once the footer was read and agrees with all that came before it.
  bool is_complete() const { return is_complete_; }
  // Bytes that belong to whole frames, so far.
  uint64_t whole_bytes() const { return offset_; }
  // Whole frames of this segment behind the point where next() stopped: none after a crash alone. The count is a lower
  // bound for a file that was crafted to take long.
  uint64_t hole_count() const;

 private:
  std::optional<Frame> frame_at(uint64_t offset, std::vector<std::byte>& buffer, uint64_t& end) const;

  File file_;
  SegmentHead head_;
  bool is_encrypted_ = false;
  bool is_complete_ = false;
  uint64_t offset_ = kSegmentHeadBytes;
  uint64_t frame_count_ = 0;
  std::unique_ptr<Secret> content_key_;
  Sha256 hash_;
  std::vector<std::byte> buffer_;
};

}  // namespace edgeward
