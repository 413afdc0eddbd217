// Budget: how much room the segments of a directory may take, and which sealed segment must go when they take more.
// Pure: reads no directory, no disk and no clock; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace edgeward {

// Which sealed segments go when there is no room for all.
enum class Evict : uint8_t {
  oldest,  // the segment that was begun first
  closest  // the segment nearest in time to its neighbours: the rest stays spread over all of the time
};

struct Budget {
  uint64_t segment_bytes = uint64_t{16} << 20;  // a segment of this size is sealed
  int64_t most_span_ns = 0;                     // one that was begun so long ago is sealed; 0: at any time
  uint64_t most_bytes = uint64_t{256} << 20;    // of all sealed segments, and of statistics
  uint64_t least_free_bytes = 0;                // of the file system; 0: any
  int64_t most_age_ns = 0;                      // of a segment; 0: any
  size_t least_count = 0;                       // of segments, which stay unless they are too old
  Evict evict = Evict::oldest;
};

// What a budget asks of a sealed segment.
struct SealedSegment {
  uint64_t size_bytes;
  int64_t age_ns;  // since it was begun
};

// The index of the segment that must go next; nothing when `segments`, the oldest first, are within the budget.
// `free_bytes` is what the file system has left, UINT64_MAX when that is not known.
std::optional<size_t> next_eviction(const Budget& budget, std::span<const SealedSegment> segments, uint64_t free_bytes);

}  // namespace edgeward
