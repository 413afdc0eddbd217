#include "captures/bins.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace edgeward {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> normal(uint64_t seed, size_t count, float mean = 0, float deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

void add_all(Bins& bins, const std::vector<float>& values) {
  for (const float value : values) {
    bins.widen(value, value);
    bins.add({&value, 1});
  }
}

Bins adaptive(const std::vector<float>& values) {
  Bins bins;
  add_all(bins, values);
  return bins;
}

// By the definition: from an edge up to but not with the next.
std::vector<uint64_t> counted_between(const std::vector<float>& values, const std::vector<float>& edges) {
  std::vector<uint64_t> counts(edges.size() + 1);
  for (const float value : values) {
    size_t bin = 0;
    while (bin < edges.size() && value >= edges[bin]) ++bin;
    ++counts[bin];
  }
  return counts;
}

bool is_same(const Bins& a, const Bins& b) {
  return a.scale() == b.scale() && a.first_cell() == b.first_cell() && a.counts() == b.counts();
}

const std::vector<std::vector<float>> kSamples = {
    {5},
    {0, -0.0F},
    {-1, 1},
    {1e-40F, 1},
    {-kLargest, kLargest, 1, 0, 1e-38F},
    {std::numeric_limits<float>::denorm_min(), -std::numeric_limits<float>::denorm_min()},
    normal(1, 3000),
    normal(2, 3000, 100, 1),
    normal(3, 3000, -1e6F, 1),
    normal(4, 3000, 0, 1e-30F),
};

}  // namespace

TEST_CASE("adaptive bins hold each value between the edges that they say they have") {
  for (const std::vector<float>& values : kSamples) {
    CAPTURE(values[0]);
    const Bins bins = adaptive(values);
    const std::vector<float> edges = bins.all_edges();
    REQUIRE(edges.size() + 1 == bins.counts().size());
    CHECK(bins.counts().size() <= static_cast<size_t>(BinScale::kMaxSpan));
    CHECK(std::is_sorted(edges.begin(), edges.end()));
    CHECK(bins.counts() == counted_between(values, edges));
    CHECK(bins.counts().front() > 0);
    CHECK(bins.counts().back() > 0);
  }
}

TEST_CASE("no cell is wider than a sixteenth of its values, or than 2^-30 of the largest") {
  for (const std::vector<float>& values : kSamples) {
    const Bins bins = adaptive(values);
    const std::vector<float> edges = bins.all_edges();
    const double largest = std::max(std::abs(bins.least()), std::abs(bins.greatest()));
    for (size_t i = 1; i < edges.size(); ++i) {
      const double width = static_cast<double>(edges[i]) - static_cast<double>(edges[i - 1]);
      const double nearest = std::min(std::abs(edges[i]), std::abs(edges[i - 1]));
      REQUIRE((width <= nearest / 16 * 1.0001 || width <= std::max(largest * 0x1p-28, 0x1p-125)));
    }
  }
}

TEST_CASE("values that lie close together far from zero are told apart") {
  CHECK(adaptive(normal(5, 10'000, 100, 1)).counts().size() > 200);
  CHECK(adaptive(normal(6, 10'000, -1e6F, 1)).counts().size() > 50);
}

TEST_CASE("in whatever order they come and merge, adaptive bins are those of all values") {
  std::vector<float> values;
  for (const std::vector<float>& sample : kSamples) values.insert(values.end(), sample.begin(), sample.end());
  for (const size_t count : {values.size(), size_t{9'000}, size_t{40}}) {
    std::vector<float> some(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
    const Bins whole = adaptive(some);
    std::mt19937_64 random(7);
    for (int turn = 0; turn < 5; ++turn) {
      std::shuffle(some.begin(), some.end(), random);
      CHECK(is_same(adaptive(some), whole));
      const auto middle = some.begin() + static_cast<std::ptrdiff_t>(random() % some.size());
      Bins left = adaptive({some.begin(), middle});
      const Bins right = adaptive({middle, some.end()});
      left.merge(right);
      CHECK(is_same(left, whole));
    }
  }
}

TEST_CASE("bins of one block are those of its values one by one") {
  for (const size_t count : {1, 7, 8, 9, 2047, 2048, 2049, 5000}) {
    const std::vector<float> values = normal(count, count);
    Bins block;
    block.widen(*std::min_element(values.begin(), values.end()), *std::max_element(values.begin(), values.end()));
    block.add(values);
    CHECK(is_same(block, adaptive(values)));
    Bins laid({-1, 0, 0.5F, 2});
    laid.add(values);
    CHECK(laid.counts() == counted_between(values, {-1, 0, 0.5F, 2}));
  }
}

TEST_CASE("an edge belongs to the bin that begins with it") {
  Bins bins({-1, 0, 1});
  bins.add(
      std::vector<float>{-1, std::nextafter(-1.0F, -kInfinity), 0, -0.0F, 1, std::nextafter(1.0F, 0.0F), kLargest});
  CHECK(bins.counts() == std::vector<uint64_t>{1, 1, 3, 2});
  Bins whole(std::vector<float>{});
  whole.add(std::vector<float>{-kLargest, 3});
  CHECK(whole.counts() == std::vector<uint64_t>{2});
}

TEST_CASE("bins that are cleared count from zero, between the same edges or on a scale of their own") {
  Bins bins = adaptive(normal(8, 100));
  bins.clear();
  CHECK(bins.counts().empty());
  add_all(bins, {100, 101});
  CHECK(is_same(bins, adaptive({100, 101})));
  Bins laid({0, 1});
  laid.add(std::vector<float>{0, 5});
  laid.clear();
  CHECK(laid.counts() == std::vector<uint64_t>{0, 0, 0});
}

}  // namespace edgeward
