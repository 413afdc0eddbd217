// DrainLock: lets one drain at a time read the rings of a directory, in any process, and says who that is. What its
// holder writes tells the next one which open segments were its predecessor's. One thread at a time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "system/process_lock.h"

namespace edgeward {

inline constexpr std::string_view kDrainLockName = "drain.lock";  // in a directory of rings

class DrainLock {
 public:
  // Makes the file, mode 0600, if it is not there. Throws std::filesystem::filesystem_error.
  explicit DrainLock(const std::string& ring_directory);

  // False when another drain has the lock, and when the file was removed, which its last holder does with an empty
  // directory. Throws std::filesystem::filesystem_error for whatever else the kernel says.
  bool try_acquire();
  // Of the process that has the lock, or had it last: "process 12, which drains into \"captures\"".
  std::string holder() const;
  // The directory into which the holder, or the last one, drains; empty where none has said so.
  std::string captures() const;
  // File names of the segments that the last holder had open when it wrote them.
  std::vector<std::string> open_segments() const;
  // For the holder alone: says that this process drains into `capture_directory`, and what it has open there. Throws
  // std::filesystem::filesystem_error.
  void write(const std::string& capture_directory, const std::vector<std::string>& open_segments);
  // For the holder alone: removes the file. Whoever has opened it already does not acquire it.
  void remove();

 private:
  std::string path_;
  ProcessLock lock_;
};

// What DrainLock::captures() says of a directory of rings, without making a file there. Throws
// std::filesystem::filesystem_error for a lock that is there and cannot be read.
std::string drained_into(const std::string& ring_directory);

}  // namespace edgeward
