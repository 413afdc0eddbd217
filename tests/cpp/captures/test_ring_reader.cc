#include "captures/ring_reader.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "captures/record.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/ring_octets.h"
#include "rigs/waiting_child.h"

namespace edgeward {
namespace {

constexpr uint64_t kCapacity = kMinRingBytes;

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
    const auto record = reader.next(kMinNumberedBytes);
    REQUIRE(record);
    REQUIRE(record->position == begin);
    REQUIRE(record->bytes.size() == size_bytes);
    REQUIRE(try_read_number(record->bytes) == number);
    REQUIRE(!reader.next(kMinNumberedBytes));
    reader.free_read();
  };
  // The two large ones lead once around, the small one a step further.
  for (uint64_t step = 0; step < kCapacity / kRecordAlignment; ++step) {
    pass(static_cast<uint32_t>(kHalf - step % kRecordAlignment));
    pass(kHalf);
    pass(static_cast<uint32_t>(kMinNumberedBytes + step % (kRecordAlignment - kMinNumberedBytes + 1)));
  }
  CHECK(begins.size() == kCapacity / kRecordAlignment);
  // Each of the large ones does from the second half of the ring, but for that half's own beginning.
  CHECK(wrapped == 2 * (kCapacity / 2 / kRecordAlignment - 1));
  CHECK(reader.counters().committed == number);
}

TEST_CASE("room comes back when what was read is freed, not before") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 64, 1024);
  CHECK(reader.used_bytes() == kCapacity);
  CHECK(reader.next(kMinNumberedBytes));
  CHECK(reader.next(kMinNumberedBytes));
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
  for (int i = 0; i < 4; ++i) CHECK(reader.next(kMinNumberedBytes));
  reader.free_read();
  for (int i = 0; i < 3; ++i) CHECK(reader.next(kMinNumberedBytes));
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
    for (int i = 0; i < 6; ++i) CHECK(reader.next(kMinNumberedBytes));
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

TEST_CASE("a black box gives what was saved while its writer goes on, and each record once") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 10, 4096);
  CHECK(drain(reader).empty());
  CHECK(writer.save() == writer.committed_position());
  put(writer, 11, 12, 4096);
  CHECK(drain(reader) == from_to(1, 10));
  CHECK(drain(reader).empty());
  reader.free_read();
  CHECK(writer.drained_count() == 10);
  CHECK(writer.drained_position() == reader.position());
  put(writer, 13, 30, 4096);  // over most of them
  CHECK(drain(reader).empty());
  writer.save();
  CHECK(drain(reader) == from_to(15, 30));
  put(writer, 31, 31, 4096);
  writer.end();
  REQUIRE(reader.has_ended());
  CHECK(drain(reader) == from_to(31, 31));
  CHECK_FALSE(reader.is_broken());
}

TEST_CASE("a black box that is saved at full speed gives whole records, in their order") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "");
  RingReader reader = reader_of(writer);
  constexpr uint64_t kRecords = 200'000;
  std::thread thread([&] {
    for (uint64_t number = 1; number <= kRecords; ++number) {
      if (!try_put(writer, number, static_cast<uint32_t>(200 + number * 37 % 900))) std::terminate();
      if (number % 7 == 0) writer.save();
    }
    writer.end();
  });
  Numbers all;
  for (bool has_ended = false; !has_ended;) {
    has_ended = reader.has_ended();
    while (const auto record = reader.next(kMinNumberedBytes)) {
      const auto number = try_read_number(record->bytes);
      REQUIRE(number);
      if (!all.empty()) CHECK(*number > all.back());
      all.push_back(*number);
    }
    reader.free_read();
  }
  thread.join();
  CHECK_FALSE(reader.is_broken());
  REQUIRE_FALSE(all.empty());
  CHECK(all.back() == kRecords);
  CHECK(writer.drained_count() == all.size());
}

TEST_CASE("a ring whose positions pass 2^64 is broken, and gives nothing") {
  constexpr uint64_t kNearEnd = ~uint64_t{0} - 255;
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    for (const bool has_ended : {false, true}) {
      CAPTURE(static_cast<int>(keep));
      CAPTURE(has_ended);
      const Directory directory;
      RingWriter writer(directory.at(""), kCapacity, keep, "");
      if (has_ended) writer.end();
      const Scribble scribble(writer.path());
      std::array<std::byte, 128> record{};
      write_numbered(record, 128, 1);
      scribble.put(kDataAt + kCapacity - 256, record);
      if (keep == Keep::newest) scribble.put(kOldestAt, kNearEnd);
      scribble.put(kHeadAt, kNearEnd);
      scribble.put(kHeadAt + 8, ~kNearEnd);
      RingReader reader = reader_of(writer);
      REQUIRE(reader.has_ended() == has_ended);
      CHECK(drain(reader).empty());
      CHECK(reader.is_broken());
      CHECK(reader.position() == kNearEnd);
    }
  }
}

TEST_CASE("a position to save up to that cannot be gives no more than what is committed") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::newest, "");
  put(writer, 1, 3, 500);
  const Scribble scribble(writer.path());
  for (const uint64_t position : {writer.committed_position() + 64, uint64_t{1} << 63, UINT64_MAX}) {
    CAPTURE(position);
    scribble.put(kSaveToAt, position);
    RingReader reader = reader_of(writer);
    CHECK(drain(reader) == from_to(1, 3));
    CHECK(drain(reader).empty());
    CHECK_FALSE(reader.is_broken());
  }
}

TEST_CASE("a writer is told how many of its records are safe, those of an earlier reader too") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  put(writer, 1, 5, 500);
  CHECK(writer.drained_count() == 0);
  {
    RingReader reader = reader_of(writer);
    CHECK(drain(reader) == from_to(1, 5));
    reader.rewind();
    CHECK(drain(reader) == from_to(1, 5));
    CHECK(writer.drained_count() == 0);
    reader.free_read();
    CHECK(writer.drained_count() == 5);
  }
  put(writer, 6, 8, 500);
  RingReader reader = reader_of(writer);
  CHECK(drain(reader) == from_to(6, 8));
  reader.break_off();  // the last one is none
  reader.free_read();
  CHECK(writer.drained_count() == 7);
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
        const Numbers numbers = take_records(reader);
        (void)reader.counters();
        CHECK(reader.used_bytes() <= kCapacity);
        // In a row: from the beginning where that is not what was damaged.
        if (!numbers.empty()) CHECK(numbers == from_to(numbers.front(), numbers.front() + numbers.size() - 1));
        if (row.offset == kTailAt) {
          CHECK(numbers.size() <= all.size());
          if (!numbers.empty()) CHECK(numbers.front() == all.front());
          CHECK((reader.is_broken() || numbers.size() < all.size()));
        } else if (row.offset == begin_at) {
          if (!numbers.empty()) CHECK(numbers.back() <= all.back());
          CHECK((reader.is_broken() || numbers != all));
        } else {
          CHECK(numbers == all);
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
      const uint64_t offset = kDataAt + positions[which] % kCapacity + bit / 8;
      scribble.flip(offset, bit % 8);
      RingReader reader = ended_reader_of(path);
      CHECK(take_records(reader) == (which == 0 ? Numbers{} : from_to(301, 300 + which)));
      CHECK(reader.is_broken());
      scribble.flip(offset, bit % 8);
    }
  }
}

TEST_CASE("a size that cannot be is refused by the ring itself") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  put(writer, 1, 20, 1000);
  const Scribble scribble(writer.path());
  for (const uint32_t size :
       {0U, 1U, 3U, kMinNumberedBytes - 1, uint32_t{kCapacity / 2 + 1}, uint32_t{20 * 1024 + 1}, UINT32_MAX}) {
    CAPTURE(size);
    scribble.put(kDataAt, size);
    RingReader reader = reader_of(writer);
    CHECK_FALSE(reader.next(kMinNumberedBytes));
    CHECK(reader.is_broken());
    CHECK_FALSE(reader.next(kMinNumberedBytes));
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

TEST_CASE("what a reader copied does not change with the ring") {
  const Directory directory;
  RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  RingReader reader = reader_of(writer);
  put(writer, 1, 64, 1024);
  const auto record = reader.next(kMinNumberedBytes);
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
      const auto size = static_cast<uint32_t>(kMinNumberedBytes + random() % 2000);
      for (; !try_put(*writer, number, size); ++lost) std::this_thread::yield();
    }
    writer.reset();
  });
  uint64_t last = 0;
  uint64_t wrong = 0;
  for (bool has_ended = false; !has_ended;) {
    has_ended = reader.has_ended();  // asked first: what was committed before the end is read after it
    while (const auto record = reader.next(kMinNumberedBytes)) {
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

}  // namespace edgeward
