#include "captures/capture.h"

#include <doctest/doctest.h>

#include "captures/drain.h"
#include "captures/record.h"
#include "captures/tick_clock.h"
#include "rigs/directory.h"
#include "rigs/refusal.h"
#include "rigs/ring_octets.h"

namespace edgeward {
namespace {

bool put_all(SessionRing& ring, uint64_t count) {
  static uint64_t sequence = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const auto form = lay_out_record({}, 0);
    RecordHead head;
    head.size_bytes = form->size_bytes;
    head.sequence = ++sequence;
    head.monotonic_ns = monotonic_ns();
    head.position = ring.position();
    const auto room = ring.try_claim(head.size_bytes, head.monotonic_ns);
    if (room.empty()) return false;
    write_record_head(head, *form, {}, room);
    ring.commit();
  }
  return true;
}

// A session's ring for which there is no room.
SessionRing* no_ring() {
  static SessionRing ring({"/nowhere/rings", kMinRingBytes, Keep::oldest, "{}", std::nullopt, {}});
  return &ring;
}

CapturePlan some_plan() { return {.ring_bytes = kMinRingBytes, .has_statistics = true}; }

Statistics counted(uint64_t failures) {
  StatisticsCounter counter({"main", {{"x", DType::float32, {1}, {}}}, {}}, {});
  for (uint64_t i = 0; i < failures; ++i) counter.add_failure();
  return counter.take();
}

CaptureSource source_of(const std::string& signature, const RingCounters& counters, uint64_t failures) {
  return {signature, [counters] { return counters; },
          [failures]() -> std::optional<Statistics> { return counted(failures); },
          [failures]() -> std::optional<Statistics> { return counted(failures); }, no_ring()};
}

}  // namespace

TEST_CASE("what sessions have counted adds up, of those that ended too") {
  Capture capture(some_plan());
  const CaptureSource first = source_of("a", {1, 2, 3, 4, 5}, 1);
  const CaptureSource second = source_of("a", {10, 20, 30, 40, 50}, 10);
  const CaptureSource third = source_of("b", {100, 200, 300, 400, 500}, 100);
  CHECK(capture.add(first) == 0);
  CHECK(capture.add(second) == 1);
  CHECK(capture.add(third) == 2);
  const auto check = [&] {
    const RingCounters all = capture.counters();
    CHECK(all.sampled_out == 111);
    CHECK(all.committed == 222);
    CHECK(all.lost_full == 333);
    CHECK(all.lost_large == 444);
    CHECK(all.overwritten == 555);
    const auto statistics = capture.statistics();
    REQUIRE(statistics.size() == 2);
    CHECK(statistics.at("a").error_count == 11);
    CHECK(statistics.at("b").error_count == 100);
  };
  check();
  capture.remove(second);
  check();
  capture.remove(first);
  capture.remove(third);
  check();
  CHECK(capture.add(first) == 3);
}

TEST_CASE("each count is taken once, of ended sessions too, and all stay in the sum") {
  Capture capture(some_plan());
  StatisticsCounter live({"main", {{"x", DType::float32, {1}, {}}}, {}}, {});
  for (int i = 0; i < 3; ++i) live.add_failure();
  const CaptureSource source{"a", [] { return RingCounters(); },
                             [&]() -> std::optional<Statistics> { return live.statistics(); },
                             [&]() -> std::optional<Statistics> { return live.take(); }, no_ring()};
  const CaptureSource ended = source_of("a", {}, 10);
  capture.add(source);
  capture.add(ended);
  capture.remove(ended);
  CHECK(capture.take_statistics().at("a").error_count == 13);
  live.add_failure();
  CHECK(capture.statistics().at("a").error_count == 14);
  CHECK(capture.take_statistics().at("a").error_count == 1);
  CHECK(capture.take_statistics().at("a").error_count == 0);
  CHECK(capture.statistics().at("a").error_count == 14);
  capture.remove(source);
  CHECK(capture.statistics().at("a").error_count == 14);
}

TEST_CASE("without statistics there are none") {
  Capture capture(some_plan());
  const CaptureSource source{"a", [] { return RingCounters(); },
                             []() -> std::optional<Statistics> { return std::nullopt; },
                             []() -> std::optional<Statistics> { return std::nullopt; }, no_ring()};
  capture.add(source);
  CHECK(capture.statistics().empty());
  CHECK(capture.take_statistics().empty());
  capture.remove(source);
  CHECK(capture.statistics().empty());
}

TEST_CASE("a request is taken once, and the last one counts") {
  Capture capture(some_plan());
  CHECK_FALSE(capture.has_request());
  capture.capture_next({1, {}});
  capture.capture_next({2, {std::byte{7}}});
  CHECK(capture.has_request());
  const auto request = capture.take_request();
  REQUIRE(request);
  CHECK(request->correlation_id == 2);
  CHECK(request->user == std::vector<std::byte>{std::byte{7}});
  CHECK_FALSE(capture.has_request());
  CHECK_FALSE(capture.take_request());
}

TEST_CASE("a request with more bytes than a record takes is refused, and the one before it stands") {
  Capture capture(some_plan());
  capture.capture_next({1, std::vector<std::byte>(kMaxUserBytes)});
  check_refusal(Code::bad_input, {"65536", "65537"}, [&] {
    capture.capture_next({2, std::vector<std::byte>(kMaxUserBytes + 1)});
  });
  CHECK(capture.take_request()->correlation_id == 1);
}

TEST_CASE("why a session has no ring is said as long as there is such a session") {
  Capture capture(some_plan());
  CHECK(capture.failure().empty());
  const CaptureSource source = source_of("a", {}, 0);
  capture.add(source);
  CHECK(capture.failure().find("/nowhere") != std::string::npos);
  capture.remove(source);
  CHECK(capture.failure().empty());
}

TEST_CASE("a plan that does not fit is refused once, for the first reason") {
  Capture capture(some_plan());
  CHECK_FALSE(capture.is_refused());
  capture.refuse("no such output");
  capture.refuse("another reason");
  CHECK(capture.is_refused());
  CHECK(capture.failure() == "no such output");
}

TEST_CASE("what all sessions have on the disk is counted, and waited for, with ended rings too") {
  const Directory directory("/dev/shm");
  Capture capture(some_plan());
  const auto source_of_ring = [](SessionRing& ring) {
    return CaptureSource{"a", [&ring] { return ring.counters(); },
                         []() -> std::optional<Statistics> { return std::nullopt; },
                         []() -> std::optional<Statistics> { return std::nullopt; }, &ring};
  };
  SessionRing live({directory.at(""), kMinRingBytes, Keep::oldest, "{}", std::nullopt, {}});
  SessionRing ended({directory.at(""), kMinRingBytes, Keep::oldest, "{}", std::nullopt, {}});
  const CaptureSource first = source_of_ring(live);
  const CaptureSource second = source_of_ring(ended);
  capture.add(first);
  capture.add(second);
  REQUIRE(put_all(live, 3));
  REQUIRE(put_all(ended, 4));
  capture.remove(second);
  CHECK(capture.counters().committed == 7);
  CHECK(capture.drained_count() == 0);
  CHECK_FALSE(capture.wait_drained(1, Capture::Saved::ended));
  CHECK(capture.complaint() == "");
  const Directory captures("/dev/shm");
  {
    Drain drain(directory.at(""), captures.at(""), {});
    drain.step(monotonic_ns());
    CHECK(capture.wait_drained(10'000, Capture::Saved::ended));
    CHECK(capture.drained_count() == 7);
    CHECK_FALSE(capture.is_settled());
    REQUIRE(put_all(live, 2));
    CHECK(capture.drained_count() == 7);
  }
  // Somebody writes over what was committed: the ring is set aside, and no waiting helps.
  Scribble(live.progress()->path).put(kDataAt + live.progress()->drained_position % kMinRingBytes, uint64_t{1});
  Drain drain(directory.at(""), captures.at(""), {});
  drain.step(monotonic_ns());
  drain.flush();
  CHECK_FALSE(capture.wait_drained(1, Capture::Saved::ended));
  CHECK(capture.complaint().find(live.progress()->path) != std::string::npos);
  CHECK(capture.drained_count() == 7);
  capture.remove(first);
  CHECK(capture.drained_count() == 7);
}

}  // namespace edgeward
