#include "models/lease.h"

#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <thread>

#include "rigs/child.h"
#include "rigs/fake_engine.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr size_t kMaxIdle = 4;

// One output of a fake session, and the pool of its memory.
struct PoolOfOne {
  explicit PoolOfOne(FakeModel model = {}) : plan(std::make_shared<FakeModel>(std::move(model))) {
    session = std::make_shared<FakeSession>(plan, books);
    const Shape shape{2, 3};
    session->resize({&shape, 1});
    pool = std::make_shared<OutputPool>(*session, 0, DType::uint8, shape, Account::make());
  }

  void end_session() {
    pool->orphan();
    session.reset();
  }

  Books books;
  std::shared_ptr<FakeModel> plan;
  std::shared_ptr<FakeSession> session;
  std::shared_ptr<OutputPool> pool;
};

std::vector<Lease> leases(OutputPool& pool, size_t count) {
  std::vector<Lease> lent;
  for (size_t i = 0; i < count; ++i) lent.push_back(pool.lease());
  return lent;
}

}  // namespace

TEST_CASE("a lease is memory of the output's size, bound and aligned as an engine wants it") {
  PoolOfOne bench;
  {
    const Lease lease = bench.pool->lease();
    CHECK(lease->view.shape == Shape{2, 3});
    CHECK(lease->view.dtype == DType::uint8);
    CHECK(lease->view.size_bytes == 6);
    CHECK(reinterpret_cast<uintptr_t>(lease->view.data) % kBlockAlignment == 0);
    CHECK(lease->binding != nullptr);
  }
  bench.end_session();
}

TEST_CASE("memory that is lent for the first time holds nothing of others") {
  constexpr int kPattern = 0x5a;
  mallopt(M_PERTURB, kPattern);  // what is freed, and what is allocated, has bytes of its own
  PoolOfOne bench;
  {
    const std::vector<Lease> lent = leases(*bench.pool, 20);
    for (const Lease& lease : lent) {
      const std::byte* data = lease->view.data;
      CHECK(std::all_of(data, data + lease->view.size_bytes, [](std::byte byte) { return byte == std::byte{0}; }));
    }
  }
  mallopt(M_PERTURB, 0);
  bench.end_session();
}

TEST_CASE("memory that came back is lent again, and not bound again") {
  PoolOfOne bench;
  const std::byte* first = bench.pool->lease()->view.data;
  for (int i = 0; i < 100; ++i) CHECK(bench.pool->lease()->view.data == first);
  CHECK(bench.books.binds() == 1);
  bench.end_session();
}

TEST_CASE("two leases are never the same memory") {
  PoolOfOne bench;
  const Lease a = bench.pool->lease();
  const Lease b = bench.pool->lease();
  CHECK(a->view.data != b->view.data);
  CHECK(a->binding != b->binding);
  bench.end_session();
}

TEST_CASE("a pool keeps at most four idle, whatever the order in which they come back") {
  for (const size_t lent : {size_t{1}, kMaxIdle, kMaxIdle + 1, size_t{20}}) {
    for (const bool is_reversed : {false, true}) {
      CAPTURE(lent);
      CAPTURE(is_reversed);
      PoolOfOne bench;
      std::vector<Lease> held = leases(*bench.pool, lent);
      CHECK(bench.books.live_bindings() == lent);
      while (!held.empty()) held.erase(is_reversed ? held.end() - 1 : held.begin());
      CHECK(bench.books.live_bindings() == std::min(lent, kMaxIdle));
      bench.end_session();
      CHECK(bench.books.live_bindings() == 0);
    }
  }
}

TEST_CASE("a lease given back after the session is gone") {
  PoolOfOne bench;
  std::vector<Lease> held = leases(*bench.pool, 7);
  held.erase(held.begin() + 2, held.begin() + 4);  // two idle, five lent
  for (const Lease& lease : held) std::memset(lease->view.data, 7, lease->view.size_bytes);

  SUBCASE("keeps its memory, and has no binding left") {
    bench.end_session();
    bench.pool.reset();
    CHECK(bench.books.live_bindings() == 0);
    for (const Lease& lease : held) {
      CHECK(lease->binding == nullptr);
      CHECK(lease->view.data[5] == std::byte{7});
    }
  }
  SUBCASE("may come back from another thread") {
    bench.end_session();
    bench.pool.reset();
    std::thread([&] { held.clear(); }).join();
  }
  SUBCASE("may be the last to hold the pool") {
    const std::weak_ptr<OutputPool> pool = bench.pool;
    bench.end_session();
    bench.pool.reset();
    CHECK_FALSE(pool.expired());
    held.clear();
    CHECK(pool.expired());
  }
}

TEST_CASE("leases that come back in any order leave the others' bindings to be ended") {
  for (const size_t first_back : {0, 1, 2, 3, 4, 5}) {
    CAPTURE(first_back);
    PoolOfOne bench;
    std::vector<Lease> held = leases(*bench.pool, 6);
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(first_back));
    bench.end_session();
    for (const Lease& lease : held) CHECK(lease->binding == nullptr);
  }
}

TEST_CASE("a binding the engine refuses leaves the pool as it was") {
  PoolOfOne bench;
  const Lease lease = bench.pool->lease();
  bench.plan->on_bind = [](Side, size_t) { throw Error(Code::engine_failed, "bind: no"); };
  check_refusal(Code::engine_failed, {"bind: no"}, [&] { (void)bench.pool->lease(); });
  bench.plan->on_bind = [](Side, size_t) {};
  CHECK(bench.pool->lease()->view.data != lease->view.data);
  bench.end_session();
}

TEST_CASE("an output of unknown size has no pool") {
  PoolOfOne bench;
  check_refusal(Code::engine_failed, {"output 3", "[-1, 2]"}, [&] {
    OutputPool(*bench.session, 3, DType::uint8, Shape{-1, 2}, Account::make());
  });
  bench.end_session();
}

TEST_CASE("leases passed between threads are each given back once, while the session ends") {
  for (int round = 0; round < 50; ++round) {
    PoolOfOne bench;
    std::mutex mutex;
    std::vector<Lease> passed;
    bool is_over = false;
    std::vector<std::thread> takers;
    for (int i = 0; i < 3; ++i) {
      takers.emplace_back([&] {
        for (;;) {
          Lease lease;
          {
            const std::lock_guard lock(mutex);
            if (passed.empty() && is_over) return;
            if (passed.empty()) continue;
            lease = std::move(passed.back());
            passed.pop_back();
          }
          // The engine's write is seen by whoever the lease was passed to.
          if (lease->view.data[0] != std::byte{9}) bench.books.complain("a lease without what was written to it");
        }
      });
    }
    for (int i = 0; i < 200; ++i) {
      Lease lease = bench.pool->lease();
      lease->view.data[0] = std::byte{9};
      const std::lock_guard lock(mutex);
      passed.push_back(std::move(lease));
    }
    bench.end_session();
    {
      const std::lock_guard lock(mutex);
      is_over = true;
    }
    for (std::thread& taker : takers) taker.join();
  }
}

// ---- Memory of the engine's own.

// A fake session whose output is in the engine's own memory, run once on {41} and zeros.
struct EngineOutput {
  EngineOutput() {
    plan->outputs[0].shape = {-1};
    session = std::make_shared<FakeSession>(plan, books);
    const Shape shape{2, 3};
    session->resize({&shape, 1});
    const Block input = Block::zeroed(6);
    input.data()[4] = std::byte{41};
    Binding bound = session->bind(Side::input, 0, {DType::uint8, shape, input.data(), 6});
    session->run({&bound, 1}, {&output, 1});
    session->release(bound);
  }

  Books books;
  std::shared_ptr<FakeModel> plan = std::make_shared<FakeModel>();
  std::shared_ptr<FakeSession> session;
  Binding output = nullptr;
};

TEST_CASE("memory that the engine made is released when its lease ends, and holds the session till then") {
  EngineOutput bench;
  Lease lease = lease_of_engine(bench.session, bench.output);
  bench.session.reset();
  CHECK(bench.books.live_sessions == 1);
  CHECK(lease->view.shape == Shape{1});
  CHECK(lease->view.data[0] == std::byte{42});
  std::thread([&] { lease.reset(); }).join();
  CHECK(bench.books.live_bindings() == 0);
  CHECK(bench.books.live_sessions == 0);
}

TEST_CASE("memory that the engine made and cannot describe is released") {
  EngineOutput bench;
  bench.plan->on_view = [] { throw Error(Code::unsupported_model, "view: no"); };
  check_refusal(Code::unsupported_model, {"view: no"}, [&] { (void)lease_of_engine(bench.session, bench.output); });
  CHECK(bench.books.live_bindings() == 0);
}

TEST_CASE("a child process leaves memory that the engine made to the engine") {
  EngineOutput bench;
  Lease lease = lease_of_engine(bench.session, bench.output);
  bench.session.reset();
  CHECK(outcome_in_child([&] {
          lease.reset();
          return bench.books.live_bindings() == 1 && bench.books.live_sessions == 1;
        }) == "");
}

TEST_CASE("a child process gives leases back without touching the engine") {
  PoolOfOne bench;
  std::vector<Lease> held = leases(*bench.pool, kMaxIdle + 3);
  CHECK(outcome_in_child([&] {
          held.clear();
          return bench.books.live_bindings() == kMaxIdle + 3;
        }) == "");
  bench.end_session();
}

TEST_CASE("a child process does not wait for a pool that another thread held when it was forked") {
  PoolOfOne bench;
  Lease lease = bench.pool->lease();
  // The engine binds inside lease(), under the pool's lock: hold it there while this thread forks.
  std::mutex gate;
  gate.lock();
  std::atomic<bool> is_inside{false};
  bench.plan->on_bind = [&](Side, size_t) {
    is_inside = true;
    is_inside.notify_all();
    const std::lock_guard wait(gate);
  };
  Lease other;
  std::thread binder([&] { other = bench.pool->lease(); });
  is_inside.wait(false);
  CHECK(outcome_in_child([&] {
          lease.reset();
          return true;
        }) == "");
  gate.unlock();
  binder.join();
  bench.end_session();
}

}  // namespace edgeward
