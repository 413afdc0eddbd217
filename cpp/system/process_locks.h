// ProcessLocks: the descriptors whose kernel locks say that this process lives. A forked child inherits a descriptor
// and with it the lock, which would then outlive the process that it stands for: so the child replaces them by
// /dev/null as soon as it exists. Any thread. All in the header, since the model checker of rings compiles it on a
// memory of its own.
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "error.h"

namespace edgeward {

class ProcessLocks {
 public:
  static ProcessLocks& of_this_process() {
    static ProcessLocks locks;
    return locks;
  }
  // A descriptor that no child ever has, not even one that is forked at this moment. -1 with errno.
  int open_file(const std::string& path, int flags, int mode) {
    const std::lock_guard lock(mutex_);
    descriptors_.reserve(descriptors_.size() + 1);
    const int descriptor = open(path.c_str(), flags | O_CLOEXEC, mode);
    if (descriptor >= 0) descriptors_.push_back(descriptor);
    return descriptor;
  }
  // No child is forked while the result lives.
  std::unique_lock<std::mutex> hold_forks() { return std::unique_lock(mutex_); }
  // Before the descriptor is closed.
  void remove(int descriptor) {
    const std::lock_guard lock(mutex_);
    descriptors_.erase(std::remove(descriptors_.begin(), descriptors_.end(), descriptor), descriptors_.end());
  }

 private:
  ProcessLocks() {
    const int registered = pthread_atfork([] { of_this_process().mutex_.lock(); },
                                          [] { of_this_process().mutex_.unlock(); }, [] { of_this_process().drop(); });
    if (registered != 0) throw Error(Code::out_of_memory, "locks: expected to register a fork handler, got none");
  }
  void drop() {
    const int null_device = descriptors_.empty() ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int descriptor : descriptors_) dup3(null_device, descriptor, O_CLOEXEC);
    if (null_device >= 0) close(null_device);
    descriptors_.clear();
    mutex_.unlock();
  }
  std::mutex mutex_;
  std::vector<int> descriptors_;
};

}  // namespace edgeward
