// Block: memory for one tensor or one model, aligned as every engine wants it, with readable bytes after its end.
// Owned by one holder and moved, not copied. Holds no lock; freed by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace edgeward {

inline constexpr size_t kBlockAlignment = 64;

// Bytes after the end of a block that may be read: XNNPACK's kernels load up to 16 past an input's last element.
inline constexpr size_t kBlockSlack = 64;

// How far past `data + size_bytes` one may read without leaving the page of the last byte. A page is mapped whole, so
// this holds for memory of any origin; 4096 is the smallest page of the systems we run on.
inline size_t readable_slack(const void* data, size_t size_bytes) {
  constexpr uintptr_t kPage = 4096;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data) + size_bytes;
  return (kPage - end % kPage) % kPage;
}

class Block {
 public:
  Block() = default;
  // Contents undefined. readable_slack() is at least kBlockSlack. Throws Error(out_of_memory).
  static Block uninitialized(size_t size_bytes);
  static Block zeroed(size_t size_bytes);

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Block(size_t size_bytes, void* (*allocate)(size_t));

  struct Free {
    void operator()(void* allocation) const { std::free(allocation); }
  };
  std::unique_ptr<void, Free> allocation_;
  std::byte* data_ = nullptr;  // inside the allocation
  size_t size_bytes_ = 0;
};

}  // namespace edgeward
