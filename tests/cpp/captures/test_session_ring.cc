#include "captures/session_ring.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "captures/ring_reader.h"
#include "rigs/directory.h"
#include "rigs/numbered_record.h"
#include "rigs/refusal.h"
#include "rigs/ring_octets.h"

namespace edgeward {
namespace {

RingPlan plan_in(const std::string& directory, Keep keep = Keep::oldest) {
  return {directory, kMinRingBytes, keep, "{}", std::nullopt, {}};
}

bool try_put(SessionRing& ring, uint64_t number) {
  const auto room = ring.try_claim(100, number);
  if (room.empty()) return false;
  write_numbered(room, 100, number);
  ring.commit();
  return true;
}

}  // namespace

TEST_CASE("a session with a ring writes into it") {
  const Directory directory;
  SessionRing ring(plan_in(directory.at("")));
  CHECK(ring.failure() == "");
  REQUIRE(ring.progress());
  REQUIRE(try_put(ring, 1));
  ring.count_sampled_out();
  ring.count_lost();
  check_counters(ring.counters(), {1, 1, 0, 1, 0});
  CHECK(ring.lost() == 1);
  CHECK(ring.progress()->committed_position == 128);
  CHECK(ring.progress()->drained_position == 0);
  RingReader reader = reader_of(ring.progress()->path);
  CHECK(drain(reader) == from_to(1, 1));
  reader.free_read();
  CHECK(ring.progress()->drained_position == 128);
  CHECK(ring.progress()->drained_count == 1);
}

TEST_CASE("without room for a ring all is counted, and the ring that is made later has the account") {
  const Directory directory;
  SessionRing ring(plan_in(directory.at("later/rings")));
  CHECK(ring.failure().find(directory.at("later/rings")) != std::string::npos);
  CHECK_FALSE(ring.progress());
  CHECK_FALSE(ring.save());
  CHECK_FALSE(try_put(ring, 1));
  ring.count_sampled_out();
  ring.count_sampled_out();
  ring.uncount_sampled_out();
  ring.count_lost();
  check_counters(ring.counters(), {1, 0, 1, 1, 0});
  CHECK(ring.lost() == 2);
  CHECK(ring.position() == 0);
  std::filesystem::create_directory(directory.at("later"));
  uint64_t lost = 1;
  while (!try_put(ring, 2)) ++lost;  // it looks again each second
  CHECK(ring.failure() == "");
  check_counters(ring.counters(), {1, 1, lost, 1, 0});
  CHECK(ring.lost() == lost + 1);
  const RingReader reader = reader_of(ring.progress()->path);
  check_counters(reader.counters(), {1, 1, lost, 1, 0});
}

TEST_CASE("a plan that no ring can have is refused") {
  const Directory directory;
  RingPlan plan = plan_in(directory.at(""));
  plan.bytes = kMinRingBytes + 1;
  check_refusal(Code::bad_input, {"power of two"}, [&] { SessionRing ring(plan); });
}

TEST_CASE("a ring that was ended takes nothing, and its reader what there was") {
  const Directory directory;
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    SessionRing ring(plan_in(directory.at(""), keep));
    REQUIRE(try_put(ring, 1));
    ring.end();
    CHECK_FALSE(try_put(ring, 2));
    check_counters(ring.counters(), {0, 1, 1, 0, 0});
    CHECK(ring.waiting_count() == 1);
    RingReader reader = reader_of(ring.progress()->path);
    CHECK(reader.has_ended());
    CHECK(drain(reader) == from_to(1, 1));
    reader.free_read();
    CHECK(ring.waiting_count() == 0);
  }
  SessionRing none(plan_in(directory.at("missing/rings")));
  none.end();
  std::filesystem::create_directory(directory.at("missing"));
  CHECK(none.waiting_count() == 0);
}

TEST_CASE("a ring that is ended while its session writes has every record that was committed") {
  const Directory directory;
  for (int round = 0; round < 50; ++round) {
    SessionRing ring(plan_in(directory.at(""), Keep::newest));
    std::atomic<uint64_t> committed{0};
    std::thread session([&] {
      while (try_put(ring, committed + 1)) ++committed;
    });
    while (committed < 10) std::this_thread::yield();
    ring.end();
    RingReader reader = reader_of(ring.progress()->path);
    REQUIRE(reader.has_ended());
    const Numbers numbers = drain(reader);
    session.join();
    REQUIRE_FALSE(numbers.empty());
    CHECK(numbers.back() == committed);
  }
}

TEST_CASE("what is saved of a black box is what was committed, and counted once when it ends") {
  const Directory directory;
  SessionRing ring(plan_in(directory.at(""), Keep::newest));
  for (uint64_t number = 1; number <= 3; ++number) REQUIRE(try_put(ring, number));
  CHECK(ring.save() == uint64_t{3 * 128});
  RingReader reader = reader_of(ring.progress()->path);
  CHECK(drain(reader) == from_to(1, 3));
  reader.free_read();
  REQUIRE(try_put(ring, 4));
  ring.end();
  CHECK(ring.waiting_count() == 1);
  CHECK(ring.progress()->drained_count == 3);
}

}  // namespace edgeward
