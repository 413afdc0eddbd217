#include "packages/date.h"

#include <array>
#include <chrono>
#include <cstdio>

namespace edgeward {

std::string date_text(uint64_t unix_s) {
  constexpr uint64_t kYear10000 = 253'402'300'800;
  if (unix_s >= kYear10000) return std::to_string(unix_s) + " s after 1970";
  const std::chrono::sys_seconds moment{std::chrono::seconds(unix_s)};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const auto second = static_cast<unsigned>((moment - day).count());
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02u:%02u:%02uZ",
                                   static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                                   static_cast<unsigned>(date.day()), second / 3600, second / 60 % 60, second % 60);
  return {text.data(), static_cast<size_t>(length)};
}

}  // namespace edgeward
