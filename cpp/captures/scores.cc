#include "captures/scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "captures/wide.h"

namespace edgeward {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The natural logarithm of a positive normal float, by the series of the inverse hyperbolic tangent: ln m = 2 (t +
// t^3/3 +
// ...) with t = (m - 1) / (m + 1), for m within sqrt(2) of 1. 0 and subnormals give some finite number.
inline float logarithm(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t exponent = (bits - 0x3F35'04F3) >> 23;  // of x / sqrt(1/2)
  const auto m = std::bit_cast<float>(bits - exponent * (1 << 23));
  const float t = (m - 1.0F) / (m + 1.0F);
  const float square = t * t;
  const float series = t * (2.0F + square * (2.0F / 3 + square * (2.0F / 5 + square * (2.0F / 7))));
  return static_cast<float>(exponent) * 0.69314718F + series;
}

// What one pass over a row finds.
struct RowSums {
  float greatest = -kInfinity;
  float sum = 0;       // of shares: what a score is above zero
  float weighted = 0;  // sum of s ln s
  bool is_finite = true;
};

EDGEWARD_WIDE void sum_row(const float* row, size_t count, float zero, RowSums& total) {
  float greatest = -kInfinity;
  float sum = 0;
  float weighted = 0;
  uint32_t special = 0;
#pragma omp simd reduction(+ : sum, weighted) reduction(max : greatest) reduction(| : special)
  for (size_t i = 0; i < count; ++i) {
    const float beyond = row[i] - zero;
    const float share = beyond > 0 ? beyond : 0.0F;
    sum += share;
    weighted += share * logarithm(share);
    greatest = row[i] > greatest ? row[i] : greatest;
    special |= is_special(row[i]) ? 1u : 0u;
  }
  total = {greatest, sum, weighted, special == 0};
}

// The first of the greatest, and the greatest of all others.
EDGEWARD_WIDE void look_below(const float* row, int32_t count, float greatest, int32_t& best, float& next) {
  int32_t first = count;
  int32_t ties = 0;
  float most = -kInfinity;
#pragma omp simd reduction(+ : ties) reduction(min : first) reduction(max : most)
  for (int32_t i = 0; i < count; ++i) {
    const bool is_best = row[i] == greatest;
    const int32_t index = is_best ? i : count;
    const float other = row[i] < greatest ? row[i] : -kInfinity;
    ties += is_best ? 1 : 0;
    first = index < first ? index : first;
    most = other > most ? other : most;
  }
  best = first;
  next = ties > 1 ? greatest : most;
}

}  // namespace

Scores scores_of(std::span<const float> row, float zero) {
  RowSums sums;
  sum_row(row.data(), row.size(), zero, sums);
  int32_t best = 0;
  float next = 0;
  look_below(row.data(), static_cast<int32_t>(row.size()), sums.greatest, best, next);
  Scores scores{static_cast<size_t>(best), kNan, kNan};
  if (scores.best == row.size()) {  // all are NaN
    scores.best = Scores::kNone;
    return scores;
  }
  if (std::isfinite(sums.greatest) && std::isfinite(next)) scores.margin = sums.greatest - next;
  if (!sums.is_finite || !std::isfinite(sums.sum)) return scores;
  scores.entropy = sums.sum > 0 ? std::max(std::log(sums.sum) - sums.weighted / sums.sum, 0.0F) : 0.0F;
  return scores;
}

}  // namespace edgeward
