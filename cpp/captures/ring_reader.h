// RingReader: reads the records of one ring. At most one process reads a ring at a time: the one that holds the drain's
// lock. Carries bytes; knows no tensor. Protocol and crash rules: docs/capture-format.md, section 1.
//
// The reader maps nothing: it copies with pread, so that a file which is cut short under it is an answer and not a
// signal, and it believes nothing that it has not compared. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "captures/ring_format.h"
#include "system/file.h"

namespace edgeward {

// One record as it was copied out of a ring.
struct RingRecord {
  uint64_t position;
  Bytes bytes;  // valid until the next call of next()
};

class RingReader {
 public:
  // Nothing for a file that is no ring of this version, or whose writer has not finished making it. Throws
  // std::filesystem::filesystem_error when the system has no descriptor or memory left to look at it.
  static std::optional<RingReader> try_open(const std::string& path);

  const RingFacts& facts() const { return facts_; }
  const std::string& path() const { return file_.path(); }

  // Whether the writing process has ended or closed the ring; once true, it stays so. Takes over the writer's lock.
  bool has_ended();

  // The next committed record, or nothing: there is none yet, or the ring is_broken(). `min_bytes` is the size of the
  // smallest record that the caller takes. With Keep::newest, before has_ended(): none but what its writer's save()
  // asked for.
  std::optional<RingRecord> next(uint32_t min_bytes);
  // True when what the writer says in its shared words breaks the protocol; nothing more is read then.
  bool is_broken() const { return is_broken_; }
  // Where the next record will be read.
  uint64_t position() const { return position_; }
  // Up to where next() reads what is committed now; nothing when that cannot be told.
  std::optional<uint64_t> readable_end() const;
  // Where the writer will commit next; nothing when that cannot be read.
  std::optional<uint64_t> tail() const;

  // Lets the writer use the room before position() again, and tells it how many records that were: what was read is
  // safe elsewhere.
  void free_read();
  // Goes back to the first record that was not freed: it must be read again, and may break the protocol again.
  void rewind();
  // What was read and not freed yet.
  uint64_t unfreed_bytes() const { return position_ - freed_; }
  // Reads nothing more: the last record is none that its caller takes.
  void break_off();

  RingCounters counters() const;
  // How full the ring is, 0 to capacity_bytes.
  uint64_t used_bytes() const;

 private:
  RingReader(File file, Descriptor lock, RingFacts facts);
  std::optional<uint64_t> stable_u64(uint64_t offset) const;
  bool try_begin();
  bool try_skip_overwritten();
  bool try_copy(uint64_t end, uint32_t min_bytes);
  bool is_overwritten_meanwhile() const { return facts_.keep == Keep::newest && !has_ended_; }

  File file_;
  Descriptor writable_;  // carries the lock once taken over, and writes the head
  RingFacts facts_;
  bool has_ended_ = false;
  bool is_broken_ = false;
  bool has_begun_ = false;
  uint64_t position_ = 0;
  uint64_t freed_ = 0;  // everything before it is the writer's again
  // Records before these positions, since the ring was made.
  uint64_t read_count_ = 0;
  uint64_t freed_count_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace edgeward
