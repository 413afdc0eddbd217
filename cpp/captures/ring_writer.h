// RingWriter: makes a ring, a file in memory (tmpfs), and writes one session's records to it. Carries bytes; knows no
// tensor. Protocol and crash rules: docs/capture-format.md, section 1.
//
// The writer maps the file and publishes a record by one store; it never waits, allocates or calls the system in
// between, but for one byte into a pipe when the ring is half full. A kernel lock on the file says that its process
// lives. One thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "captures/ring_format.h"
#include "system/fork.h"

namespace edgeward {

// With Keep::newest: what a ring keeps of what it has room for.
struct NewestLimits {
  uint64_t record_count = 0;  // 0: any
  uint64_t age_ns = 0;        // by which a record may be older than the last one; 0: any
};

class RingWriter {
 public:
  // Makes a file of a random name in `directory`, with its pages and its lock. `capacity_bytes` is a power of two
  // within the limits of ring_format.h. The FIFO `bell` in the directory is rung when the ring becomes half full, if
  // somebody listens. With `recipient`, an X25519 public key, whoever drains seals the records for its owner. Throws
  // Error(bad_input), and std::filesystem::filesystem_error, also when the file system is full.
  RingWriter(const std::string& directory, uint64_t capacity_bytes, Keep keep, std::string_view description,
             const std::optional<PublicKey>& recipient = std::nullopt, const NewestLimits& limits = {});
  // Tells the reader that nothing more comes.
  ~RingWriter();
  RingWriter(const RingWriter&) = delete;
  RingWriter& operator=(const RingWriter&) = delete;

  // Contiguous room for one record, aligned to kRecordAlignment; empty when there is none, which is then counted. Valid
  // until commit() or abort(); at most one claim is open at a time. The record's first four bytes must hold its size,
  // and the eight from kRecordTimeOffset its time, `monotonic_ns`, where the ring limits the age of records.
  std::span<std::byte> try_claim(uint32_t size_bytes, uint64_t monotonic_ns = 0);
  // Where the claim begins, counted from the ring's first byte ever.
  uint64_t position() const { return tail_; }
  void commit();
  void abort() { claimed_bytes_ = 0; }

  // Counts a record that did not get as far as a claim.
  void count_lost() { add<&RingCounters::lost_large>(1); }
  void count_sampled_out() { add<&RingCounters::sampled_out>(1); }
  // Takes back one count_sampled_out(): the record is captured after all.
  void uncount_sampled_out() { add<&RingCounters::sampled_out>(~uint64_t{0}); }
  // Adds to each counter what was counted elsewhere, modulo 2^64.
  void count(const RingCounters& counted);
  // Records lost so far, and counters as a reader would see them.
  uint64_t lost() const;
  RingCounters counters() const;

  // ---- Any thread may call these.

  // With Keep::newest, lets the reader take what is committed now without an end of the ring. Returns up to where.
  uint64_t save();
  // Where the writer commits next, as its reader sees it; up to where the reader has brought records to the disk, and
  // how many.
  uint64_t committed_position() const { return lines_->tail.load(std::memory_order_relaxed); }
  uint64_t drained_position() const;
  uint64_t drained_count() const { return lines_->drained.load(std::memory_order_relaxed); }
  // When the oldest record that is not drained was made, by its own time; 0: none is waiting.
  uint64_t waiting_since_ns() const;
  // How many records lie behind what was drained, while nobody writes.
  uint64_t unread_count() const;
  // Tells the reader that nothing more comes. Nothing may be claimed from then on.
  void end() { lines_->state.store(static_cast<uint64_t>(RingState::closed), std::memory_order_release); }
  uint64_t ring_id() const { return ring_id_; }
  const std::string& path() const { return path_; }

 private:
  class Mapping;

  template <uint64_t RingCounters::*kMember>
  std::atomic<uint64_t>& shared() const {
    constexpr size_t kIndex = index_of(kMember);
    static_assert(kIndex < kRingCounters.size());
    return counters_[kIndex];
  }
  // Adds to a shared counter, modulo 2^64. A load and a store are enough: nobody else stores there.
  template <uint64_t RingCounters::*kMember>
  void add(uint64_t count) {
    std::atomic<uint64_t>& counter = shared<kMember>();
    counter.store(counter.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  bool learn_head();
  void forget_oldest(uint64_t need, uint64_t monotonic_ns);
  bool has_too_much(uint64_t need, uint64_t monotonic_ns) const;
  void ring_bell();

  ForkMark fork_mark_;
  uint64_t ring_id_;
  std::string path_;
  std::unique_ptr<Mapping> mapping_;
  RingLines* lines_;                 // in the file
  std::atomic<uint64_t>* counters_;  // in the lines, in the order of kRingCounters
  std::byte* data_;                  // the ring twice, one copy behind the other
  uint64_t capacity_;                // bytes; a power of two
  Keep keep_;
  NewestLimits limits_;
  uint64_t record_count_ = 0;   // with Keep::newest: of the records from oldest_ to tail_
  uint64_t tail_ = 0;           // ours alone; published by commit()
  uint64_t oldest_ = 0;         // with Keep::newest: the first record that is whole
  uint64_t head_cache_ = 0;     // the reader's position when we last had to look
  uint64_t claimed_bytes_ = 0;  // 0 when no claim is open
  std::string bell_path_;
  bool has_rung_ = false;  // since the reader last made room
};

}  // namespace edgeward
