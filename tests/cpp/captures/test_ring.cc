#include "captures/ring.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "captures/record.h"
#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/numbered_record.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr uint64_t kCapacity = kLeastRingBytes;

// Capture-format 1.
constexpr uint64_t kHeaderBytes = 64;
constexpr uint64_t kDescriptionAt = 4096;
constexpr uint64_t kTailAt = uint64_t{64} << 10;
constexpr uint64_t kOldestAt = kTailAt + 128;
constexpr uint64_t kCountersAt = kTailAt + 256;
constexpr uint64_t kStateAt = kTailAt + 384;
constexpr uint64_t kHeadAt = uint64_t{128} << 10;
constexpr uint64_t kDataAt = uint64_t{192} << 10;

using Numbers = std::vector<uint64_t>;

Numbers from_to(uint64_t first, uint64_t last) {
  Numbers numbers(last + 1 - first);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

RingReader reader_of(const std::string& path) {
  auto reader = RingReader::try_open(path);
  REQUIRE(reader);
  return std::move(*reader);
}
RingReader reader_of(const RingWriter& writer) { return reader_of(writer.path()); }

// The numbers of all the records that a ring has now, each of which must be whole.
Numbers drain(RingReader& reader) {
  Numbers numbers;
  while (const auto record = reader.next(kLeastNumberedBytes)) {
    const auto number = try_read_number(record->bytes);
    REQUIRE(number);
    numbers.push_back(*number);
    REQUIRE(numbers.size() <= reader.facts().capacity_bytes / kRecordAlignment);
  }
  return numbers;
}

void put(RingWriter& writer, uint64_t first, uint64_t last, uint32_t size_bytes) {
  for (uint64_t number = first; number <= last; ++number) REQUIRE(try_put(writer, number, size_bytes));
}

// Bytes of a file that are written over, whoever has it open.
class Scribble {
 public:
  explicit Scribble(const std::string& path) : file_(open(path.c_str(), O_RDWR | O_CLOEXEC), path) {}
  void write(uint64_t offset, Bytes bytes) const {
    REQUIRE(pwrite(file_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(bytes.size()));
  }
  template <class Value>
  void put(uint64_t offset, const Value& value) const {
    write(offset, std::as_bytes(std::span(&value, 1)));
  }
  template <class Value>
  Value value(uint64_t offset) const {
    Value value{};
    REQUIRE(pread(file_.number(), &value, sizeof(value), static_cast<off_t>(offset)) == sizeof(value));
    return value;
  }
  void flip(uint64_t offset, unsigned bit) const {
    put(offset, static_cast<uint8_t>(value<uint8_t>(offset) ^ 1U << bit));
  }

 private:
  Descriptor file_;
};

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

void check_counters(const RingCounters& counters, const RingCounters& expected) {
  CHECK(counters.sampled_out == expected.sampled_out);
  CHECK(counters.committed == expected.committed);
  CHECK(counters.lost_full == expected.lost_full);
  CHECK(counters.lost_large == expected.lost_large);
  CHECK(counters.overwritten == expected.overwritten);
}

}  // namespace

TEST_CASE("what a ring says of itself comes back") {
  const Directory directory;
  std::mt19937_64 random(1);
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, kMostDescriptionBytes}) {
      CAPTURE(size);
      const std::string description = to_text(random_octets(random, size));
      const RingWriter writer(directory.at(""), 2 * kCapacity, keep, description);
      const RingReader reader = reader_of(writer);
      CHECK(reader.path() == writer.path());
      CHECK(reader.facts().ring_id == writer.ring_id());
      CHECK(reader.facts().capacity_bytes == 2 * kCapacity);
      CHECK(reader.facts().keep == keep);
      CHECK(reader.facts().process_id == static_cast<uint64_t>(getpid()));
      CHECK(reader.facts().description == description);
      CHECK(reader.used_bytes() == 0);
      check_counters(reader.counters(), {});
      CHECK(mode_of(writer.path()) == 0600);
    }
  }
}

TEST_CASE("a ring is a file of its id's name, and leaves no other") {
  const Directory directory;
  const RingWriter one(directory.at(""), kCapacity, Keep::oldest, "");
  const RingWriter two(directory.at(""), kCapacity, Keep::oldest, "");
  CHECK(one.ring_id() != two.ring_id());
  const auto name = [](const RingWriter& writer) {
    const uint64_t id = writer.ring_id();
    return hex(std::as_bytes(std::span(&id, 1))) + ".ring";
  };
  CHECK(directory.names() == std::set<std::string>{name(one), name(two)});
}

TEST_CASE("a ring of no possible size is refused, and leaves no file") {
  const Directory directory;
  for (const uint64_t capacity : {uint64_t{0}, uint64_t{1}, kLeastRingBytes / 2, kLeastRingBytes - 1,
                                  kLeastRingBytes + 1, 3 * kLeastRingBytes, 2 * kMostRingBytes, UINT64_MAX}) {
    CAPTURE(capacity);
    check_refusal(Code::bad_input, {"power of two", std::to_string(capacity)},
                  [&] { RingWriter(directory.at(""), capacity, Keep::oldest, ""); });
  }
  check_refusal(Code::bad_input, {"description", std::to_string(kMostDescriptionBytes + 1)}, [&] {
    RingWriter(directory.at(""), kCapacity, Keep::oldest, std::string(kMostDescriptionBytes + 1, 'd'));
  });
  CHECK(directory.names().empty());
  CHECK_THROWS_AS(RingWriter(directory.at("missing"), kCapacity, Keep::oldest, ""), std::filesystem::filesystem_error);
}

TEST_CASE("a record is read whole wherever in the ring it begins, and wherever it wraps") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  constexpr uint32_t kHalf = kCapacity / 2;
  std::set<uint64_t> begins;
  uint64_t wrapped = 0;
  uint64_t number = 0;
  const auto pass = [&](uint32_t size_bytes) {
    const uint64_t begin = writer.position();
    begins.insert(begin % kCapacity);
    wrapped += begin % kCapacity + size_bytes > kCapacity ? 1 : 0;
    REQUIRE(try_put(writer, ++number, size_bytes));
    const auto record = reader.next(kLeastNumberedBytes);
    REQUIRE(record);
    REQUIRE(record->position == begin);
    REQUIRE(record->bytes.size() == size_bytes);
    REQUIRE(try_read_number(record->bytes) == number);
    REQUIRE(!reader.next(kLeastNumberedBytes));
    reader.free_read();
  };
  // The two large ones lead once around, the small one a step further.
  for (uint64_t step = 0; step < kCapacity / kRecordAlignment; ++step) {
    pass(static_cast<uint32_t>(kHalf - step % kRecordAlignment));
    pass(kHalf);
    pass(static_cast<uint32_t>(kLeastNumberedBytes + step % (kRecordAlignment - kLeastNumberedBytes + 1)));
  }
  CHECK(begins.size() == kCapacity / kRecordAlignment);
  // Each of the large ones does from the second half of the ring, but for that half's own beginning.
  CHECK(wrapped == 2 * (kCapacity / 2 / kRecordAlignment - 1));
  CHECK(reader.counters().committed == number);
}

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
      REQUIRE(try_put(*writer, number, static_cast<uint32_t>(kLeastNumberedBytes + random() % 3000)));
    CHECK_FALSE(reader.next(kLeastNumberedBytes));
    CHECK_FALSE(reader.has_ended());
    const RingCounters counters = writer->counters();
    CHECK(counters.committed == count);
    CHECK(writer->lost() == 0);
    writer.reset();
    CHECK_FALSE(reader.next(kLeastNumberedBytes));  // nobody has asked whether it ended
    REQUIRE(reader.has_ended());
    const Numbers found = drain(reader);
    CHECK(found == (found.empty() ? Numbers{} : from_to(count + 1 - found.size(), count)));
    CHECK(found.size() == count - counters.overwritten);
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
    Numbers found;
    const auto take = [&] {
      const Numbers more = drain(reader);
      found.insert(found.end(), more.begin(), more.end());
      reader.free_read();
    };
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t what = random() % 100;
      const auto size = static_cast<uint32_t>(kLeastNumberedBytes + random() % (what < 5 ? 4 * kCapacity : 4000));
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
    CHECK(found == Numbers(committed.begin() + static_cast<std::ptrdiff_t>(counters.overwritten), committed.end()));
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

TEST_CASE("room comes back when what was read is freed, not before") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 64, 1024);
  CHECK(reader.used_bytes() == kCapacity);
  CHECK(reader.next(kLeastNumberedBytes));
  CHECK(reader.next(kLeastNumberedBytes));
  CHECK(reader.position() == 2048);
  CHECK_FALSE(try_put(writer, 65, 1024));
  reader.free_read();
  CHECK(reader.used_bytes() == kCapacity - 2048);
  put(writer, 65, 66, 1024);
  CHECK_FALSE(try_put(writer, 67, 1024));
  CHECK(drain(reader) == from_to(3, 66));
  CHECK(reader.used_bytes() == 0);
}

TEST_CASE("a reader that goes back reads again what it had not freed, and so does the next reader") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 10, 100);
  for (int i = 0; i < 4; ++i) CHECK(reader.next(kLeastNumberedBytes));
  reader.free_read();
  for (int i = 0; i < 3; ++i) CHECK(reader.next(kLeastNumberedBytes));
  reader.rewind();
  CHECK(drain(reader) == from_to(5, 10));
  reader.rewind();
  CHECK(drain(reader) == from_to(5, 10));
  RingReader next = reader_of(writer);
  CHECK(drain(next) == from_to(5, 10));
  next.free_read();
  RingReader last = reader_of(writer);
  CHECK(drain(last).empty());
  put(writer, 11, 11, 100);
  CHECK(drain(last) == Numbers{11});
}

TEST_CASE("a reader that frees or goes back before it has read anything changes nothing") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  put(writer, 1, 10, 1000);
  {
    RingReader reader = reader_of(writer);
    for (int i = 0; i < 6; ++i) CHECK(reader.next(kLeastNumberedBytes));
    reader.free_read();
  }
  RingReader reader = reader_of(writer);
  reader.free_read();
  reader.rewind();
  CHECK(reader.used_bytes() == 4 * 1024);
  CHECK(drain(reader) == from_to(7, 10));
  RingReader next = reader_of(writer);
  CHECK(drain(next) == from_to(7, 10));
}

TEST_CASE("a ring has ended when its writer closed it, not before, and what it holds is still read") {
  const Directory directory;
  auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(*writer);
  put(*writer, 1, 5, 100);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(reader.has_ended());
  writer.reset();
  CHECK(reader.has_ended());
  CHECK(reader.has_ended());
  CHECK(drain(reader) == from_to(1, 5));
  RingReader next = reader_of(reader.path());
  CHECK(next.has_ended());
  CHECK(drain(next) == from_to(1, 5));
}

TEST_CASE("a ring has ended when its writer was killed, not while it lives") {
  const Directory directory;
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    std::filesystem::create_directory(directory.at("rings"));
    WaitingChild child([&] {
      auto* writer = new RingWriter(directory.at("rings"), kCapacity, keep, "");
      put(*writer, 1, 5, 100);
      // Killed with one half written.
      write_numbered(writer->try_claim(200), 100, 6);
    });
    const auto entry = std::filesystem::directory_iterator(directory.at("rings"));
    RingReader reader = reader_of(entry->path().string());
    for (int i = 0; i < 3; ++i) CHECK_FALSE(reader.has_ended());
    child.end();
    CHECK(reader.has_ended());
    CHECK(drain(reader) == from_to(1, 5));
    CHECK(reader.counters().committed == 5);
    std::filesystem::remove_all(directory.at("rings"));
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
          return try_put(own, 1, 100) && of_own.next(kLeastNumberedBytes).has_value() && !of_own.has_ended();
        }) == "");
  CHECK_FALSE(reader.has_ended());
  put(*writer, 1, 1, 100);
  CHECK(drain(reader) == Numbers{1});
  writer.reset();
  CHECK(reader.has_ended());
}

TEST_CASE("what is no ring is not opened") {
  const Directory directory;
  CHECK_FALSE(RingReader::try_open(directory.at("missing")));
  CHECK_FALSE(RingReader::try_open(directory.at("")));
  CHECK_FALSE(RingReader::try_open(write_file(directory.at("empty"), "")));
  CHECK_FALSE(RingReader::try_open(write_file(directory.at("zeros"), std::string(kDataAt + kCapacity, '\0'))));
  CHECK_FALSE(RingReader::try_open("/dev/null"));
  REQUIRE(mkfifo(directory.at("fifo").c_str(), 0600) == 0);
  CHECK_FALSE(RingReader::try_open(directory.at("fifo")));
  const RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  REQUIRE(symlink(writer.path().c_str(), directory.at("link").c_str()) == 0);
  CHECK_FALSE(RingReader::try_open(directory.at("link")));
}

TEST_CASE("a ring is not opened when any bit of its header or of its description turned over") {
  const Directory directory;
  const std::string description = "what the ring is for";
  const RingWriter writer(directory.at(""), kCapacity, Keep::oldest, description);
  const Scribble scribble(writer.path());
  const auto check_bits = [&](uint64_t begin, uint64_t size) {
    for (uint64_t bit = 0; bit < 8 * size; ++bit) {
      CAPTURE(begin);
      CAPTURE(bit);
      scribble.flip(begin + bit / 8, bit % 8);
      CHECK_FALSE(RingReader::try_open(writer.path()));
      scribble.flip(begin + bit / 8, bit % 8);
    }
  };
  check_bits(0, kHeaderBytes);
  check_bits(kDescriptionAt, description.size());
  CHECK(RingReader::try_open(writer.path()));
}

TEST_CASE("a ring is not opened when its header says what it must not, though its CRC fits") {
  const Directory directory;
  const RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  const Scribble scribble(writer.path());
  struct Row {
    const char* name;
    uint64_t offset;
    uint64_t value;
    size_t size_bytes;
  };
  const Row rows[] = {{"magic", 0, 0, 8},
                      {"version 0", 8, 0, 4},
                      {"version 2", 8, 2, 4},
                      {"keeps nothing", 12, 0, 4},
                      {"keeps something else", 12, 3, 4},
                      {"no capacity", 16, 0, 8},
                      {"half the capacity", 16, kCapacity / 2, 8},
                      {"twice the capacity", 16, 2 * kCapacity, 8},
                      {"not a power of two", 16, kCapacity + 64, 8},
                      {"all of the memory", 16, uint64_t{1} << 63, 8},
                      {"a long description", 48, kMostDescriptionBytes + 1, 4},
                      {"a description of other bytes", 48, 5, 4},
                      {"a reserved field in use", 52, 1, 4}};
  const auto header = scribble.value<std::array<std::byte, kHeaderBytes>>(0);
  for (const Row& row : rows) {
    CAPTURE(row.name);
    auto changed = header;
    std::memcpy(changed.data() + row.offset, &row.value, row.size_bytes);
    const uint32_t crc = crc32c(Bytes(changed).first(kHeaderBytes - sizeof(uint32_t)));
    std::memcpy(changed.data() + kHeaderBytes - sizeof(crc), &crc, sizeof(crc));
    scribble.put(0, changed);
    CHECK_FALSE(RingReader::try_open(writer.path()));
  }
  scribble.put(0, header);
  CHECK(RingReader::try_open(writer.path()));
}

TEST_CASE("a ring is not opened when its file is shorter or longer than it says") {
  const Directory directory;
  std::string path;
  { path = RingWriter(directory.at(""), kCapacity, Keep::oldest, "words").path(); }
  for (const uint64_t size :
       {kDataAt + kCapacity + 1, kDataAt + 2 * kCapacity, kDataAt + kCapacity - 1, kDataAt, kHeadAt, kTailAt,
        kDescriptionAt + 1, kDescriptionAt, kHeaderBytes, kHeaderBytes - 1, uint64_t{1}, uint64_t{0}}) {
    CAPTURE(size);
    REQUIRE(truncate(path.c_str(), static_cast<off_t>(size)) == 0);
    CHECK_FALSE(RingReader::try_open(path));
  }
}

namespace {

// A record with its head, its user bytes of a length that depends on its sequence.
void put_record(RingWriter& writer, uint64_t sequence) {
  const Octets user(50 + sequence * 37 % 700, static_cast<std::byte>(sequence));
  const auto form = lay_out_record({}, user.size());
  RecordHead head;
  head.size_bytes = form->size_bytes;
  head.sequence = sequence;
  head.user_bytes = static_cast<uint32_t>(user.size());
  const std::span<std::byte> room = writer.try_claim(head.size_bytes);
  REQUIRE_FALSE(room.empty());
  head.position = writer.position();
  write_record_head(head, *form, user, room);
  writer.commit();
}

// What a reader of records takes of a ring that may be damaged: never more than what lies in it.
Numbers take_records(RingReader& reader) {
  Numbers sequences;
  uint64_t end = 0;
  while (const auto record = reader.next(kRecordHeadBytes)) {
    REQUIRE(record->bytes.size() >= kRecordHeadBytes);
    REQUIRE(record->bytes.size() <= reader.facts().capacity_bytes / 2);
    REQUIRE(record->position % kRecordAlignment == 0);
    if (!sequences.empty()) REQUIRE(record->position == end);
    end = reader.position();
    const auto whole = is_record_at(record->bytes, record->position) ? try_read_record(record->bytes) : std::nullopt;
    if (!whole) {
      reader.break_off();
      break;
    }
    const Octets user(50 + whole->head.sequence * 37 % 700, static_cast<std::byte>(whole->head.sequence));
    REQUIRE(is_same(whole->user, user));
    sequences.push_back(whole->head.sequence);
    REQUIRE(sequences.size() <= reader.facts().capacity_bytes / kRecordAlignment);
  }
  return sequences;
}

// A ring that has been around more than once, closed, with records 301 to 340 in it.
std::string closed_ring(const Directory& directory, Keep keep) {
  RingWriter writer(directory.at(""), kCapacity, keep, "");
  RingReader reader = reader_of(writer);
  for (uint64_t sequence = 1; sequence <= 300; ++sequence) {
    put_record(writer, sequence);
    take_records(reader);
    reader.free_read();
  }
  for (uint64_t sequence = 301; sequence <= 340; ++sequence) put_record(writer, sequence);
  return writer.path();
}

RingReader ended_reader_of(const std::string& path) {
  RingReader reader = reader_of(path);
  REQUIRE(reader.has_ended());
  return reader;
}

}  // namespace

TEST_CASE("no bit of what the writer and the reader say makes a reader take what was not written") {
  const Directory directory;
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    const std::string path = closed_ring(directory, keep);
    const Scribble scribble(path);
    const Numbers all = [&] {
      RingReader reader = ended_reader_of(path);
      return take_records(reader);
    }();
    REQUIRE(all.back() == 340);
    REQUIRE(all == from_to(keep == Keep::oldest ? 301 : 341 - all.size(), 340));
    struct Row {
      const char* name;
      uint64_t offset;
      size_t size_bytes;
    };
    const Row rows[] = {{"tail", kTailAt, 8},   {"oldest", kOldestAt, 8}, {"counters", kCountersAt, 40},
                        {"state", kStateAt, 8}, {"head", kHeadAt, 8},     {"the head's complement", kHeadAt + 8, 8}};
    const uint64_t begin_at = keep == Keep::oldest ? kHeadAt : kOldestAt;
    for (const Row& row : rows) {
      CAPTURE(row.name);
      for (unsigned bit = 0; bit < 8 * row.size_bytes; ++bit) {
        CAPTURE(bit);
        scribble.flip(row.offset + bit / 8, bit % 8);
        RingReader reader = ended_reader_of(path);
        CHECK(reader.used_bytes() <= kCapacity);
        const Numbers found = take_records(reader);
        (void)reader.counters();
        CHECK(reader.used_bytes() <= kCapacity);
        // In a row: from the beginning where that is not what was damaged.
        if (!found.empty()) CHECK(found == from_to(found.front(), found.front() + found.size() - 1));
        if (row.offset == kTailAt) {
          CHECK(found.size() <= all.size());
          if (!found.empty()) CHECK(found.front() == all.front());
          CHECK((reader.is_broken() || found.size() < all.size()));
        } else if (row.offset == begin_at) {
          if (!found.empty()) CHECK(found.back() <= all.back());
          CHECK((reader.is_broken() || found != all));
        } else {
          CHECK(found == all);
          CHECK_FALSE(reader.is_broken());
        }
        // Once broken, it stays so.
        if (reader.is_broken()) CHECK_FALSE(reader.next(kRecordHeadBytes));
        scribble.flip(row.offset + bit / 8, bit % 8);
      }
    }
  }
}

TEST_CASE("a record whose size was damaged is refused with all that follow, and those before it are read") {
  const Directory directory;
  const std::string path = closed_ring(directory, Keep::oldest);
  const Scribble scribble(path);
  std::vector<uint64_t> positions;
  {
    RingReader reader = ended_reader_of(path);
    while (const auto record = reader.next(kRecordHeadBytes)) positions.push_back(record->position);
  }
  REQUIRE(positions.size() == 40);
  for (size_t which = 0; which < positions.size(); which += 3) {
    for (unsigned bit = 0; bit < 32; ++bit) {
      CAPTURE(which);
      CAPTURE(bit);
      const uint64_t place = kDataAt + positions[which] % kCapacity + bit / 8;
      scribble.flip(place, bit % 8);
      RingReader reader = ended_reader_of(path);
      CHECK(take_records(reader) == (which == 0 ? Numbers{} : from_to(301, 300 + which)));
      CHECK(reader.is_broken());
      scribble.flip(place, bit % 8);
    }
  }
}

TEST_CASE("a size that cannot be is refused by the ring itself") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  put(writer, 1, 20, 1000);
  const Scribble scribble(writer.path());
  for (const uint32_t size :
       {0U, 1U, 3U, kLeastNumberedBytes - 1, uint32_t{kCapacity / 2 + 1}, uint32_t{20 * 1024 + 1}, UINT32_MAX}) {
    CAPTURE(size);
    scribble.put(kDataAt, size);
    RingReader reader = reader_of(writer);
    CHECK_FALSE(reader.next(kLeastNumberedBytes));
    CHECK(reader.is_broken());
    CHECK_FALSE(reader.next(kLeastNumberedBytes));
  }
  // A caller that takes anything still gets no record that could not say its own size.
  scribble.put(kDataAt, uint32_t{3});
  RingReader reader = reader_of(writer);
  CHECK_FALSE(reader.next(0));
  CHECK(reader.is_broken());
}

TEST_CASE("a ring whose file is cut short under its reader gives what is whole, then no more") {
  std::vector<uint64_t> sizes = {0, 1, kTailAt, kTailAt + 4, kTailAt + 8, kStateAt, kHeadAt, kHeadAt + 8, kDataAt};
  for (uint64_t cut = 0; cut <= kCapacity; cut += 1000) sizes.push_back(kDataAt + cut);
  for (const uint64_t size : sizes) {
    CAPTURE(size);
    const Directory directory;
    const std::string path = [&] {
      RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
      for (uint64_t sequence = 1; sequence <= 100; ++sequence) put_record(writer, sequence);
      return writer.path();
    }();
    std::vector<uint64_t> ends;
    RingReader other = reader_of(path);
    while (const auto record = other.next(kRecordHeadBytes))
      ends.push_back(kDataAt + record->position + record->bytes.size());
    REQUIRE(ends.size() > 50);
    RingReader reader = reader_of(path);
    for (int i = 0; i < 3; ++i) REQUIRE(reader.next(kRecordHeadBytes));
    REQUIRE(truncate(path.c_str(), static_cast<off_t>(size)) == 0);
    Numbers whole;
    for (uint64_t sequence = 4; sequence <= ends.size() && ends[sequence - 1] <= size; ++sequence)
      whole.push_back(sequence);
    CHECK(take_records(reader) == whole);
    CHECK(reader.is_broken() == (size < ends.back()));
    (void)reader.has_ended();
    (void)reader.counters();
    CHECK(reader.used_bytes() <= kCapacity);
    reader.free_read();
    reader.rewind();
    (void)take_records(reader);
  }
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
    for (uint64_t place = 0; place < kCapacity; place += 1024) scribble.put(kDataAt + place, size);
    put(*writer, 65, 200, 1024);
    writer.reset();
    REQUIRE(reader.has_ended());
    const Numbers found = drain(reader);
    REQUIRE_FALSE(found.empty());
    CHECK(found == from_to(201 - found.size(), 200));
    CHECK_FALSE(reader.is_broken());
  }
}

TEST_CASE("what a reader copied does not change with the ring") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 64, 1024);
  const auto record = reader.next(kLeastNumberedBytes);
  REQUIRE(record);
  reader.free_read();
  put(writer, 65, 65, 1024);
  CHECK(try_read_number(record->bytes) == 1);
}

TEST_CASE("a writer and a reader at full speed lose nothing, and mix nothing up") {
  const Directory directory;
  constexpr uint64_t kCount = 20'000;
  auto writer = std::make_unique<RingWriter>(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(*writer);
  uint64_t lost = 0;
  std::thread writing([&] {
    std::mt19937_64 random(11);
    for (uint64_t number = 1; number <= kCount; ++number) {
      const auto size = static_cast<uint32_t>(kLeastNumberedBytes + random() % 2000);
      for (; !try_put(*writer, number, size); ++lost) std::this_thread::yield();
    }
    writer.reset();
  });
  uint64_t last = 0;
  uint64_t wrong = 0;
  for (bool has_ended = false; !has_ended;) {
    has_ended = reader.has_ended();  // asked first: what was committed before the end is read after it
    while (const auto record = reader.next(kLeastNumberedBytes)) {
      wrong += try_read_number(record->bytes) == last + 1 ? 0 : 1;
      ++last;
      if (last % 7 == 0) reader.free_read();
    }
    reader.free_read();
    if (reader.is_broken()) break;
    std::this_thread::yield();
  }
  writing.join();
  CHECK_FALSE(reader.is_broken());
  CHECK(last == kCount);
  CHECK(wrong == 0);
  check_counters(reader.counters(), {.committed = kCount, .lost_full = lost});
}

namespace {

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
            is_right = try_put(writer, number, number % 2 == 0 ? kCapacity / 2 : kLeastNumberedBytes);
            if (number % 2 == 0) continue;
            is_right = is_right && reader.next(kLeastNumberedBytes) && reader.next(kLeastNumberedBytes);
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
