#include "system/growth.h"

#include <doctest/doctest.h>

#include <barrier>
#include <cstring>
#include <optional>
#include <thread>

#include "rigs/child.h"
#include "system/memory.h"

namespace edgeward {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kSlack = 2 * kMiB;  // of what else the process does meanwhile, and of the kernel's counting

Block touched(int64_t size_bytes) {
  Block block = Block::sparse(static_cast<size_t>(size_bytes));
  std::memset(block.data(), 1, block.size_bytes());
  return block;
}

// ThreadSanitizer keeps notes of what is touched, four times as large; there no number is held.
#if defined(__SANITIZE_THREAD__)
bool is_about(int64_t, int64_t) { return true; }
#else
bool is_about(int64_t size_bytes, int64_t expected) {
  return size_bytes > expected - kSlack && size_bytes < expected + kSlack;
}
#endif

}  // namespace

TEST_CASE("growth is what was touched and stayed") {
  Growth growth;
  const Block kept = touched(24 * kMiB);
  touched(16 * kMiB);
  CHECK(is_about(growth.bytes(), 24 * kMiB));
}

TEST_CASE("what is freed makes it negative") {
  std::optional<Block> block = touched(24 * kMiB);
  Growth growth;
  block.reset();
  CHECK(is_about(growth.bytes(), -24 * kMiB));
}

TEST_CASE("what was there before does not count") {
  const Block before = touched(24 * kMiB);
  Growth growth;
  CHECK(is_about(growth.bytes(), 0));
}

TEST_CASE("of two in one thread the inner has it") {
  Growth outer;
  const Block first = touched(8 * kMiB);
  {
    Growth inner;
    const Block second = touched(24 * kMiB);
    CHECK(is_about(inner.bytes(), 24 * kMiB));
    CHECK(is_about(outer.bytes(), 8 * kMiB));
  }
  const Block third = touched(8 * kMiB);
  CHECK(is_about(outer.bytes(), 16 * kMiB));
}

TEST_CASE("a thread that waits for another has no part of what it takes") {
  std::barrier all(2);
  std::thread waiter([&] {
    Growth growth;
    {
      const Waiting waiting;
      all.arrive_and_wait();
      all.arrive_and_wait();
    }
    const Block own = touched(8 * kMiB);
    CHECK(is_about(growth.bytes(), 8 * kMiB));
  });
  all.arrive_and_wait();
  std::optional<Block> block;
  {
    Growth growth;
    block = touched(24 * kMiB);
    CHECK(is_about(growth.bytes(), 24 * kMiB));
  }
  all.arrive_and_wait();
  waiter.join();
}

TEST_CASE("threads that measure at once have all of it together") {
  std::barrier all(2);
  int64_t sizes[2];
  const auto measure = [&](int64_t& size_bytes, int64_t touched_bytes) {
    all.arrive_and_wait();
    Growth growth;
    all.arrive_and_wait();
    const Block block = touched(touched_bytes);
    all.arrive_and_wait();
    size_bytes = growth.bytes();
    all.arrive_and_wait();
  };
  std::thread other([&] { measure(sizes[1], 8 * kMiB); });
  measure(sizes[0], 24 * kMiB);
  other.join();
  CHECK(is_about(sizes[0] + sizes[1], 32 * kMiB));
  CHECK(is_about(sizes[0], sizes[1]));
}

TEST_CASE("what goes back to the system is nobody's growth") {
  std::optional<Block> block = touched(24 * kMiB);
  Growth growth;
  give_back([&] { block.reset(); });
  CHECK(is_about(growth.bytes(), 0));
}

TEST_CASE("a holding counts in its total as long as it lasts") {
  std::atomic<int64_t> total{1};
  {
    Holding first(total);
    first.add(10);
    Holding second(total);
    second.add(-3);
    CHECK(total == 8);
    first = std::move(second);
    CHECK(total == 8);
    const Holding third(std::move(first));
    CHECK(total == 8);
  }
  CHECK(total == 1);
  Holding none;
  none.add(5);
}

TEST_CASE("a forked child measures for itself") {
  Growth growth;
  CHECK(outcome_in_child([] {
          Growth own;
          const Block block = touched(24 * kMiB);
          return is_about(own.bytes(), 24 * kMiB);
        }) == "");
}

}  // namespace edgeward
