#include "captures/record_block.h"

#include <doctest/doctest.h>

#include <random>

#include "rigs/octets.h"

namespace edgeward {
namespace {

// A record's bytes, with tensors of these sizes, filled from `random`.
Octets record_octets(std::mt19937_64& random, uint64_t sequence, const std::vector<int64_t>& sizes, size_t user_bytes) {
  std::vector<RecordTensor> tensors;
  for (const int64_t size : sizes)
    tensors.push_back({RecordSide::output, static_cast<uint32_t>(tensors.size()), DType::uint8, Shape{size},
                       static_cast<uint64_t>(size), 0});
  const auto form = lay_out_record(tensors, user_bytes);
  Octets octets(form->size_bytes);
  RecordHead head;
  head.size_bytes = form->size_bytes;
  head.tensor_count = static_cast<uint16_t>(sizes.size());
  head.user_bytes = static_cast<uint32_t>(user_bytes);
  head.sequence = sequence;
  head.monotonic_ns = 1000 - sequence;
  head.wall_ns = static_cast<int64_t>(sequence) - 100;
  head.latency_ns = 3;
  head.lost_before = 4;
  head.correlation_id = 5;
  head.replaces = sequence == 2 ? 1 : 0;
  head.reason = uint32_t{1} << sequence % 4;
  write_record_head(head, *form, random_octets(random, user_bytes), octets);
  for (const RecordTensor& tensor : form->tensors) {
    const Octets bytes = random_octets(random, tensor.size_bytes);
    std::copy(bytes.begin(), bytes.end(), octets.begin() + static_cast<std::ptrdiff_t>(tensor.offset));
  }
  return octets;
}

// Records 1, 2 and so on, and the block that they make.
std::vector<Octets> some_records(const std::vector<int64_t>& sizes, uint64_t count) {
  std::mt19937_64 random(count);
  std::vector<Octets> records;
  for (uint64_t sequence = 1; sequence <= count; ++sequence)
    records.push_back(record_octets(random, sequence, sizes, sequence * 7 % 5));
  return records;
}

Octets block_octets(const std::vector<Octets>& records) {
  RecordBlockBuilder builder;
  for (const Octets& octets : records) {
    const auto record = try_read_record(octets);
    REQUIRE(record);
    REQUIRE(builder.admits(7, *record));
    builder.add(7, *record);
  }
  Octets payload(3, std::byte{9});
  builder.lay_out(payload);
  CHECK(payload.size() == builder.size_bytes());
  builder.clear();
  CHECK(builder.size_bytes() == 0);
  return payload;
}

}  // namespace

TEST_CASE("records come out of a block as they went in") {
  for (const auto& sizes : {std::vector<int64_t>{}, {0}, {1}, {64, 3}, {100, 0, 65}}) {
    const auto records = some_records(sizes, 9);
    const Octets payload = block_octets(records);
    const auto block = RecordBlock::try_read(payload);
    REQUIRE(block);
    REQUIRE(block->count() == records.size());
    for (uint32_t i = 0; i < block->count(); ++i) {
      const auto record = try_read_record(records[i]);
      const RecordHead head = block->head(i);
      CHECK(head.sequence == record->head.sequence);
      CHECK(head.monotonic_ns == record->head.monotonic_ns);
      CHECK(head.wall_ns == record->head.wall_ns);
      CHECK(head.latency_ns == 3);
      CHECK(head.lost_before == 4);
      CHECK(head.correlation_id == 5);
      CHECK(head.replaces == record->head.replaces);
      CHECK(head.reason == record->head.reason);
      CHECK(to_text(block->user(i)) == to_text(record->user));
      REQUIRE(block->tensors().size() == sizes.size());
      for (size_t tensor = 0; tensor < sizes.size(); ++tensor) {
        const RecordTensor& known = record->tensors[tensor];
        CHECK(block->tensors()[tensor].shape == known.shape);
        CHECK(to_text(block->tensor(tensor, i)) == to_text(Bytes(records[i]).subspan(known.offset, known.size_bytes)));
      }
    }
    const RecordSpan span = block->span();
    CHECK(span.record_count == 9);
    CHECK(span.first_sequence == 1);
    CHECK(span.last_sequence == 9);
    CHECK(span.least_wall_ns == -99);
    CHECK(span.most_wall_ns == -91);
    CHECK(span.least_monotonic_ns == 991);
    CHECK(span.most_monotonic_ns == 999);
    CHECK(span.reasons == 15);
    CHECK(span.has_replaced);
    CHECK_FALSE(span.is_odd);
  }
}

TEST_CASE("a record of another ring or of other tensors is not admitted") {
  const auto same = some_records({8}, 2);
  const auto other = some_records({9}, 1);
  RecordBlockBuilder builder;
  CHECK(builder.admits(1, *try_read_record(other[0])));
  builder.add(1, *try_read_record(same[0]));
  CHECK(builder.admits(1, *try_read_record(same[1])));
  CHECK_FALSE(builder.admits(2, *try_read_record(same[1])));
  CHECK_FALSE(builder.admits(1, *try_read_record(other[0])));
}

TEST_CASE("a block that was cut anywhere, or has more behind it, is none") {
  const Octets payload = block_octets(some_records({64, 3}, 3));
  for (size_t size = 0; size < payload.size(); ++size) CHECK_FALSE(RecordBlock::try_read(Bytes(payload).first(size)));
  Octets longer = payload;
  longer.push_back(std::byte{0});
  CHECK_FALSE(RecordBlock::try_read(longer));
}

TEST_CASE("a block with one bit turned over is none, or is read within its bytes") {
  Octets payload = block_octets(some_records({64, 3}, 3));
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * payload.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1u << bit % 8);
    payload[bit / 8] ^= mask;
    const auto block = RecordBlock::try_read(payload);
    refused += block ? 0 : 1;
    if (block) {
      for (uint32_t i = 0; i < block->count(); ++i) {
        CHECK(contains(payload, static_cast<uint64_t>(block->user(i).data() - payload.data()), block->user(i).size()));
        for (size_t tensor = 0; tensor < block->tensors().size(); ++tensor)
          CHECK(block->tensor(tensor, i).data() + block->tensor(tensor, i).size() <= payload.data() + payload.size());
      }
      // Counts, rows' sizes and padding are never taken.
      CHECK(bit / 8 >= 16);
    }
    payload[bit / 8] ^= mask;
  }
  CHECK(refused > 8 * 16);
}

TEST_CASE("arrays have shapes whose extents, but for zeros, multiply to less than 2^63 bytes") {
  struct Row {
    DType dtype;
    Shape shape;
    bool is_array;
  };
  const int64_t large = int64_t{1} << 62;
  const Row rows[] = {{DType::uint8, {}, true},
                      {DType::float32, {0, 3}, true},
                      {DType::uint8, {0, large}, true},
                      {DType::uint8, {0, large, 2}, false},
                      {DType::float32, {0, large}, false},
                      {DType::int4, {0, large, 2}, true}};
  for (const Row& row : rows) {
    CAPTURE(text(row.shape));
    CHECK(is_array({RecordSide::input, 0, row.dtype, row.shape, 0, 0}) == row.is_array);
  }
}

}  // namespace edgeward
