#include "captures/record.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "bytes/crc32c.h"

namespace edgeward {
namespace {

// Capture-format 2.
constexpr uint16_t kType = 1;

struct HeadBytes {
  uint32_t size_bytes;
  uint16_t type;
  uint16_t tensor_count;
  uint64_t sequence;
  uint64_t position;
  uint64_t monotonic_ns;
  int64_t wall_ns;
  uint64_t latency_ns;
  uint64_t lost_before;
  uint64_t correlation_id;
  uint64_t replaces;
  uint32_t reason;
  uint32_t user_bytes;
  uint32_t rows_crc;  // of the rows and the user bytes
  uint32_t head_crc;  // of this head, with zero here
  std::byte zeros[40];
};
static_assert(sizeof(HeadBytes) == kRecordHeadBytes);

struct RowBytes {
  uint8_t side;
  uint8_t dtype;
  uint8_t rank;
  uint8_t zero;
  uint32_t index;
  uint64_t size_bytes;
  int64_t dims[Shape::kMaxRank];
};
static_assert(sizeof(RowBytes) == kTensorRowBytes);

// `head` has zero for its own CRC.
uint32_t crc_of(const HeadBytes& head) { return crc32c(std::as_bytes(std::span(&head, 1))); }

std::optional<HeadBytes> try_read_head(Bytes bytes) {
  auto head = try_read<HeadBytes>(bytes, 0);
  if (!head || std::exchange(head->head_crc, 0) != crc_of(*head)) return std::nullopt;
  if (!is_zero(head->zeros) || head->type != kType || head->size_bytes != bytes.size()) return std::nullopt;
  return head;
}

void put_head(const RecordHead& head, uint32_t rows_crc, std::span<std::byte> record) {
  HeadBytes bytes{};
  bytes.size_bytes = head.size_bytes;
  bytes.type = kType;
  bytes.tensor_count = head.tensor_count;
  bytes.sequence = head.sequence;
  bytes.position = head.position;
  bytes.monotonic_ns = head.monotonic_ns;
  bytes.wall_ns = head.wall_ns;
  bytes.latency_ns = head.latency_ns;
  bytes.lost_before = head.lost_before;
  bytes.correlation_id = head.correlation_id;
  bytes.replaces = head.replaces;
  bytes.reason = head.reason;
  bytes.user_bytes = head.user_bytes;
  bytes.rows_crc = rows_crc;
  // Store the CRC by itself: a copy of the head that contains it would stall on the store before it.
  const uint32_t crc = crc_of(bytes);
  std::memcpy(record.data(), &bytes, sizeof(bytes));
  std::memcpy(record.data() + offsetof(HeadBytes, head_crc), &crc, sizeof(crc));
}

// Sets the offsets; returns where the last tensor ends.
std::optional<uint32_t> lay_out(std::vector<RecordTensor>& tensors, size_t user_bytes) {
  if (tensors.size() > kMaxRecordTensors || user_bytes > kMaxUserBytes) return std::nullopt;
  uint64_t end = kRecordHeadBytes + tensors.size() * kTensorRowBytes + user_bytes;
  for (RecordTensor& tensor : tensors) {
    tensor.offset = round_up(end, kTensorAlignment);
    const auto next = checked_add(tensor.offset, tensor.size_bytes);
    if (!next || *next > UINT32_MAX) return std::nullopt;
    end = *next;
  }
  return static_cast<uint32_t>(end);
}

}  // namespace

std::optional<RecordForm> lay_out_record(std::vector<RecordTensor> tensors, size_t user_bytes) {
  const auto size_bytes = lay_out(tensors, user_bytes);
  if (!size_bytes) return std::nullopt;
  RecordForm form{std::move(tensors), static_cast<uint32_t>(user_bytes), *size_bytes, {}, 0};
  form.rows.reserve(form.tensors.size() * kTensorRowBytes);
  for (const RecordTensor& tensor : form.tensors) {
    RowBytes row{};
    row.side = static_cast<uint8_t>(tensor.side);
    row.dtype = static_cast<uint8_t>(tensor.dtype);
    row.rank = static_cast<uint8_t>(tensor.shape.rank());
    row.index = tensor.index;
    row.size_bytes = tensor.size_bytes;
    std::copy(tensor.shape.begin(), tensor.shape.end(), row.dims);
    const auto bytes = std::as_bytes(std::span(&row, 1));
    form.rows.insert(form.rows.end(), bytes.begin(), bytes.end());
  }
  form.rows_crc = crc32c(form.rows);
  return form;
}

void write_record_head(const RecordHead& head, const RecordForm& form, Bytes user, std::span<std::byte> record) {
  std::byte* end = std::copy(form.rows.begin(), form.rows.end(), record.data() + kRecordHeadBytes);
  end = std::copy(user.begin(), user.end(), end);
  put_head(head, user.empty() ? form.rows_crc : crc32c(user, form.rows_crc), record);
  // Zero the gaps between rows and tensors, and between tensors: they hold what was there before.
  for (const RecordTensor& tensor : form.tensors) {
    std::byte* begin = record.data() + tensor.offset;
    std::fill(end, begin, std::byte{0});
    end = begin + tensor.size_bytes;
  }
}

void rewrite_record_head(const RecordHead& head, std::span<std::byte> record) {
  put_head(head, *try_read<uint32_t>(record, offsetof(HeadBytes, rows_crc)), record);
}

std::optional<std::vector<RecordTensor>> try_read_rows(Bytes rows, size_t count) {
  std::vector<RecordTensor> tensors;
  tensors.reserve(std::min(count, kMaxRecordTensors));
  for (size_t i = 0; i < count; ++i) {
    const auto row = try_read<RowBytes>(rows, i * kTensorRowBytes);
    if (!row || row->side > 1 || row->dtype >= kDTypeCount || row->rank > Shape::kMaxRank || row->zero != 0)
      return std::nullopt;
    const Shape shape{std::span<const int64_t>(row->dims, row->rank)};
    const auto dtype = static_cast<DType>(row->dtype);
    if (size_bytes(dtype, shape) != row->size_bytes) return std::nullopt;
    tensors.push_back({static_cast<RecordSide>(row->side), row->index, dtype, shape, row->size_bytes, 0});
  }
  return tensors;
}

std::optional<Record> try_read_record(Bytes bytes) {
  const auto head = try_read_head(bytes);
  if (!head || head->tensor_count > kMaxRecordTensors || head->user_bytes > kMaxUserBytes) return std::nullopt;
  const size_t rows_bytes = head->tensor_count * kTensorRowBytes;
  if (!contains(bytes, kRecordHeadBytes, rows_bytes + head->user_bytes)) return std::nullopt;
  if (crc32c(bytes.subspan(kRecordHeadBytes, rows_bytes + head->user_bytes)) != head->rows_crc) return std::nullopt;
  Record record;
  record.bytes = bytes;
  record.user = bytes.subspan(kRecordHeadBytes + rows_bytes, head->user_bytes);
  record.head = {head->size_bytes,     head->tensor_count, head->sequence,   head->position,
                 head->monotonic_ns,   head->wall_ns,      head->latency_ns, head->lost_before,
                 head->correlation_id, head->replaces,     head->reason,     head->user_bytes};
  auto tensors = try_read_rows(bytes.subspan(kRecordHeadBytes, rows_bytes), head->tensor_count);
  if (!tensors) return std::nullopt;
  record.tensors = std::move(*tensors);
  uint64_t end = kRecordHeadBytes + rows_bytes + head->user_bytes;
  if (lay_out(record.tensors, head->user_bytes) != head->size_bytes) return std::nullopt;
  for (const RecordTensor& tensor : record.tensors) {
    const Bytes gap = bytes.subspan(end, tensor.offset - end);
    if (!is_zero(gap)) return std::nullopt;
    end = tensor.offset + tensor.size_bytes;
  }
  return record;
}

bool is_record_at(Bytes bytes, uint64_t position) {
  const auto head = try_read_head(bytes);
  return head && head->position == position;
}

}  // namespace edgeward
