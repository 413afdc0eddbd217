#include "engines/large_pages.h"

#include <sys/mman.h>

#include <bit>
#include <cstdint>
#include <cstdlib>

#include "bytes/bytes.h"
#include "system/memory.h"

namespace edgeward {
namespace {

thread_local int depth = 0;

// In place of posix_memalign. The memory is libc's, and is freed as any.
int allocate(void** memory, size_t alignment, size_t size_bytes) {
  const int status = posix_memalign(memory, alignment, size_bytes);
  if (status != 0 || depth == 0 || size_bytes < kMinLargeAllocationBytes) return status;
  const auto begin = reinterpret_cast<uintptr_t>(*memory);
  const uintptr_t first = round_up(begin, page_bytes());
  const uintptr_t end = (begin + size_bytes) / page_bytes() * page_bytes();
  madvise(std::bit_cast<void*>(first), end - first, MADV_HUGEPAGE);
  return status;
}

}  // namespace

void advise_large_pages(const Library& library) {
  (void)library.try_redirect("posix_memalign", reinterpret_cast<const void*>(posix_memalign),
                             reinterpret_cast<void*>(allocate));
}

LargePages::LargePages() { ++depth; }

LargePages::~LargePages() { --depth; }

}  // namespace edgeward
