#include "memory.h"

#include <cstring>

#include "bytes.h"
#include "error.h"

namespace edgeward {

Block Block::uninitialized(size_t size_bytes) {
  // Room for the slack, and for one step that moves the end away from the end of its page.
  constexpr size_t kExtra = kBlockSlack + 2 * kBlockAlignment;
  const auto padded = checked_add(size_bytes, kExtra);
  void* allocation = padded ? std::aligned_alloc(kBlockAlignment, *padded / kBlockAlignment * kBlockAlignment) : nullptr;
  if (allocation == nullptr) throw Error(Code::out_of_memory, "memory: expected ", size_bytes, " bytes, got none");
  Block block;
  block.allocation_.reset(allocation);
  block.data_ = static_cast<std::byte*>(allocation);
  if (readable_slack(block.data_, size_bytes) < kBlockSlack) block.data_ += kBlockAlignment;
  block.size_bytes_ = size_bytes;
  return block;
}

Block Block::zeroed(size_t size_bytes) {
  Block block = uninitialized(size_bytes);
  std::memset(block.data_, 0, size_bytes);
  return block;
}

}  // namespace edgeward
