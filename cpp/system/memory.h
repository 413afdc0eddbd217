// Block: memory for one tensor or one model, aligned as every engine wants it, with readable bytes after its end.
// Has one owner: it is moved, not copied. Holds no lock; may be freed by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace edgeward {

inline constexpr size_t kBlockAlignment = 64;

// Bytes after the end of a block that may be read: XNNPACK's kernels load up to 16 past an input's last element.
inline constexpr size_t kBlockSlack = 64;

// The first touch of a page of this size costs one fault instead of 512. Other machines have other sizes; this is a
// hint.
inline constexpr size_t kLargePageBytes = size_t{2} << 20;

// Of the pages that this kernel maps.
size_t page_bytes();

// How many bytes past `data + size_bytes` can be read without leaving the page of the last byte. A page is mapped
// whole, so this holds for memory of any origin; 4096 is the smallest page size of the supported systems.
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
  // Zeroed pages, beginning at a page. From kLargePageBytes on, large pages where the system has them.
  static Block pages(size_t size_bytes);
  // The same in pages of the smallest size, for a file of which something is left out: zeroes that nobody writes take
  // no memory.
  static Block sparse(size_t size_bytes);
  // The same for secrets: left out of core dumps, not swapped as far as the process may lock memory, and wiped before
  // the pages return to the system.
  static Block secret(size_t size_bytes);

  // The first bytes of a file that nobody changes, read as they are needed; what is written to the block is this
  // process's alone. `owner` is kept as long as the block. Throws Error(out_of_memory).
  static Block mapped(int file, size_t size_bytes, std::shared_ptr<void> owner);

  Block(Block&& other) noexcept = default;
  Block& operator=(Block&& other) noexcept = default;

  // A block over `size_bytes` of this one from `offset`, which keeps all of the memory; `offset` is a multiple of
  // kBlockAlignment and both lie inside.
  Block part(size_t offset, size_t size_bytes) const;

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  bool is_secret() const { return is_secret_; }
  // Whether no other block, and no part of this one, has its memory.
  bool has_one_owner() const { return allocation_.use_count() == 1; }
  // True for a secret that the process may not lock in memory, on a system that swaps.
  bool may_be_swapped() const { return may_be_swapped_; }
  explicit operator bool() const { return data_ != nullptr; }
  // Whether it was made by sparse().
  bool is_sparse() const { return is_sparse_; }
  // Whether it was made by mapped(): its pages are those of a file but for what was written.
  bool is_mapped() const { return is_mapped_; }

 private:
  Block(size_t size_bytes, void* (*allocate)(size_t));
  Block(std::shared_ptr<void> allocation, std::byte* data, size_t size_bytes)
      : allocation_(std::move(allocation)), data_(data), size_bytes_(size_bytes) {}

  std::shared_ptr<void> allocation_;  // shared by the parts of one block
  std::byte* data_ = nullptr;         // inside the allocation
  size_t size_bytes_ = 0;
  bool is_sparse_ = false;
  bool is_mapped_ = false;
  bool is_secret_ = false;
  bool may_be_swapped_ = false;
};

// Pages of a secret block are locked in memory as they are touched. False when they may be swapped all the same.
bool try_lock(std::span<std::byte> pages);

// Overwrites what of secret pages is in memory. What is not holds nothing, or is in swap, where nothing overwrites it.
void wipe_pages(std::span<std::byte> pages);

}  // namespace edgeward
