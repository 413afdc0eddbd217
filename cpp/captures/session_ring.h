// SessionRing: where the records of one session go: into its ring, or as long as there is no room for a ring into the
// account of what was lost. One thread at a time, but where it says any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "captures/ring_writer.h"

namespace edgeward {

struct RingPlan {
  std::string directory;  // on tmpfs
  uint64_t bytes;         // a power of two
  Keep keep;
  std::string description;  // JSON, for the ring's readers
  std::optional<PublicKey> recipient;
  NewestLimits newest;
};

class SessionRing {
 public:
  // Makes the ring, or fails to: failure() then says why. Throws Error(bad_input) for a plan that no ring can have.
  explicit SessionRing(RingPlan plan);
  SessionRing(const SessionRing&) = delete;
  SessionRing& operator=(const SessionRing&) = delete;

  // As of RingWriter. Without a ring there is no room for a record; once a second it is tried to make the ring.
  std::span<std::byte> try_claim(uint32_t size_bytes, uint64_t monotonic_ns);
  uint64_t position() const { return writer_ == nullptr ? 0 : writer_->position(); }
  void commit() {
    writer_->commit();
    is_writing_.store(false, std::memory_order_release);
  }
  void count_lost() {
    if (writer_ != nullptr) return writer_->count_lost();
    count_unringed(&RingCounters::lost_large, 1);
  }
  void count_sampled_out() {
    if (writer_ != nullptr) return writer_->count_sampled_out();
    count_unringed(&RingCounters::sampled_out, 1);
  }
  void uncount_sampled_out() {
    if (writer_ != nullptr) return writer_->uncount_sampled_out();
    count_unringed(&RingCounters::sampled_out, ~uint64_t{0});
  }
  uint64_t lost() const;

  // ---- Any thread may call these.

  RingCounters counters() const;
  // Why there is no ring; empty when there is.
  std::string failure() const;
  // Records nothing more, and lets the reader take what there is: the ring has ended when this returns.
  void end();

  // Of the ring; nothing when there is none.
  struct Progress {
    std::string path;
    Keep keep;
    uint64_t committed_position;
    uint64_t drained_position;
    uint64_t drained_count;     // of records
    uint64_t waiting_since_ns;  // the monotonic time of the oldest that is not drained; 0: none waits
  };
  std::optional<Progress> progress() const;
  // How many records the reader has still to bring to the disk. After end() alone.
  uint64_t waiting_count() const;
  // Lets the reader take what is committed now, where it would wait for the ring's end. Returns up to where.
  std::optional<uint64_t> save();

 private:
  bool try_make();
  void count_unringed(uint64_t RingCounters::*counter, uint64_t number);

  const RingPlan plan_;
  // The session's thread alone sets it, under the mutex.
  std::unique_ptr<RingWriter> writer_;
  uint64_t retry_at_ns_ = 0;
  std::atomic<bool> is_writing_{false};
  std::atomic<bool> has_ended_{false};
  mutable std::mutex mutex_;  // what follows
  RingCounters unringed_;     // what was counted without a ring
  std::string failure_;
};

}  // namespace edgeward
