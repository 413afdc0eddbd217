// Whether this process is a forked child of the one that made a thing. An engine's threads and locks do not cross a
// fork, so what was made before it is refused in the child, and left alone there instead of destroyed.
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
  void require_same_process(const char* what) const;

 private:
  static std::atomic<uint32_t> generation_;  // forks between the first process and this one
  uint32_t mark_;
};

// Forgets `owner` without ending what it owns, which another process made: its threads and locks are not in this one,
// and to end it could wait for them for ever.
template <class Owner>
void leave_alone(Owner& owner) noexcept {
  static_cast<void>(new (std::nothrow) Owner(std::move(owner)));
}

}  // namespace edgeward
