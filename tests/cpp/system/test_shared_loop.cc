#include "system/shared_loop.h"

#include <doctest/doctest.h>

#include <numeric>
#include <stdexcept>
#include <string>

namespace edgeward {
namespace {

TEST_CASE("each index is worked on once, by no more threads than are allowed") {
  for (const uint64_t count : {0, 1, 2, 7, 1000}) {
    for (const uint64_t step : {1, 3, 64}) {
      for (const int max_threads : {-1, 1, 2, 8}) {
        CAPTURE(count);
        CAPTURE(step);
        CAPTURE(max_threads);
        std::vector<int> visits(count);
        std::atomic<int> work_count{0};
        for_each_shared(count, step, max_threads, [&] {
          ++work_count;
          return [&](uint64_t index) { ++visits[index]; };
        });
        CHECK(visits == std::vector<int>(count, 1));
        CHECK(work_count >= 1);
        CHECK(work_count <= std::max(max_threads, 1));
      }
    }
  }
}

TEST_CASE("consecutive indices of a step are one thread's") {
  std::vector<std::thread::id> threads(96);
  for_each_shared(threads.size(), 16, 4,
                  [&] { return [&](uint64_t index) { threads[index] = std::this_thread::get_id(); }; });
  for (size_t i = 0; i < threads.size(); ++i) CHECK(threads[i] == threads[i / 16 * 16]);
}

TEST_CASE("the lowest index that failed is the one that is reported, after all threads have ended") {
  for (int attempt = 0; attempt < 50; ++attempt) {
    std::atomic<int> active{0};
    std::string message;
    try {
      for_each_shared(64, 1, 4, [&] {
        return [&](uint64_t index) {
          ++active;
          const bool fails = index >= 20;
          --active;
          if (fails) throw std::runtime_error(std::to_string(index));
        };
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "20");
    CHECK(active == 0);
  }
}

TEST_CASE("work that cannot be made is a failure") {
  const auto refuse = []() -> void (*)(uint64_t) { throw std::runtime_error("no work"); };
  CHECK_THROWS_WITH_AS(for_each_shared(4, 1, 2, refuse), "no work", std::runtime_error);
}

}  // namespace
}  // namespace edgeward
