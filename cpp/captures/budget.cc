#include "captures/budget.h"

namespace edgeward {
namespace {

// Neither the first nor the last: without those the rest would span less time.
size_t closest(std::span<const SealedSegment> segments) {
  size_t best = 1;
  int64_t min_gap_ns = INT64_MAX;
  for (size_t i = 1; i + 1 < segments.size(); ++i) {
    const int64_t gap_ns = segments[i - 1].age_ns - segments[i + 1].age_ns;
    if (gap_ns >= min_gap_ns) continue;
    min_gap_ns = gap_ns;
    best = i;
  }
  return best;
}

}  // namespace

std::optional<size_t> next_eviction(const Budget& budget, std::span<const SealedSegment> segments,
                                    uint64_t free_bytes) {
  if (segments.empty()) return std::nullopt;
  if (budget.most_age_ns > 0 && segments.front().age_ns > budget.most_age_ns) return 0;
  if (segments.size() <= budget.least_count) return std::nullopt;
  uint64_t total_bytes = 0;
  for (const SealedSegment& segment : segments) total_bytes += segment.size_bytes;
  if (total_bytes <= budget.most_bytes && free_bytes >= budget.least_free_bytes) return std::nullopt;
  return budget.evict == Evict::oldest || segments.size() < 3 ? 0 : closest(segments);
}

}  // namespace edgeward
