#include "captures/moment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace edgeward {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr int64_t kHour_ns = 3600 * kSecond_ns;
constexpr int64_t kYear_ns = 365 * 24 * kHour_ns;
constexpr int64_t kNow_ns = 1'790'000'000 * kSecond_ns;
constexpr int64_t kUptime_ns = 10 * kHour_ns;

BootId boot(uint8_t number) {
  BootId id{};
  id[0] = std::byte{number};
  return id;
}

const Moment kNow{boot(9), kUptime_ns, kNow_ns};

using Ages = std::vector<int64_t>;

Ages ages(std::vector<Moment> moments, const Moment& now = kNow) { return ages_ns(moments, now); }

}  // namespace

TEST_CASE("within a boot the monotonic clock says how old, whatever the wall's does") {
  for (const int64_t wall_ns : {int64_t{0}, kNow_ns - 10 * kYear_ns, kNow_ns, kNow_ns + 10 * kYear_ns}) {
    CAPTURE(wall_ns);
    CHECK(ages({{boot(9), kUptime_ns - 5, wall_ns}}) == Ages{5});
    CHECK(ages({{boot(9), kUptime_ns - 5, kNow_ns}}, {boot(9), kUptime_ns, wall_ns}) == Ages{5});
  }
  CHECK(ages({{boot(9), kUptime_ns + 1, kNow_ns}}) == Ages{0});
}

TEST_CASE("of another boot the wall's clock says how old, where it was set") {
  CHECK(ages({}).empty());
  CHECK(ages({{boot(1), 7, kNow_ns - 20 * kHour_ns}}) == Ages{20 * kHour_ns});
  CHECK(ages({{BootId{}, 0, kNow_ns - 20 * kHour_ns}}) == Ages{20 * kHour_ns});
  // Not set, or set to a time to come: it is at least as old as this boot, where boots are known.
  for (const int64_t wall_ns : {int64_t{0}, int64_t{-5}, kLeastWall_ns - 1, kNow_ns + 1, INT64_MAX}) {
    CAPTURE(wall_ns);
    CHECK(ages({{boot(1), 7, wall_ns}}) == Ages{kUptime_ns});
    CHECK(ages({{BootId{}, 7, wall_ns}}) == Ages{0});
  }
  CHECK(ages({{boot(1), 7, kNow_ns - 20 * kHour_ns}}, {boot(9), kUptime_ns, 0}) == Ages{kUptime_ns});
  CHECK(ages({{boot(1), 7, 0}}, {BootId{}, kUptime_ns, kNow_ns}) == Ages{0});
}

TEST_CASE("a clock that was set later in its boot says how old what came before is") {
  const Moment before{boot(1), 2 * kHour_ns, 100};
  const Moment behind{boot(1), 3 * kHour_ns, kNow_ns - 40 * kHour_ns};
  CHECK(ages({before, behind}) == Ages{41 * kHour_ns, 40 * kHour_ns});
  CHECK(ages({before, {boot(2), 3 * kHour_ns, kNow_ns - 40 * kHour_ns}}) == Ages{40 * kHour_ns, 40 * kHour_ns});
}

TEST_CASE("nothing is younger than what came behind it, nor older than what came before it") {
  const Moment old{boot(1), 7, kNow_ns - 30 * kHour_ns};
  CHECK(ages({old, {boot(2), 7, kNow_ns - kYear_ns}}) == Ages{30 * kHour_ns, 30 * kHour_ns});
  CHECK(ages({{boot(2), 7, 0}, old}) == Ages{30 * kHour_ns, 30 * kHour_ns});
  CHECK(ages({{BootId{}, 0, 0}, {boot(9), kUptime_ns - 5, 0}}) == Ages{5, 5});
}

TEST_CASE("numbers that no clock says are of no boot, and break nothing") {
  constexpr int64_t kOdd[] = {INT64_MIN, -1, 0, kLeastWall_ns, kNow_ns, INT64_MAX};
  for (const int64_t monotonic_ns : kOdd) {
    for (const int64_t wall_ns : kOdd) {
      CAPTURE(monotonic_ns);
      CAPTURE(wall_ns);
      const Ages odd = ages({{boot(9), monotonic_ns, wall_ns}, {boot(1), monotonic_ns, wall_ns}, {boot(1), 5, 0}});
      for (const int64_t age_ns : odd) CHECK(age_ns >= 0);
      ages({{boot(9), 5, kNow_ns}}, {boot(9), monotonic_ns, wall_ns});
    }
  }
}

TEST_CASE("a hundred devices whose clocks are set at random: no age is more than the truth by more than an hour") {
  const int64_t errors_ns[] = {-kNow_ns, -10 * kYear_ns, 10 * kYear_ns, -kHour_ns, kHour_ns, 0};
  for (uint32_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::vector<Moment> moments;
    std::vector<int64_t> times_ns;
    int64_t time_ns = kNow_ns - kYear_ns;
    int64_t booted_ns = time_ns;
    uint8_t boots = 1;
    for (int step = 0; step < 50; ++step) {
      time_ns += static_cast<int64_t>(random() % (24 * kHour_ns));
      if (random() % 5 == 0) {
        ++boots;
        booted_ns = time_ns;
      }
      times_ns.push_back(time_ns);
      moments.push_back({boot(boots), time_ns - booted_ns, time_ns + errors_ns[random() % std::size(errors_ns)]});
    }
    const int64_t now_ns = time_ns + kHour_ns;
    const Ages ages = ages_ns(moments, {boot(boots), now_ns - booted_ns, now_ns});
    REQUIRE(ages.size() == moments.size());
    CHECK(std::is_sorted(ages.rbegin(), ages.rend()));
    for (size_t i = 0; i < ages.size(); ++i) {
      CAPTURE(i);
      CHECK(ages[i] <= now_ns - times_ns[i] + kHour_ns);
      if (moments[i].boot == boot(boots)) CHECK(ages[i] >= now_ns - times_ns[i]);
    }
  }
}

}  // namespace edgeward
