#include "captures/segment_name.h"

#include <algorithm>
#include <charconv>

namespace edgeward {
namespace {

constexpr size_t kDigits = 20;
// In the year 2200. A greater number is no time that a clock said: it must not use up the numbers that are left.
constexpr int64_t kMaxNumber = 7'258'118'400'000'000'000;

}  // namespace

std::optional<int64_t> segment_number_of(std::string_view name) {
  if (name.size() <= kDigits || name[kDigits] != '-') return std::nullopt;
  int64_t number = 0;
  const char* end = name.data() + kDigits;
  const auto [stopped, error] = std::from_chars(name.data(), end, number);
  if (error != std::errc() || stopped != end || number < 0) return std::nullopt;
  return number;
}

int64_t next_segment_number(int64_t wall_ns, std::span<const std::string> names) {
  int64_t number = std::max<int64_t>(wall_ns, 0);
  for (const std::string& name : names) {
    const auto taken = segment_number_of(name);
    if (taken && *taken < kMaxNumber) number = std::max(number, *taken + 1);
  }
  return number;
}

}  // namespace edgeward
