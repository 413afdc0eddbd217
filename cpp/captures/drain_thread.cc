#include "captures/drain_thread.h"

#include <chrono>
#include <csignal>

#include "captures/tick_clock.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr int kMaxWait_ms = 50;
// How soon a drain that ends has a successor.
constexpr std::chrono::milliseconds kTakeOverEvery(500);

}  // namespace

DrainThread::DrainThread(std::string ring_directory, std::string capture_directory, const Budget& budget)
    : ring_directory_(std::move(ring_directory)), capture_directory_(std::move(capture_directory)), budget_(budget) {
  Drain::make_directories(ring_directory_, capture_directory_);
  try_take_over();
  // Signals are the application's: none is delivered to this thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

DrainThread::~DrainThread() {
  if (fork_mark_.is_foreign()) {
    leave_alone(thread_);
    leave_alone(drain_);
    // Their destructors would wait for threads of the parent that wait for them.
    leave_alone(passed_);
    leave_alone(called_);
    return;
  }
  end();
}

void DrainThread::end() {
  if (fork_mark_.is_foreign() || !thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    if (drain_ != nullptr) drain_->wake();
  }
  called_->notify_all();
  thread_.join();
}

void DrainThread::try_take_over() {
  std::unique_ptr<Drain> drain;
  std::string holder;
  std::string complaint;
  try {
    drain = std::make_unique<Drain>(ring_directory_, capture_directory_, budget_);
  } catch (const Error& error) {
    // It says who drains, behind what was expected.
    holder = error.what();
  } catch (const std::exception& error) {
    complaint = error.what();
  }
  const std::lock_guard lock(mutex_);
  drain_ = std::move(drain);
  holder_ = std::move(holder);
  complaint_ = std::move(complaint);
}

void DrainThread::drain(bool reads_all, bool is_last) {
  drain_->step(monotonic_ns());
  if (reads_all) {
    for (size_t turns = drain_->turn_count(); turns > 0; --turns) {
      do {
        drain_->step(monotonic_ns());
      } while (drain_->has_more());
    }
    drain_->flush();
  }
  if (!is_last) return;
  drain_->close();
  drain_->remove_ring_directory();
}

// Until there may be something to do.
void DrainThread::wait(uint64_t seen_count) {
  if (drain_ != nullptr) return drain_->wait(kMaxWait_ms);
  std::unique_lock lock(mutex_);
  called_->wait_for(lock, kTakeOverEvery, [&] { return is_over_ || requested_count_ > seen_count; });
}

void DrainThread::run() {
  for (bool is_last = false; !is_last;) {
    uint64_t requested_count = 0;
    bool is_flush = false;
    {
      const std::lock_guard lock(mutex_);
      is_last = is_over_;
      requested_count = requested_count_;
      is_flush = requested_count > answered_count_;
    }
    if (drain_ == nullptr) try_take_over();
    if (drain_ != nullptr) drain(is_last || is_flush, is_last);
    {
      const std::lock_guard lock(mutex_);
      if (drain_ != nullptr) {
        counters_ = drain_->counters();
        complaint_ = drain_->complaint();
      }
      // Not requested_count_: a flush() that was requested meanwhile waits for the next pass.
      if (complaint_.empty()) answered_count_ = requested_count;
      if (drain_ != nullptr && complaint_.empty()) complaint_ = drain_->refusal();
    }
    passed_->notify_all();
    if (!is_last) wait(requested_count);
  }
}

bool DrainThread::flush(int timeout_ms) {
  fork_mark_.require_same_process("capture");
  std::unique_lock lock(mutex_);
  const uint64_t own_count = ++requested_count_;
  if (drain_ != nullptr) drain_->wake();
  called_->notify_all();
  return passed_->wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return answered_count_ >= own_count; });
}

DrainCounters DrainThread::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

std::string DrainThread::complaint() const {
  const std::lock_guard lock(mutex_);
  return complaint_;
}

std::string DrainThread::holder() const {
  const std::lock_guard lock(mutex_);
  return holder_;
}

}  // namespace edgeward
