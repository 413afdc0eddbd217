// Moment: when something was made, as far as its device knew. Monotonic time is right within one boot; the clock on the
// wall may not have been set, or may be set at any time. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "system/boot_id.h"

namespace edgeward {

struct Moment {
  BootId boot{};  // zero: not known
  int64_t monotonic_ns = 0;
  int64_t wall_ns = 0;  // Unix time, as the clock said
};

// What this device's clocks say.
Moment moment_now();

// November 2023: a clock that says less was never set.
inline constexpr int64_t kLeastWall_ns = 1'700'000'000'000'000'000;

// How long ago each of `moments` was, which are in the order in which they came. Of the boot of `now` by monotonic
// time; else by the wall's clock, where it was set when the moment came, or later in its boot, and is set now; else it
// is at least the age of this boot. None is younger than one that came behind it. Pure.
std::vector<int64_t> ages_ns(std::span<const Moment> moments, const Moment& now);

}  // namespace edgeward
