// Block: memory for one tensor or one model, aligned as every engine wants it, with readable bytes after its end.
// Owned by one holder and moved, not copied. Holds no lock; freed by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace edgeward {

inline constexpr size_t kBlockAlignment = 64;

// Bytes after the end of a block that may be read: XNNPACK's kernels load up to 16 past an input's last element.
inline constexpr size_t kBlockSlack = 64;

// Pages of this size need one fault for a first touch instead of 512. Other machines have others; this is a hint.
inline constexpr size_t kLargePageBytes = size_t{2} << 20;

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
  // Zeroed pages of its own, from kLargePageBytes on large ones where the system has them; begins with a page.
  static Block pages(size_t size_bytes);
  // The same for what must not be read elsewhere: in no core dump, not swapped as far as the process may lock memory,
  // and wiped before the system gets it back.
  static Block secret(size_t size_bytes);

  Block(Block&& other) noexcept = default;
  Block& operator=(Block&& other) noexcept = default;

  // A block over `size_bytes` of this one from `offset`, which keeps all of the memory; `offset` is a multiple of
  // kBlockAlignment and both lie inside.
  Block part(size_t offset, size_t size_bytes) const;

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Block(size_t size_bytes, void* (*allocate)(size_t));
  Block(std::shared_ptr<void> allocation, std::byte* data, size_t size_bytes)
      : allocation_(std::move(allocation)), data_(data), size_bytes_(size_bytes) {}

  std::shared_ptr<void> allocation_;  // shared by the parts of one block
  std::byte* data_ = nullptr;         // inside the allocation
  size_t size_bytes_ = 0;
};

}  // namespace edgeward
