#include "engines/last_words.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>

namespace edgeward {
namespace {

using Say = void (*)(const char*);

Say heard() {
  const Library library(FAKE_LITERT_PATH);
  hear(library);
  return library.symbol<Say>("fake_litert_say");
}

// What comes to standard error meanwhile.
template <class Act>
std::string standard_error(const Act& act) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  const int before = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  act();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  std::rewind(file);
  char text[4096];
  const std::string result(text, std::fread(text, 1, sizeof(text), file));
  std::fclose(file);
  return result;
}

}  // namespace

TEST_CASE("what a library writes in a call of ours is collected, and nothing reaches standard error") {
  const Say say = heard();
  std::string words;
  const std::string error = standard_error([&] {
    const LastWords collected(EngineLog::quiet);
    say("INFO: hello");
    say("ERROR: no");
    words = collected.text();
  });
  CHECK(words == "INFO: hello\nERROR: no\n");
  CHECK(error.empty());
}

TEST_CASE("outside of a call of ours the library writes to standard error, as ever") {
  const Say say = heard();
  CHECK(standard_error([&] { say("for others"); }) == "for others\n");
  CHECK(standard_error([&] {
          { const LastWords collected(EngineLog::quiet); }
          say("after");
        }) == "after\n");
}

TEST_CASE("a log that is shown reaches standard error as well") {
  const Say say = heard();
  std::string words;
  CHECK(standard_error([&] {
          const LastWords collected(EngineLog::shown);
          say("both");
          words = collected.text();
        }) == "both\n");
  CHECK(words == "both\n");
}

TEST_CASE("the words of one thread are not another's, and what the process writes itself is left alone") {
  const Say say = heard();
  std::string words;
  const std::string error = standard_error([&] {
    const LastWords collected(EngineLog::quiet);
    std::thread([&] { say("another thread's"); }).join();
    (void)!write(STDERR_FILENO, "by descriptor\n", 14);
    std::fputs("by stream\n", stderr);
    say("ours");
    words = collected.text();
  });
  CHECK(words == "ours\n");
  CHECK(error == "another thread's\nby descriptor\nby stream\n");
}

TEST_CASE("the inner of two collects alone, and the outer goes on after it") {
  const Say say = heard();
  const LastWords outer(EngineLog::quiet);
  say("before");
  {
    const LastWords inner(EngineLog::quiet);
    say("within");
    CHECK(inner.text() == "within\n");
  }
  say("after");
  CHECK(outer.text() == "before\nafter\n");
}

TEST_CASE("a flood of words is cut") {
  const Say say = heard();
  const LastWords collected(EngineLog::quiet);
  for (int i = 0; i < 100; ++i) say("ERROR: the same line again and again");
  CHECK(collected.text().size() == 1024);
}

TEST_CASE("words are written while the process forks, and each child can write") {
  const Say say = heard();
  std::atomic<bool> is_over = false;
  std::thread writer([&] {
    const LastWords collected(EngineLog::quiet);
    while (!is_over) say("busy");
  });
  for (int i = 0; i < 200; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(20);  // a lock that is held for ever ends the child by a signal
      const LastWords collected(EngineLog::quiet);
      say("child");
      _exit(collected.text() == "child\n" ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  is_over = true;
  writer.join();
}

TEST_CASE("lines become a reason, without what only informs and without places in the source") {
  CHECK(as_reason("") == "");
  CHECK(as_reason("INFO: hello\nVERBOSE: x\n") == "");
  CHECK(as_reason("ERROR: first.\n\nINFO: x\nERROR: [file.cc:12] second\nthird") == ": first; second; third");
}

}  // namespace edgeward
