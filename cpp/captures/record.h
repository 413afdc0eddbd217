// Record: one captured inference as bytes, the same in a ring and in a segment. Layout: docs/capture-format.md, section
// 2. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bytes/bytes.h"
#include "tensor/tensor.h"

namespace edgeward {

inline constexpr uint32_t kRecordHeadBytes = 128;
inline constexpr size_t kTensorRowBytes = 80;
inline constexpr uint64_t kTensorAlignment = 64;  // of each tensor, from the beginning of record or block
inline constexpr size_t kMaxRecordTensors = 256;
inline constexpr size_t kMaxUserBytes = size_t{64} << 10;

// Why a record was kept: bits, several may hold.
enum Reason : uint32_t {
  kSampled = 1,    // a rate
  kPredicate = 2,  // what the outputs were
  kManual = 4,     // capture_next()
  kFailed = 8,     // the run threw
  kPreRoll = 16,   // it came before a record that was kept
  kPostRoll = 32,  // it came after one
};

// All of a record but its tensors.
struct RecordHead {
  uint32_t size_bytes = 0;    // all of it
  uint16_t tensor_count = 0;  // rows
  uint64_t sequence = 0;      // of its ring, from 1; counts the lost ones too, so that gaps are losses
  uint64_t position = 0;      // in its ring
  uint64_t monotonic_ns = 0;  // when the run began
  int64_t wall_ns = 0;        // Unix time
  uint64_t latency_ns = 0;
  uint64_t lost_before = 0;  // of its ring, up to this record
  uint64_t correlation_id = 0;
  uint64_t replaces = 0;  // sequence of the record that this one replaces in a reservoir; 0: none
  uint32_t reason = 0;
  uint32_t user_bytes = 0;
};

enum class RecordSide : uint8_t {
  input = 0,
  output = 1
};

// Where a tensor's bytes are located in a record, and what they are.
struct RecordTensor {
  RecordSide side;
  uint32_t index;  // of the signature's inputs or outputs
  DType dtype;
  Shape shape;
  uint64_t size_bytes;
  uint64_t offset;  // in the record
};

// What records of the same tensors and as many user bytes have in common: computed once, and copied into each.
struct RecordForm {
  std::vector<RecordTensor> tensors;  // with their offsets: behind rows and user bytes, each from a multiple of 64
  uint32_t user_bytes;
  uint32_t size_bytes;  // of the whole record
  std::vector<std::byte> rows;
  uint32_t rows_crc;  // of the rows alone
};

// Nothing for a record that is larger than 32 bits can say. The offsets of `tensors` are ignored.
std::optional<RecordForm> lay_out_record(std::vector<RecordTensor> tensors, size_t user_bytes);

// Writes head, rows and `user` to `record`, which has form.size_bytes; `user` has form.user_bytes, and the head says
// the same of both. The tensors' own bytes are the caller's to copy to their offsets.
void write_record_head(const RecordHead& head, const RecordForm& form, Bytes user, std::span<std::byte> record);

// Replaces the head of a record that write_record_head wrote; rows, user bytes and tensors stay.
void rewrite_record_head(const RecordHead& head, std::span<std::byte> record);

struct Record {
  RecordHead head;
  std::vector<RecordTensor> tensors;
  Bytes user;   // a view into bytes
  Bytes bytes;  // all of it
};

// Nothing for bytes that are no record: a head whose CRC does not match, a row that leads outside, padding that is not
// zero. The tensors' bytes are not checked.
std::optional<Record> try_read_record(Bytes bytes);

// The tensors that `count` rows of kTensorRowBytes describe, their offsets zero; nothing for rows that none has.
std::optional<std::vector<RecordTensor>> try_read_rows(Bytes rows, size_t count);

// Whether a record's head is whole and says that it was written at `position` of its ring.
bool is_record_at(Bytes bytes, uint64_t position);

}  // namespace edgeward
