#include "captures/row_counter.h"

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

using Rows = std::vector<std::vector<float>>;

std::vector<PartName> columns(size_t count) {
  std::vector<PartName> names;
  for (uint32_t i = 0; i < count; ++i) names.push_back({PartKind::column, i});
  return names;
}

Rows normal_rows(std::mt19937_64& random, size_t count, size_t width) {
  Rows rows;
  for (size_t i = 0; i < count; ++i) rows.push_back(normal(random, width, 3, 2));
  return rows;
}

void add_all(RowCounter& counter, const Rows& rows) {
  for (std::vector<float> row : rows) {
    const std::vector<float> values = row;
    row.resize(row.size() + kLanes, 9e30F);  // what was there before must not matter
    Moments moments;
    counter.add(row.data(), &moments);
    ValueCounter counted(nullptr, kNan, kNan);
    Moments expected;
    counted.add(values, expected);
    CHECK(moments.count == expected.count);
    if (expected.count == 0) continue;
    CHECK(moments.min == expected.min);
    CHECK(moments.max == expected.max);
    CHECK(moments.mean == doctest::Approx(expected.mean).epsilon(1e-9));
  }
}

void check_columns(const std::vector<Part>& parts, const Rows& rows) {
  for (size_t column = 0; column < parts.size(); ++column) {
    CAPTURE(column);
    std::vector<double> values;
    uint64_t pairs = 0;
    uint64_t unchanged = 0;
    double steps = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      values.push_back(rows[i][column]);
      if (i == 0) continue;
      unchanged += std::memcmp(&rows[i][column], &rows[i - 1][column], sizeof(float)) == 0 ? 1 : 0;
      const double step = static_cast<double>(rows[i][column]) - static_cast<double>(rows[i - 1][column]);
      if (!std::isfinite(rows[i][column]) || !std::isfinite(rows[i - 1][column])) continue;
      ++pairs;
      steps += step * step;
    }
    check_by_definition(parts[column], values);
    CHECK(parts[column].pair_count == pairs);
    CHECK(parts[column].unchanged_count == unchanged);
    CHECK(parts[column].step_squares == doctest::Approx(steps).epsilon(1e-9));
  }
}

}  // namespace

TEST_CASE("each column is counted as if it came alone, whatever the width") {
  std::mt19937_64 random(1);
  for (const size_t width : {1, 2, 7, 8, 9, 16, 30, 256}) {
    CAPTURE(width);
    const Rows rows = normal_rows(random, 300, width);
    RowCounter adaptive(columns(width), {}, kNan, kNan);
    add_all(adaptive, rows);
    check_columns(adaptive.parts(), rows);
    Rows edges;
    for (size_t column = 0; column < width; ++column) {
      std::vector<float> laid = normal(random, 1 + column % 33, 3, 2);
      std::sort(laid.begin(), laid.end());
      edges.push_back(column % 5 == 4 ? std::vector<float>{} : laid);
    }
    RowCounter between(columns(width), edges, kNan, kNan);
    add_all(between, rows);
    check_columns(between.parts(), rows);
    for (size_t column = 0; column < width; ++column) CHECK(between.parts()[column].bins.edges() == edges[column]);
  }
}

TEST_CASE("values that are no numbers, in any column and any row, first and last too") {
  std::mt19937_64 random(2);
  for (const float special : {kNan, kInfinity, -kInfinity}) {
    Rows rows = normal_rows(random, 40, 5);
    rows[0] = std::vector<float>(5, special);
    rows[7][2] = rows[8][2] = special;
    rows[39][4] = special;
    Rows mute = rows;  // a column that never has a number
    for (std::vector<float>& row : mute) row[3] = special;
    for (const Rows& all : {rows, mute}) {
      for (const Rows& edges : {Rows{}, Rows(5, {1, 2, 3})}) {
        RowCounter counter(columns(5), edges, kNan, kNan);
        add_all(counter, all);
        check_columns(counter.parts(), all);
      }
    }
  }
}

TEST_CASE("what is absent is not counted, and has no neighbours") {
  RowCounter counter(columns(2), {}, kNan, kNan);
  add_all(counter, {{RowCounter::kAbsent, 1}, {RowCounter::kAbsent, 1}, {5, 1}, {5, 1}, {RowCounter::kAbsent, 1}});
  const Part part = counter.parts()[0];
  CHECK(part.moments.count == 2);
  CHECK((part.nan_count == 0 && part.pair_count == 1 && part.unchanged_count == 1));
  CHECK(counter.parts()[1].pair_count == 4);
}

TEST_CASE("a column that stands still is unchanged, and one at its limits is clipped") {
  RowCounter counter(columns(3), {}, -128, 127);
  add_all(counter, {{5, 127, 1}, {5, -128, 2}, {5, 127, 2}});
  const std::vector<Part> parts = counter.parts();
  CHECK(parts[0].unchanged_count == 2);
  CHECK(parts[1].unchanged_count == 0);
  CHECK(parts[2].unchanged_count == 1);
  CHECK(parts[1].clipped_count == 3);
  CHECK(parts[2].clipped_count == 0);
  RowCounter laid(columns(2), {{0, 1, std::nextafter(2.0F, 3.0F)}, {}}, kNan, kNan);
  add_all(laid, {{0, 0}, {1, 0}, {2, 0}, {3, 0}});
  CHECK(laid.parts()[0].clipped_count == 2);
  CHECK(laid.parts()[1].clipped_count == 0);
}

TEST_CASE("after a clear counts begin at zero, and the last row is still the neighbour of the next") {
  std::mt19937_64 random(3);
  for (const Rows& edges : {Rows{}, Rows(6, {1, 2, 3})}) {
    RowCounter counter(columns(6), edges, kNan, kNan);
    const Rows before = normal_rows(random, 50, 6);
    Rows rows = normal_rows(random, 50, 6);
    for (std::vector<float>& row : rows) row[1] += 1000;
    add_all(counter, before);
    counter.clear();
    CHECK(counter.parts()[0].moments.count == 0);
    add_all(counter, rows);
    rows.insert(rows.begin(), before.back());
    const Part part = counter.parts()[0];
    CHECK(part.moments.count == 50);
    CHECK(part.pair_count == 50);
    double steps = 0;
    for (size_t i = 1; i < rows.size(); ++i) steps += std::pow(static_cast<double>(rows[i][0]) - rows[i - 1][0], 2);
    CHECK(part.step_squares == doctest::Approx(steps).epsilon(1e-9));
  }
}

}  // namespace edgeward
