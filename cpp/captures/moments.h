// Moments: how many numbers there were, their extent, mean and spread. They merge after Chan, Golub and LeVeque. A
// value.
#pragma once

#include <algorithm>
#include <cstdint>

namespace edgeward {

struct Moments {
  uint64_t count = 0;
  // Meaningless when there are none.
  float min = 0;
  float max = 0;
  double mean = 0;
  double squares = 0;  // sum of squared distances from the mean

  void merge(const Moments& other) {
    if (other.count == 0) return;
    if (count == 0) {
      *this = other;
      return;
    }
    const auto before = static_cast<double>(count);
    const auto added = static_cast<double>(other.count);
    const double step = other.mean - mean;
    const double total = before + added;
    mean += step * added / total;
    squares += other.squares + step * step * before * added / total;
    count += other.count;
    min = std::min(min, other.min);
    max = std::max(max, other.max);
  }
};

}  // namespace edgeward
