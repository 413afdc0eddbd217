#include "system/process_lock.h"

#include <doctest/doctest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "system/process_locks.h"

namespace edgeward {

TEST_CASE("a lock is held by one at a time, and free when it ends") {
  const Directory directory;
  const std::string path = directory.at("lock");
  ProcessLock second(path);
  {
    ProcessLock first(path);
    CHECK(first.try_acquire());
    CHECK_FALSE(second.try_acquire());
  }
  CHECK(second.try_acquire());
}

TEST_CASE("the file of a lock is its owner's alone") {
  const Directory directory;
  const ProcessLock lock(directory.at("lock"));
  struct stat facts {};
  REQUIRE(stat(directory.at("lock").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
}

TEST_CASE("a lock in a directory that is not there is an error of the system") {
  const Directory directory;
  CHECK_THROWS_AS(ProcessLock(directory.at("none/lock")), std::filesystem::filesystem_error);
}

TEST_CASE("a forked child does not keep its parent's lock") {
  const Directory directory;
  const std::string path = directory.at("lock");
  int ready[2];
  int over[2];
  REQUIRE(pipe(ready) == 0);
  REQUIRE(pipe(over) == 0);
  pid_t child = 0;
  {
    ProcessLock lock(path);
    REQUIRE(lock.try_acquire());
    child = fork();
    if (child == 0) {
      alarm(20);
      char byte = 1;
      _exit(write(ready[1], &byte, 1) == 1 && read(over[0], &byte, 1) == 1 ? 0 : 1);
    }
    char byte = 0;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    CHECK_FALSE(ProcessLock(path).try_acquire());
  }
  CHECK(ProcessLock(path).try_acquire());  // the child lives
  CHECK(write(over[1], "!", 1) == 1);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  for (const int end : {ready[0], ready[1], over[0], over[1]}) close(end);
}

TEST_CASE("a descriptor that was given back is left alone in a child") {
  const Directory directory;
  int number = -1;
  {
    const ProcessLock lock(directory.at("lock"));
    number = ProcessLocks::of_this_process().open_file(directory.at("other"), O_RDWR | O_CREAT, 0600);
    ProcessLocks::of_this_process().remove(number);
  }
  CHECK(outcome_in_child([&] {
          struct stat ours {};
          struct stat there {};
          return fstat(number, &ours) == 0 && stat(directory.at("other").c_str(), &there) == 0 &&
                 ours.st_ino == there.st_ino;
        }) == "");
  close(number);
}

}  // namespace edgeward
