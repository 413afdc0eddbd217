// Memory whose end is known to the byte: pages that can be used, then one that ends the process when it is touched.
// They have the size of the largest pages that Linux has.
#pragma once

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstddef>

namespace edgeward {

class GuardedPages {
 public:
  static constexpr size_t kPageBytes = 65'536;

  explicit GuardedPages(size_t count) : usable_bytes_(count * kPageBytes) {
    void* mapped =
        mmap(nullptr, usable_bytes_ + kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(mapped != MAP_FAILED);
    begin_ = static_cast<std::byte*>(mapped);
    REQUIRE(mprotect(end(), kPageBytes, PROT_NONE) == 0);
  }
  ~GuardedPages() { munmap(begin_, usable_bytes_ + kPageBytes); }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;

  std::byte* begin() const { return begin_; }
  std::byte* end() const { return begin_ + usable_bytes_; }  // the first byte that may not be touched

 private:
  size_t usable_bytes_;
  std::byte* begin_;
};

}  // namespace edgeward
