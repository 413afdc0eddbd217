// DrainThread: a thread of this process that drains a directory of rings as long as this object lives, from the moment
// on at which no other process does. Any thread may call it.
#pragma once

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
  // Makes the directories, and drains if nobody does. Throws std::filesystem::filesystem_error when they cannot be
  // made; whatever else fails is tried again, and complaint() names it.
  DrainThread(std::string ring_directory, std::string capture_directory, const Budget& budget);
  // Ends it. In a forked child there is nothing to end.
  ~DrainThread();
  DrainThread(const DrainThread&) = delete;
  DrainThread& operator=(const DrainThread&) = delete;

  // Brings what the rings hold to the disk, seals it, and ends the thread; counters() and complaint() say how that
  // went.
  void end();
  // Waits until everything that was committed before the call is on the disk, if this thread drains; false when the
  // time is over first. True at once when another drain has the rings: holder() names it.
  bool flush(int timeout_ms);
  DrainCounters counters() const;
  std::string complaint() const;
  // Who drains, if this thread does not; else empty.
  std::string holder() const;

 private:
  void try_take_over();
  void drain(bool reads_all, bool is_last);
  void wait(uint64_t seen_count);
  void run();

  ForkMark fork_mark_;
  const std::string ring_directory_;
  const std::string capture_directory_;
  const Budget budget_;
  // The thread's once it runs, but for wake(); set once, under the mutex.
  std::unique_ptr<Drain> drain_;
  mutable std::mutex mutex_;  // guards what follows
  std::unique_ptr<std::condition_variable> passed_ = std::make_unique<std::condition_variable>();
  std::unique_ptr<std::condition_variable> called_ = std::make_unique<std::condition_variable>();
  DrainCounters counters_;
  std::string complaint_;
  std::string holder_;
  uint64_t answered_count_ = 0;   // of the calls of flush(), those that need not wait any more
  uint64_t requested_count_ = 0;  // of the calls of flush()
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace edgeward
