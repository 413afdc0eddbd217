#include "models/lease.h"

#include "error.h"

namespace edgeward {

void GiveBack::operator()(OutputMemory* memory) const noexcept {
  if (memory->fork_mark.is_foreign()) return;
  if (memory->pool != nullptr) {
    const std::shared_ptr<OutputPool> pool = std::move(memory->pool);
    pool->take_back(memory);
    return;
  }
  memory->engine->release(memory->binding);
  delete memory;
}

Lease lease_of_engine(std::shared_ptr<EngineSession> engine, Binding binding) {
  Lease lease(new OutputMemory(Account::Share()));
  lease->binding = binding;
  lease->engine = std::move(engine);
  lease->view = lease->engine->view(binding, lease->block);  // if it throws, the lease releases the binding
  return lease;
}

OutputPool::OutputPool(EngineSession& engine, size_t index, DType dtype, const Shape& shape,
                       std::shared_ptr<Account> account)
    : index_(index), blueprint_{dtype, shape, nullptr, size_bytes(dtype, shape).value_or(0)},
      account_(std::move(account)), engine_(&engine) {
  if (!size_bytes(dtype, shape))
    throw Error(Code::engine_failed, "output ", index, ": expected a known size, got ", text(shape));
}

Lease OutputPool::lease() {
  std::unique_ptr<OutputMemory> memory;
  const std::lock_guard lock(mutex_);
  if (!idle_.empty()) {
    memory = std::move(idle_.back());
    idle_.pop_back();
  } else {
    idle_.reserve(kMaxIdle);  // so that take_back() cannot fail
    memory = std::make_unique<OutputMemory>(Account::Share::of_output(account_, blueprint_.size_bytes));
    memory->block = Block::zeroed(blueprint_.size_bytes);
    memory->view = blueprint_;
    memory->view.data = memory->block.data();
    memory->binding = engine_->bind(Side::output, index_, memory->view);
  }
  memory->previous = nullptr;
  memory->next = lent_;
  if (lent_ != nullptr) lent_->previous = memory.get();
  lent_ = memory.get();
  memory->pool = shared_from_this();
  return Lease(memory.release());
}

void OutputPool::take_back(OutputMemory* memory) noexcept {
  std::unique_ptr<OutputMemory> owned(memory);
  // `owned` outlives the lock: freeing a block may cost a system call.
  std::unique_lock lock(mutex_);
  if (memory->previous != nullptr) {
    memory->previous->next = memory->next;
  } else {
    lent_ = memory->next;
  }
  if (memory->next != nullptr) memory->next->previous = memory->previous;
  if (engine_ == nullptr) return;
  if (idle_.size() < kMaxIdle) {
    idle_.push_back(std::move(owned));
    return;
  }
  engine_->release(memory->binding);
}

void OutputPool::orphan() noexcept {
  const std::lock_guard lock(mutex_);
  for (const std::unique_ptr<OutputMemory>& memory : idle_) engine_->release(memory->binding);
  idle_.clear();
  for (OutputMemory* memory = lent_; memory != nullptr; memory = memory->next) {
    engine_->release(memory->binding);
    memory->binding = nullptr;
  }
  engine_ = nullptr;
}

}  // namespace edgeward
