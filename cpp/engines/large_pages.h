// LargePages: what an engine allocates in one large piece while it packs weights lies in large pages where the system
// has them. Packed weights are written once, page by page, and 512 faults of 4 KiB take several times as long as one of
// 2 MiB. Decision: docs/decisions/0033.
#pragma once

#include <cstddef>

#include "engines/library.h"

namespace edgeward {

// Of an allocation. glibc takes what is larger from the system by itself, whatever its threshold has grown to, and
// gives it back whole: no large page stays behind in the heap.
inline constexpr size_t kMinLargeAllocationBytes = size_t{32} << 20;

// From now on LargePages concern what `library` allocates by posix_memalign, with which XNNPACK takes memory for
// packed weights. Does nothing for a library that does not refer to it. Any thread.
void advise_large_pages(const Library& library);

// Made and destroyed on one thread, whose allocations it concerns; may be nested. Throws nothing.
class LargePages {
 public:
  LargePages();
  ~LargePages();
  LargePages(const LargePages&) = delete;
  LargePages& operator=(const LargePages&) = delete;
};

}  // namespace edgeward
