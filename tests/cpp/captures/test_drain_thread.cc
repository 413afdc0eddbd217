#include "captures/drain_thread.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "error.h"
#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/drained.h"
#include "rigs/threads.h"

namespace edgeward {
namespace {

constexpr int kLong_ms = 20'000;

struct Directories {
  Directory rings_at{"/dev/shm"};
  Directory captures_at{"/dev/shm"};
  std::string rings = rings_at.at("rings");
  std::string captures = captures_at.at("captures");

  Directories() { std::filesystem::create_directory(rings); }
  std::unique_ptr<DrainThread> thread() const { return std::make_unique<DrainThread>(rings, captures, Budget()); }
  std::unique_ptr<RingWriter> ring(uint64_t capacity = kMinRingBytes) const {
    return std::make_unique<RingWriter>(rings, capacity, Keep::oldest, "{}");
  }
  // With what is in the segment that is open.
  Drained written() const {
    Drained all = drained(captures);
    for (const std::string& path : paths_in(captures, ".open")) add_segment(all, path, nullptr);
    return all;
  }
};

}  // namespace

TEST_CASE("when a flush returns, all that was committed before is on the disk, and its room is free") {
  const Directories directories;
  const auto ring = directories.ring();
  const auto thread = directories.thread();
  uint64_t sequence = 0;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 20; ++i) REQUIRE(try_put_record(*ring, ++sequence, 500));
    REQUIRE(thread->flush(kLong_ms));
    const Drained all = directories.written();
    CHECK(all.complaint == "");
    CHECK(all.sequences.at(ring->ring_id()) == from_to(1, sequence));
    CHECK(thread->counters().records == sequence);
    CHECK(thread->complaint() == "");
    CHECK(RingReader::try_open(ring->path())->used_bytes() == 0);
  }
}

TEST_CASE("each of several flushes at once returns only when what was committed before it is on the disk") {
  const Directories directories;
  const auto thread = directories.thread();
  std::atomic<int> failures{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < 4; ++i) {
    askers.emplace_back([&] {
      const auto ring = directories.ring();
      for (uint64_t sequence = 1; sequence <= 60; ++sequence) {
        if (!try_put_record(*ring, sequence, 500)) ++failures;
        if (!thread->flush(kLong_ms)) ++failures;
        // The reader's line says what is on the disk.
        if (RingReader::try_open(ring->path())->used_bytes() != 0) ++failures;
      }
    });
  }
  for (std::thread& asker : askers) asker.join();
  CHECK(failures == 0);
}

TEST_CASE("a flush while another thread writes without end returns") {
  const Directories directories;
  const auto ring = directories.ring(uint64_t{1} << 20);
  const auto busy = directories.ring(uint64_t{1} << 20);
  std::atomic<bool> is_over{false};
  std::thread writer([&] {
    for (uint64_t sequence = 1; !is_over; ++sequence) try_put_record(*busy, sequence, 2000);
  });
  const auto thread = directories.thread();
  for (uint64_t sequence = 1; sequence <= 20; ++sequence) {
    REQUIRE(try_put_record(*ring, sequence, 100));
    CHECK(thread->flush(kLong_ms));
    CHECK(RingReader::try_open(ring->path())->used_bytes() == 0);
  }
  is_over = true;
  writer.join();
}

TEST_CASE("a thread that ends brings all to the disk, and seals it") {
  const Directories directories;
  const auto first = directories.ring();
  const auto second = directories.ring();
  auto thread = directories.thread();
  REQUIRE(put_records(*first, 1, 50));
  REQUIRE(put_records(*second, 1, 50));
  thread.reset();
  CHECK(paths_in(directories.captures, ".open").empty());
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(first->ring_id()) == from_to(1, 50));
  CHECK(all.sequences.at(second->ring_id()) == from_to(1, 50));
  // And lets the next one in.
  CHECK_NOTHROW(directories.thread());
}

TEST_CASE("a thread takes over when the drain that was there ends, in whatever way") {
  const Directories directories;
  const auto ring = directories.ring();
  auto holder = std::make_unique<Drain>(directories.rings, directories.captures, Budget());
  const auto thread = directories.thread();
  CHECK(thread->holder().find("process " + std::to_string(getpid())) != std::string::npos);
  REQUIRE(put_records(*ring, 1, 5));
  CHECK(thread->flush(kLong_ms));  // it drains nothing
  CHECK(ring->drained_count() == 0);
  CHECK(thread->complaint() == "");
  holder.reset();
  while (!thread->holder().empty()) std::this_thread::yield();
  CHECK(thread->flush(kLong_ms));
  CHECK(ring->drained_count() == 5);
  CHECK(thread->counters().records == 5);
}

TEST_CASE("a thread that ends while another process writes without end, ends") {
  const Directories directories;
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const auto ring = directories.ring(uint64_t{1} << 20);
    for (uint64_t sequence = 1;; ++sequence) try_put_record(*ring, sequence, 2000);
  }
  REQUIRE(child > 0);
  auto thread = directories.thread();
  while (thread->counters().records < 1000) REQUIRE(thread->flush(kLong_ms));
  thread.reset();
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  const bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  CHECK(is_killed);
  CHECK(drained(directories.captures).complaint == "");
}

TEST_CASE("a flush that the disk refuses says no when its time is over, and goes well when the disk does") {
  const Directories directories;
  const auto ring = directories.ring();
  const auto thread = directories.thread();
  std::filesystem::rename(directories.captures, directories.captures + ".away");
  REQUIRE(put_records(*ring, 1, 5));
  CHECK_FALSE(thread->flush(100));
  CHECK(thread->complaint().find("No such file") != std::string::npos);
  CHECK(thread->counters().records == 0);
  std::filesystem::rename(directories.captures + ".away", directories.captures);
  CHECK(thread->flush(kLong_ms));
  CHECK(thread->complaint() == "");
  CHECK(directories.written().sequences.at(ring->ring_id()) == from_to(1, 5));
}

TEST_CASE("a forked child can drop the thread, and may not flush") {
  const Directories directories;
  const auto ring = directories.ring();
  auto thread = directories.thread();
  REQUIRE(put_records(*ring, 1, 5));
  CHECK(outcome_in_child([&] {
          thread.reset();
          return true;
        }) == "");
  CHECK(outcome_in_child([&] {
          try {
            thread->flush(1);
            return false;
          } catch (const Error& error) {
            return error.code() == Code::forked;
          }
        }) == "");
  // It took nothing from us.
  CHECK(thread->flush(kLong_ms));
  REQUIRE(put_records(*ring, 6, 9));
  thread.reset();
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, 9));
}

TEST_CASE("a child that was forked while a thread waited for a flush can drop the drain") {
  const Directories directories;
  const auto ring = directories.ring();
  auto thread = directories.thread();
  REQUIRE(put_records(*ring, 1, 5));
  std::filesystem::rename(directories.captures, directories.captures + ".away");
  std::atomic<int> asker_id{0};
  std::thread asker([&] {
    asker_id = static_cast<int>(syscall(SYS_gettid));
    thread->flush(kLong_ms);
  });
  while (asker_id == 0 || told_of(asker_id, "State:").find('S') == std::string::npos) std::this_thread::yield();
  CHECK(outcome_in_child([&] {
          thread.reset();
          return true;
        }) == "");
  std::filesystem::rename(directories.captures + ".away", directories.captures);
  asker.join();
}

TEST_CASE("no signal is delivered to the thread, and the application's own stay as they were") {
  const Directories directories;
  const std::string before = told_of(static_cast<int>(getpid()), "SigBlk:");
  std::unique_ptr<DrainThread> thread;
  const int id = thread_made_by([&] { thread = directories.thread(); });
  check_no_signal_reaches(id);
  CHECK(told_of(static_cast<int>(getpid()), "SigBlk:") == before);
}

}  // namespace edgeward
