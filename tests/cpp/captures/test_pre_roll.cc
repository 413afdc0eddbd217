#include "captures/pre_roll.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "rigs/octets.h"

namespace edgeward {
namespace {

RecordHead head_of(uint64_t sequence, uint32_t size_bytes = 100, uint64_t monotonic_ns = 0) {
  RecordHead head;
  head.sequence = sequence;
  head.size_bytes = size_bytes;
  head.monotonic_ns = monotonic_ns;
  return head;
}

// Adds a record whose bytes all say its sequence; false when it is not taken.
bool try_add(PreRoll& pre_roll, const RecordHead& head) {
  const std::span<std::byte> room = pre_roll.try_add(head);
  if (room.empty()) return false;
  REQUIRE(room.size() == head.size_bytes);
  REQUIRE(reinterpret_cast<uintptr_t>(room.data()) % 64 == 0);
  std::memset(room.data(), static_cast<int>(head.sequence), room.size());
  return true;
}

// The sequences of all records, the oldest first, each with the bytes that it was added with. None is left.
std::vector<uint64_t> take_all(PreRoll& pre_roll) {
  std::vector<uint64_t> sequences;
  for (; !pre_roll.is_empty(); pre_roll.drop_oldest()) {
    const RecordHead& head = pre_roll.oldest_head();
    CHECK(is_same(pre_roll.oldest_bytes(), Octets(head.size_bytes, static_cast<std::byte>(head.sequence))));
    sequences.push_back(head.sequence);
  }
  return sequences;
}

}  // namespace

TEST_CASE("as many records are kept as were asked for, the newest, in their order") {
  for (const uint64_t count : {0U, 1U, 3U, 10U}) {
    CAPTURE(count);
    PreRoll pre_roll({count, 0, 1'000'000});
    for (uint64_t sequence = 1; sequence <= 10; ++sequence) CHECK(try_add(pre_roll, head_of(sequence)) == (count > 0));
    std::vector<uint64_t> newest;
    for (uint64_t sequence = 11 - count; sequence <= 10; ++sequence) newest.push_back(sequence);
    CHECK(take_all(pre_roll) == newest);
    CHECK(pre_roll.is_empty());
  }
}

TEST_CASE("as many records are kept as there is room for, to the byte") {
  PreRoll pre_roll({100, 0, 300});
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) CHECK(try_add(pre_roll, head_of(sequence)));
  CHECK(try_add(pre_roll, head_of(4, 101)));
  CHECK(take_all(pre_roll) == std::vector<uint64_t>{3, 4});
  CHECK(try_add(pre_roll, head_of(5)));
  CHECK(try_add(pre_roll, head_of(6, 300)));
  CHECK(take_all(pre_roll) == std::vector<uint64_t>{6});
}

TEST_CASE("a record that is larger than all the room is not kept, and makes none go") {
  PreRoll pre_roll({100, 0, 300});
  CHECK(try_add(pre_roll, head_of(1)));
  CHECK_FALSE(try_add(pre_roll, head_of(2, 301)));
  CHECK(take_all(pre_roll) == std::vector<uint64_t>{1});
}

TEST_CASE("a buffer that is used again holds records of any size") {
  PreRoll pre_roll({1, 0, 1'000'000});
  for (const uint32_t size : {100U, 10'000U, 1U, 64U, 63U, 65U, 20'000U}) {
    CAPTURE(size);
    CHECK(try_add(pre_roll, head_of(size % 251, size)));
    CHECK(pre_roll.oldest_head().size_bytes == size);
    CHECK(is_same(pre_roll.oldest_bytes(), Octets(size, static_cast<std::byte>(size % 251))));
  }
}

TEST_CASE("a record is recent up to its age, and always where any age will do") {
  struct Row {
    uint64_t age_ns, begin_ns;
    bool is_recent;
  };
  for (const Row& row : {Row{50, 1049, true}, Row{50, 1050, true}, Row{50, 1051, false}, Row{0, UINT64_MAX, true}}) {
    CAPTURE(row.age_ns);
    CAPTURE(row.begin_ns);
    PreRoll pre_roll({1, row.age_ns, 1000});
    CHECK(try_add(pre_roll, head_of(1, 100, 1000)));
    CHECK(pre_roll.is_recent(row.begin_ns) == row.is_recent);
  }
}

}  // namespace edgeward
