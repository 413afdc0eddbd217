// StringBlock: a tensor of strings as one block of bytes, in the layout of TFLite's kernels. A string is bytes of any
// value. Little-endian, any alignment, offsets from the start of the block:
//   0             int32 count
//   4             int32 offsets[count + 1]: where each string begins, and where the last one ends
//   4 * count + 8 the strings, one after another
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "bytes/bytes.h"

namespace edgeward {

// Bytes of a block of `count` strings that have `text_bytes` in all; nothing when an offset would not fit.
std::optional<size_t> string_block_bytes(size_t count, size_t text_bytes);

// A block that has been checked. Borrows the bytes; any thread.
class StringBlock {
 public:
  // Nothing when `bytes` do not begin with a block. Bytes after it are ignored: size_bytes() tells where it ends.
  static std::optional<StringBlock> try_read(Bytes bytes);

  size_t count() const { return count_; }
  size_t size_bytes() const { return offset(count_); }
  std::string_view operator[](size_t index) const;

 private:
  StringBlock(Bytes bytes, size_t count) : bytes_(bytes), count_(count) {}
  size_t offset(size_t index) const;

  Bytes bytes_;
  size_t count_;
};

// Fills a block, string by string.
class StringBlockWriter {
 public:
  // `block` has string_block_bytes() of `count` and of all strings to come, and outlives the writer.
  StringBlockWriter(std::span<std::byte> block, size_t count);

  // Room for the next string, to be filled by the caller.
  std::byte* add(size_t size_bytes);

 private:
  void put(size_t slot, size_t value);

  std::byte* block_;
  size_t end_;       // of the strings so far
  size_t slot_ = 1;  // the offset to be written next
};

}  // namespace edgeward
