// Scores: what a row of scores says: which is the greatest, by how much, and how evenly they are spread. Pure; any
// thread.
#pragma once

#include <cstddef>

namespace edgeward {

struct Scores {
  static constexpr size_t kNone = static_cast<size_t>(-1);

  size_t best = kNone;  // the first of the greatest; kNone when all are NaN
  float margin = 0;     // the greatest less the next; NaN without two finite scores
  // In nats, of the shares of scores, where negative ones are 0; off by 1e-5 at most. 0 without a positive sum, as
  // rules have it; NaN when a score is not finite.
  float entropy = 0;
};

// `row` holds `count` scores, from 1 to 2^30, and up to the next multiple of kLanes any others. `zero` is the stored
// score that stands for 0; the margin is in stored units.
Scores scores_of(const float* row, size_t count, float zero);

}  // namespace edgeward
