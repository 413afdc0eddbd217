#include "system/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bytes/bytes.h"
#include "error.h"

namespace edgeward {
namespace {

[[noreturn]] void refuse(size_t size_bytes) {
  throw Error(Code::out_of_memory, "memory: expected ", size_bytes, " bytes, got none");
}

// What the system is asked for and gets back begins and ends at multiples of this: a multiple of the page of every
// kernel, whatever its size.
constexpr size_t kGreatestPageBytes = size_t{64} << 10;

// Zeroed pages and where they begin; `reserved` of `reserved_bytes` are to be unmapped.
struct Pages {
  std::byte* data;
  size_t size_bytes;
  std::byte* reserved;
  size_t reserved_bytes;
};

std::byte* map(size_t size_bytes) {
  void* mapped = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
}

// For `size_bytes` and the slack, which adds a page when the last one has no room for it.
Pages map_pages(size_t size_bytes) {
  const auto wanted = checked_add(size_bytes, kBlockSlack);
  if (!wanted) refuse(size_bytes);
  if (*wanted < kLargePageBytes) {
    constexpr size_t kLeastPageBytes = 4096;
    const auto mapped_bytes = static_cast<size_t>(round_up(*wanted, kLeastPageBytes));
    std::byte* mapped = map(mapped_bytes);
    if (mapped == nullptr) refuse(size_bytes);
    return {mapped, mapped_bytes, mapped, mapped_bytes};
  }
  // Large pages begin at multiples of their size: map one more, and unmap what precedes and follows.
  const auto reserved_bytes = checked_add(*wanted, kLargePageBytes + kGreatestPageBytes);
  std::byte* reserved = reserved_bytes ? map(*reserved_bytes) : nullptr;
  if (reserved == nullptr) refuse(size_bytes);
  const auto begin = reinterpret_cast<uintptr_t>(reserved);
  Pages pages{reserved + (round_up(begin, kLargePageBytes) - begin),
              static_cast<size_t>(round_up(*wanted, kGreatestPageBytes)), reserved, *reserved_bytes};
  const auto before = static_cast<size_t>(pages.data - reserved);
  if (before != 0 && munmap(reserved, before) == 0) {
    pages.reserved += before;
    pages.reserved_bytes -= before;
  }
  std::byte* end = pages.data + pages.size_bytes;
  const auto behind = static_cast<size_t>(pages.reserved + pages.reserved_bytes - end);
  if (munmap(end, behind) == 0) pages.reserved_bytes -= behind;
  madvise(pages.data, pages.size_bytes, MADV_HUGEPAGE);
  return pages;
}

// Where the kernel does not say, there may be some.
bool has_swap() {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/swaps", "re"), std::fclose);
  char line[256];
  bool is_header = true;
  while (file != nullptr && std::fgets(line, sizeof line, file.get()) != nullptr) {
    if (!is_header && line[0] != '\n') return true;
    is_header = false;
  }
  return file == nullptr;
}

}  // namespace

size_t page_bytes() {
  static const auto size_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size_bytes;
}

Block Block::uninitialized(size_t size_bytes) { return Block(size_bytes, std::malloc); }

Block Block::zeroed(size_t size_bytes) {
  // calloc: large blocks are fresh pages, which are zero without being touched.
  return Block(size_bytes, [](size_t padded_bytes) { return std::calloc(padded_bytes, 1); });
}

Block::Block(size_t size_bytes, void* (*allocate)(size_t)) : size_bytes_(size_bytes) {
  // Room for the alignment, for the slack, and for one step that moves the end away from the end of its page.
  constexpr size_t kExtra = kBlockSlack + 2 * kBlockAlignment;
  const auto padded_bytes = checked_add(size_bytes, kExtra);
  void* allocation = padded_bytes ? allocate(*padded_bytes) : nullptr;
  if (allocation == nullptr) refuse(size_bytes);
  allocation_ = std::shared_ptr<void>(allocation, std::free);
  const auto first = reinterpret_cast<uintptr_t>(allocation);
  data_ = static_cast<std::byte*>(allocation) + (kBlockAlignment - first % kBlockAlignment) % kBlockAlignment;
  if (readable_slack(data_, size_bytes) < kBlockSlack) data_ += kBlockAlignment;
}

Block Block::pages(size_t size_bytes) {
  const Pages pages = map_pages(size_bytes);
  std::shared_ptr<void> allocation(pages.data, [pages](void*) { munmap(pages.reserved, pages.reserved_bytes); });
  return {std::move(allocation), pages.data, size_bytes};
}

Block Block::sparse(size_t size_bytes) {
  Block block = pages(size_bytes);
  madvise(block.data_, size_bytes, MADV_NOHUGEPAGE);
  block.is_sparse_ = true;
  return block;
}

Block Block::secret(size_t size_bytes) {
  const Pages pages = map_pages(size_bytes);
  madvise(pages.data, pages.size_bytes, MADV_DONTDUMP);
  // As far as RLIMIT_MEMLOCK allows; each page as it is first touched.
  const bool is_kept_from_swap = try_lock({pages.data, pages.size_bytes});
  std::shared_ptr<void> allocation(pages.data, [pages](void*) {
    wipe_pages({pages.data, pages.size_bytes});
    munmap(pages.reserved, pages.reserved_bytes);
  });
  Block block(std::move(allocation), pages.data, size_bytes);
  block.is_secret_ = true;
  block.may_be_swapped_ = !is_kept_from_swap;
  return block;
}

Block Block::mapped(int file, size_t size_bytes, std::shared_ptr<void> owner) {
  // What follows the file's last page is memory.
  const auto wanted = checked_add(size_bytes, kBlockSlack + kGreatestPageBytes);
  std::byte* pages = wanted ? map(*wanted) : nullptr;
  if (pages == nullptr) refuse(size_bytes);
  std::shared_ptr<void> allocation(pages,
                                   [bytes = *wanted, owner = std::move(owner)](void* data) { munmap(data, bytes); });
  constexpr int kFlags = MAP_PRIVATE | MAP_FIXED;
  if (mmap(pages, size_bytes, PROT_READ | PROT_WRITE, kFlags, file, 0) == MAP_FAILED) refuse(size_bytes);
  Block block(std::move(allocation), pages, size_bytes);
  block.is_mapped_ = true;
  return block;
}

Block Block::part(size_t offset, size_t size_bytes) const {
  Block part(allocation_, data_ + offset, size_bytes);
  part.is_secret_ = is_secret_;
  part.is_mapped_ = is_mapped_;
  part.may_be_swapped_ = may_be_swapped_;
  return part;
}

bool try_lock(std::span<std::byte> pages) {
  return mlock2(pages.data(), pages.size(), MLOCK_ONFAULT) == 0 || !has_swap();
}

void wipe_pages(std::span<std::byte> pages) {
  unsigned char states[4096];
  while (!pages.empty()) {
    const size_t count = std::min<size_t>((pages.size() + page_bytes() - 1) / page_bytes(), sizeof states);
    const bool is_told = mincore(pages.data(), count * page_bytes(), states) == 0;
    for (size_t i = 0; i < count; ++i) {
      const auto page = pages.first(std::min(page_bytes(), pages.size()));
      if (!is_told || states[i] % 2 == 1) explicit_bzero(page.data(), page.size());
      pages = pages.subspan(page.size());
    }
  }
}

}  // namespace edgeward
