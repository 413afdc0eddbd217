#include "engines/compiled_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace edgeward {
namespace {

std::atomic<int> alive{0};
std::atomic<int> compilations{0};

Compiled compile() {
  ++alive;
  ++compilations;
  return {nullptr, Owned(new int, [](Handle handle) {
            delete static_cast<int*>(handle);
            --alive;
          })};
}

bool never(const Compiled&) { return false; }

// A pool of which `sessions` borrow. Counts anew.
struct Pool {
  Pool(size_t most, size_t sessions, std::function<bool(const Compiled&)> is_outdated = never)
      : pool(most, {compile, std::move(is_outdated), [] { return false; }}) {
    REQUIRE(alive == 0);
    compilations = 0;
    CHECK_FALSE(pool.try_join());
    pool.join_with(compile());
    for (size_t i = 1; i < sessions; ++i) REQUIRE(pool.try_join());
  }
  CompiledPool* operator->() { return &pool; }
  CompiledPool pool;
};

// Runs `at_once` of them at once, in this thread.
void lend(Pool& pool, size_t at_once) {
  std::vector<Compiled> lent;
  while (lent.size() < at_once) lent.push_back(pool->borrow());
  for (Compiled& compiled : lent) pool->give_back(std::move(compiled));
}

}  // namespace

TEST_CASE("loans one after another are of one compiled model, those at once of as many") {
  Pool pool(3, 4);
  for (int i = 0; i < 10; ++i) lend(pool, 1);
  CHECK(compilations == 1);
  lend(pool, 3);
  CHECK(compilations == 3);
  lend(pool, 2);
  CHECK(alive == 3);
}

TEST_CASE("no more than the most are lent at once, and whoever waits is served in turn") {
  constexpr int kThreads = 6;
  constexpr int kLoans = 200;
  Pool pool(2, kThreads);
  std::atomic<int> lent{0};
  std::atomic<int> most_lent{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int loan = 0; loan < kLoans; ++loan) {
        Compiled compiled = pool->borrow();
        const int now = ++lent;
        for (int most = most_lent; most < now && !most_lent.compare_exchange_weak(most, now);) {
        }
        --lent;
        if (loan % 10 == 3) {
          pool->give_nothing_back();
        } else {
          pool->give_back(std::move(compiled));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most_lent <= 2);
  CHECK(alive <= 2);
}

TEST_CASE("what no session can need goes with the sessions") {
  Pool pool(4, 3);
  lend(pool, 3);
  CHECK(alive == 3);
  pool->leave();
  CHECK(alive == 2);
  {
    const auto own = pool->leave_with();
    CHECK(own.has_value());
    CHECK(alive == 2);
  }
  CHECK(alive == 1);
  pool->leave();
  CHECK(alive == 0);
  CHECK_FALSE(pool->try_join());
}

TEST_CASE("a session takes nothing along that the others need, and one more than the most is not kept") {
  Pool pool(1, 2);
  CHECK_FALSE(pool->leave_with().has_value());
  CHECK(alive == 1);
  pool->join_with(compile());
  CHECK(alive == 1);
}

TEST_CASE("a compiled model that comes back when its session has gone is not kept") {
  Pool pool(2, 2);
  lend(pool, 2);
  Compiled compiled = pool->borrow();
  pool->leave();
  CHECK(alive == 1);
  pool->give_back(std::move(compiled));
  CHECK(alive == 1);
}

TEST_CASE("idle ones that no loan needs go one by one; those that are needed stay") {
  Pool pool(3, 3);
  lend(pool, 3);
  for (uint32_t i = 0; i < 2 * CompiledPool::kIdleWindow; ++i) lend(pool, 2);
  CHECK(alive == 2);
  for (uint32_t i = 0; i < 4 * CompiledPool::kIdleWindow; ++i) lend(pool, 2);
  CHECK(alive == 2);
  for (uint32_t i = 0; i < 3 * CompiledPool::kIdleWindow; ++i) lend(pool, 1);
  CHECK(alive == 1);
}

TEST_CASE("a failure to compile is thrown, and takes nobody's turn") {
  std::atomic<bool> fails{false};
  const auto make = [&] {
    if (fails) throw std::runtime_error("no memory");
    return compile();
  };
  CompiledPool pool(2, {make, never, [] { return false; }});
  pool.join_with(compile());
  REQUIRE(pool.try_join());
  pool.borrow();  // and lost
  pool.give_nothing_back();
  fails = true;
  for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(pool.borrow(), std::runtime_error);
  fails = false;
  pool.give_back(pool.borrow());
  CHECK(alive == 1);
}

TEST_CASE("a second one that cannot be compiled is done without") {
  std::atomic<bool> fails{false};
  std::atomic<int> failures{0};
  const auto make = [&]() -> Compiled {
    if (!fails) return compile();
    ++failures;
    throw std::runtime_error("no memory");
  };
  CompiledPool pool(3, {make, never, [] { return false; }});
  pool.join_with(compile());
  for (int i = 0; i < 2; ++i) REQUIRE(pool.try_join());
  Compiled first = pool.borrow();
  fails = true;
  std::atomic<int> runs{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int run = 0; run < 100; ++run) {
        pool.give_back(pool.borrow());
        ++runs;
      }
    });
  }
  while (failures == 0) std::this_thread::yield();
  CHECK(runs == 0);
  pool.give_back(std::move(first));
  for (std::thread& thread : threads) thread.join();
  CHECK(runs == 200);
  CHECK(failures <= 2);
  CHECK(alive == 1);
}

TEST_CASE("the last one stays for a later session where another could not be made") {
  std::atomic<bool> is_kept{true};
  CompiledPool pool(2, {compile, never, [&] { return is_kept.load(); }});
  pool.join_with(compile());
  REQUIRE(pool.try_join());
  {
    Compiled first = pool.borrow();
    pool.give_back(pool.borrow());
    pool.give_back(std::move(first));
  }
  pool.leave();
  CHECK(alive == 1);
  pool.leave();
  CHECK(alive == 1);
  REQUIRE(pool.try_join());
  is_kept = false;
  pool.leave();
  CHECK(alive == 0);
  CHECK_FALSE(pool.try_join());
}

TEST_CASE("a session that takes the last one along leaves none") {
  CompiledPool pool(2, {compile, never, [] { return true; }});
  pool.join_with(compile());
  CHECK(pool.leave_with().has_value());
  CHECK(alive == 0);
}

TEST_CASE("one that is outdated goes when it comes back, and before it is lent again") {
  std::atomic<bool> is_outdated{false};
  Pool pool(2, 2, [&](const Compiled&) { return is_outdated.load(); });
  {
    Compiled compiled = pool->borrow();
    is_outdated = true;
    pool->give_back(std::move(compiled));
    CHECK(alive == 0);
    is_outdated = false;
  }
  lend(pool, 1);
  CHECK(compilations == 2);
  is_outdated = true;
  Compiled compiled = pool->borrow();
  CHECK(compilations == 3);
  CHECK(alive == 1);
  is_outdated = false;
  pool->give_back(std::move(compiled));
}

}  // namespace edgeward
