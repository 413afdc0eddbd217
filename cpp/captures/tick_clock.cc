#include "captures/tick_clock.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <string>

namespace edgeward {
namespace {

// Rates that are further apart are not the same. A clock that is slewed to the right time is off by half of it at most.
constexpr double kMostApart = 1e-3;
// No counter is faster, or slower.
constexpr double kLeastTick_ns = 1e-2;
constexpr double kMostTick_ns = 1e4;

// Whether the kernel's own clock is the counter: then it has found it to be even, and the same on all processors.
bool is_kernels_counter() {
#if defined(__x86_64__)
  constexpr const char* kName = "tsc";
#elif defined(__aarch64__)
  constexpr const char* kName = "arch_sys_counter";
#else
  constexpr const char* kName = "";
#endif
  std::string name;
  std::ifstream("/sys/devices/system/clocksource/clocksource0/current_clocksource") >> name;
  return !name.empty() && name == kName;
}

}  // namespace

void TickScale::note(uint64_t ticks, uint64_t ns) {
  const uint64_t passed_ns = ns - ns_;
  // Too little to tell a rate by: the note before is the better one, unless the counter has left it behind.
  if (passed_ns < kTrustedFor_ns && trusted_ticks_ == 0) return;
  const double ns_per_tick =
      static_cast<double>(passed_ns) / static_cast<double>(std::max<uint64_t>(ticks - ticks_, 1));
  const bool is_same = std::abs(ns_per_tick - ns_per_tick_) <= kMostApart * ns_per_tick_ &&
                       ns_per_tick >= kLeastTick_ns && ns_per_tick <= kMostTick_ns;
  ticks_ = ticks;
  ns_ = ns;
  ns_per_tick_ = ns_per_tick;
  trusted_ticks_ = is_same ? static_cast<uint64_t>(static_cast<double>(kTrustedFor_ns) / ns_per_tick) : 0;
  ns_per_tick_q32_ = is_same ? static_cast<uint64_t>(std::ldexp(ns_per_tick, 32)) : 0;
}

TickClock::TickClock() {
  static const bool is_counter = is_kernels_counter();
  has_counter_ = is_counter;
}

uint64_t monotonic_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

uint64_t TickClock::ask() {
  const uint64_t before = ticks();
  const uint64_t ns = monotonic_ns();
  scale_.note(before + (ticks() - before) / 2, ns);
  return ns;
}

}  // namespace edgeward
