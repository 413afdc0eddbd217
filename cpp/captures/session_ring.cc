#include "captures/session_ring.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "captures/tick_clock.h"
#include "system/file.h"

namespace edgeward {
namespace {

constexpr uint64_t kRetryAfter_ns = 1'000'000'000;
// A run that was writing a record when its ring was ended is soon done with it.
constexpr std::chrono::milliseconds kMaxWriting(1000);

std::string no_room(const RingPlan& plan, uint64_t free) {
  return "rings \"" + plan.directory + "\": expected " + std::to_string(kRingDataOffset + plan.bytes) +
         " bytes for a ring, got " + std::to_string(free) +
         " free: " + (plan.bytes > kMinRingBytes ? "give a smaller ring_bytes, or " : "") +
         "name a larger directory by $EDGEWARD_RINGS";
}

}  // namespace

SessionRing::SessionRing(RingPlan plan) : plan_(std::move(plan)) { try_make(); }

// Whether there is a ring now. Asks the file system first: to fill it up and give it all back takes long.
bool SessionRing::try_make() {
  retry_at_ns_ = monotonic_ns() + kRetryAfter_ns;
  const uint64_t free = free_bytes(plan_.directory);
  std::string failure;
  std::unique_ptr<RingWriter> writer;
  if (free < kRingDataOffset + plan_.bytes) {
    failure = no_room(plan_, free);
  } else {
    try {
      writer = std::make_unique<RingWriter>(plan_.directory, plan_.bytes, plan_.keep, plan_.description,
                                            plan_.recipient, plan_.newest);
    } catch (const std::filesystem::filesystem_error& error) {
      const bool is_full = error.code() == std::errc::no_space_on_device;
      failure = is_full ? no_room(plan_, free_bytes(plan_.directory)) : error.what();
    }
  }
  const std::lock_guard lock(mutex_);
  failure_ = std::move(failure);
  if (writer == nullptr) return false;
  writer->count(std::exchange(unringed_, {}));
  writer_ = std::move(writer);
  return true;
}

void SessionRing::count_unringed(uint64_t RingCounters::*counter, uint64_t number) {
  const std::lock_guard lock(mutex_);
  unringed_.*counter += number;
}

std::span<std::byte> SessionRing::try_claim(uint32_t size_bytes, uint64_t monotonic_ns) {
  const bool is_due = writer_ == nullptr && edgeward::monotonic_ns() >= retry_at_ns_;
  if (writer_ == nullptr && !(is_due && try_make())) {
    count_unringed(&RingCounters::lost_full, 1);
    return {};
  }
  is_writing_.store(true, std::memory_order_relaxed);
  // end() makes the processor do what is fenced against the compiler alone here.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const bool has_ended = has_ended_.load(std::memory_order_relaxed);
  if (has_ended) writer_->count({.lost_full = 1});
  const auto room = has_ended ? std::span<std::byte>() : writer_->try_claim(size_bytes, monotonic_ns);
  if (room.empty()) is_writing_.store(false, std::memory_order_relaxed);
  return room;
}

uint64_t SessionRing::lost() const {
  if (writer_ != nullptr) return writer_->lost();
  const std::lock_guard lock(mutex_);
  return unringed_.lost_full + unringed_.lost_large;
}

RingCounters SessionRing::counters() const {
  const std::lock_guard lock(mutex_);
  return writer_ == nullptr ? unringed_ : writer_->counters();
}

std::string SessionRing::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void SessionRing::end() {
  has_ended_.store(true, std::memory_order_seq_cst);
  // Each thread either sees that, or has said before that it writes. A kernel without the call is given the time.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto deadline = std::chrono::steady_clock::now() + kMaxWriting;
  while (is_writing_.load(std::memory_order_acquire) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  const std::lock_guard lock(mutex_);
  if (writer_ != nullptr) writer_->end();
}

std::optional<SessionRing::Progress> SessionRing::progress() const {
  const std::lock_guard lock(mutex_);
  if (writer_ == nullptr) return std::nullopt;
  return Progress{writer_->path(),
                  plan_.keep,
                  writer_->committed_position(),
                  writer_->drained_position(),
                  writer_->drained_count(),
                  writer_->waiting_since_ns()};
}

uint64_t SessionRing::waiting_count() const {
  const std::lock_guard lock(mutex_);
  if (writer_ == nullptr) return 0;
  if (plan_.keep == Keep::newest) return writer_->unread_count();
  return writer_->counters().committed - writer_->drained_count();
}

std::optional<uint64_t> SessionRing::save() {
  const std::lock_guard lock(mutex_);
  if (writer_ == nullptr) return std::nullopt;
  return plan_.keep == Keep::newest ? writer_->save() : writer_->committed_position();
}

}  // namespace edgeward
