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
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The natural logarithm of positive normal floats, by the series of the inverse hyperbolic tangent: ln m = 2 (t + t^3/3
// +
// ...) with t = (m - 1) / (m + 1), for m within sqrt(2) of 1. 0 and subnormals give some finite number.
inline __attribute__((always_inline)) void logarithm(Float8& x) {
  const Int8 bits = reinterpret_cast<Int8>(x);
  const Int8 exponent = (bits - 0x3F35'04F3) >> 23;  // of x / sqrt(1/2)
  const Float8 m = reinterpret_cast<Float8>(bits - (exponent << 23));
  const Float8 t = (m - 1.0F) / (m + 1.0F);
  const Float8 square = t * t;
  const Float8 series = t * (2.0F + square * (2.0F / 3 + square * (2.0F / 5 + square * (2.0F / 7))));
  x = __builtin_convertvector(exponent, Float8) * 0.69314718F + series;
}

// What one pass over a row finds, in lanes: of each, the greatest score, where it is, and the next.
struct RowSums {
  Float8 greatest, next;
  Int8 best;
  float sum = 0;       // of shares: what a score is above zero
  float weighted = 0;  // sum of s ln s
  bool is_finite = true;
};

EDGEWARD_WIDE void sum_row(const float* row, size_t count, float zero, RowSums& total) {
  Float8 sums = {}, weighted = {};
  Int8 index, special = {};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    total.greatest[lane] = total.next[lane] = -kInfinity;
    total.best[lane] = -1;
    index[lane] = static_cast<int32_t>(lane);
  }
  Float8 greatest = total.greatest;
  Float8 next = total.next;
  Int8 best = total.best;
  for (size_t i = 0; i < count; i += kLanes, index += static_cast<int32_t>(kLanes)) {
    Float8 x, lower;
    Int8 mask;
    load(x, row + i);
    const Int8 is_greater = x > greatest;
    select(lower, is_greater, greatest, x);
    select(next, lower > next, lower, next);
    select(greatest, is_greater, x, greatest);
    best = (is_greater & index) | (~is_greater & best);
    const Float8 beyond = x - zero;
    const Float8 share = reinterpret_cast<Float8>(reinterpret_cast<Int8>(beyond) & (beyond > 0.0F));
    Float8 log = share;
    logarithm(log);
    sums += share;
    weighted += share * log;
    mark_special(mask, x);
    special |= mask;
  }
  total.greatest = greatest;
  total.next = next;
  total.best = best;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    total.sum += sums[lane];
    total.weighted += weighted[lane];
  }
  total.is_finite = !has_any(special);
}

}  // namespace

Scores scores_of(float* row, size_t count, float zero) {
  // Finite, no share, and no score that a model gives beside others.
  constexpr float kPad = -std::numeric_limits<float>::max();
  std::fill(row + count, row + round_up(count, kLanes), kPad);
  RowSums sums;
  sum_row(row, round_up(count, kLanes), zero, sums);
  size_t lane = 0;
  for (size_t i = 1; i < kLanes; ++i) {
    const bool is_tie = sums.greatest[i] == sums.greatest[lane];
    if (sums.greatest[i] > sums.greatest[lane] || (is_tie && sums.best[i] < sums.best[lane])) lane = i;
  }
  Scores scores{static_cast<size_t>(sums.best[lane]), kNan, kNan};
  if (scores.best >= count) {  // minus infinity may be the greatest, or all are NaN
    const float* best = std::find(row, row + count, -kInfinity);
    scores.best = best == row + count ? Scores::kNone : static_cast<size_t>(best - row);
    return scores;
  }
  const float greatest = sums.greatest[lane];
  float next = sums.next[lane];
  for (size_t i = 0; i < kLanes; ++i) next = i != lane && sums.greatest[i] > next ? sums.greatest[i] : next;
  if (next > kPad && std::isfinite(greatest)) scores.margin = greatest - next;
  if (!sums.is_finite || !std::isfinite(sums.sum)) return scores;
  scores.entropy = sums.sum > 0 ? std::max(std::log(sums.sum) - sums.weighted / sums.sum, 0.0F) : 0.0F;
  return scores;
}

}  // namespace edgeward
