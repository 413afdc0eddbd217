#include "system/memory.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "rigs/child.h"
#include "rigs/guarded_pages.h"
#include "rigs/mapping.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/unmapping.h"
#include "system/file.h"
#include "system/resident.h"

namespace edgeward {
namespace {

constexpr size_t kPage = 4096;  // the smallest that Linux has

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
    const std::byte* begin = pages.end() - 2 * kPage;
    const size_t size = 2 * kPage - left;
    const size_t slack = readable_slack(begin, size);
    // An end on a page's edge has none: the next page need not be there.
    CHECK(slack == left % kPage);
    if (slack == 0) continue;
    volatile std::byte past = begin[size + slack - 1];
    (void)past;
  }
  CHECK(readable_slack(pages.end(), 0) == 0);
}

TEST_CASE("a sparse block has only the pages that were written, of the smallest size, and says that it is sparse") {
  constexpr size_t kBytes = 3 * kLargePageBytes;
  Block block = Block::sparse(kBytes);
  block.data()[kLargePageBytes] = std::byte{1};
  const auto mapping = try_mapping_of(block.data());
  REQUIRE(mapping.has_value());
  CHECK(mapping->flags.count("nh") == 1);
  std::vector<unsigned char> resident(kBytes / kPage);
  REQUIRE(mincore(block.data(), kBytes, resident.data()) == 0);
  CHECK(std::count_if(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1) != 0; }) == 1);
  CHECK(block.is_sparse());
  const Block moved = std::move(block);
  CHECK(moved.is_sparse());
  CHECK_FALSE(Block::pages(kBytes).is_sparse());
}

TEST_CASE("a block of pages is zeros that begin a page, with readable bytes behind them") {
  for (const auto& make : {Block::pages, Block::sparse, Block::secret}) {
    for (const size_t size : interesting_sizes()) {
      CAPTURE(size);
      const Block block = make(size);
      CHECK(block.size_bytes() == size);
      CHECK(reinterpret_cast<uintptr_t>(block.data()) % kPage == 0);
      CHECK(is_zero({block.data() + size - std::min(size, kPage), std::min(size, kPage) + kBlockSlack}));
      if (size > 0) block.data()[0] = block.data()[size - 1] = std::byte{1};
    }
    constexpr size_t kMost = std::numeric_limits<size_t>::max();
    for (const size_t size : {kMost, kMost - kBlockSlack + 1, kMost / 2}) {
      check_refusal(Code::out_of_memory, {"memory: expected ", std::to_string(size)}, [&] { (void)make(size); });
    }
  }
}

TEST_CASE("a mapped block has a file's bytes, readable ones behind them, and keeps what is written to itself") {
  for (const size_t size_bytes : {size_t{1}, size_t{4032}, size_t{4096}, size_t{70000}}) {
    CAPTURE(size_bytes);
    const auto owner = std::make_shared<Descriptor>(memfd_create("mapped", MFD_CLOEXEC), "mapped");
    const std::string bytes(size_bytes, 'm');
    REQUIRE(write(owner->number(), bytes.data(), bytes.size()) == static_cast<ssize_t>(size_bytes));
    {
      Block block = Block::mapped(owner->number(), size_bytes, owner);
      CHECK(block.is_mapped());
      CHECK(std::string(reinterpret_cast<const char*>(block.data()), block.size_bytes()) == bytes);
      for (size_t i = 0; i < kBlockSlack; ++i) CHECK(block.data()[size_bytes + i] == std::byte{0});
      block.data()[0] = std::byte{'x'};
      char first = 0;
      CHECK(pread(owner->number(), &first, 1, 0) == 1);
      CHECK(first == 'm');
      CHECK(owner.use_count() == 2);
    }
    CHECK(owner.use_count() == 1);
  }
  CHECK_THROWS_AS((void)Block::mapped(-1, 4096, nullptr), Error);
}

TEST_CASE("only a secret block is in no core dump; both ask for large pages when they are large") {
  constexpr size_t kLarge = 2 * kLargePageBytes + 4097;
  for (const size_t size : {size_t{100}, kLarge}) {
    const Block plain = Block::pages(size);
    const Block secret = Block::secret(size);
    const auto plain_mapping = try_mapping_of(plain.data());
    const auto secret_mapping = try_mapping_of(secret.data());
    REQUIRE(plain_mapping);
    REQUIRE(secret_mapping);
    CHECK(plain_mapping->flags.count("dd") == 0);
    CHECK(secret_mapping->flags.count("dd") == 1);
    // The kernel may join a small block with a neighbour.
    if (size == kLarge) {
      CHECK(reinterpret_cast<uintptr_t>(plain.data()) % kLargePageBytes == 0);
      CHECK(reinterpret_cast<uintptr_t>(secret.data()) % kLargePageBytes == 0);
      CHECK(plain_mapping->flags.count("hg") == 1);
      CHECK(secret_mapping->flags.count("hg") == 1);
      // On kernels with pages of 16 or 64 KiB it could not be given back otherwise.
      constexpr size_t kGreatestPage = size_t{64} << 10;
      CHECK(plain_mapping->end % kGreatestPage == 0);
      CHECK(secret_mapping->end % kGreatestPage == 0);
    }
  }
}

TEST_CASE("a secret block is zeros when the system gets it back, also when a part of it lived longest") {
  constexpr size_t kSize = 3 * kPage;
  const auto given_back = [](Block (*make)(size_t), auto&& hold) {
    return bytes_when_unmapped([&](const auto& watch) {
      Block block = make(kSize);
      watch(block.data());
      std::memset(block.data(), 7, kSize);
      hold(std::move(block));
    });
  };
  const Octets ended = given_back(Block::secret, [](Block) {});
  const Octets of_part = given_back(Block::secret, [](Block block) {
    const Block part = block.part(kBlockAlignment, 100);
    block = Block();
  });
  for (const Octets& bytes : {ended, of_part}) {
    CHECK(bytes.size() >= kSize);
    CHECK(is_zero(bytes));
  }
  // The watching itself: what is not wiped is seen.
  const Octets seen = given_back(Block::pages, [](Block) {});
  REQUIRE(seen.size() >= kSize);
  CHECK(is_same(Bytes(seen).first(kSize), Octets(kSize, std::byte{7})));
}

TEST_CASE("wiping touches only pages that hold something") {
  constexpr size_t kSize = size_t{20} << 20;
  const Block block = Block::sparse(kSize);
  for (const size_t at : {size_t{0}, size_t{5} << 20, (size_t{16} << 20) - 1, size_t{16} << 20, kSize - 1})
    block.data()[at] = std::byte{7};
  const uint64_t before = resident_bytes(block.data(), kSize);
  CHECK(before < kSize / 2);
  wipe_pages({block.data(), kSize});
  CHECK(resident_bytes(block.data(), kSize) == before);
  CHECK(is_zero({block.data(), kSize}));
}

TEST_CASE("a block has one owner, until a part or a copy has its memory too") {
  const Block block = Block::pages(1000);
  CHECK(block.has_one_owner());
  {
    const Block part = block.part(0, 100);
    CHECK_FALSE(block.has_one_owner());
    CHECK_FALSE(part.has_one_owner());
  }
  CHECK(block.has_one_owner());
}

TEST_CASE("a secret block and its parts are known as secrets, and may be swapped where they cannot be locked") {
  const Block secret = Block::secret(1000);
  CHECK(secret.is_secret());
  CHECK(secret.part(kBlockAlignment, 100).is_secret());
  CHECK_FALSE(Block::pages(1000).is_secret());
  CHECK_FALSE(Block::pages(1000).part(0, 100).is_secret());
  std::ifstream file("/proc/swaps");
  std::string header, area;
  std::getline(file, header);
  const bool has_swap = static_cast<bool>(std::getline(file, area));
  CHECK(outcome_in_child([&] {
          const rlimit none{0, 0};
          // Who may lock without a limit has to become somebody else first.
          if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && seteuid(65534) != 0)) return false;
          const Block unlocked = Block::secret(1000);
          return unlocked.may_be_swapped() == has_swap && unlocked.part(0, 100).may_be_swapped() == has_swap &&
                 !Block::pages(1000).may_be_swapped();
        }) == "");
}

TEST_CASE("a part is the same memory, and keeps all of it") {
  Block whole = Block::zeroed(1000);
  std::memset(whole.data(), 5, 1000);
  const Block part = whole.part(kBlockAlignment, 100);
  CHECK(part.data() == whole.data() + kBlockAlignment);
  CHECK(part.size_bytes() == 100);
  const Block inner = part.part(0, 0);
  CHECK(inner.data() == part.data());
  whole = Block();
  CHECK(is_same({part.data(), 100}, Octets(100, std::byte{5})));
}

}  // namespace edgeward
