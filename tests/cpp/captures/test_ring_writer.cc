#include "captures/ring_writer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/ring_octets.h"
#include "rigs/waiting_child.h"

namespace edgeward {
namespace {

constexpr uint64_t kCapacity = kMinRingBytes;

// The read end of the FIFO that a ring's writer rings.
class Bell {
 public:
  explicit Bell(const Directory& directory) : path_(directory.at(std::string(kBellName))), end_(listen(path_), path_) {}
  size_t rings() const {
    char bytes[65'536];
    const ssize_t got = read(end_.number(), bytes, sizeof(bytes));
    return got > 0 ? static_cast<size_t>(got) : 0;
  }

 private:
  static int listen(const std::string& path) {
    mkfifo(path.c_str(), 0600);
    return open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  std::string path_;
  Descriptor end_;
};

}  // namespace

TEST_CASE("a claim is in a row, begins at a multiple of 64, and is as large as it was asked to be") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "");
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    const auto size = static_cast<uint32_t>(1 + random() % (kCapacity / 2));
    const std::span<std::byte> room = writer.try_claim(size);
    REQUIRE(room.size() >= size);
    REQUIRE(room.size() - size < kRecordAlignment);
    REQUIRE(reinterpret_cast<uintptr_t>(room.data()) % kRecordAlignment == 0);
    REQUIRE(writer.position() % kRecordAlignment == 0);
    std::memset(room.data(), 1, room.size());
    std::memcpy(room.data(), &size, sizeof(size));
    writer.commit();
  }
}

TEST_CASE("a full ring keeps its oldest records in their order, and counts what it has no room for") {
  const Directory directory;
  for (const uint32_t size : {16U, 64U, 65U, 1000U, 1024U, 5000U, 32'768U}) {
    CAPTURE(size);
    RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
    RingReader reader = reader_of(writer);
    const uint64_t room = kCapacity / ((size + 63) / 64 * 64);
    for (int round = 0; round < 3; ++round) {
      const uint64_t first = 1 + static_cast<uint64_t>(round) * 1000;
      put(writer, first, first + room - 1, size);
      for (uint64_t number = first + room; number < first + room + 10; ++number)
        CHECK_FALSE(try_put(writer, number, size));
      CHECK(drain(reader) == from_to(first, first + room - 1));
      reader.free_read();
    }
    check_counters(reader.counters(), {.committed = 3 * room, .lost_full = 30});
    check_counters(writer.counters(), {.committed = 3 * room, .lost_full = 30});
    CHECK(writer.lost() == 30);
  }
}

TEST_CASE("a ring that keeps the newest gives up the oldest, and is read from its writer's end on") {
  const Directory directory;
  std::mt19937_64 random(7);
  for (uint64_t count = 0; count < 400; count += 1 + count / 8) {
    CAPTURE(count);
    auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, Keep::newest, "");
    RingReader reader = reader_of(*writer);
    for (uint64_t number = 1; number <= count; ++number)
      REQUIRE(try_put(*writer, number, static_cast<uint32_t>(kMinNumberedBytes + random() % 3000)));
    CHECK_FALSE(reader.next(kMinNumberedBytes));
    CHECK_FALSE(reader.has_ended());
    const RingCounters counters = writer->counters();
    CHECK(counters.committed == count);
    CHECK(writer->lost() == 0);
    writer.reset();
    CHECK_FALSE(reader.next(kMinNumberedBytes));  // nobody has asked whether it ended
    REQUIRE(reader.has_ended());
    const Numbers numbers = drain(reader);
    CHECK(numbers == (numbers.empty() ? Numbers{} : from_to(count + 1 - numbers.size(), count)));
    CHECK(numbers.size() == count - counters.overwritten);
    // No more is given up than need be.
    if (counters.overwritten != 0) CHECK(reader.used_bytes() == 0);
    CHECK_FALSE(reader.is_broken());
  }
}

TEST_CASE("a ring that keeps the newest holds as many as fit") {
  const Directory directory;
  auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, Keep::newest, "");
  RingReader reader = reader_of(*writer);
  put(*writer, 1, 1000, 1024);
  CHECK(writer->counters().overwritten == 1000 - 64);
  writer.reset();
  REQUIRE(reader.has_ended());
  CHECK(drain(reader) == from_to(937, 1000));
}

TEST_CASE("a ring that keeps the newest keeps no more of them than it may") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "", std::nullopt, {3, 0});
  put(writer, 1, 2, 500);
  CHECK(writer.counters().overwritten == 0);
  put(writer, 3, 20, 500);
  check_counters(writer.counters(), {0, 20, 0, 0, 17});
  put(writer, 21, 22, kCapacity / 2);  // there is room for two of these
  check_counters(writer.counters(), {0, 22, 0, 0, 20});
  writer.end();
  RingReader reader = reader_of(writer);
  REQUIRE(reader.has_ended());
  CHECK(drain(reader) == from_to(21, 22));
}

TEST_CASE("a ring that keeps the newest keeps none that is older than it may be") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "", std::nullopt, {0, 100});
  const auto put_at = [&](uint64_t number, uint64_t monotonic_ns) {
    const auto room = writer.try_claim(500, monotonic_ns);
    REQUIRE_FALSE(room.empty());
    write_numbered(room, 500, number);
    std::memcpy(room.data() + kRecordTimeOffset, &monotonic_ns, sizeof(monotonic_ns));
    writer.commit();
  };
  put_at(1, 1000);
  put_at(2, 1050);
  put_at(3, 1100);
  CHECK(writer.counters().overwritten == 0);
  put_at(4, 1101);  // 1 is too old by one
  CHECK(writer.counters().overwritten == 1);
  put_at(5, 900);  // a clock that went back makes nothing old
  CHECK(writer.counters().overwritten == 1);
  put_at(6, 5000);
  check_counters(writer.counters(), {0, 6, 0, 0, 5});
}

TEST_CASE("every inference that is seen is sampled out, committed or lost") {
  const Directory directory;
  const uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, keep, "");
    RingReader reader = reader_of(*writer);
    uint64_t seen = 0;
    Numbers committed;
    Numbers numbers;
    const auto take = [&] {
      const Numbers more = drain(reader);
      numbers.insert(numbers.end(), more.begin(), more.end());
      reader.free_read();
    };
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t what = random() % 100;
      const auto size = static_cast<uint32_t>(kMinNumberedBytes + random() % (what < 5 ? 4 * kCapacity : 4000));
      if (what < 70) {
        ++seen;
        if (try_put(*writer, seen, size)) committed.push_back(seen);
      } else if (what < 80) {
        if (!writer->try_claim(size).empty()) {
          writer->abort();
        } else {
          ++seen;  // what has no room is counted, whatever would have become of it
        }
      } else if (what < 90) {
        ++seen;
        writer->count_sampled_out();
        if (what < 83) {
          // A sampler that takes it after all.
          writer->uncount_sampled_out();
          if (try_put(*writer, seen, size)) committed.push_back(seen);
        }
      } else if (what < 92) {
        ++seen;
        writer->count_lost();
      } else if (what < 95) {
        take();
      }
      const RingCounters counters = writer->counters();
      REQUIRE(seen == counters.sampled_out + counters.committed + counters.lost_full + counters.lost_large);
      REQUIRE(writer->lost() == counters.lost_full + counters.lost_large);
      REQUIRE(counters.committed == committed.size());
    }
    const RingCounters counters = writer->counters();
    check_counters(reader.counters(), counters);
    CHECK(counters.lost_large > 0);
    CHECK((counters.lost_full > 0) == (keep == Keep::oldest));
    CHECK((counters.overwritten > 0) == (keep == Keep::newest));
    writer.reset();
    REQUIRE(reader.has_ended());
    take();
    check_counters(reader.counters(), counters);
    CHECK(numbers == Numbers(committed.begin() + static_cast<std::ptrdiff_t>(counters.overwritten), committed.end()));
  }
}

TEST_CASE("a claim that is aborted leaves nothing, and its room is the next one's") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 1, 100);
  const std::span<std::byte> room = writer.try_claim(5000);
  REQUIRE(room.size() >= 5000);
  write_numbered(room, 5000, 99);
  CHECK(drain(reader) == Numbers{1});
  writer.abort();
  CHECK(drain(reader).empty());
  CHECK(writer.try_claim(200).data() == room.data());
  writer.abort();
  put(writer, 2, 2, 200);
  CHECK(drain(reader) == Numbers{2});
  check_counters(writer.counters(), {.committed = 2});
}

TEST_CASE("a record that is larger than half the ring has no room, however empty that is") {
  const Directory directory;
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    RingWriter writer(directory.at(""), kCapacity, keep, "");
    for (const uint32_t size :
         {uint32_t{kCapacity / 2 + 1}, uint32_t{kCapacity}, uint32_t{kCapacity + 1}, uint32_t{1} << 31, UINT32_MAX}) {
      CAPTURE(size);
      CHECK(writer.try_claim(size).empty());
    }
    put(writer, 1, 2, kCapacity / 2);
    check_counters(writer.counters(), {.committed = 2, .lost_large = 5});
  }
}

TEST_CASE("a forked child does not keep its parent's ring alive") {
  const Directory directory;
  Signal lives;
  Signal may_end;
  WaitingChild child([&] {
    auto* writer = new RingWriter(directory.at(""), kCapacity, Keep::oldest, "");
    put(*writer, 1, 1, 100);
    if (fork() == 0) {
      alarm(20);
      may_end.close_giving_end();
      lives.give();
      may_end.wait();
      _exit(0);
    }
    if (!lives.wait()) abort();
  });
  const auto entry = std::filesystem::directory_iterator(directory.at(""));
  RingReader reader = reader_of(entry->path().string());
  CHECK_FALSE(reader.has_ended());
  child.end();
  CHECK(reader.has_ended());
  may_end.close_giving_end();
}

TEST_CASE("a child that is forked while a ring is made does not keep it alive either") {
  const Directory directory;
  constexpr size_t kRings = 8;
  constexpr uint64_t kLarge = uint64_t{8} << 20;  // takes long enough to be made that forks fall into it
  Signal lives;
  Signal may_end;
  const auto outcome = outcome_in_child([&] {
    std::atomic<bool> is_done{false};
    std::thread forks([&] {
      size_t count = 0;
      while (!is_done.load()) {
        const pid_t child = fork();
        if (child == 0) {
          alarm(20);
          may_end.close_giving_end();
          lives.give();
          may_end.wait();
          _exit(0);
        }
        if (child > 0) ++count;
      }
      // One that has not begun to run has not let go of its descriptors either.
      for (; count > 0; --count) lives.wait();
    });
    // Left open: they end with the process.
    for (size_t i = 0; i < kRings; ++i) new RingWriter(directory.at(""), kLarge, Keep::oldest, "");
    is_done.store(true);
    forks.join();
    return true;
  });
  CHECK(outcome == "");
  size_t ended = 0;
  for (const std::string& name : directory.names()) ended += reader_of(directory.at(name)).has_ended() ? 1 : 0;
  CHECK(ended == kRings);
  may_end.close_giving_end();
}

TEST_CASE("a forked child can end its parent's ring, and does not close it") {
  const Directory directory;
  auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(*writer);
  CHECK(outcome_in_child([&] {
          writer.reset();
          // Another one, made here, is at home here.
          RingWriter own(directory.at(""), kCapacity, Keep::oldest, "");
          RingReader of_own = *RingReader::try_open(own.path());
          return try_put(own, 1, 100) && of_own.next(kMinNumberedBytes).has_value() && !of_own.has_ended();
        }) == "");
  CHECK_FALSE(reader.has_ended());
  put(*writer, 1, 1, 100);
  CHECK(drain(reader) == Numbers{1});
  writer.reset();
  CHECK(reader.has_ended());
}

TEST_CASE("a reader that writes nonsense gets no record overwritten that is not read") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 64, 1024);
  const Scribble scribble(writer.path());
  const uint64_t tail = writer.position();
  const uint64_t heads[][2] = {{1024, 1024},
                               {1024, ~uint64_t{0}},
                               {tail + 64, ~(tail + 64)},
                               {tail + kCapacity, ~(tail + kCapacity)},
                               {UINT64_MAX, 0},
                               {uint64_t{0} - kCapacity, ~(uint64_t{0} - kCapacity)},
                               {0, ~uint64_t{0}}};
  uint64_t lost = 0;
  for (const auto& head : heads) {
    CAPTURE(head[0]);
    scribble.put(kHeadAt, head);
    CHECK_FALSE(try_put(writer, 99, 1024));
    CHECK(writer.lost() == ++lost);
  }
  CHECK(drain(reader) == from_to(1, 64));
  reader.free_read();
  put(writer, 65, 80, 1024);
  // Behind what it was, it gives no room either.
  scribble.put(kHeadAt, heads[6]);
  put(writer, 81, 128, 1024);
  CHECK_FALSE(try_put(writer, 129, 1024));
  CHECK(drain(reader) == from_to(65, 128));
}

TEST_CASE("a writer that keeps the newest survives records that somebody scribbled over") {
  const Directory directory;
  for (const uint32_t size : {0U, 1U, 5000U, UINT32_MAX}) {
    CAPTURE(size);
    auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, Keep::newest, "");
    RingReader reader = reader_of(*writer);
    put(*writer, 1, 64, 1024);
    const Scribble scribble(writer->path());
    for (uint64_t offset = 0; offset < kCapacity; offset += 1024) scribble.put(kDataAt + offset, size);
    put(*writer, 65, 200, 1024);
    writer.reset();
    REQUIRE(reader.has_ended());
    const Numbers numbers = drain(reader);
    REQUIRE_FALSE(numbers.empty());
    CHECK(numbers == from_to(201 - numbers.size(), 200));
    CHECK_FALSE(reader.is_broken());
  }
}

TEST_CASE("the bell rings once when the ring is more than half full, and again only after there was room") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 33, 1024);  // nobody listens yet
  CHECK(drain(reader).size() == 33);
  reader.free_read();
  const Bell bell(directory);
  put(writer, 34, 65, 1024);
  CHECK(bell.rings() == 0);
  put(writer, 66, 66, 1024);
  CHECK(bell.rings() == 1);
  put(writer, 67, 97, 1024);
  CHECK_FALSE(try_put(writer, 98, 1024));
  CHECK_FALSE(try_put(writer, 99, 1024));
  CHECK(bell.rings() == 0);
  CHECK(drain(reader).size() == 64);
  reader.free_read();
  put(writer, 98, 129, 1024);
  CHECK(bell.rings() == 0);
  put(writer, 130, 130, 1024);
  CHECK(bell.rings() == 1);
}

TEST_CASE("the bell is not rung by a ring that keeps the newest") {
  const Directory directory;
  const Bell bell(directory);
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "");
  put(writer, 1, 200, 1024);
  CHECK(bell.rings() == 0);
}

TEST_CASE("a bell that is full, no FIFO, or not there holds no writer up") {
  const Directory directory;
  const std::string path = directory.at(std::string(kBellName));
  const auto fills = [&] {
    RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
    put(writer, 1, 64, 1024);
    return true;
  };
  CHECK(outcome_in_child(fills) == "");
  std::filesystem::create_directory(path);
  CHECK(outcome_in_child(fills) == "");
  std::filesystem::remove(path);
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  CHECK(outcome_in_child(fills) == "");  // nobody listens
  const Descriptor end(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC), path);
  const std::string page(4096, 'x');
  while (write(end.number(), page.data(), page.size()) > 0) {
  }
  CHECK(outcome_in_child(fills) == "");
}

TEST_CASE("whoever listens to the bell may go at any moment, and the writer lives on") {
  const Directory directory;
  const std::string path = directory.at(std::string(kBellName));
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  CHECK(outcome_in_child([&] {
          signal(SIGPIPE, SIG_DFL);
          std::atomic<bool> is_done{false};
          std::thread listener([&] {
            while (!is_done.load()) close(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
          });
          RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
          RingReader reader = *RingReader::try_open(writer.path());
          bool is_right = true;
          for (uint64_t number = 0; number < 4000 && is_right; ++number) {
            is_right = try_put(writer, number, number % 2 == 0 ? kCapacity / 2 : kMinNumberedBytes);
            if (number % 2 == 0) continue;
            is_right = is_right && reader.next(kMinNumberedBytes) && reader.next(kMinNumberedBytes);
            reader.free_read();
          }
          is_done.store(true);
          listener.join();
          return is_right;
        }) == "");
}

TEST_CASE("a full file system is an error where the ring is made, and no signal where it is written") {
  const Directory directory;
  const auto try_mount = [&] {
    return unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("tmpfs", directory.at("").c_str(), "tmpfs", 0, "size=1m") == 0;
  };
  if (outcome_in_child(try_mount) != "") {
    MESSAGE("no file system can be mounted here: a full one is not tested");
    return;
  }
  CHECK(outcome_in_child([&] {
          if (!try_mount()) return false;
          try {
            RingWriter(directory.at(""), uint64_t{2} << 20, Keep::oldest, "");
            return false;
          } catch (const std::filesystem::filesystem_error& error) {
            return error.code() == std::errc::no_space_on_device && directory.names().empty();
          }
        }) == "");
  CHECK(outcome_in_child([&] {
          if (!try_mount()) return false;
          RingWriter writer(directory.at(""), uint64_t{256} << 10, Keep::newest, "");
          const Descriptor rest(open(directory.at("rest").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), "rest");
          const std::string page(4096, 'x');
          while (write(rest.number(), page.data(), page.size()) > 0) {
          }
          for (uint64_t number = 1; number <= 1000; ++number) {
            if (!try_put(writer, number, 1024)) return false;
          }
          return true;
        }) == "");
}

TEST_CASE("a ring is made although signals come in") {
  const Directory directory;
  CHECK(outcome_in_child([&] {
          struct sigaction act {};
          act.sa_handler = [](int) {};
          const itimerval often{{0, 500}, {0, 500}};
          if (sigaction(SIGPROF, &act, nullptr) != 0 || setitimer(ITIMER_PROF, &often, nullptr) != 0) return false;
          for (int i = 0; i < 5; ++i) RingWriter(directory.at(""), uint64_t{32} << 20, Keep::oldest, "");
          return true;
        }) == "");
}

}  // namespace edgeward
