#include "system/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "bytes/bytes.h"
#include "error.h"

namespace edgeward {
namespace {

[[noreturn]] void refuse(size_t size_bytes) {
  throw Error(Code::out_of_memory, "memory: expected ", size_bytes, " bytes, got none");
}

// Zeroed pages for `size_bytes` and the slack. `mapped_bytes` receives the size to unmap.
void* map_pages(size_t size_bytes, size_t& mapped_bytes) {
  const auto wanted = checked_add(size_bytes, kBlockSlack);
  if (!wanted) refuse(size_bytes);
  constexpr size_t kPageBytes = 4096;
  // The slack adds a page when the last one has no room for it.
  mapped_bytes = (*wanted + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (mapped_bytes < kLargePageBytes) {
    void* pages = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) refuse(size_bytes);
    return pages;
  }
  // Large pages begin at multiples of their size: map one more, and unmap what precedes and follows.
  const auto reserved = checked_add(mapped_bytes, kLargePageBytes);
  void* reserve = MAP_FAILED;
  if (reserved) reserve = mmap(nullptr, *reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserve == MAP_FAILED) refuse(size_bytes);
  auto* first = static_cast<std::byte*>(reserve);
  const size_t before = (kLargePageBytes - reinterpret_cast<uintptr_t>(first) % kLargePageBytes) % kLargePageBytes;
  std::byte* pages = first + before;
  if (before != 0) munmap(first, before);
  munmap(pages + mapped_bytes, kLargePageBytes - before);
  madvise(pages, mapped_bytes, MADV_HUGEPAGE);
  return pages;
}

}  // namespace

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
  size_t mapped_bytes = 0;
  void* pages = map_pages(size_bytes, mapped_bytes);
  std::shared_ptr<void> allocation(pages, [mapped_bytes](void* mapped) { munmap(mapped, mapped_bytes); });
  return {std::move(allocation), static_cast<std::byte*>(pages), size_bytes};
}

Block Block::secret(size_t size_bytes) {
  size_t mapped_bytes = 0;
  void* pages = map_pages(size_bytes, mapped_bytes);
  madvise(pages, mapped_bytes, MADV_DONTDUMP);
  // As far as RLIMIT_MEMLOCK allows; each page as it is first touched.
  mlock2(pages, mapped_bytes, MLOCK_ONFAULT);
  std::shared_ptr<void> allocation(pages, [mapped_bytes](void* mapped) {
    explicit_bzero(mapped, mapped_bytes);
    munmap(mapped, mapped_bytes);
  });
  return {std::move(allocation), static_cast<std::byte*>(pages), size_bytes};
}

Block Block::part(size_t offset, size_t size_bytes) const { return {allocation_, data_ + offset, size_bytes}; }

}  // namespace edgeward
