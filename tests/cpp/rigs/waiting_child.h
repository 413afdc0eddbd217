// A forked child that lives until its test ends it, and a pipe over which processes tell each other how far they are.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

namespace edgeward {

// A pipe over which processes tell each other that they are so far.
class Signal {
 public:
  Signal() { REQUIRE(pipe2(ends_, O_CLOEXEC) == 0); }
  ~Signal() {
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void give() const {
    const char once = 1;
    if (write(ends_[1], &once, 1) != 1) abort();
  }
  // Until it is given, or nobody is left who could.
  bool wait() const {
    char any = 0;
    return read(ends_[0], &any, 1) == 1;
  }
  void close_giving_end() {
    close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

// A forked child that does `act`, says so, and waits for its end.
class WaitingChild {
 public:
  explicit WaitingChild(const std::function<void()>& act) {
    Signal is_ready;
    process_ = fork();
    if (process_ == 0) {
      alarm(20);
      act();
      is_ready.give();
      for (;;) pause();
    }
    REQUIRE(process_ > 0);
    is_ready.close_giving_end();
    REQUIRE(is_ready.wait());
  }
  ~WaitingChild() { end(); }
  WaitingChild(const WaitingChild&) = delete;
  WaitingChild& operator=(const WaitingChild&) = delete;

  void end() {
    if (process_ < 0) return;
    kill(process_, SIGKILL);
    int status = 0;
    waitpid(process_, &status, 0);
    process_ = -1;
  }

 private:
  pid_t process_ = -1;
};

}  // namespace edgeward
