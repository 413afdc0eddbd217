// ProcessLock: an exclusive kernel lock on a file, held by this process until it ends. A forked child does not have it.
#pragma once

#include <string>

#include "system/file.h"

namespace edgeward {

class ProcessLock {
 public:
  // Makes the file, mode 0600, if it is not there. Throws std::filesystem::filesystem_error.
  explicit ProcessLock(const std::string& path);
  ~ProcessLock();
  ProcessLock(const ProcessLock&) = delete;
  ProcessLock& operator=(const ProcessLock&) = delete;

  // False when another process, or another ProcessLock of this one, has it. Throws std::filesystem::filesystem_error
  // for whatever else the kernel says, such as that this file system has no locks.
  bool try_acquire();
  // Of the file, open to read and write as long as this object lives.
  int descriptor() const { return descriptor_.number(); }

 private:
  std::string path_;
  Descriptor descriptor_;
};

}  // namespace edgeward
