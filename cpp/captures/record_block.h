// RecordBlock: records of one ring that have the same tensors, packed for the disk: the rows once, then each field of
// the heads and each tensor of all records behind one another. Layout: docs/capture-format.md, section 3. Pure; any
// thread; a builder belongs to one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "captures/record.h"

namespace edgeward {

// A field of the records' heads, in the order in which a block has them.
enum class RecordField : uint8_t {
  sequence,
  monotonic_ns,
  wall_ns,
  latency_ns,
  lost_before,
  correlation_id,
  replaces,
  reasons,   // 32 bits, as is the next; all before are of 64
  user_end,  // where the record's user bytes end among those of the block
};
inline constexpr size_t kWideFieldCount = 7;
inline constexpr size_t kRecordFieldCount = 9;
// What a block takes for a record beside its user bytes and tensors.
inline constexpr uint64_t kPackedHeadBytes = kWideFieldCount * 8 + 2 * 4;

// What is known of a frame's records without reading them.
struct RecordSpan {
  uint64_t record_count = 0;
  uint64_t first_sequence = 0;
  uint64_t last_sequence = 0;
  int64_t least_wall_ns = 0;
  int64_t most_wall_ns = 0;
  uint64_t least_monotonic_ns = 0;
  uint64_t most_monotonic_ns = 0;
  uint32_t reasons = 0;       // those of any of them
  bool has_replaced = false;  // one of them replaces a record in a reservoir
  bool is_odd = false;        // a tensor of theirs is none that is_array()
};

// Whether an array may have this shape: numpy multiplies all dimensions but those without elements.
bool is_array(const RecordTensor& tensor);

class RecordBlock {
 public:
  // Nothing for bytes that are no block: a size that does not fit, a row that no record has, user bytes that end before
  // they begin, padding that is not zero. `payload` must outlive the block.
  static std::optional<RecordBlock> try_read(Bytes payload);

  uint32_t count() const { return count_; }
  // Their offsets are those of the first record's bytes in the payload; the next one's follow.
  const std::vector<RecordTensor>& tensors() const { return tensors_; }
  // What records of the same tensors have the same.
  Bytes rows() const;
  // Of all records, as they are stored.
  Bytes field(RecordField field) const;
  Bytes tensor(size_t tensor) const;

  // `index` is less than count(). Of a head, size_bytes and position are zero.
  RecordHead head(uint32_t index) const;
  Bytes user(uint32_t index) const;
  Bytes tensor(size_t tensor, uint32_t index) const;
  // The user bytes of records from `begin` to `end`.
  Bytes user(uint32_t begin, uint32_t end) const;

  RecordSpan span() const;

 private:
  template <class T>
  T value(RecordField field, uint32_t index) const;

  Bytes payload_;
  uint32_t count_ = 0;
  uint64_t fields_offset_ = 0;
  uint64_t user_offset_ = 0;
  std::vector<RecordTensor> tensors_;
};

class RecordBlockBuilder {
 public:
  bool is_empty() const { return count_ == 0; }
  uint64_t ring_id() const { return ring_id_; }
  // Whether the record has the ring and the tensors of those that were added; true for the first.
  bool admits(uint64_t ring_id, const Record& record) const;
  // It must be admitted.
  void add(uint64_t ring_id, const Record& record);
  // Of the payload; 0 when empty.
  uint64_t size_bytes() const;
  // Replaces `payload` by that of a block, which is not empty.
  void lay_out(std::vector<std::byte>& payload) const;
  void clear();

 private:
  uint64_t ring_id_ = 0;
  uint32_t count_ = 0;
  std::vector<std::byte> rows_;
  std::array<std::vector<uint64_t>, kWideFieldCount> wide_;
  std::vector<uint32_t> reasons_;
  std::vector<uint32_t> user_ends_;
  std::vector<std::byte> user_;
  std::vector<std::vector<std::byte>> tensors_;
};

}  // namespace edgeward
