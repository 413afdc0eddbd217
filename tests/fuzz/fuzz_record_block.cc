// libFuzzer: the payload of a block, as it is in a segment whose CRC fits. The first two bytes say how many records it
// claims, so that other sizes than the seeds' are met. What is read lies inside of the payload. How to build and run:
// .ci/run, lane fuzz.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "captures/record_block.h"

using namespace edgeward;

namespace {

void require_inside(Bytes outer, Bytes inner) {
  if (inner.empty()) return;
  if (inner.data() < outer.data() || inner.data() + inner.size() > outer.data() + outer.size()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint16_t claimed = 0;
  if (size < sizeof(claimed)) return 0;
  std::memcpy(&claimed, data, sizeof(claimed));
  std::vector<std::byte> payload(size - sizeof(claimed));
  if (!payload.empty()) std::memcpy(payload.data(), data + sizeof(claimed), payload.size());
  if (claimed != 0 && payload.size() >= sizeof(uint32_t)) {
    const uint32_t count = claimed;
    std::memcpy(payload.data(), &count, sizeof(count));
  }
  const auto block = RecordBlock::try_read(payload);
  if (!block) return 0;
  require_inside(payload, block->rows());
  uint64_t user_bytes = 0;
  for (uint32_t i = 0; i < block->count(); ++i) {
    user_bytes += block->user(i).size();
    require_inside(payload, block->user(i));
    if (block->head(i).user_bytes != block->user(i).size()) abort();
    for (size_t tensor = 0; tensor < block->tensors().size(); ++tensor) {
      require_inside(payload, block->tensor(tensor, i));
      require_inside(block->tensor(tensor), block->tensor(tensor, i));
    }
  }
  if (block->user(0, block->count()).size() != user_bytes) abort();
  const RecordSpan span = block->span();
  if (span.record_count != block->count() || span.first_sequence != block->head(0).sequence) abort();
  return 0;
}
