#include "packages/date.h"

#include <doctest/doctest.h>

#include <ctime>
#include <string_view>

namespace edgeward {

TEST_CASE("a moment is its date and time in UTC") {
  struct Row {
    uint64_t unix_s;
    std::string_view text;
  };
  const Row rows[] = {
      {0, "1970-01-01T00:00:00Z"},
      {59, "1970-01-01T00:00:59Z"},
      {951'782'399, "2000-02-28T23:59:59Z"},
      {951'782'400, "2000-02-29T00:00:00Z"},
      {1'801'396'800, "2027-01-31T12:00:00Z"},
      {4'107'542'400, "2100-03-01T00:00:00Z"},
      {253'402'300'799, "9999-12-31T23:59:59Z"},
      {253'402'300'800, "253402300800 s after 1970"},
      {UINT64_MAX, "18446744073709551615 s after 1970"},
  };
  for (const Row& row : rows) CHECK(date_text(row.unix_s) == row.text);
}

TEST_CASE("the C library says the same") {
  constexpr uint64_t kStep = 86'400 * 37 + 12'345;
  for (uint64_t unix_s = 0; unix_s < 253'402'300'800; unix_s += 97 * kStep) {
    const auto moment = static_cast<std::time_t>(unix_s);
    std::tm parts{};
    gmtime_r(&moment, &parts);
    char text[32];
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    CHECK(date_text(unix_s) == text);
  }
}

}  // namespace edgeward
