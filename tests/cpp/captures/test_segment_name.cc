#include "captures/segment_name.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "captures/segment_format.h"

namespace edgeward {
namespace {

constexpr int64_t kSecond_ns = 1'000'000'000;
constexpr int64_t kYear_ns = 365 * 86'400 * kSecond_ns;
constexpr int64_t kNow_ns = 1'790'000'000 * kSecond_ns;

std::string name_of(int64_t number, uint64_t salt = 0) {
  return open_segment_path("", number, salt).substr(1);  // behind the directory's slash
}

}  // namespace

TEST_CASE("a name gives back the number that it was made of") {
  for (const int64_t number : {int64_t{0}, int64_t{1}, kNow_ns, INT64_MAX}) {
    CAPTURE(number);
    CHECK(segment_number_of(name_of(number)) == number);
    CHECK(segment_number_of(sealed_segment_path(name_of(number))) == number);
    CHECK(segment_number_of(name_of(number) + ".damaged") == number);
  }
}

TEST_CASE("a name of another kind has no number") {
  for (const char* name :
       {"", "1.ewc", "0000000000000000000a-1.ewc", "-0000000000000000001-1.ewc", "99999999999999999999-1.ewc",
        "00000000000000000001", "000000000000000000011.ewc", "drain.lock", "2026-01-01-0123456789abcdef.stats.json"}) {
    CAPTURE(name);
    CHECK_FALSE(segment_number_of(name));
  }
}

TEST_CASE("the next number is the time, or one more than the greatest") {
  const auto next = [](std::vector<int64_t> numbers) {
    std::vector<std::string> names{"drain.lock"};
    for (const int64_t number : numbers) names.push_back(name_of(number));
    return next_segment_number(kNow_ns, names);
  };
  CHECK(next({}) == kNow_ns);
  CHECK(next({kNow_ns - 1, 5}) == kNow_ns);
  CHECK(next({5, kNow_ns, 7}) == kNow_ns + 1);
  CHECK(next({kNow_ns + 10 * kYear_ns, kNow_ns}) == kNow_ns + 10 * kYear_ns + 1);
  CHECK(next({INT64_MAX}) == kNow_ns);
  CHECK(next_segment_number(-5, {}) == 0);
}

TEST_CASE("whatever the clock says, names sort in the order in which they were made") {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const int64_t jumps_ns[] = {-kNow_ns, -10 * kYear_ns, 10 * kYear_ns, -3600 * kSecond_ns, 3600 * kSecond_ns, 0};
    std::vector<std::string> names;
    for (int segment = 0; segment < 30; ++segment) {
      const int64_t wall_ns = kNow_ns + segment * kSecond_ns + jumps_ns[random() % std::size(jumps_ns)];
      names.push_back(name_of(next_segment_number(wall_ns, names), random()));
    }
    CHECK(std::is_sorted(names.begin(), names.end()));
    CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  }
}

}  // namespace edgeward
