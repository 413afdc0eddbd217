// libFuzzer: a tensor of strings in an engine's memory. What is accepted lies inside the input, and written again is
// the same bytes up to where the block ends. How to build and run: .ci/run, lane fuzz.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tensor/string_block.h"

using namespace edgeward;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // On the heap with its exact size, so that a read past its end is caught.
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  const auto block = StringBlock::try_read(bytes);
  if (!block) return 0;
  size_t text_bytes = 0;
  for (size_t i = 0; i < block->count(); ++i) text_bytes += (*block)[i].size();
  const auto size_bytes = string_block_bytes(block->count(), text_bytes);
  if (size_bytes != block->size_bytes() || *size_bytes > size) abort();
  std::vector<std::byte> again(*size_bytes);
  StringBlockWriter writer(again, block->count());
  for (size_t i = 0; i < block->count(); ++i) {
    const std::string_view string = (*block)[i];
    std::byte* room = writer.add(string.size());
    if (!string.empty()) std::memcpy(room, string.data(), string.size());
  }
  if (std::memcmp(again.data(), bytes.data(), again.size()) != 0) abort();
  return 0;
}
