// Segment: a file of records that a crash cannot damage beyond its end. Bytes, states and what each crash leaves:
// docs/capture-format.md, section 3. A writer appends frames to NAME.open and seals it by a rename to NAME.ewc; a file
// that was open when its writer died is never appended to, but recovered. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "crypto/crypto.h"
#include "system/file.h"

namespace edgeward {

enum class FrameType : uint32_t {
  ring = 1,      // a ring's description: comes before its records
  record = 2,    // record.h
  counters = 3,  // a ring's counters so far
  footer = 4,    // the last one of a sealed segment
};

inline constexpr size_t kFrameHeadBytes = 64;
inline constexpr size_t kSegmentHeadBytes = 192;

struct Frame {
  FrameType type;
  uint64_t ring_id;
  uint64_t sequence;  // of a record, also where its payload is encrypted; 0 in other frames
  Bytes payload;      // until the next call
};

class SegmentWriter {
 public:
  // Makes `directory`/NAME.open. With `recipient`, an X25519 public key, every payload is encrypted under a key that
  // only its owner can find again. Throws std::filesystem::filesystem_error.
  SegmentWriter(const std::string& directory, const std::optional<PublicKey>& recipient);
  // Leaves the file open, as a crash would.
  ~SegmentWriter();
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // `sequence` is a record's, 0 for other frames. Throws std::filesystem::filesystem_error; the frame is then not whole
  // in the file, and whatever is asked of it from then on throws too.
  void append(FrameType type, uint64_t ring_id, uint64_t sequence, Bytes payload);
  // What was appended is on the disk. Throws as append().
  void sync();
  // Ends it: footer, sync, rename. Returns its path.
  std::string seal();

  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t frame_count() const { return frame_count_; }
  const std::string& path() const { return path_; }

 private:
  void write(Bytes bytes);
  void require_whole() const;

  std::string path_;  // of NAME.open
  uint64_t salt_ = 0;
  uint64_t size_bytes_ = 0;
  uint64_t frame_count_ = 0;
  bool has_failed_ = false;  // what the file ends with is not known
  std::optional<Aead> cipher_;
  Sha256 hash_;
  std::vector<std::byte> frame_;
  Descriptor file_;  // made last: it sets the others
};

// Reads the frames of a segment in order, up to the first that is not whole.
class SegmentReader {
 public:
  // `key` opens an encrypted one. Throws std::filesystem::filesystem_error, Error(malformed_capture) when the head is
  // none, Error(wrong_key).
  SegmentReader(const std::string& path, const PrivateKey* key);

  bool is_encrypted() const { return is_encrypted_; }
  // The next whole frame. Nothing at the end, and where a frame is not whole.
  std::optional<Frame> next();
  // True once the footer was read and agrees with all that came before it.
  bool is_complete() const { return is_complete_; }
  // Bytes that belong to whole frames, so far.
  uint64_t whole_bytes() const { return offset_; }
  // Whole frames of this segment behind the place where next() stopped; at least so many in a file that was made to
  // take long. Of one that only a crash has touched: none.
  uint64_t hole_count() const;

 private:
  std::optional<Frame> frame_at(uint64_t offset, std::vector<std::byte>& buffer, uint64_t& end) const;

  File file_;
  uint64_t salt_ = 0;
  bool is_encrypted_ = false;
  bool is_complete_ = false;
  uint64_t offset_ = kSegmentHeadBytes;
  uint64_t frame_count_ = 0;
  std::unique_ptr<Secret> content_key_;
  Sha256 hash_;
  std::vector<std::byte> buffer_;
};

struct Recovered {
  std::string path;         // of the sealed file; empty when there was nothing whole in it
  uint64_t frame_count;     // whole ones, which it has
  uint64_t lost_bytes;      // behind them
  uint64_t hole_count = 0;  // whole frames among the lost bytes: more than a crash did
};

// Makes a sealed segment of one that was left open, and removes that. Nobody may be writing to it. Throws
// std::filesystem::filesystem_error, Error(malformed_capture).
Recovered recover_segment(const std::string& path);

}  // namespace edgeward
