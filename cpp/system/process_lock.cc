#include "system/process_lock.h"

#include <sys/file.h>

#include <cerrno>
#include <filesystem>

#include "system/process_locks.h"

namespace edgeward {

ProcessLock::ProcessLock(const std::string& path)
    : path_(path),
      descriptor_(ProcessLocks::of_this_process().open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600), path) {}

ProcessLock::~ProcessLock() {
  // Unlock explicitly: a child that has not come to its fork handler yet shares the descriptor.
  flock(descriptor_.number(), LOCK_UN);
  ProcessLocks::of_this_process().remove(descriptor_.number());
}

bool ProcessLock::try_acquire() {
  if (flock(descriptor_.number(), LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  throw std::filesystem::filesystem_error("lock", path_, {errno, std::generic_category()});
}

}  // namespace edgeward
