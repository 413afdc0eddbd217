// Growth: what this process's memory grows by while something is made, from construction on. The engines have no way to
// report what they allocate, so it is measured: anonymous_bytes() at the beginning and at the end.
//
// What other threads allocate meanwhile counts too. Where several measure at once, each has an equal part of what the
// process grew by, so that together they have all of it, once; of several in one thread the innermost has it.
#pragma once

#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <utility>

namespace edgeward {

// Constructed, asked and destroyed by one thread, in the reverse order of construction there.
class Growth {
 public:
  Growth();
  ~Growth();
  Growth(const Growth&) = delete;
  Growth& operator=(const Growth&) = delete;

  // So far; negative when more was freed.
  int64_t bytes();

 private:
  friend struct Growths;
  Growth* outer_;  // of this thread
  double bytes_ = 0;
};

// While it lasts this thread waits for another, and has no part of what the process grows by. Of one thread.
class Waiting {
 public:
  Waiting();
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Growth* growth_;  // null when this thread measures none
};

// While it lasts nobody's growth is measured; other threads that measure wait.
class Unmeasured {
 public:
  Unmeasured();
  ~Unmeasured();
  Unmeasured(const Unmeasured&) = delete;
  Unmeasured& operator=(const Unmeasured&) = delete;
};

// Returns to the system what `free` frees and what is free besides, which is then nobody's growth: glibc keeps it among
// what is not free. Measures of other threads wait meanwhile. `free` waits for no other thread.
template <class Free>
void give_back(Free free) {
  const Unmeasured unmeasured;
  free();
  malloc_trim(0);
}

// The runs, first on inputs of a size, in which engines take memory: ONNX Runtime lays its tensors out anew for the
// second.
inline constexpr int kMeasuredRuns = 2;

// Bytes that count in a total, as long as the holding lasts. The total outlives it.
class Holding {
 public:
  Holding() = default;
  explicit Holding(std::atomic<int64_t>& total) : total_(&total) {}
  Holding(Holding&& other) noexcept : total_(other.total_), bytes_(std::exchange(other.bytes_, 0)) {}
  Holding& operator=(Holding&& other) noexcept {
    std::swap(total_, other.total_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Holding() { add(-bytes_); }

  // Nothing for a holding without a total.
  void add(int64_t bytes) {
    if (total_ == nullptr) return;
    bytes_ += bytes;
    total_->fetch_add(bytes, std::memory_order_relaxed);
  }

 private:
  std::atomic<int64_t>* total_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace edgeward
