#include "memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "guarded_pages.h"
#include "refusal.h"

namespace edgeward {
namespace {

constexpr size_t kPage = GuardedPages::kPageBytes;

// Every size near a multiple of the alignment or of the page, and some between.
std::vector<size_t> interesting_sizes() {
  std::vector<size_t> sizes;
  for (size_t size = 0; size <= 4 * kBlockAlignment; ++size) sizes.push_back(size);
  for (size_t pages = 1; pages <= 40; ++pages) {
    for (size_t before = 0; before <= 2 * kBlockAlignment; ++before) sizes.push_back(pages * kPage - before);
    for (size_t after = 1; after <= kBlockAlignment; ++after) sizes.push_back(pages * kPage + after);
  }
  sizes.push_back((size_t{1} << 22) + 1);  // past the allocator's threshold for a mapping of its own
  return sizes;
}

}  // namespace

TEST_CASE("a block of any size is aligned and has readable bytes behind it") {
  // Held together, so that the allocator hands out many places relative to a page.
  std::vector<Block> held;
  for (const size_t size : interesting_sizes()) {
    CAPTURE(size);
    Block block = Block::uninitialized(size);
    CHECK(block);
    CHECK(block.size_bytes() == size);
    CHECK(reinterpret_cast<uintptr_t>(block.data()) % kBlockAlignment == 0);
    CHECK(readable_slack(block.data(), size) >= kBlockSlack);
    // To the last byte, and the slack: a sanitizer knows where the allocation ends.
    std::memset(block.data(), 1, size);
    volatile std::byte past{};
    for (size_t i = 0; i < kBlockSlack; ++i) past = block.data()[size + i];
    (void)past;
    held.push_back(std::move(block));
    if (held.size() > 64) held.erase(held.begin());
  }
}

TEST_CASE("a zeroed block is zero") {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{100'000}}) {
    { std::memset(Block::uninitialized(size).data(), 0xFF, size); }
    const Block block = Block::zeroed(size);
    CHECK(std::all_of(block.data(), block.data() + size, [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

TEST_CASE("no block is empty only when it was not made") {
  CHECK_FALSE(Block());
  CHECK(Block::uninitialized(0));
  Block source = Block::uninitialized(3);
  const std::byte* data = source.data();
  const Block target = std::move(source);
  CHECK(target.data() == data);
}

TEST_CASE("a size that memory cannot have is an error, near overflow too") {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  // Those that overflow with the slack alone: for others a sanitizer ends the process where an allocator says no.
  for (size_t size = kMost; size > kMost - kBlockSlack; --size) {
    check_refusal(Code::out_of_memory, {"memory: expected ", std::to_string(size)},
                  [&] { (void)Block::uninitialized(size); });
  }
}

TEST_CASE("the slack that is promised can be read, up to the last byte before a page that cannot") {
  const GuardedPages pages(2);
  for (size_t left = 0; left <= kPage; ++left) {
    const size_t size = 2 * kPage - left;
    const size_t slack = readable_slack(pages.begin(), size);
    // An end on a page's edge has none: the next page need not be there.
    CHECK(slack == left % kPage);
    if (slack == 0) continue;
    volatile std::byte past = pages.begin()[size + slack - 1];
    (void)past;
  }
  CHECK(readable_slack(pages.end(), 0) == 0);
}

}  // namespace edgeward
