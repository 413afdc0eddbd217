#include "models/account.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "system/fork.h"

namespace edgeward {
namespace {

// Those of this process.
struct Accounts {
  std::mutex mutex;  // guards what follows
  std::vector<Account*> all;
};

uint64_t counted(const std::atomic<int64_t>& number) {
  return static_cast<uint64_t>(std::max<int64_t>(number.load(std::memory_order_relaxed), 0));
}

}  // namespace

std::shared_ptr<Account> Account::make() {
  std::shared_ptr<Account> account(new Account);
  auto& accounts = of_this_process<Accounts>();
  const std::lock_guard lock(accounts.mutex);
  accounts.all.push_back(account.get());
  return account;
}

Account::~Account() {
  auto& accounts = of_this_process<Accounts>();
  const std::lock_guard lock(accounts.mutex);
  std::erase(accounts.all, this);
}

MemoryReport Account::report() const {
  MemoryReport report;
  // Parts of it may be negative: what one took, another may have had free.
  int64_t arenas_bytes = arenas_bytes_.load(std::memory_order_relaxed);
  if (const auto engine = engine_.lock()) {
    const EngineMemory memory = engine->memory();
    report.file_bytes = memory.file_bytes;
    report.packed_bytes = memory.packed_bytes;
    arenas_bytes += memory.arenas_bytes + engine_arenas_bytes_.load(std::memory_order_relaxed);
  }
  report.arenas_bytes = static_cast<uint64_t>(std::max<int64_t>(arenas_bytes, 0));
  report.outputs_bytes = counted(outputs_bytes_);
  report.session_count = counted(session_count_);
  return report;
}

uint64_t Account::all_bytes() {
  std::vector<std::shared_ptr<const Account>> all;
  {
    auto& accounts = of_this_process<Accounts>();
    const std::lock_guard lock(accounts.mutex);
    for (const Account* account : accounts.all) all.push_back(account->weak_from_this().lock());
  }
  // Not under the lock: an engine that goes in here may wait for a thread that waits for the lock.
  uint64_t size_bytes = 0;
  for (const auto& account : all) size_bytes += account == nullptr ? 0 : account->report().total_bytes();
  return size_bytes;
}

std::shared_ptr<Block> Account::zeroed(size_t size_bytes) {
  struct Counted {
    Block block;
    Share share;
  };
  const std::shared_ptr<Counted> counted(
      new Counted{Block::zeroed(size_bytes), Share::of_output(shared_from_this(), size_bytes)});
  return {counted, &counted->block};
}

}  // namespace edgeward
