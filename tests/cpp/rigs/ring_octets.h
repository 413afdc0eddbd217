// A ring's file as its tests see it: where its words lie, read and overwritten behind the back of writer and reader,
// and numbered records that go in and come out.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "captures/ring_reader.h"
#include "captures/ring_writer.h"
#include "rigs/numbered_record.h"
#include "system/file.h"

namespace edgeward {

// Capture-format 1.
inline constexpr uint64_t kHeaderBytes = 256;
inline constexpr uint64_t kDescriptionAt = 4096;
inline constexpr uint64_t kTailAt = uint64_t{64} << 10;
inline constexpr uint64_t kOldestAt = kTailAt + 128;
inline constexpr uint64_t kCountersAt = kTailAt + 256;
inline constexpr uint64_t kStateAt = kTailAt + 384;
inline constexpr uint64_t kSaveToAt = kTailAt + 512;
inline constexpr uint64_t kHeadAt = uint64_t{128} << 10;
inline constexpr uint64_t kDataAt = uint64_t{192} << 10;

inline RingReader reader_of(const std::string& path) {
  auto reader = RingReader::try_open(path);
  REQUIRE(reader);
  return std::move(*reader);
}
inline RingReader reader_of(const RingWriter& writer) { return reader_of(writer.path()); }

// The numbers of all the records that a ring has now, each of which must be whole.
inline Numbers drain(RingReader& reader) {
  Numbers numbers;
  while (const auto record = reader.next(kMinNumberedBytes)) {
    const auto number = try_read_number(record->bytes);
    REQUIRE(number);
    numbers.push_back(*number);
    REQUIRE(numbers.size() <= reader.facts().capacity_bytes / kRecordAlignment);
  }
  return numbers;
}

inline void put(RingWriter& writer, uint64_t first, uint64_t last, uint32_t size_bytes) {
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

inline void check_counters(const RingCounters& counters, const RingCounters& expected) {
  CHECK(counters.sampled_out == expected.sampled_out);
  CHECK(counters.committed == expected.committed);
  CHECK(counters.lost_full == expected.lost_full);
  CHECK(counters.lost_large == expected.lost_large);
  CHECK(counters.overwritten == expected.overwritten);
}

}  // namespace edgeward
