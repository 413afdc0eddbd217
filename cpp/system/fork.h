// ForkMark: whether this process is a forked child of the one that created an object. An engine's threads and locks do
// not survive a fork, so an object from before it refuses calls in the child, and is left alone instead of destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>
#include <utility>

namespace edgeward {

class ForkMark {
 public:
  ForkMark();
  // True in a child forked after this mark was made. One load; any thread.
  bool is_foreign() const { return mark_ != generation_.load(std::memory_order_relaxed); }
  // Throws Error(forked), naming `what`.
  void require_same_process(const char* what) const {
    if (is_foreign()) refuse(what);
  }

 private:
  [[noreturn]] static void refuse(const char* what);

  static std::atomic<uint32_t> generation_;  // forks between the first process and this one
  uint32_t mark_;
};

// Forgets `owner` without destroying what it owns, which another process created: its threads and locks do not exist in
// this one, and a destructor could wait for them for ever.
template <class Owner>
void leave_alone(Owner& owner) noexcept {
  static_cast<void>(new (std::nothrow) Owner(std::move(owner)));
}

}  // namespace edgeward
