// PreRoll: records of one session's last inferences that no rule chose, kept for a while in case that the next
// inference is chosen. Bounded in number, age and bytes; a buffer is used again, so that a steady state allocates
// nothing. One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "captures/record.h"

namespace edgeward {

struct PreRollLimits {
  uint64_t count;   // of records; 0: none is kept
  uint64_t age_ns;  // from one's beginning to that of the chosen one; 0: any
  uint64_t bytes;   // of all records together
};

class PreRoll {
 public:
  explicit PreRoll(const PreRollLimits& limits) : limits_(limits) {}

  // Room for the bytes of one more record, aligned to 64 bytes as in a ring; the oldest records make way. Empty for a
  // record that is larger than all the room. Valid until the record is dropped. Throws std::bad_alloc.
  std::span<std::byte> try_add(const RecordHead& head);

  bool is_empty() const { return records_.empty(); }
  // The head that the oldest record was added with, and its bytes. There must be one.
  const RecordHead& oldest_head() const { return records_.front().head; }
  std::span<const std::byte> oldest_bytes() { return room_of(records_.front()); }
  void drop_oldest();
  // Whether the oldest record is young enough to come before an inference that began at `begin_ns`.
  bool is_recent(uint64_t begin_ns) const {
    return limits_.age_ns == 0 || begin_ns - oldest_head().monotonic_ns <= limits_.age_ns;
  }

 private:
  struct Kept {
    RecordHead head;
    std::vector<std::byte> buffer;  // with room to begin at a multiple of 64
  };
  static std::span<std::byte> room_of(Kept& record);

  PreRollLimits limits_;
  std::deque<Kept> records_;      // the oldest first
  std::vector<std::byte> spare_;  // the buffer of the record that was dropped last
  uint64_t total_bytes_ = 0;
};

}  // namespace edgeward
