// ForkMark: whether this process is a forked child of the one that created an object. An engine's threads and locks do
// not survive a fork, so an object from before it refuses calls in the child, and is left alone instead of destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
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

// The T of this process, made when it is first asked for and never destroyed. A forked child has another: a thread that
// the child lacks may have held the parent's locks. Any thread.
template <class T>
T& of_this_process() {
  struct Marked {
    ForkMark fork_mark;
    T value;
  };
  static std::atomic<Marked*> current{nullptr};
  // acquire; pairs with the release below.
  Marked* marked = current.load(std::memory_order_acquire);
  while (marked == nullptr || marked->fork_mark.is_foreign()) {
    auto fresh = std::make_unique<Marked>();
    if (current.compare_exchange_strong(marked, fresh.get(), std::memory_order_acq_rel)) return fresh.release()->value;
  }
  return marked->value;
}

}  // namespace edgeward
