#include "captures/record_block.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace edgeward {
namespace {

// Capture-format 3.
struct BlockHead {
  uint32_t record_count;
  uint16_t tensor_count;
  uint16_t zero;
  uint64_t user_bytes;
};
static_assert(sizeof(BlockHead) == 16);

size_t width_of(RecordField field) { return static_cast<size_t>(field) < kWideFieldCount ? 8 : 4; }

// Where a field begins behind the rows, for each record.
uint64_t offset_of(RecordField field) {
  const auto index = static_cast<size_t>(field);
  return index < kWideFieldCount ? index * 8 : kWideFieldCount * 8 + (index - kWideFieldCount) * 4;
}

void append(std::vector<std::byte>& bytes, Bytes more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

template <class T>
void append(std::vector<std::byte>& bytes, const std::vector<T>& values) {
  append(bytes, std::as_bytes(std::span(values)));
}

}  // namespace

bool is_array(const RecordTensor& tensor) {
  if (is_packed(tensor.dtype)) return true;
  auto size_bytes = static_cast<int64_t>(bits(tensor.dtype) / 8);
  for (const int64_t extent : tensor.shape) {
    const auto product = checked_multiply<int64_t>(size_bytes, std::max<int64_t>(extent, 1));
    if (!product) return false;
    size_bytes = *product;
  }
  return true;
}

std::optional<RecordBlock> RecordBlock::try_read(Bytes payload) {
  const auto head = edgeward::try_read<BlockHead>(payload, 0);
  if (!head || head->record_count == 0 || head->zero != 0 || head->tensor_count > kMaxRecordTensors)
    return std::nullopt;
  RecordBlock block;
  block.payload_ = payload;
  block.count_ = head->record_count;
  const size_t rows_bytes = head->tensor_count * kTensorRowBytes;
  block.fields_offset_ = sizeof(BlockHead) + rows_bytes;
  block.user_offset_ = block.fields_offset_ + kPackedHeadBytes * head->record_count;
  if (!contains(payload, block.user_offset_, head->user_bytes)) return std::nullopt;
  auto tensors = try_read_rows(payload.subspan(sizeof(BlockHead), rows_bytes), head->tensor_count);
  if (!tensors) return std::nullopt;
  uint64_t end = block.user_offset_ + head->user_bytes;
  for (RecordTensor& tensor : *tensors) {
    tensor.offset = round_up(end, kTensorAlignment);
    const auto column_bytes = checked_multiply<uint64_t>(tensor.size_bytes, head->record_count);
    if (!column_bytes || !contains(payload, tensor.offset, *column_bytes)) return std::nullopt;
    if (!is_zero(payload.subspan(end, tensor.offset - end))) return std::nullopt;
    end = tensor.offset + *column_bytes;
  }
  if (end != payload.size()) return std::nullopt;
  block.tensors_ = std::move(*tensors);
  uint32_t before = 0;
  for (uint32_t i = 0; i < block.count_; ++i) {
    const auto user_end = block.value<uint32_t>(RecordField::user_end, i);
    if (user_end < before || user_end - before > kMaxUserBytes) return std::nullopt;
    before = user_end;
  }
  if (before != head->user_bytes) return std::nullopt;
  return block;
}

Bytes RecordBlock::rows() const { return payload_.subspan(sizeof(BlockHead), tensors_.size() * kTensorRowBytes); }

Bytes RecordBlock::field(RecordField field) const {
  return payload_.subspan(fields_offset_ + offset_of(field) * count_, width_of(field) * count_);
}

Bytes RecordBlock::tensor(size_t tensor) const {
  return payload_.subspan(tensors_[tensor].offset, tensors_[tensor].size_bytes * count_);
}

template <class T>
T RecordBlock::value(RecordField field, uint32_t index) const {
  T value;
  std::memcpy(&value, payload_.data() + fields_offset_ + offset_of(field) * count_ + sizeof(T) * index, sizeof(T));
  return value;
}

RecordHead RecordBlock::head(uint32_t index) const {
  RecordHead head;
  head.tensor_count = static_cast<uint16_t>(tensors_.size());
  head.sequence = value<uint64_t>(RecordField::sequence, index);
  head.monotonic_ns = value<uint64_t>(RecordField::monotonic_ns, index);
  head.wall_ns = value<int64_t>(RecordField::wall_ns, index);
  head.latency_ns = value<uint64_t>(RecordField::latency_ns, index);
  head.lost_before = value<uint64_t>(RecordField::lost_before, index);
  head.correlation_id = value<uint64_t>(RecordField::correlation_id, index);
  head.replaces = value<uint64_t>(RecordField::replaces, index);
  head.reason = value<uint32_t>(RecordField::reasons, index);
  head.user_bytes = static_cast<uint32_t>(user(index).size());
  return head;
}

Bytes RecordBlock::user(uint32_t index) const { return user(index, index + 1); }

Bytes RecordBlock::user(uint32_t begin, uint32_t end) const {
  const uint32_t first = begin == 0 ? 0 : value<uint32_t>(RecordField::user_end, begin - 1);
  const uint32_t last = end == 0 ? 0 : value<uint32_t>(RecordField::user_end, end - 1);
  return payload_.subspan(user_offset_ + first, last - first);
}

Bytes RecordBlock::tensor(size_t tensor, uint32_t index) const {
  const uint64_t size_bytes = tensors_[tensor].size_bytes;
  return payload_.subspan(tensors_[tensor].offset + size_bytes * index, size_bytes);
}

RecordSpan RecordBlock::span() const {
  const RecordHead first = head(0);
  RecordSpan span{count_,
                  first.sequence,
                  value<uint64_t>(RecordField::sequence, count_ - 1),
                  first.wall_ns,
                  first.wall_ns,
                  first.monotonic_ns,
                  first.monotonic_ns,
                  0,
                  false};
  span.is_odd =
      std::any_of(tensors_.begin(), tensors_.end(), [](const RecordTensor& tensor) { return !is_array(tensor); });
  for (uint32_t i = 0; i < count_; ++i) {
    const auto wall_ns = value<int64_t>(RecordField::wall_ns, i);
    const auto monotonic_ns = value<uint64_t>(RecordField::monotonic_ns, i);
    span.least_wall_ns = std::min(span.least_wall_ns, wall_ns);
    span.most_wall_ns = std::max(span.most_wall_ns, wall_ns);
    span.least_monotonic_ns = std::min(span.least_monotonic_ns, monotonic_ns);
    span.most_monotonic_ns = std::max(span.most_monotonic_ns, monotonic_ns);
    span.reasons |= value<uint32_t>(RecordField::reasons, i);
    span.has_replaced |= value<uint64_t>(RecordField::replaces, i) != 0;
  }
  return span;
}

bool RecordBlockBuilder::admits(uint64_t ring_id, const Record& record) const {
  if (count_ == 0) return true;
  const Bytes rows = record.bytes.subspan(kRecordHeadBytes, record.tensors.size() * kTensorRowBytes);
  return ring_id == ring_id_ && std::equal(rows.begin(), rows.end(), rows_.begin(), rows_.end());
}

void RecordBlockBuilder::add(uint64_t ring_id, const Record& record) {
  if (count_ == 0) {
    ring_id_ = ring_id;
    append(rows_, record.bytes.subspan(kRecordHeadBytes, record.tensors.size() * kTensorRowBytes));
    tensors_.resize(record.tensors.size());
  }
  const RecordHead& head = record.head;
  const uint64_t values[kWideFieldCount] = {head.sequence,   head.monotonic_ns, static_cast<uint64_t>(head.wall_ns),
                                            head.latency_ns, head.lost_before,  head.correlation_id,
                                            head.replaces};
  for (size_t i = 0; i < kWideFieldCount; ++i) wide_[i].push_back(values[i]);
  reasons_.push_back(head.reason);
  append(user_, record.user);
  user_ends_.push_back(static_cast<uint32_t>(user_.size()));
  for (size_t i = 0; i < tensors_.size(); ++i)
    append(tensors_[i], record.bytes.subspan(record.tensors[i].offset, record.tensors[i].size_bytes));
  ++count_;
}

uint64_t RecordBlockBuilder::size_bytes() const {
  if (count_ == 0) return 0;
  uint64_t end = sizeof(BlockHead) + rows_.size() + kPackedHeadBytes * count_ + user_.size();
  for (const auto& tensor : tensors_) end = round_up(end, kTensorAlignment) + tensor.size();
  return end;
}

void RecordBlockBuilder::lay_out(std::vector<std::byte>& payload) const {
  const BlockHead head{count_, static_cast<uint16_t>(tensors_.size()), 0, user_.size()};
  payload.clear();
  payload.reserve(size_bytes());
  append(payload, std::as_bytes(std::span(&head, 1)));
  append(payload, rows_);
  for (const auto& values : wide_) append(payload, values);
  append(payload, reasons_);
  append(payload, user_ends_);
  append(payload, user_);
  for (const auto& tensor : tensors_) {
    payload.resize(round_up(payload.size(), kTensorAlignment));
    append(payload, tensor);
  }
}

void RecordBlockBuilder::clear() {
  count_ = 0;
  rows_.clear();
  for (auto& values : wide_) values.clear();
  reasons_.clear();
  user_ends_.clear();
  user_.clear();
  for (auto& tensor : tensors_) tensor.clear();
}

}  // namespace edgeward
