#include "captures/tick_clock.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <string>

namespace edgeward {
namespace {

// Rates that differ by more disagree. A clock that is slewed is off by half of it at most.
constexpr double kMaxRateDifference = 1e-3;
// No counter is faster, or slower.
constexpr double kMinTick_ns = 1e-2;
constexpr double kMaxTick_ns = 1e4;

// Whether the kernel's clock source is the counter: then the kernel has checked that its rate is constant, and that all
// processors agree on it.
bool is_clock_source() {
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

void TickScale::calibrate(uint64_t ticks, uint64_t ns) {
  const uint64_t elapsed_ns = ns - ns_;
  // Too little time to measure a rate: keep the reading before. Unless it is trusted: then the counter ran ahead of it.
  if (elapsed_ns < kTrustedFor_ns && trusted_ticks_ == 0) return;
  const double ns_per_tick =
      static_cast<double>(elapsed_ns) / static_cast<double>(std::max<uint64_t>(ticks - ticks_, 1));
  const bool is_same = std::abs(ns_per_tick - ns_per_tick_) <= kMaxRateDifference * ns_per_tick_ &&
                       ns_per_tick >= kMinTick_ns && ns_per_tick <= kMaxTick_ns;
  ticks_ = ticks;
  ns_ = ns;
  ns_per_tick_ = ns_per_tick;
  trusted_ticks_ = is_same ? static_cast<uint64_t>(static_cast<double>(kTrustedFor_ns) / ns_per_tick) : 0;
  ns_per_tick_q32_ = is_same ? static_cast<uint64_t>(std::ldexp(ns_per_tick, 32)) : 0;
}

TickClock::TickClock() {
  static const bool is_counter = is_clock_source();
  has_counter_ = is_counter;
}

uint64_t monotonic_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

int64_t wall_ns() { return std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

uint64_t TickClock::calibrated_ns() {
  const uint64_t before = ticks();
  const uint64_t ns = monotonic_ns();
  scale_.calibrate(before + (ticks() - before) / 2, ns);
  return ns;
}

}  // namespace edgeward
