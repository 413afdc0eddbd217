// Lease: one output's memory, bound to the engine and lent to the caller, who returns it from any thread. A pool keeps
// a few idle pieces, so that a loop in its steady state allocates and binds nothing.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engines/engine.h"
#include "models/account.h"
#include "system/fork.h"
#include "system/memory.h"

namespace edgeward {

class OutputPool;

// Memory, and the engine's own object around it; null while there is none.
struct BoundTensor {
  TensorView view{};
  Binding binding = nullptr;
};

// The binding is null once the session is gone.
struct OutputMemory : BoundTensor {
  Block block;                            // empty when the memory is the engine's own, and not strings
  std::shared_ptr<OutputPool> pool;       // set while lent out of a pool
  std::shared_ptr<EngineSession> engine;  // set while the memory is the engine's own
  ForkMark fork_mark;  // memory from before a fork is left alone in the child, where its locks may be held
  OutputMemory* previous = nullptr;  // the pool's list of lent memory
  OutputMemory* next = nullptr;
  Account::Share share;

  explicit OutputMemory(Account::Share counted) : share(std::move(counted)) {}
};

struct GiveBack {
  void operator()(OutputMemory* memory) const noexcept;
};
using Lease = std::unique_ptr<OutputMemory, GiveBack>;

// A lease of memory that the engine allocated during a run. Throws Error as EngineSession::view does.
Lease lease_of_engine(std::shared_ptr<EngineSession> engine, Binding binding);

// The memory of one output of one session, all of one shape. lease() is called by the session's thread; any thread may
// return a lease.
class OutputPool : public std::enable_shared_from_this<OutputPool> {
 public:
  OutputPool(EngineSession& engine, size_t index, DType dtype, const Shape& shape, std::shared_ptr<Account> account);

  // Idle memory, or newly allocated. Throws Error(out_of_memory | engine_failed).
  Lease lease();

  // Called when the session ends: releases every binding. Lent memory stays valid until it is returned.
  void orphan() noexcept;

 private:
  friend struct GiveBack;
  void take_back(OutputMemory* memory) noexcept;

  static constexpr size_t kMaxIdle = 4;

  const size_t index_;
  const TensorView blueprint_;  // no data
  const std::shared_ptr<Account> account_;
  std::mutex mutex_;       // guards what follows
  EngineSession* engine_;  // null once orphaned
  std::vector<std::unique_ptr<OutputMemory>> idle_;
  OutputMemory* lent_ = nullptr;  // so that orphan() reaches the bindings of lent memory
};

}  // namespace edgeward
