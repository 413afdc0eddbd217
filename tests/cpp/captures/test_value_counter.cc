#include "captures/value_counter.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "rigs/counted_input.h"

namespace edgeward {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<double> as_doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

Part counted(const std::vector<float>& values, const std::vector<float>* edges = nullptr) {
  ValueCounter counter(edges, kNan, kNan);
  Moments moments;
  counter.add(values, moments);
  CHECK(moments.count == counter.part().moments.count);
  CHECK(moments.squares == counter.part().moments.squares);
  return counter.part();
}

}  // namespace

TEST_CASE("lengths around every block and lane") {
  std::mt19937_64 random(4);
  const std::vector<float> edges{0, 1, 5};
  for (const size_t count : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 2047, 2048, 2049, 4096, 5000, 16'384}) {
    CAPTURE(count);
    const std::vector<float> values = normal(random, count, 3, 2);
    check_by_definition(counted(values), as_doubles(values));
    check_by_definition(counted(values, &edges), as_doubles(values));
  }
}

TEST_CASE("a value that is no number is counted wherever it stands, and moves nothing else") {
  std::mt19937_64 random(6);
  for (const float special : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (size_t index = 0; index < 40; ++index) {
      std::vector<float> values = normal(random, 40);
      values[index] = special;
      check_by_definition(counted(values), as_doubles(values));
    }
  }
  const Part nothing_else = counted(std::vector<float>(5000, kNan));
  CHECK(nothing_else.nan_count == 5000);
  CHECK(nothing_else.moments.count == 0);
}

TEST_CASE("moments hold where sums of floats would not") {
  std::mt19937_64 random(7);
  SUBCASE("far from zero") {
    const std::vector<float> values = normal(random, 16'000, 1e6F, 1);
    check_by_definition(counted(values), as_doubles(values));
  }
  SUBCASE("a first value far from all others, in every block") {
    std::vector<float> values = normal(random, 16'000);
    for (size_t i = 0; i < values.size(); i += 16) values[i] = 1e6F;
    values[1] = -1e6F;
    check_by_definition(counted(values), as_doubles(values));
  }
  SUBCASE("the largest floats there are") {
    constexpr float kMost = std::numeric_limits<float>::max();
    check_by_definition(counted({kMost, -kMost, kMost, kMost, 1}), {kMost, -kMost, kMost, kMost, 1});
  }
  SUBCASE("one value over and over has no variance") {
    const Part part = counted(std::vector<float>(100, 0.1F));
    CHECK(part.moments.mean == static_cast<double>(0.1F));
    CHECK(part.moments.squares == 0);
  }
}

TEST_CASE("a table of cells finds the bins of edges of every kind, or is not used") {
  std::mt19937_64 random(9);
  std::vector<std::vector<float>> laid;
  for (const float deviation : {1e-20F, 1.0F, 1e20F}) {
    for (const float mean : {0.0F, 100.0F}) {
      std::vector<float> sample = normal(random, 32 * 500 + 1, mean * deviation, deviation);
      std::sort(sample.begin(), sample.end());
      std::vector<float> edges;
      for (size_t i = 0; i < sample.size(); i += 500) edges.push_back(sample[i]);
      laid.push_back(edges);
    }
  }
  laid.push_back({-8, -4, -2, -1, 0, 1, 2, 4, 8, 1e30F});
  laid.push_back({-3e38F, -1, 0, 1e-45F, 2e-45F, 1, 2, 3, 4, 3e38F});
  size_t used_count = 0;
  for (const std::vector<float>& edges : laid) {
    std::vector<float> values = normal(random, 3000, edges[16 % edges.size()], edges.back() - edges.front());
    values.erase(std::remove_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); }), values.end());
    for (const float edge : edges) {
      values.push_back(edge);
      values.push_back(std::nextafter(edge, -kInfinity));
      values.push_back(std::nextafter(edge, kInfinity));
    }
    for (const float far : {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(), 0.0F, -0.0F})
      values.push_back(far);
    check_by_definition(counted(values, &edges), as_doubles(values));
    used_count += EdgeTable::of(edges) ? 1 : 0;
  }
  CHECK(used_count >= 4);
}

TEST_CASE("values at the ends of the edges, or of an integer type, are clipped") {
  const std::vector<float> edges{0, 0.5F, std::nextafter(1.0F, 2.0F)};
  for (size_t count = 4; count < 30; ++count) {
    std::vector<float> values(count, 0.25F);
    values[count - 1] = 0;
    values[count / 2] = 1;
    values[1] = 2;
    CHECK(counted(values, &edges).clipped_count == 2);
    std::fill(values.begin(), values.end(), 1.0F);  // also the values that fill a vector up
    CHECK(counted(values, &edges).clipped_count == count);
  }
  ValueCounter bytes(nullptr, 0, 255);
  Moments moments;
  bytes.add(std::vector<float>{0, 1, 254, 255, 255}, moments);
  CHECK(bytes.part().clipped_count == 3);
  bytes.clear();
  CHECK(bytes.part().clipped_count == 0);
}

}  // namespace edgeward
