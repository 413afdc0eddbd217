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
    arenas = std::move(other.arenas);
    return *this;
  }
  ~Compiled() {
    if (model.get() != nullptr) edgeward::give_back([this] { model = Owned(nullptr, nullptr); });
  }

  std::shared_ptr<const WeightCache> cache;  // null when it has packed for itself
  Owned model;
  int measured_run_count = 0;
  Holding arenas;  // what it took
};

class CompiledPool {
 public:
  // `make` compiles one, on any thread, and throws what borrow() throws. `is_outdated` tells of one that would share
  // memory if it were made anew. At most `most` are lent at once, at least 1.
  CompiledPool(size_t most, std::function<Compiled()> make, std::function<bool(const Compiled&)> is_outdated)
      : most_(most), make_(std::move(make)), is_outdated_(std::move(is_outdated)) {}
  CompiledPool(const CompiledPool&) = delete;
  CompiledPool& operator=(const CompiledPool&) = delete;

  // A session begins to borrow here when others do already; false when there are none.
  bool try_join();
  // It begins to borrow, and brings a compiled model.
  void join_with(Compiled compiled);
  // It borrows no more. What the other sessions cannot need goes, or is the caller's.
  void leave() noexcept { (void)leave_with(); }
  std::optional<Compiled> leave_with() noexcept;

  // The caller returns it by one of the two that follow. Waits while `most` are lent, and its turn to come.
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

  std::optional<Compiled> take_oldest();
  // Whether more compiled models exist than sessions.
  bool has_surplus() const { return !idle_.empty() && idle_.size() + lent_count_ > session_count_; }
  // Lets the next one have its turn, with what was given back.
  void end_loan(std::optional<Compiled> compiled);

  const size_t most_;
  const std::function<Compiled()> make_;
  const std::function<bool(const Compiled&)> is_outdated_;
  std::mutex mutex_;            // guards what follows
  std::vector<Compiled> idle_;  // the last is lent first
  size_t lent_count_ = 0;       // or about to be made
  std::deque<Turn*> waiting_;   // the first is next
  size_t session_count_ = 0;
  size_t least_idle_ = 0;  // left over in each of the last `loan_count_` loans
  uint32_t loan_count_ = 0;
};

}  // namespace edgeward
