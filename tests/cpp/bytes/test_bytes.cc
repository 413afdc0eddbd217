#include "bytes/bytes.h"

#include <doctest/doctest.h>

#include <array>
#include <limits>

namespace edgeward {

TEST_CASE("a range is contained exactly when both its ends are inside") {
  const std::array<std::byte, 8> memory{};
  const Bytes bytes(memory);
  struct Row {
    uint64_t offset, size;
    bool is_inside;
  };
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  const Row rows[] = {{0, 0, true},      {0, 8, true},          {8, 0, true},     {7, 1, true},      {0, 9, false},
                      {9, 0, false},     {8, 1, false},         {1, 8, false},    {kMost, 0, false}, {kMost, 1, false},
                      {1, kMost, false}, {kMost, kMost, false}, {8, kMost, false}};
  for (const Row& row : rows) {
    CAPTURE(row.offset);
    CAPTURE(row.size);
    CHECK(contains(bytes, row.offset, row.size) == row.is_inside);
  }
  CHECK(contains({}, 0, 0));
  CHECK_FALSE(contains({}, 0, 1));
}

TEST_CASE("a read at any offset gives the little-endian value, or nothing when it is not inside") {
  const std::array<std::byte, 6> memory{std::byte{1}, std::byte{2}, std::byte{3},
                                        std::byte{4}, std::byte{5}, std::byte{6}};
  CHECK(try_read<uint32_t>(memory, 0) == 0x04030201u);
  CHECK(try_read<uint32_t>(memory, 1) == 0x05040302u);
  CHECK(try_read<uint32_t>(memory, 2) == 0x06050403u);
  CHECK(try_read<uint32_t>(memory, 3) == std::nullopt);
  CHECK(try_read<uint8_t>(memory, 5) == 6);
  CHECK(try_read<uint8_t>(memory, 6) == std::nullopt);
  CHECK(try_read<uint64_t>(memory, 0) == std::nullopt);
  CHECK(try_read<uint16_t>(memory, std::numeric_limits<uint64_t>::max()) == std::nullopt);
}

TEST_CASE("a size is rounded up to the next multiple, and a multiple stays") {
  CHECK(round_up(0, 64) == 0);
  CHECK(round_up(1, 64) == 64);
  CHECK(round_up(64, 64) == 64);
  CHECK(round_up(65, 64) == 128);
  CHECK(round_up(7, 8) == 8);
}

TEST_CASE("bytes are zero when each is, wherever another stands") {
  std::array<std::byte, 9> memory{};
  CHECK(is_zero(memory));
  CHECK(is_zero({}));
  for (std::byte& byte : memory) {
    byte = std::byte{1};
    CHECK_FALSE(is_zero(memory));
    byte = std::byte{0};
  }
}

TEST_CASE("a sum or product that does not fit is nothing") {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  CHECK(checked_add<size_t>(kMost - 1, 1) == kMost);
  CHECK(checked_add<size_t>(kMost, 1) == std::nullopt);
  CHECK(checked_multiply<size_t>(kMost / 2, 2) == kMost - 1);
  CHECK(checked_multiply<size_t>(kMost / 2 + 1, 2) == std::nullopt);
  CHECK(checked_multiply<size_t>(kMost, 0) == 0u);
  CHECK(checked_add<int32_t>(std::numeric_limits<int32_t>::min(), -1) == std::nullopt);
  CHECK(checked_multiply<int32_t>(std::numeric_limits<int32_t>::min(), -1) == std::nullopt);
  CHECK(checked_multiply<int32_t>(-3, 5) == -15);
}

}  // namespace edgeward
