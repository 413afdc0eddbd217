// DrainThread: a thread of this process that drains a directory of rings until it is told to stop. Any thread may ask.
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
  // Brings what the rings hold to the disk, seals it, and ends. In a forked child there is nothing to end.
  ~DrainThread();
  DrainThread(const DrainThread&) = delete;
  DrainThread& operator=(const DrainThread&) = delete;

  // Returns when everything that was committed before the call is on the disk, or the time is over: false then.
  bool flush(int timeout_ms);
  DrainCounters counters() const;
  std::string complaint() const;

 private:
  void run();

  ForkMark home_;
  std::unique_ptr<Drain> drain_;  // the thread's
  mutable std::mutex mutex_;      // what follows
  std::unique_ptr<std::condition_variable> passed_ = std::make_unique<std::condition_variable>();
  DrainCounters counters_;
  std::string complaint_;
  uint64_t pass_count_ = 0;   // passes that began after a request, and are on the disk
  uint64_t wanted_pass_ = 0;  // flush() waits for this one
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace edgeward
