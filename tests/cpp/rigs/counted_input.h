// What the tests of statistics share: tensors over vectors, and counting by the definitions, slowly, in long double.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "captures/part.h"
#include "captures/statistics_counter.h"
#include "tensor/element.h"

namespace edgeward {

template <class T>
TensorView view_of(DType dtype, std::vector<T>& elements, Shape shape) {
  return {dtype, shape, reinterpret_cast<std::byte*>(elements.data()), elements.size() * sizeof(T)};
}

inline std::vector<float> normal(std::mt19937_64& random, size_t count, float mean = 0, float deviation = 1) {
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

// One input and no output, of which statistics are taken.
class CountedInput {
 public:
  explicit CountedInput(DType dtype, Shape shape = {-1, 3, 5, 7}, std::vector<std::vector<float>> edges = {})
      : counter_({"main", {{"x", dtype, shape, {}}}, {}}, edges_of(std::move(edges))), dtype_(dtype) {}
  template <class T>
  void add(std::vector<T> elements, Shape shape) {
    const TensorView input = view_of(dtype_, elements, shape);
    counter_.add(std::span(&input, 1), {}, 1000);
  }
  template <class T>
  void add(std::vector<T> elements) {
    add(std::move(elements), {static_cast<int64_t>(elements.size())});
  }
  std::vector<Part> parts() { return counter_.statistics().tensors[0].parts; }
  Part part(size_t index = 0) { return parts()[index]; }
  StatisticsCounter& counter() { return counter_; }

 private:
  static TensorEdges edges_of(std::vector<std::vector<float>> edges) {
    TensorEdges all;
    if (!edges.empty()) all[{false, "x"}] = std::move(edges);
    return all;
  }
  StatisticsCounter counter_;
  DType dtype_;
};

// `values` in the order in which they came.
inline void check_by_definition(const Part& part, const std::vector<double>& values) {
  std::vector<float> finite;
  uint64_t nan_count = 0;
  for (const double value : values) {
    if (std::isfinite(static_cast<float>(value))) finite.push_back(static_cast<float>(value));
    nan_count += std::isnan(value) ? 1 : 0;
  }
  CHECK(part.moments.count == finite.size());
  CHECK(part.nan_count == nan_count);
  CHECK(part.infinite_count == values.size() - finite.size() - nan_count);
  const std::vector<float> edges = part.bins.all_edges();
  std::vector<uint64_t> bins(edges.size() + 1);
  for (const float value : finite)
    ++bins[static_cast<size_t>(std::upper_bound(edges.begin(), edges.end(), value) - edges.begin())];
  if (finite.empty()) return;
  CHECK(part.bins.counts() == bins);
  CHECK(part.moments.min == *std::min_element(finite.begin(), finite.end()));
  CHECK(part.moments.max == *std::max_element(finite.begin(), finite.end()));
  const auto count = static_cast<long double>(finite.size());
  const long double mean = std::accumulate(finite.begin(), finite.end(), 0.0L) / count;
  const long double squares = std::accumulate(finite.begin(), finite.end(), 0.0L,
                                              [&](long double sum, float x) { return sum + (x - mean) * (x - mean); });
  const double largest = std::max(std::abs(part.moments.min), std::abs(part.moments.max));
  CHECK(std::abs(static_cast<double>(part.moments.mean - mean)) <= 1e-9 * largest);
  CHECK(part.moments.squares == doctest::Approx(static_cast<double>(squares)).epsilon(1e-9));
}

}  // namespace edgeward
