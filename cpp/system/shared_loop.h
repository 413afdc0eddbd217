// for_each_shared: a loop over indices whose rounds several threads take, as each of them is free.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace edgeward {

// Calls `work(index)` for each index below `count`, on the calling thread and up to `max_threads - 1` others, which end
// before this returns. `make_work()` gives each thread a `work` of its own. A thread takes `step` consecutive indices
// at a time, at least one. Throws what the lowest index that failed threw, after all threads have stopped.
template <class MakeWork>
void for_each_shared(uint64_t count, uint64_t step, int max_threads, const MakeWork& make_work) {
  const uint64_t threads = std::min<uint64_t>(count, static_cast<uint64_t>(std::max(max_threads, 1)));
  std::atomic<uint64_t> next{0};
  std::atomic<bool> has_failed{false};
  std::mutex mutex;
  std::exception_ptr failure;
  uint64_t failed_index = count;
  const auto run = [&] {
    uint64_t index = 0;
    try {
      auto work = make_work();
      // Indices that were taken are finished even when a later one has failed, so that the lowest error is reported.
      while (!has_failed.load(std::memory_order_relaxed)) {
        index = next.fetch_add(step, std::memory_order_relaxed);
        const uint64_t end = std::min(index + step, count);
        if (index >= end) return;
        for (; index < end; ++index) work(index);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      has_failed.store(true, std::memory_order_relaxed);
      if (failure != nullptr && index > failed_index) return;
      failure = std::current_exception();
      failed_index = index;
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      while (others.size() + 1 < threads) others.emplace_back(run);
    } catch (const std::system_error&) {
      // The system has no more threads: the ones that started do the work.
    }
    run();
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace edgeward
