// What a test tells the fake libLiteRt.so, and what it learns from it. One for the process; reached by symbol.
#pragma once

#include <atomic>
#include <cstdint>

struct FakeLitert {
  // What the library shall answer. 0: success.
  std::atomic<int> environment_status{0};
  std::atomic<int> model_status{0};
  std::atomic<int> compile_status{0};
  std::atomic<int> resize_status{0};
  std::atomic<int> buffer_status{0};
  std::atomic<int> run_status{0};
  std::atomic<int> fallback_count{0};  // nodes that its profiler tells of
  std::atomic<int> rows_after_run{0};  // when not 0: how many rows the output turns out to have
  std::atomic<const char*> input_name{"x"};
  std::atomic<bool> takes_caches{true};  // of packed weights

  // What it was asked.
  std::atomic<int> live_objects{0};
  std::atomic<int> live_buffers{0};
  std::atomic<int> compilations{0};
  std::atomic<int> runs{0};
  std::atomic<int> registrations{0};  // of an input, in a run
  std::atomic<int> packs{0};          // caches that it has written
  std::atomic<int> mapped{0};         // compiled models that map a cache
  std::atomic<int> accelerators{0};
  std::atomic<int> threads{0};
  std::atomic<int64_t> looked_for_accelerators{-1};
  std::atomic<int> complaints{0};  // a wrong object, size or alignment, or two threads in one compiled model
};

extern "C" FakeLitert* fake_litert();
