#include "captures/scores.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "captures/wide.h"

namespace edgeward {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Scores of(std::vector<float> row, float zero = 0) {
  const size_t count = row.size();
  row.resize(count + kLanes, 7e30F);  // what was there before must not matter
  return scores_of(row.data(), count, zero);
}

}  // namespace

TEST_CASE("class, margin and entropy are those of the definitions, in double") {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<float> distribution(0, 1);
  for (const size_t count : {2, 3, 7, 8, 9, 16, 30, 1000, 4096}) {
    CAPTURE(count);
    std::vector<float> row(count);
    for (float& score : row) score = distribution(random);
    const Scores scores = of(row);
    std::vector<float> sorted = row;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    CHECK(row[scores.best] == sorted[0]);
    CHECK(scores.margin == sorted[0] - sorted[1]);
    double sum = 0;
    double entropy = 0;
    for (const float score : row) sum += score;
    for (const float score : row) entropy -= score / sum * std::log(score / sum);
    CHECK(std::abs(static_cast<double>(scores.entropy) - entropy) < 1e-5);
  }
}

TEST_CASE("the first of the greatest, wherever it stands, and no margin between equals") {
  for (size_t count = 2; count < 40; ++count) {
    for (size_t index = 0; index < count; ++index) {
      std::vector<float> row(count, 1);
      row[index] = 2;
      CHECK(of(row).best == index);
      CHECK(of(row).margin == 1);
      row[count - 1] = 2;
      CHECK(of(row).best == index);
      CHECK(of(row).margin == (index == count - 1 ? 1 : 0));
    }
  }
}

TEST_CASE("scores that are no numbers") {
  CHECK(of({kNan, 2, 1}).best == 1);
  CHECK(of({kNan, 2, 1}).margin == 1);
  CHECK(std::isnan(of({kNan, 2, 1}).entropy));
  CHECK(of({kNan, kNan, kNan}).best == Scores::kNone);
  CHECK(of(std::vector<float>(8, kNan)).best == Scores::kNone);
  CHECK(of({-kInfinity, -kInfinity, kNan}).best == 0);
  CHECK(of({kNan, -kInfinity, kNan, kNan, kNan, kNan, kNan, kNan}).best == 1);
  CHECK(std::isnan(of({5, -kInfinity}).margin));
  CHECK(std::isnan(of({kInfinity, 1}).margin));
}

TEST_CASE("negative scores have no share, and zero is where the tensor says") {
  CHECK(of({-1, -2}).entropy == 0);
  CHECK(of({1, -2}).entropy == doctest::Approx(0).epsilon(1e-6));
  CHECK(of({11, 11}, 10).entropy == doctest::Approx(std::log(2)).epsilon(1e-5));
}

}  // namespace edgeward
