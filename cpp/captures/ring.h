// A ring: a file in memory (tmpfs) that one thread of one process writes records to, and whoever holds the reader's
// lock reads from. Bytes, states and what each crash leaves: docs/capture-format.md, section 1. Carries bytes; knows no
// tensor.
//
// The writer maps the file and publishes a record by one store; it never waits, allocates or calls the system in
// between, but for one byte into a pipe when the ring is half full. A kernel lock on the file says that it lives. The
// reader maps nothing: it copies with pread, so that a file which is cut short under it is an answer and not a signal,
// and it believes nothing that it has not compared.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "system/file.h"
#include "system/fork.h"

namespace edgeward {

// What gives way when a ring is full.
enum class Keep : uint32_t {
  oldest = 1,  // the new record, which is counted as lost
  newest = 2,  // the oldest ones: a black box, read after its writer's death
};

// Every inference that is seen is sampled out, committed or lost.
struct RingCounters {
  uint64_t sampled_out = 0;
  uint64_t committed = 0;
  uint64_t lost_full = 0;    // no room
  uint64_t lost_large = 0;   // larger than half the ring
  uint64_t overwritten = 0;  // committed, then given up for a newer one
};

inline constexpr uint64_t kLeastRingBytes = uint64_t{64} << 10;
inline constexpr uint64_t kMostRingBytes = uint64_t{1} << 32;
inline constexpr size_t kMostDescriptionBytes = size_t{60} << 10;
inline constexpr uint64_t kRecordAlignment = 64;
// Names in a directory of rings.
inline constexpr std::string_view kRingSuffix = ".ring";
inline constexpr std::string_view kRingDraftSuffix = ".draft";  // behind the other, while it is being made
inline constexpr std::string_view kBellName = "bell";

class RingWriter {
 public:
  // Makes a file of a new name in `directory`, its pages and its lock. `capacity_bytes` is a power of two within the
  // limits above. The FIFO `bell` in the directory is rung when the ring is half full, if somebody listens. Throws
  // Error(bad_input), std::filesystem::filesystem_error, for a full file system too.
  RingWriter(const std::string& directory, uint64_t capacity_bytes, Keep keep, std::string_view description);
  // Tells the reader that nothing more comes.
  ~RingWriter();
  RingWriter(const RingWriter&) = delete;
  RingWriter& operator=(const RingWriter&) = delete;

  // Room for one record, in a row, aligned to kRecordAlignment; empty when there is none, which is then counted.
  // Valid until commit() or abort(); at most one claim is open at a time. The record's first four bytes hold its size.
  std::span<std::byte> try_claim(uint32_t size_bytes);
  // Where the claim begins, counted from the ring's first byte ever.
  uint64_t position() const { return tail_; }
  void commit();
  void abort() { claimed_bytes_ = 0; }

  // A record that did not get as far as a claim.
  void count_lost();
  void count_sampled_out() {
    sampled_out_->store(sampled_out_->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // One that was counted so is captured after all.
  void uncount_sampled_out();
  // Records lost so far, and counters as a reader would see them.
  uint64_t lost() const;
  RingCounters counters() const;
  uint64_t ring_id() const { return ring_id_; }
  const std::string& path() const { return path_; }

 private:
  struct Lines;
  class Mapping;
  bool learn_head();
  void forget_oldest(uint64_t need);
  void ring_bell();

  ForkMark home_;
  uint64_t ring_id_;
  std::string path_;
  std::unique_ptr<Mapping> mapping_;
  Lines* lines_;                        // in the file
  std::atomic<uint64_t>* sampled_out_;  // in them
  std::byte* data_;                     // the ring twice, one after the other
  uint64_t capacity_;                   // bytes; a power of two
  Keep keep_;
  uint64_t tail_ = 0;           // ours alone; published by commit()
  uint64_t oldest_ = 0;         // with Keep::newest: the first record that is whole
  uint64_t head_cache_ = 0;     // the reader's position when we last had to look
  uint64_t claimed_bytes_ = 0;  // 0 when no claim is open
  std::string bell_path_;
  bool has_rung_ = false;  // since the reader last made room
};

// What a ring says of itself, once and for all.
struct RingFacts {
  uint64_t ring_id;
  uint64_t capacity_bytes;
  Keep keep;
  uint64_t process_id;
  std::string description;
};

// One record as it was copied out of a ring.
struct RingRecord {
  uint64_t position;
  Bytes bytes;  // until the next call
};

class RingReader {
 public:
  // Nothing for a file that is no ring of ours, or whose writer has not finished making it. Throws
  // std::filesystem::filesystem_error when the system has no descriptor or memory left to look at it.
  static std::optional<RingReader> try_open(const std::string& path);

  const RingFacts& facts() const { return facts_; }
  const std::string& path() const { return file_.path(); }

  // Whether the writing process has ended or closed the ring; once true, it stays so. Takes over the writer's lock.
  bool has_ended();

  // The next record that was committed, or nothing: none yet, or the ring is_broken(). `least_bytes` is the size of the
  // smallest record that the caller takes. With Keep::newest: nothing before has_ended().
  std::optional<RingRecord> next(uint32_t least_bytes);
  // What the writer says in its shared lines breaks the protocol; nothing more is read.
  bool is_broken() const { return is_broken_; }
  // From where the next record will be read, and up to where the writer has committed; nothing when it cannot be read.
  uint64_t position() const { return position_; }
  std::optional<uint64_t> tail() const;

  // Everything before position() is safe elsewhere: the writer may use its room again.
  void free_read();
  // Goes back to what was not freed yet: it must be read again, and may break the protocol again.
  void rewind() {
    position_ = freed_;
    is_broken_ = false;
  }
  // What was read and not freed yet.
  uint64_t unfreed_bytes() const { return position_ - freed_; }
  // What the ring holds is not what its reader takes: nothing more is read.
  void break_off() { is_broken_ = true; }

  RingCounters counters() const;
  // How full it is, 0 to capacity_bytes.
  uint64_t used_bytes() const;

 private:
  RingReader(File file, Descriptor lock, RingFacts facts);
  std::optional<uint64_t> stable_u64(uint64_t offset) const;

  File file_;
  Descriptor writable_;  // carries the lock once taken over, and the head
  RingFacts facts_;
  bool has_ended_ = false;
  bool is_broken_ = false;
  bool has_begun_ = false;
  uint64_t position_ = 0;
  uint64_t freed_ = 0;  // everything before is the writer's again
  std::vector<std::byte> buffer_;
};

}  // namespace edgeward
