#include "captures/tick_clock.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <optional>
#include <random>

namespace edgeward {
namespace {

constexpr uint64_t kSpan_ns = TickScale::kTrustedFor_ns;
// Of a counter of 2.5 GHz.
constexpr uint64_t ticks_of(uint64_t ns) { return ns * 5 / 2; }

// A scale that is calibrated. Its counter began at `ticks_ahead` more than the time.
TickScale calibrated(uint64_t ns, uint64_t ticks_ahead) {
  TickScale scale;
  for (uint64_t i = 0; i < 3; ++i) scale.calibrate(ticks_ahead + ticks_of(ns + i * kSpan_ns), ns + i * kSpan_ns);
  return scale;
}

void check_close(std::optional<uint64_t> scaled_ns, uint64_t ns) {
  REQUIRE(scaled_ns);
  CHECK(std::llabs(static_cast<int64_t>(*scaled_ns - ns)) <= 1);
}

}  // namespace

TEST_CASE("ticks are gone by once three notes have shown the same rate twice") {
  TickScale scale;
  const uint64_t begin_ns = 1'000'000'000'000;
  const auto at = [](uint64_t ns) { return (uint64_t{1} << 60) + ticks_of(ns) / 7; };  // it did not begin with the time
  for (uint64_t ns = begin_ns; ns < begin_ns + 2 * kSpan_ns; ns += kSpan_ns / 5) {
    CHECK(!scale.ns_at(at(ns)));
    scale.calibrate(at(ns), ns);
  }
  scale.calibrate(at(begin_ns + 2 * kSpan_ns), begin_ns + 2 * kSpan_ns);
  CHECK(scale.ns_at(at(begin_ns + 2 * kSpan_ns)) == begin_ns + 2 * kSpan_ns);
}

TEST_CASE("between two notes the time is what the ticks say, and after a while the kernel is asked") {
  for (const uint64_t ahead : {uint64_t{0}, uint64_t{1} << 40, uint64_t{0} - 5 * kSpan_ns}) {
    CAPTURE(ahead);
    const TickScale scale = calibrated(kSpan_ns, ahead);
    const uint64_t last_ns = 3 * kSpan_ns;
    for (uint64_t ns = last_ns; ns < last_ns + kSpan_ns - 10; ns += 9'973) {
      check_close(scale.ns_at(ahead + ticks_of(ns)), ns);
    }
    CHECK(!scale.ns_at(ahead + ticks_of(last_ns + kSpan_ns + 10)));
    CHECK(!scale.ns_at(ahead + ticks_of(last_ns - 10)));
  }
}

TEST_CASE("a counter that went back, stood still, ran ahead or changed its rate is not gone by") {
  const uint64_t last_ns = 3 * kSpan_ns;
  const uint64_t next_ns = last_ns + kSpan_ns + 1;
  for (const uint64_t ticks : {uint64_t{5}, ticks_of(last_ns), ticks_of(next_ns) * 100, ticks_of(next_ns) + 100'000}) {
    CAPTURE(ticks);
    TickScale scale = calibrated(kSpan_ns, 0);
    scale.calibrate(ticks, next_ns);
    CHECK(!scale.ns_at(ticks));
    CHECK(!scale.ns_at(ticks + 1));
    // From there on it is as even as before.
    for (uint64_t i = 1; i <= 2; ++i) scale.calibrate(ticks + ticks_of(i * kSpan_ns), next_ns + i * kSpan_ns);
    check_close(scale.ns_at(ticks + ticks_of(2 * kSpan_ns + 1000)), next_ns + 2 * kSpan_ns + 1000);
  }
}

TEST_CASE("whatever the notes say, the time stays within a note's span") {
  std::mt19937_64 random(1);
  TickScale scale;
  uint64_t ns = 0;
  size_t trusted_count = 0;
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t step_ns = random() >> (random() % 64);
    const uint64_t ticks = random() % 3 == 0 ? random() >> (random() % 64) : ticks_of(ns);
    trusted_count += scale.ns_at(ticks).has_value();
    ns += step_ns % (3 * kSpan_ns);
    scale.calibrate(ticks_of(ns) + (random() % 50 == 0 ? random() : 0), ns);
    const auto now = scale.ns_at(ticks_of(ns));
    if (now) CHECK(*now - ns <= kSpan_ns + kSpan_ns / 100);
  }
  CHECK(trusted_count > 0);
}

TEST_CASE("a clock says what the kernel's says, never goes back, and is its own") {
  TickClock clock;
  uint64_t last_ns = 0;
  const uint64_t end_ns = monotonic_ns() + 10 * kSpan_ns;
  constexpr uint64_t kOff_ns = 50'000;  // a clock that is slewed while a calibration is trusted, and more
  while (last_ns < end_ns) {
    const uint64_t before = monotonic_ns();
    const uint64_t now = clock.now_ns();
    const uint64_t after = monotonic_ns();
    REQUIRE(now + kOff_ns >= before);
    REQUIRE(now <= after + kOff_ns);
    REQUIRE(now >= last_ns);
    last_ns = now;
  }
  // Nobody asks it for longer than a calibration is trusted.
  uint64_t before = monotonic_ns();
  for (const uint64_t wait_end_ns = before + 2 * kSpan_ns; before < wait_end_ns;) before = monotonic_ns();
  CHECK(clock.now_ns() + kOff_ns >= before);
}

}  // namespace edgeward
