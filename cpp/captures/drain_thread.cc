#include "captures/drain_thread.h"

#include <chrono>
#include <csignal>

#include "captures/tick_clock.h"

namespace edgeward {
namespace {

constexpr int kLookEvery_ms = 50;

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
  if (home_.is_foreign()) {
    leave_alone(thread_);
    leave_alone(drain_);
    leave_alone(passed_);  // its end would wait for the parent's threads that wait for it
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
    uint64_t wanted_pass = 0;
    {
      const std::lock_guard lock(mutex_);
      is_last = is_over_;
      wanted_pass = wanted_pass_;
      is_flush = wanted_pass > pass_count_;
    }
    drain_->step(monotonic_ns());
    if (is_last || is_flush) {
      // What the last pass left, then all that is there now.
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
      if (is_flush && complaint_.empty()) pass_count_ = wanted_pass;  // not for one who asked meanwhile
    }
    passed_->notify_all();
    if (is_last) return;
    drain_->wait(kLookEvery_ms);
  }
}

bool DrainThread::flush(int timeout_ms) {
  home_.require_same_process("capture");
  std::unique_lock lock(mutex_);
  const uint64_t wanted = ++wanted_pass_;
  drain_->wake();
  return passed_->wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return pass_count_ >= wanted; });
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
