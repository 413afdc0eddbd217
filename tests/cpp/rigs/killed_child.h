// A child that is killed between any two of its calls of the system, one after the other: whatever a crash of the
// process can leave behind.
#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

namespace edgeward {

// Whether a process may trace its children here.
inline bool can_trace() {
  const pid_t child = fork();
  if (child == 0) _exit(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Runs `act` in a child that is killed at the `stop_count`-th border of a call, each of which has one before and one
// behind. False when it ended before that, which must be well.
template <class Act>
bool is_killed_at(size_t stop_count, Act&& act) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(3);
    raise(SIGSTOP);
    try {
      act();
    } catch (...) {
      _exit(2);
    }
    _exit(0);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSTOPPED(status));
  for (size_t stops = 0; stops < stop_count; ++stops) {
    REQUIRE(ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    if (!WIFSTOPPED(status)) {
      const bool is_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
      CHECK(is_well);
      return false;
    }
  }
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  return true;
}

}  // namespace edgeward
