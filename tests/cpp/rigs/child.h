// A forked child that does one thing and tells how it went by the way it ends.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace edgeward {

// Runs `act` in a forked child: "" when it returned true, else what happened instead. A child that hangs is ended by
// the kernel, long after any that works is done; exit handlers and destructors of the parent's objects do not run in
// it.
template <class Act>
std::string outcome_in_child(Act&& act) {
  constexpr unsigned kLimitS = 20;
  const pid_t child = fork();
  if (child == 0) {
    alarm(kLimitS);
    try {
      _exit(act() ? 0 : 1);
    } catch (...) {
      _exit(2);
    }
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return signal == SIGALRM ? "hangs" : "dies by signal " + std::to_string(signal);
  }
  const int code = WEXITSTATUS(status);
  if (code == 0) return "";
  return code == 1 ? "says no" : code == 2 ? "throws" : "exits with " + std::to_string(code);
}

}  // namespace edgeward
