#include "engines/compiled_pool.h"

#include <algorithm>
#include <utility>

namespace edgeward {

bool CompiledPool::try_join() {
  const std::lock_guard lock(mutex_);
  if (session_count_ == 0 && idle_.empty()) return false;
  idle_.reserve(std::min(most_, session_count_ + 1));  // so that give_back() cannot fail
  ++session_count_;
  return true;
}

void CompiledPool::join_with(Compiled compiled) {
  std::optional<Compiled> leftover;  // outlives the lock: ending it takes time
  const std::lock_guard lock(mutex_);
  idle_.reserve(std::min(most_, session_count_ + 1));
  ++session_count_;
  if (idle_.size() + lent_count_ < most_) {
    idle_.push_back(std::move(compiled));
  } else {
    leftover = std::move(compiled);
  }
}

void CompiledPool::leave() noexcept {
  std::optional<Compiled> leftover;  // outlives the lock
  const std::lock_guard lock(mutex_);
  --session_count_;
  const bool keeps_last = session_count_ == 0 && idle_.size() == 1 && rules_.is_last_kept();
  if (has_surplus() && !keeps_last) leftover = take_oldest();
}

std::optional<Compiled> CompiledPool::leave_with() noexcept {
  const std::lock_guard lock(mutex_);
  --session_count_;
  return has_surplus() ? take_oldest() : std::nullopt;
}

std::optional<Compiled> CompiledPool::take_oldest() {
  std::optional<Compiled> oldest(std::move(idle_.front()));
  idle_.erase(idle_.begin());
  return oldest;
}

Compiled CompiledPool::borrow() {
  std::optional<Compiled> compiled;
  {
    std::unique_lock lock(mutex_);
    if (lent_count_ < most_) {
      ++lent_count_;
      if (!idle_.empty()) compiled = take_last();
    } else {
      compiled = wait_for_turn(lock);
    }
    least_idle_ = std::min(least_idle_, idle_.size());
  }
  while (!compiled || rules_.is_outdated(*compiled)) {
    try {
      compiled.reset();
      return rules_.make();
    } catch (...) {
      std::unique_lock lock(mutex_);
      const size_t other_count = lent_count_ - 1 + idle_.size();
      if (other_count == 0) {
        end_loan(std::nullopt);
        throw;
      }
      // They serve all runs from now on.
      most_ = std::min(most_, other_count);
      if (idle_.empty()) {
        --lent_count_;
        compiled = wait_for_turn(lock);
      } else {
        compiled = take_last();
      }
    }
  }
  return std::move(*compiled);
}

Compiled CompiledPool::take_last() {
  Compiled last = std::move(idle_.back());
  idle_.pop_back();
  return last;
}

// Whoever gives one back hands it on. Otherwise a thread in a loop would be faster than those that wake.
std::optional<Compiled> CompiledPool::wait_for_turn(std::unique_lock<std::mutex>& lock) {
  Turn turn;
  waiting_.push_back(&turn);
  const Waiting waiting;
  turn.came.wait(lock, [&] { return turn.is_now; });
  return std::move(turn.compiled);
}

void CompiledPool::give_back(Compiled compiled) noexcept {
  if (rules_.is_outdated(compiled)) {
    { const Compiled outdated = std::move(compiled); }  // before its successor is made
    return give_nothing_back();
  }
  std::optional<Compiled> leftover;  // outlives the lock
  const std::lock_guard lock(mutex_);
  end_loan(std::move(compiled));
  const bool is_window_over = ++loan_count_ >= kIdleWindow;
  if (has_surplus() || (is_window_over && least_idle_ > 0)) leftover = take_oldest();
  if (!is_window_over) return;
  least_idle_ = idle_.size();
  loan_count_ = 0;
}

void CompiledPool::give_nothing_back() noexcept {
  const std::lock_guard lock(mutex_);
  end_loan(std::nullopt);
}

void CompiledPool::end_loan(std::optional<Compiled> compiled) {
  if (waiting_.empty()) {
    --lent_count_;
    if (compiled) idle_.push_back(std::move(*compiled));
    return;
  }
  Turn& next = *waiting_.front();
  waiting_.pop_front();
  next.is_now = true;
  next.compiled = std::move(compiled);
  next.came.notify_one();  // under the lock, since the turn ends with the call that waits
}

}  // namespace edgeward
