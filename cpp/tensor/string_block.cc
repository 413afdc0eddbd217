#include "tensor/string_block.h"

#include <cstring>

namespace edgeward {
namespace {

constexpr size_t kSlotBytes = sizeof(int32_t);

size_t head_bytes(size_t count) { return (count + 2) * kSlotBytes; }

}  // namespace

std::optional<size_t> string_block_bytes(size_t count, size_t text_bytes) {
  constexpr size_t kMaxBytes = INT32_MAX;
  if (count > kMaxBytes / kSlotBytes - 2 || text_bytes > kMaxBytes - head_bytes(count)) return std::nullopt;
  return head_bytes(count) + text_bytes;
}

std::optional<StringBlock> StringBlock::try_read(Bytes bytes) {
  const auto count = edgeward::try_read<int32_t>(bytes, 0);
  if (!count || *count < 0) return std::nullopt;
  const StringBlock block(bytes, static_cast<size_t>(*count));
  if (!contains(bytes, 0, head_bytes(block.count_)) || block.offset(0) != head_bytes(block.count_)) return std::nullopt;
  for (size_t i = 0; i < block.count_; ++i) {
    if (block.offset(i + 1) < block.offset(i) || block.offset(i + 1) > bytes.size()) return std::nullopt;
  }
  return block;
}

// A negative offset becomes one past every block.
size_t StringBlock::offset(size_t index) const {
  int32_t value;
  std::memcpy(&value, bytes_.data() + (index + 1) * kSlotBytes, kSlotBytes);
  return static_cast<size_t>(value);
}

std::string_view StringBlock::operator[](size_t index) const {
  return {reinterpret_cast<const char*>(bytes_.data()) + offset(index), offset(index + 1) - offset(index)};
}

StringBlockWriter::StringBlockWriter(std::span<std::byte> block, size_t count)
    : block_(block.data()), end_(head_bytes(count)) {
  put(0, count);
  put(slot_++, end_);
}

std::byte* StringBlockWriter::add(size_t size_bytes) {
  std::byte* begin = block_ + end_;
  end_ += size_bytes;
  put(slot_++, end_);
  return begin;
}

void StringBlockWriter::put(size_t slot, size_t value) {
  const auto narrow = static_cast<int32_t>(value);
  std::memcpy(block_ + slot * kSlotBytes, &narrow, kSlotBytes);
}

}  // namespace edgeward
