// TickClock: CLOCK_MONOTONIC, worked out from the processor's own counter of ticks. To ask the kernel costs twice to
// ten times what reading the counter does, which for a model of one operation is a tenth of the call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace edgeward {

// What a counter's ticks are in nanoseconds, learned from what was noted of both. Pure.
class TickScale {
 public:
  // For so long after a note the ticks are gone by.
  static constexpr uint64_t kTrustedFor_ns = 10'000'000;

  // Nothing before the notes agree, later than kTrustedFor_ns after the last one, and for a counter that went back:
  // then whoever asks notes what the kernel says.
  std::optional<uint64_t> ns_at(uint64_t ticks) const {
    const uint64_t passed = ticks - ticks_;
    if (passed >= trusted_ticks_) return std::nullopt;
    return ns_ + (passed * ns_per_tick_q32_ >> 32);
  }
  // It is `ns`, which never goes back, at `ticks`. A rate is gone by when two notes in a row have shown the same: not
  // over a suspension, nor when a virtual machine has moved.
  void note(uint64_t ticks, uint64_t ns);

 private:
  uint64_t ticks_ = 0;
  uint64_t ns_ = 0;
  uint64_t trusted_ticks_ = 0;
  uint64_t ns_per_tick_q32_ = 0;  // in units of 2^-32
  double ns_per_tick_ = 0;        // that the last two notes have shown
};

// CLOCK_MONOTONIC, as the kernel says it. Any thread.
uint64_t monotonic_ns();

// Asks the kernel each time where it does not keep its own time by the counter. Within some microseconds of
// CLOCK_MONOTONIC, and never goes back. One thread at a time.
class TickClock {
 public:
  TickClock();
  uint64_t now_ns() {
    if (!has_counter_) return monotonic_ns();
    const auto ns = scale_.ns_at(ticks());
    return last_ns_ = std::max(last_ns_, ns ? *ns : ask());
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
  uint64_t ask();

  bool has_counter_;
  TickScale scale_;
  uint64_t last_ns_ = 0;
};

}  // namespace edgeward
