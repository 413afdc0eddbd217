// SegmentWriter: packs records into blocks, appends them and other frames to NAME.open, and seals it by a rename to
// NAME.ewc. A crash damages nothing but the end of the file; a file that was open when its writer died is never
// appended to, but recovered. Bytes, states and what each crash leaves: docs/capture-format.md, section 3. One thread
// at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "captures/record_block.h"
#include "captures/segment_format.h"
#include "crypto/crypto.h"
#include "system/file.h"

namespace edgeward {

class SegmentWriter {
 public:
  // Makes `directory`/NAME.open, and locks it where the file system has locks: no forked child has the lock. The name
  // begins with `number` (segment_name.h). With `recipient`, an X25519 public key, every payload is encrypted under a
  // key that only its owner can find again. Throws std::filesystem::filesystem_error.
  SegmentWriter(const std::string& directory, int64_t number, const std::optional<PublicKey>& recipient);
  // Leaves the file open, as a crash would.
  ~SegmentWriter();
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // Puts a record into the block in hand, which is written when the next record has another ring or other tensors, when
  // it is large enough, and by append(), sync() and seal(). Throws as append().
  void add(uint64_t ring_id, const Record& record);
  // Writes a frame. `span` is that of a block; empty for other frames. Throws std::filesystem::filesystem_error; the
  // frame is then not whole in the file, and every later call throws too.
  void append(FrameType type, uint64_t ring_id, Bytes payload, const RecordSpan& span = {});
  // Makes what was added and appended durable, where a reader finds it. Throws as append().
  void sync();
  // Ends the segment: index, footer, sync, rename. Returns its path. Throws as append().
  std::string seal();

  // Of the file once the block in hand is written.
  uint64_t size_bytes() const;
  uint64_t frame_count() const { return frame_count_; }
  const std::string& path() const { return path_; }

 private:
  void write_block();
  void write(FrameHead head, Bytes payload);
  void write(Bytes bytes);
  void require_whole() const;
  void require_reachable() const;

  std::string path_;  // of NAME.open
  uint64_t salt_ = 0;
  uint64_t size_bytes_ = 0;
  uint64_t frame_count_ = 0;
  bool has_failed_ = false;  // what the file ends with is not known
  std::optional<Aead> cipher_;
  Digest head_digest_;
  Sha256 hash_;
  RecordBlockBuilder block_;
  std::vector<FrameRow> rows_;
  uint64_t record_count_ = 0;
  std::vector<std::byte> payload_;
  std::vector<std::byte> frame_;
  Descriptor file_;  // initialised last: its initialiser sets the others
};

}  // namespace edgeward
