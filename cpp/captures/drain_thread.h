// DrainThread: a thread of this process that drains a directory of rings as long as this object lives. Any thread may
// call it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "captures/drain.h"
#include "system/fork.h"

namespace edgeward {

class DrainThread {
 public:
  // Takes over the drain.
  explicit DrainThread(std::unique_ptr<Drain> drain);
  // Brings what the rings hold to the disk, seals it, and ends the thread. In a forked child there is nothing to end.
  ~DrainThread();
  DrainThread(const DrainThread&) = delete;
  DrainThread& operator=(const DrainThread&) = delete;

  // Waits until everything that was committed before the call is on the disk; false when the time is over first.
  bool flush(int timeout_ms);
  DrainCounters counters() const;
  std::string complaint() const;

 private:
  void run();

  ForkMark fork_mark_;
  std::unique_ptr<Drain> drain_;  // the thread's
  mutable std::mutex mutex_;      // guards what follows
  std::unique_ptr<std::condition_variable> passed_ = std::make_unique<std::condition_variable>();
  DrainCounters counters_;
  std::string complaint_;
  uint64_t flushed_count_ = 0;    // of the calls of flush(), those whose records are on the disk
  uint64_t requested_count_ = 0;  // of the calls of flush()
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace edgeward
