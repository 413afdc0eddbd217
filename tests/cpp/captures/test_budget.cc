#include "captures/budget.h"

#include <doctest/doctest.h>

#include <vector>

namespace edgeward {
namespace {

constexpr uint64_t kAnyFree = UINT64_MAX;

using Segments = std::vector<SealedSegment>;

constexpr int64_t kNow_ns = 1000;

// Segments of 10 bytes each.
Segments begun_at(const std::vector<int64_t>& times_ns) {
  Segments segments;
  for (const int64_t time_ns : times_ns) segments.push_back({10, kNow_ns - time_ns});
  return segments;
}

// The times of those that stay when all that must go are gone.
std::vector<int64_t> left_of(const Budget& budget, Segments segments) {
  while (const auto index = next_eviction(budget, segments, kAnyFree)) {
    REQUIRE(*index < segments.size());
    segments.erase(segments.begin() + static_cast<std::ptrdiff_t>(*index));
  }
  std::vector<int64_t> times_ns;
  for (const SealedSegment& segment : segments) times_ns.push_back(kNow_ns - segment.age_ns);
  return times_ns;
}

}  // namespace

TEST_CASE("nothing goes of no segments, whatever the budget says") {
  CHECK_FALSE(next_eviction({.most_bytes = 0, .least_free_bytes = UINT64_MAX, .most_age_ns = 1}, {}, 0));
}

TEST_CASE("segments go when they are more than the budget, not when they just fill it") {
  const Segments segments = begun_at({1, 2, 3});
  struct Row {
    uint64_t most_bytes;
    bool is_within;
  };
  for (const Row& row : {Row{31, true}, Row{30, true}, Row{29, false}, Row{0, false}}) {
    CAPTURE(row.most_bytes);
    CHECK(next_eviction({.most_bytes = row.most_bytes}, segments, kAnyFree).has_value() != row.is_within);
  }
}

TEST_CASE("segments go when less is free than shall be, not when just as much is") {
  const Segments segments = begun_at({1, 2, 3});
  struct Row {
    uint64_t least_free_bytes, free_bytes;
    bool is_within;
  };
  for (const Row& row : {Row{0, 0, true}, Row{100, 100, true}, Row{100, 99, false}, Row{UINT64_MAX, kAnyFree, true}}) {
    CAPTURE(row.least_free_bytes);
    CAPTURE(row.free_bytes);
    const Budget budget{.least_free_bytes = row.least_free_bytes};
    CHECK(next_eviction(budget, segments, row.free_bytes).has_value() != row.is_within);
  }
}

TEST_CASE("segments that are older than the budget's age go first, whichever would go for room") {
  for (const Evict evict : {Evict::oldest, Evict::closest}) {
    const Segments segments = begun_at({100, 200, 201, 400});
    CHECK(left_of({.most_age_ns = 800, .evict = evict}, segments) == std::vector<int64_t>{200, 201, 400});
    CHECK(left_of({.most_age_ns = 799, .evict = evict}, segments) == std::vector<int64_t>{201, 400});
    CHECK(left_of({.most_age_ns = 900, .evict = evict}, segments) == std::vector<int64_t>{100, 200, 201, 400});
    CHECK(left_of({.most_age_ns = 1, .evict = evict}, segments).empty());
    CHECK(left_of({.most_age_ns = 0, .evict = evict}, segments) == std::vector<int64_t>{100, 200, 201, 400});
  }
}

TEST_CASE("so many segments stay without room for them, but none that is too old") {
  const Segments segments = begun_at({100, 200, 300});
  CHECK(left_of({.most_bytes = 0, .least_count = 2}, segments) == std::vector<int64_t>{200, 300});
  CHECK(left_of({.most_bytes = 0, .least_count = 3}, segments) == std::vector<int64_t>{100, 200, 300});
  CHECK(left_of({.most_age_ns = 750, .least_count = 3}, segments) == std::vector<int64_t>{300});
  const Budget free{.least_free_bytes = 100, .least_count = 3};
  CHECK_FALSE(next_eviction(free, segments, 99));
  CHECK(next_eviction(free, begun_at({100, 200, 300, 400}), 99) == 0);
}

TEST_CASE("the oldest goes first, whatever its size") {
  const Segments segments = {{1, 999}, {100, 998}, {1, 997}};
  CHECK(next_eviction({.most_bytes = 101}, segments, kAnyFree) == 0);
  CHECK(left_of({.most_bytes = 101}, segments) == std::vector<int64_t>{2, 3});
  CHECK(left_of({.most_bytes = 100}, segments) == std::vector<int64_t>{3});
}

TEST_CASE("the closest goes first, and neither end while there is another") {
  const Segments segments = begun_at({0, 10, 11, 20, 30, 40});
  const auto left = [&](uint64_t count) {
    return left_of({.most_bytes = 10 * count, .evict = Evict::closest}, segments);
  };
  CHECK(left(6) == std::vector<int64_t>{0, 10, 11, 20, 30, 40});
  CHECK(left(5) == std::vector<int64_t>{0, 10, 20, 30, 40});
  CHECK(left(3) == std::vector<int64_t>{0, 20, 40});
  CHECK(left(2) == std::vector<int64_t>{0, 40});
  CHECK(left(1) == std::vector<int64_t>{40});
  CHECK(left(0).empty());
}

}  // namespace edgeward
