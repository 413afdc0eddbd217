// Account: what one model holds in memory, kept by those who take it: the model, its sessions, and the memory of inputs
// and outputs, each of which may be the last to go. Any thread. An account knows nothing of the process that forked
// this one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engines/engine.h"
#include "system/memory.h"

namespace edgeward {

// Bytes. What each kind is and is not: docs/library.md, "Memory".
struct MemoryReport {
  uint64_t file_bytes = 0;
  uint64_t packed_bytes = 0;
  uint64_t arenas_bytes = 0;
  uint64_t outputs_bytes = 0;
  uint64_t session_count = 0;
  uint64_t total_bytes() const { return file_bytes + packed_bytes + arenas_bytes + outputs_bytes; }
};

class Account : public std::enable_shared_from_this<Account> {
 public:
  static std::shared_ptr<Account> make();
  ~Account();
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  // Once, before any other thread has the account.
  void name_engine(std::weak_ptr<const Engine> engine) { engine_ = std::move(engine); }

  MemoryReport report() const;
  // The total of all accounts of this process.
  static uint64_t all_bytes();

  // What an engine took for a session, or for itself, as long as it lasts. May be negative.
  void add_arenas(int64_t size_bytes) { arenas_bytes_.fetch_add(size_bytes, std::memory_order_relaxed); }
  void add_engine_arenas(int64_t size_bytes) { engine_arenas_bytes_.fetch_add(size_bytes, std::memory_order_relaxed); }

  // A session, or memory for a tensor, for as long as it lasts.
  class Share {
   public:
    Share() = default;
    static Share of_session(std::shared_ptr<Account> account) { return {std::move(account), 0, 1}; }
    static Share of_output(std::shared_ptr<Account> account, size_t size_bytes) {
      return {std::move(account), static_cast<int64_t>(size_bytes), 0};
    }
    Share(Share&& other) noexcept = default;
    Share& operator=(Share&&) = delete;
    ~Share() {
      if (account_ != nullptr) account_->add(-size_bytes_, -session_count_);
    }

   private:
    Share(std::shared_ptr<Account> account, int64_t size_bytes, int64_t session_count)
        : account_(std::move(account)), size_bytes_(size_bytes), session_count_(session_count) {
      account_->add(size_bytes_, session_count_);
    }

    std::shared_ptr<Account> account_;
    int64_t size_bytes_ = 0;
    int64_t session_count_ = 0;
  };

  // A block of zeroes for one tensor, which counts as long as it lasts.
  std::shared_ptr<Block> zeroed(size_t size_bytes);

 private:
  Account() = default;
  void add(int64_t outputs_bytes, int64_t session_count) {
    outputs_bytes_.fetch_add(outputs_bytes, std::memory_order_relaxed);
    session_count_.fetch_add(session_count, std::memory_order_relaxed);
  }

  std::weak_ptr<const Engine> engine_;
  std::atomic<int64_t> arenas_bytes_{0};
  std::atomic<int64_t> engine_arenas_bytes_{0};
  std::atomic<int64_t> outputs_bytes_{0};
  std::atomic<int64_t> session_count_{0};
};

}  // namespace edgeward
