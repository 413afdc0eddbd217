// CompiledPool: compiled models of one signature that sessions borrow for the length of a run, since each holds memory
// for the tensors between the operators and none needs what an earlier run left there. There are at most as many as
// run at once, and never more than sessions. Any thread; compiles while it holds no lock.
// Decision: docs/decisions/0024.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engines/handle.h"
#include "engines/weight_cache.h"
#include "system/growth.h"

namespace edgeward {

// A compiled model, destroyed before the weights that it maps.
struct Compiled {
  Compiled(std::shared_ptr<const WeightCache> weights, Owned compiled)
      : cache(std::move(weights)), model(std::move(compiled)) {}
  Compiled(Compiled&&) noexcept = default;
  Compiled& operator=(Compiled&& other) noexcept {
    std::swap(cache, other.cache);
    std::swap(model, other.model);
    std::swap(measured_run_count, other.measured_run_count);
    std::swap(is_checked, other.is_checked);
    arenas = std::move(other.arenas);
    return *this;
  }
  ~Compiled() {
    if (model.get() != nullptr) edgeward::give_back([this] { model = Owned(nullptr, nullptr); });
  }

  std::shared_ptr<const WeightCache> cache;  // null when it has packed for itself
  Owned model;
  int measured_run_count = 0;
  bool is_checked = true;  // false: a run or a plan may read pages that were given back
  Holding arenas;          // what it took
};

class CompiledPool {
 public:
  // How compiled models are made and kept. Each is called by any thread, the last two with locks held.
  struct Rules {
    std::function<Compiled()> make;                    // throws what borrow() throws
    std::function<bool(const Compiled&)> is_outdated;  // it would share memory if it were made anew
    std::function<bool()> is_last_kept;  // without a session too, since it may not be possible to make another
  };
  // At most `most` are lent at once, at least 1.
  CompiledPool(size_t most, Rules rules) : rules_(std::move(rules)), most_(most) {}
  CompiledPool(const CompiledPool&) = delete;
  CompiledPool& operator=(const CompiledPool&) = delete;

  // A session begins to borrow here when others do already or a compiled model is left; false when not.
  bool try_join();
  // It begins to borrow, and brings a compiled model.
  void join_with(Compiled compiled);
  // It borrows no more. What the other sessions cannot need goes.
  void leave() noexcept;
  // The same; what they cannot need is the caller's.
  std::optional<Compiled> leave_with() noexcept;

  // The caller returns it by one of the two that follow. Waits while `most` are lent, or when no more can be made, for
  // its turn to come.
  Compiled borrow();
  void give_back(Compiled compiled) noexcept;
  // In place of a compiled model that failed, which goes.
  void give_nothing_back() noexcept;

  // How many loans in a row an idle compiled model may be left over at before it goes.
  static constexpr uint32_t kIdleWindow = 1024;

 private:
  struct Turn {
    std::condition_variable came;
    bool is_now = false;
    std::optional<Compiled> compiled;
  };

  Compiled take_last();
  std::optional<Compiled> take_oldest();
  // Whether more compiled models exist than sessions.
  bool has_surplus() const { return !idle_.empty() && idle_.size() + lent_count_ > session_count_; }
  // What is handed on, and nothing when it is to be made. With the lock held.
  std::optional<Compiled> wait_for_turn(std::unique_lock<std::mutex>& lock);
  // Lets the next one have its turn, with what was given back.
  void end_loan(std::optional<Compiled> compiled);

  const Rules rules_;
  std::mutex mutex_;  // guards what follows
  size_t most_;
  std::vector<Compiled> idle_;  // the last is lent first
  size_t lent_count_ = 0;       // or about to be made
  std::deque<Turn*> waiting_;   // the first is next
  size_t session_count_ = 0;
  size_t least_idle_ = 0;  // left over in each of the last `loan_count_` loans
  uint32_t loan_count_ = 0;
};

}  // namespace edgeward
