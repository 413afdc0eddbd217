#include "captures/scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "bytes/bytes.h"
#include "captures/wide.h"

namespace edgeward {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// What stands behind the last score of a row: it has no share, is finite, and is the next of none that a model gives.
constexpr float kPad = -std::numeric_limits<float>::max();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The natural logarithm of positive normal floats, by the series of the inverse hyperbolic tangent:
// ln m = 2 (t + t^3/3 + ...) with t = (m - 1) / (m + 1), for m within sqrt(2) of 1. 0 and subnormals give some finite
// number.
EDGEWARD_INLINE void logarithm(Floats& x) {
  const auto bits = reinterpret_cast<Ints>(x);
  const Ints exponent = (bits - 0x3F35'04F3) >> 23;  // of x / sqrt(1/2)
  const auto m = reinterpret_cast<Floats>(bits - (exponent << 23));
  const Floats t = (m - 1.0F) / (m + 1.0F);
  const Floats square = t * t;
  const Floats series = t * (2.0F + square * (2.0F / 3 + square * (2.0F / 5 + square * (2.0F / 7))));
  x = __builtin_convertvector(exponent, Floats) * 0.69314718F + series;
}

// What one pass over a row finds.
struct RowSums {
  float greatest = -kInfinity;
  float next = -kInfinity;  // the greatest of all others
  int32_t best = -1;        // the first of the greatest
  float sum = 0;            // of shares: what a score is above zero
  float weighted = 0;       // sum of s ln s
  bool is_finite = true;
};

EDGEWARD_WIDE void sum_row(const float* row, size_t count, float zero, RowSums& total) {
  Floats sums = {}, weighted = {}, greatest, next, pad;
  Ints best, index, special = {};
  for (size_t lane = 0; lane < kWidth; ++lane) {
    greatest[lane] = next[lane] = -kInfinity;
    pad[lane] = kPad;
    best[lane] = -1;
    index[lane] = static_cast<int32_t>(lane);
  }
  for (size_t i = 0; i < count; i += kWidth) {
    Floats x, lower;
    Ints mask;
    load(x, row + i);
    select(x, index < static_cast<int32_t>(count), x, pad);
    const Ints is_greater = x > greatest;
    select(lower, is_greater, greatest, x);
    select(next, lower > next, lower, next);
    select(greatest, is_greater, x, greatest);
    best = (is_greater & index) | (~is_greater & best);
    index += static_cast<int32_t>(kWidth);
    const Floats beyond = x - zero;
    const auto share = reinterpret_cast<Floats>(reinterpret_cast<Ints>(beyond) & (beyond > 0.0F));
    Floats log = share;
    logarithm(log);
    sums += share;
    weighted += share * log;
    mark_special(mask, x);
    special |= mask;
  }
  size_t first = 0;
  for (size_t lane = 0; lane < kWidth; ++lane) {
    const bool is_tie = greatest[lane] == greatest[first];
    if (greatest[lane] > greatest[first] || (is_tie && best[lane] < best[first])) first = lane;
    total.sum += sums[lane];
    total.weighted += weighted[lane];
  }
  total.greatest = greatest[first];
  total.best = best[first];
  total.next = next[first];
  for (size_t lane = 0; lane < kWidth; ++lane) {
    if (lane != first && greatest[lane] > total.next) total.next = greatest[lane];
  }
  total.is_finite = !has_any(special);
}

}  // namespace

Scores scores_of(const float* row, size_t count, float zero) {
  RowSums sums;
  sum_row(row, count, zero, sums);
  Scores scores{static_cast<size_t>(sums.best), kNan, kNan};
  if (scores.best >= count) {  // minus infinity may be the greatest, or all are NaN
    const float* least = std::find(row, row + count, -kInfinity);
    scores.best = least == row + count ? Scores::kNone : static_cast<size_t>(least - row);
    return scores;
  }
  if (std::isfinite(sums.greatest) && sums.next > kPad) scores.margin = sums.greatest - sums.next;
  if (!sums.is_finite || !std::isfinite(sums.sum)) return scores;
  scores.entropy = sums.sum > 0 ? std::max(std::log(sums.sum) - sums.weighted / sums.sum, 0.0F) : 0.0F;
  return scores;
}

}  // namespace edgeward
