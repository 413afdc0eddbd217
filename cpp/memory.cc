#include "memory.h"

#include "bytes.h"
#include "error.h"

namespace edgeward {

Block Block::uninitialized(size_t size_bytes) { return Block(size_bytes, std::malloc); }

Block Block::zeroed(size_t size_bytes) {
  // calloc: large blocks are fresh pages, which are zero without being touched.
  return Block(size_bytes, [](size_t padded_bytes) { return std::calloc(padded_bytes, 1); });
}

Block::Block(size_t size_bytes, void* (*allocate)(size_t)) : size_bytes_(size_bytes) {
  // Room for the alignment, for the slack, and for one step that moves the end away from the end of its page.
  constexpr size_t kExtra = kBlockSlack + 2 * kBlockAlignment;
  const auto padded_bytes = checked_add(size_bytes, kExtra);
  allocation_.reset(padded_bytes ? allocate(*padded_bytes) : nullptr);
  if (allocation_ == nullptr) throw Error(Code::out_of_memory, "memory: expected ", size_bytes, " bytes, got none");
  const auto first = reinterpret_cast<uintptr_t>(allocation_.get());
  data_ = static_cast<std::byte*>(allocation_.get()) + (kBlockAlignment - first % kBlockAlignment) % kBlockAlignment;
  if (readable_slack(data_, size_bytes) < kBlockSlack) data_ += kBlockAlignment;
}

}  // namespace edgeward
