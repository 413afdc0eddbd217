// TickClock: CLOCK_MONOTONIC, computed from the processor's own tick counter, which is calibrated against the kernel's
// clock. The counter is read to save the call of the kernel's clock twice in each run: docs/decisions/0011.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace edgeward {

// The scale from a counter's ticks to nanoseconds, calibrated by readings of both. Pure.
class TickScale {
 public:
  // A calibration is trusted this long.
  static constexpr uint64_t kTrustedFor_ns = 10'000'000;

  // Nothing before two calibrations agree, later than kTrustedFor_ns after the last one, and for a counter that went
  // back: then the caller calibrates by the kernel's clock.
  std::optional<uint64_t> ns_at(uint64_t ticks) const {
    const uint64_t elapsed_ticks = ticks - ticks_;
    if (elapsed_ticks >= trusted_ticks_) return std::nullopt;
    return ns_ + (elapsed_ticks * ns_per_tick_q32_ >> 32);
  }
  // The clock, which never goes back, reads `ns` at `ticks`. A rate is trusted when two calibrations in a row agree on
  // it: not across a suspension, nor when a virtual machine was migrated.
  void calibrate(uint64_t ticks, uint64_t ns);

 private:
  uint64_t ticks_ = 0;
  uint64_t ns_ = 0;
  uint64_t trusted_ticks_ = 0;
  uint64_t ns_per_tick_q32_ = 0;  // in units of 2^-32
  double ns_per_tick_ = 0;        // between the last two calibrations
};

// CLOCK_MONOTONIC, read from the kernel. Any thread.
uint64_t monotonic_ns();
// Unix time, from the kernel. Any thread.
int64_t wall_ns();

// Reads the kernel's clock each time where the kernel's own clock source is not the counter. Within some microseconds
// of CLOCK_MONOTONIC, and never goes back. One thread at a time.
class TickClock {
 public:
  TickClock();
  uint64_t now_ns() {
    if (!has_counter_) return monotonic_ns();
    const auto ns = scale_.ns_at(ticks());
    return last_ns_ = std::max(last_ns_, ns ? *ns : calibrated_ns());
  }

 private:
  static uint64_t ticks() {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t count;
    asm volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
    return 0;
#endif
  }
  uint64_t calibrated_ns();

  bool has_counter_;
  TickScale scale_;
  uint64_t last_ns_ = 0;
};

}  // namespace edgeward
