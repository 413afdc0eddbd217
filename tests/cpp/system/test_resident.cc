#include "system/resident.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "system/memory.h"

namespace edgeward {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

}  // namespace

TEST_CASE("memory is resident where it was touched") {
  const Block block = Block::sparse(8 * kMiB);
  CHECK(resident_bytes(block.data(), block.size_bytes()) == 0);
  std::memset(block.data() + kMiB, 1, 2 * kMiB);
  CHECK(resident_bytes(block.data(), block.size_bytes()) == 2 * kMiB);
  CHECK(resident_bytes(block.data() + 2 * kMiB, 6 * kMiB) == kMiB);
  madvise(block.data(), block.size_bytes(), MADV_DONTNEED);
  CHECK(resident_bytes(block.data(), block.size_bytes()) == 0);
}

TEST_CASE("a part of a page counts as that part") {
  const Block block = Block::sparse(kMiB);
  block.data()[0] = std::byte{1};
  CHECK(resident_bytes(block.data() + 100, 50) == 50);
  CHECK(resident_bytes(block.data() + 100, kMiB - 100) == size_t{4096} - 100);
  CHECK(resident_bytes(block.data(), 0) == 0);
}

TEST_CASE("more pages than are asked about at once") {
  const Block block = Block::sparse(40 * kMiB);
  std::memset(block.data(), 1, 33 * kMiB);
  CHECK(resident_bytes(block.data(), block.size_bytes()) == 33 * kMiB);
}

TEST_CASE("the process has what it touched") {
  const uint64_t before_bytes = anonymous_bytes();
  const Block block = Block::pages(16 * kMiB);
  std::memset(block.data(), 1, 16 * kMiB);
  CHECK(anonymous_bytes() - before_bytes >= 15 * kMiB);
}

}  // namespace edgeward
