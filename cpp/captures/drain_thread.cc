#include "captures/drain_thread.h"

#include <chrono>
#include <csignal>

#include "captures/tick_clock.h"

namespace edgeward {
namespace {

constexpr int kMaxWait_ms = 50;

}  // namespace

DrainThread::DrainThread(std::unique_ptr<Drain> drain) : drain_(std::move(drain)) {
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
    leave_alone(passed_);  // its destructor would wait for threads of the parent that wait for it
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  drain_->wake();
  thread_.join();
}

void DrainThread::run() {
  for (bool is_last = false;;) {
    bool is_flush = false;
    uint64_t requested_count = 0;
    {
      const std::lock_guard lock(mutex_);
      is_last = is_over_;
      requested_count = requested_count_;
      is_flush = requested_count > flushed_count_;
    }
    drain_->step(monotonic_ns());
    if (is_last || is_flush) {
      // Read what the last pass left, then all that the rings hold now.
      while (drain_->has_more()) drain_->step(monotonic_ns());
      do {
        drain_->step(monotonic_ns());
      } while (drain_->has_more());
    }
    if (is_last || is_flush) drain_->flush();
    if (is_last) drain_->close();
    {
      const std::lock_guard lock(mutex_);
      counters_ = drain_->counters();
      complaint_ = drain_->complaint();
      // Not requested_count_: a flush() that was requested meanwhile waits for the next pass.
      if (is_flush && complaint_.empty()) flushed_count_ = requested_count;
    }
    passed_->notify_all();
    if (is_last) return;
    drain_->wait(kMaxWait_ms);
  }
}

bool DrainThread::flush(int timeout_ms) {
  fork_mark_.require_same_process("capture");
  std::unique_lock lock(mutex_);
  const uint64_t own_count = ++requested_count_;
  drain_->wake();
  return passed_->wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return flushed_count_ >= own_count; });
}

DrainCounters DrainThread::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

std::string DrainThread::complaint() const {
  const std::lock_guard lock(mutex_);
  return complaint_;
}

}  // namespace edgeward
