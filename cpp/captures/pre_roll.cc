#include "captures/pre_roll.h"

#include <utility>

namespace edgeward {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

std::span<std::byte> PreRoll::room_of(Kept& record) {
  const size_t skipped_bytes = -reinterpret_cast<uintptr_t>(record.buffer.data()) % kAlignment;
  return std::span(record.buffer).subspan(skipped_bytes, record.head.size_bytes);
}

std::span<std::byte> PreRoll::try_add(const RecordHead& head) {
  if (limits_.count == 0 || head.size_bytes > limits_.bytes) return {};
  while (!records_.empty() && (records_.size() >= limits_.count || total_bytes_ + head.size_bytes > limits_.bytes))
    drop_oldest();
  std::vector<std::byte> buffer = std::exchange(spare_, {});
  buffer.resize(head.size_bytes + kAlignment);
  records_.push_back({head, std::move(buffer)});
  total_bytes_ += head.size_bytes;
  return room_of(records_.back());
}

void PreRoll::drop_oldest() {
  total_bytes_ -= records_.front().head.size_bytes;
  spare_ = std::move(records_.front().buffer);
  records_.pop_front();
}

}  // namespace edgeward
