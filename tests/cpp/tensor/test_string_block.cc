#include "tensor/string_block.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string_view>
#include <vector>

namespace edgeward {
namespace {

using namespace std::string_view_literals;

std::vector<std::byte> block_of(const std::vector<std::string_view>& strings) {
  size_t text_bytes = 0;
  for (const std::string_view string : strings) text_bytes += string.size();
  std::vector<std::byte> block(*string_block_bytes(strings.size(), text_bytes));
  StringBlockWriter writer(block, strings.size());
  for (const std::string_view string : strings) std::memcpy(writer.add(string.size()), string.data(), string.size());
  return block;
}

std::vector<std::string_view> strings_of(const StringBlock& block) {
  std::vector<std::string_view> strings;
  for (size_t i = 0; i < block.count(); ++i) strings.push_back(block[i]);
  return strings;
}

const std::vector<std::string_view> kStrings = {"", "a", "two words", "\0with\0zeros\0"sv, "\xff\xfe not UTF-8", ""};

}  // namespace

TEST_CASE("a block has TFLite's layout: count, offsets from its start, bytes") {
  const auto block = block_of({"ab", "", "c"});
  REQUIRE(block.size() == 23);
  CHECK(std::memcmp(block.data(), "\3\0\0\0\x14\0\0\0\x16\0\0\0\x16\0\0\0\x17\0\0\0abc", block.size()) == 0);
}

TEST_CASE("what was written is read, at any address") {
  for (const auto& strings : {kStrings, {}, {""}}) {
    const auto block = block_of(strings);
    for (size_t shift = 0; shift < 8; ++shift) {
      std::vector<std::byte> moved(shift);
      moved.insert(moved.end(), block.begin(), block.end());
      const auto read = StringBlock::try_read(Bytes(moved).subspan(shift));
      REQUIRE(read);
      CHECK(strings_of(*read) == strings);
      CHECK(read->size_bytes() == block.size());
    }
  }
}

TEST_CASE("a block that is cut anywhere is none") {
  const auto block = block_of(kStrings);
  for (size_t size = 0; size < block.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(StringBlock::try_read(Bytes(block).first(size)));
  }
}

TEST_CASE("bytes after a block are not its") {
  auto block = block_of(kStrings);
  const size_t size = block.size();
  block.resize(size + 100, std::byte{0x7f});
  const auto read = StringBlock::try_read(block);
  REQUIRE(read);
  CHECK(strings_of(*read) == kStrings);
  CHECK(read->size_bytes() == size);
}

TEST_CASE("a block with a bit flipped is none, or its strings lie inside it") {
  const auto block = block_of(kStrings);
  size_t refused = 0;
  for (size_t bit = 0; bit < block.size() * 8; ++bit) {
    CAPTURE(bit);
    auto flipped = block;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto read = StringBlock::try_read(flipped);
    if (!read) {
      ++refused;
      continue;
    }
    CHECK(read->size_bytes() <= flipped.size());
    const auto* begin = reinterpret_cast<const char*>(flipped.data());
    for (const std::string_view string : strings_of(*read)) {
      CHECK(string.data() >= begin + 8);
      CHECK(string.data() + string.size() <= begin + flipped.size());
    }
  }
  CHECK(refused > 200);
}

TEST_CASE("a head says nothing negative and no more than is there") {
  const auto with = [](size_t slot, int32_t value) {
    auto block = block_of(kStrings);
    std::memcpy(block.data() + 4 * slot, &value, 4);
    return StringBlock::try_read(block).has_value();
  };
  CHECK(with(0, 6));
  for (const int32_t count : {-1, INT32_MIN, INT32_MAX, 1 << 30, 5, 7}) CHECK_FALSE(with(0, count));
  for (const int32_t offset : {-1, INT32_MIN, 0, 31, 33, INT32_MAX}) CHECK_FALSE(with(1, offset));
  for (const int32_t offset : {-1, 31, INT32_MAX}) CHECK_FALSE(with(4, offset));
}

TEST_CASE("offsets fit 31 bits") {
  struct Row {
    size_t count;
    size_t text_bytes;
    std::optional<size_t> size_bytes;
  };
  const Row rows[] = {{0, 0, 8},
                      {1, 5, 17},
                      {0, INT32_MAX - 8, INT32_MAX},
                      {0, INT32_MAX - 7, std::nullopt},
                      {0, SIZE_MAX, std::nullopt},
                      {INT32_MAX / 4 - 2, 3, INT32_MAX},
                      {INT32_MAX / 4 - 2, 4, std::nullopt},
                      {INT32_MAX / 4 - 1, 0, std::nullopt},
                      {SIZE_MAX, 0, std::nullopt}};
  for (const Row& row : rows) {
    CAPTURE(row.count);
    CAPTURE(row.text_bytes);
    CHECK(string_block_bytes(row.count, row.text_bytes) == row.size_bytes);
  }
}

}  // namespace edgeward
