#include "captures/record.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "bytes/crc32c.h"
#include "rigs/octets.h"

namespace edgeward {
namespace {

RecordTensor tensor(RecordSide side, uint32_t index, DType dtype, const Shape& shape) {
  return {side, index, dtype, shape, *size_bytes(dtype, shape), 0};
}

// Three tensors whose sizes are no multiples of 64, so that there is padding between all of them.
std::vector<RecordTensor> some_tensors() {
  return {tensor(RecordSide::input, 0, DType::float32, {1, 5, 5}), tensor(RecordSide::input, 1, DType::uint8, {3}),
          tensor(RecordSide::output, 0, DType::float16, {2, 10})};
}

// A record of `tensors` and `user`, in bytes that held something else before.
Octets record_of(const std::vector<RecordTensor>& tensors, std::string_view user, RecordHead head = {}) {
  const auto form = lay_out_record(tensors, user.size());
  REQUIRE(form);
  head.size_bytes = form->size_bytes;
  head.tensor_count = static_cast<uint16_t>(tensors.size());
  head.user_bytes = form->user_bytes;
  Octets record(form->size_bytes, std::byte{0xEE});
  write_record_head(head, *form, std::as_bytes(std::span(user)), record);
  for (size_t i = 0; i < tensors.size(); ++i)
    std::fill_n(record.begin() + static_cast<std::ptrdiff_t>(form->tensors[i].offset), tensors[i].size_bytes,
                static_cast<std::byte>(i + 1));
  return record;
}

// Every field with a value that no other has.
RecordHead numbered_head() {
  RecordHead head;
  head.sequence = 0x0102030405060708;
  head.position = 0x1112131415161740;
  head.monotonic_ns = 0x2122232425262728;
  head.wall_ns = -0x3132333435363738;
  head.latency_ns = 0x4142434445464748;
  head.lost_before = 0x5152535455565758;
  head.correlation_id = 0x6162636465666768;
  head.replaces = 0x7172737475767778;
  head.reason = kSampled | kFailed | kPreRoll;
  return head;
}

void check_same(const RecordHead& head, const RecordHead& expected) {
  CHECK(head.size_bytes == expected.size_bytes);
  CHECK(head.tensor_count == expected.tensor_count);
  CHECK(head.sequence == expected.sequence);
  CHECK(head.position == expected.position);
  CHECK(head.monotonic_ns == expected.monotonic_ns);
  CHECK(head.wall_ns == expected.wall_ns);
  CHECK(head.latency_ns == expected.latency_ns);
  CHECK(head.lost_before == expected.lost_before);
  CHECK(head.correlation_id == expected.correlation_id);
  CHECK(head.replaces == expected.replaces);
  CHECK(head.reason == expected.reason);
  CHECK(head.user_bytes == expected.user_bytes);
}

}  // namespace

TEST_CASE("every field of a record comes back") {
  const std::vector<RecordTensor> tensors = some_tensors();
  RecordHead head = numbered_head();
  const Octets bytes = record_of(tensors, "a user's words", head);
  const auto record = try_read_record(bytes);
  REQUIRE(record);
  head.size_bytes = static_cast<uint32_t>(bytes.size());
  head.tensor_count = 3;
  head.user_bytes = 14;
  check_same(record->head, head);
  CHECK(to_text(record->user) == "a user's words");
  CHECK(record->bytes.data() == bytes.data());
  REQUIRE(record->tensors.size() == tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    CAPTURE(i);
    const RecordTensor& row = record->tensors[i];
    CHECK(row.side == tensors[i].side);
    CHECK(row.index == tensors[i].index);
    CHECK(row.dtype == tensors[i].dtype);
    CHECK(row.shape == tensors[i].shape);
    CHECK(row.size_bytes == tensors[i].size_bytes);
    REQUIRE(contains(bytes, row.offset, row.size_bytes));
    CHECK(is_same(Bytes(bytes).subspan(row.offset, row.size_bytes),
                  Octets(row.size_bytes, static_cast<std::byte>(i + 1))));
  }
}

TEST_CASE("tensors of every type and every rank come back, and so do ones that hold nothing") {
  for (size_t type = 0; type < kDTypeCount; ++type) {
    if (static_cast<DType>(type) == DType::string) continue;  // whose size is not in its shape
    for (size_t rank = 0; rank <= Shape::kMaxRank; ++rank) {
      CAPTURE(type);
      CAPTURE(rank);
      const std::vector<int64_t> dims(rank, 2);
      const Shape shape{std::span<const int64_t>(dims)};
      const Octets bytes = record_of({tensor(RecordSide::output, 7, static_cast<DType>(type), shape)}, "");
      const auto record = try_read_record(bytes);
      REQUIRE(record);
      CHECK(record->tensors[0].dtype == static_cast<DType>(type));
      CHECK(record->tensors[0].shape == shape);
      CHECK(record->tensors[0].index == 7);
    }
  }
  const Octets bytes = record_of(
      {tensor(RecordSide::input, 0, DType::int8, {0, 4}), tensor(RecordSide::output, 0, DType::int8, {4})}, "");
  const auto record = try_read_record(bytes);
  REQUIRE(record);
  CHECK(record->tensors[0].size_bytes == 0);
  CHECK(record->tensors[0].shape == Shape{0, 4});
  CHECK(record->tensors[1].size_bytes == 4);
  CHECK(try_read_record(record_of({}, "")));
}

TEST_CASE("a record's tensors begin at multiples of 64, in their order, as close as that allows") {
  for (size_t user_bytes = 0; user_bytes < 130; ++user_bytes) {
    CAPTURE(user_bytes);
    std::vector<RecordTensor> tensors;
    for (const int64_t count : {1, 63, 64, 65, 0, 128}) {
      tensors.push_back(tensor(RecordSide::input, 0, DType::uint8, {count}));
    }
    const auto form = lay_out_record(tensors, user_bytes);
    REQUIRE(form);
    uint64_t end = kRecordHeadBytes + tensors.size() * kTensorRowBytes + user_bytes;
    for (const RecordTensor& row : form->tensors) {
      CHECK(row.offset % 64 == 0);
      CHECK(row.offset >= end);
      CHECK(row.offset - end < 64);
      end = row.offset + row.size_bytes;
    }
    CHECK(form->size_bytes == end);
  }
  CHECK(lay_out_record({}, 0)->size_bytes == kRecordHeadBytes);
  CHECK(lay_out_record({}, 7)->size_bytes == kRecordHeadBytes + 7);
}

TEST_CASE("nothing of what was there before is left between a record's tensors") {
  const Octets bytes = record_of(some_tensors(), "user");
  for (const std::byte byte : bytes) REQUIRE(byte != std::byte{0xEE});
}

TEST_CASE("a record that is cut at any byte is refused, and one with a byte too many") {
  Octets bytes = record_of(some_tensors(), "user", numbered_head());
  REQUIRE(try_read_record(bytes));
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    // Memory of exactly that size, so that a read past it is an error of its own.
    const Octets cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(try_read_record(cut));
    CHECK_FALSE(is_record_at(cut, numbered_head().position));
  }
  bytes.push_back(std::byte{0});
  CHECK_FALSE(try_read_record(bytes));
  CHECK_FALSE(is_record_at(bytes, numbered_head().position));
}

TEST_CASE("a record is refused when any bit of it but a tensor's turns over") {
  const std::vector<RecordTensor> tensors = some_tensors();
  Octets bytes = record_of(tensors, "a user's words", numbered_head());
  const auto record = try_read_record(bytes);
  REQUIRE(record);
  const auto is_in_tensor = [&, laid_out = record->tensors](size_t offset) {
    return std::any_of(laid_out.begin(), laid_out.end(), [offset](const RecordTensor& row) {
      return row.offset <= offset && offset < row.offset + row.size_bytes;
    });
  };
  size_t refused = 0;
  size_t accepted = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    CAPTURE(bit);
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    const bool is_accepted = try_read_record(bytes).has_value();
    // What the tensors hold is not covered: a record is written while the model runs, and a ring is memory, not a disk.
    // A segment's frames have a CRC of their own.
    CHECK(is_accepted == is_in_tensor(bit / 8));
    (is_accepted ? accepted : refused) += 1;
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
  uint64_t tensor_bytes = 0;
  for (const RecordTensor& row : tensors) tensor_bytes += row.size_bytes;
  CHECK(accepted == 8 * tensor_bytes);
  CHECK(refused == 8 * (bytes.size() - tensor_bytes));
  CHECK(try_read_record(bytes));
}

TEST_CASE("a head that is whole is known by its place, whatever bit of it turns over") {
  RecordHead head = numbered_head();
  Octets bytes = record_of(some_tensors(), "user", head);
  CHECK(is_record_at(bytes, head.position));
  for (const uint64_t other : {uint64_t{0}, head.position - 64, head.position + 64, ~head.position})
    CHECK_FALSE(is_record_at(bytes, other));
  for (size_t bit = 0; bit < 8 * kRecordHeadBytes; ++bit) {
    CAPTURE(bit);
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    CHECK_FALSE(is_record_at(bytes, head.position));
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
  // Only the head is looked at.
  bytes[kRecordHeadBytes] ^= std::byte{1};
  CHECK(is_record_at(bytes, head.position));
  CHECK_FALSE(is_record_at(Octets(kRecordHeadBytes), 0));
  CHECK_FALSE(is_record_at({}, 0));
}

TEST_CASE("a record takes another head, and keeps its rows, user bytes and tensors") {
  Octets bytes = record_of(some_tensors(), "user", numbered_head());
  const Octets before = bytes;
  RecordHead head = try_read_record(bytes)->head;
  head.sequence = 9;
  head.position = 128;
  head.lost_before = 4;
  head.replaces = 3;
  head.reason = kManual;
  rewrite_record_head(head, bytes);
  const auto record = try_read_record(bytes);
  REQUIRE(record);
  check_same(record->head, head);
  CHECK(is_record_at(bytes, 128));
  CHECK(is_same(Bytes(bytes).subspan(kRecordHeadBytes), Bytes(before).subspan(kRecordHeadBytes)));
}

TEST_CASE("a record has at most 256 tensors") {
  const RecordTensor row = tensor(RecordSide::input, 0, DType::uint8, {1});
  const Octets bytes = record_of(std::vector<RecordTensor>(kMaxRecordTensors, row), "");
  const auto record = try_read_record(bytes);
  REQUIRE(record);
  CHECK(record->tensors.size() == 256);
  CHECK_FALSE(lay_out_record(std::vector<RecordTensor>(kMaxRecordTensors + 1, row), 0));
}

TEST_CASE("a record has at most 64 KiB of a user's bytes") {
  const std::string user(kMaxUserBytes, 'u');
  const Octets bytes = record_of(some_tensors(), user);
  const auto record = try_read_record(bytes);
  REQUIRE(record);
  CHECK(to_text(record->user) == user);
  for (const size_t size : {kMaxUserBytes + 1, size_t{1} << 32, SIZE_MAX}) {
    CAPTURE(size);
    CHECK_FALSE(lay_out_record(some_tensors(), size));
  }
}

TEST_CASE("a record is as large as 32 bits can say, and no larger") {
  const auto laid_out = [](std::vector<uint64_t> sizes) {
    std::vector<RecordTensor> tensors;
    for (const uint64_t size : sizes) tensors.push_back({RecordSide::input, 0, DType::uint8, {}, size, 0});
    const auto form = lay_out_record(tensors, 0);
    return form ? std::optional(form->size_bytes) : std::nullopt;
  };
  constexpr uint64_t kOffset = 256;  // of the only tensor, behind head and row
  CHECK(laid_out({UINT32_MAX - kOffset}) == UINT32_MAX);
  CHECK_FALSE(laid_out({UINT32_MAX - kOffset + 1}));
  CHECK_FALSE(laid_out({uint64_t{1} << 32}));
  CHECK_FALSE(laid_out({UINT64_MAX}));
  CHECK_FALSE(laid_out({UINT64_MAX - kOffset + 1}));
  CHECK_FALSE(laid_out({uint64_t{1} << 31, uint64_t{1} << 31}));
  CHECK_FALSE(laid_out({1, UINT64_MAX}));
}

TEST_CASE("a record whose CRCs fit is refused when a row of it is none") {
  // What write_record_head is given, it writes: rows that no recorder makes.
  struct Row {
    const char* name;
    RecordTensor tensor;
  };
  const Row rows[] = {
      {"a side that is none", {static_cast<RecordSide>(2), 0, DType::uint8, {4}, 4, 0}},
      {"a type that is none", {RecordSide::input, 0, static_cast<DType>(kDTypeCount), {4}, 4, 0}},
      {"a size that is not the shape's", {RecordSide::input, 0, DType::uint8, {4}, 5, 0}},
      {"a size of another type", {RecordSide::input, 0, DType::float32, {4}, 4, 0}},
      {"a dimension that is not known", {RecordSide::input, 0, DType::uint8, {-1}, 4, 0}},
      {"dimensions that overflow", {RecordSide::input, 0, DType::uint8, {INT64_MAX, INT64_MAX, 4}, 4, 0}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK_FALSE(try_read_record(record_of({row.tensor}, "")));
  }
  CHECK(try_read_record(record_of({{RecordSide::input, 0, DType::uint8, {4}, 4, 0}}, "")));
}

TEST_CASE("a record whose head says more than there is, is refused though its CRC fits") {
  const Octets whole = record_of(some_tensors(), "user");
  const RecordHead head = try_read_record(whole)->head;
  const auto is_refused = [&](auto&& change) {
    Octets bytes = whole;
    RecordHead changed = head;
    change(changed);
    rewrite_record_head(changed, bytes);
    return !try_read_record(bytes);
  };
  CHECK_FALSE(is_refused([](RecordHead&) {}));
  CHECK(is_refused([](RecordHead& head) { head.tensor_count = 2; }));
  CHECK(is_refused([](RecordHead& head) { head.tensor_count = 4; }));
  CHECK(is_refused([](RecordHead& head) { head.tensor_count = kMaxRecordTensors + 1; }));
  CHECK(is_refused([](RecordHead& head) { head.tensor_count = UINT16_MAX; }));
  CHECK(is_refused([](RecordHead& head) { head.user_bytes = 3; }));
  CHECK(is_refused([](RecordHead& head) { head.user_bytes = 5; }));
  CHECK(is_refused([](RecordHead& head) { head.user_bytes = kMaxUserBytes + 1; }));
  CHECK(is_refused([](RecordHead& head) { head.user_bytes = UINT32_MAX; }));
  CHECK(is_refused([](RecordHead& head) { head.size_bytes -= 1; }));
  CHECK(is_refused([](RecordHead& head) { head.size_bytes += 1; }));
}

TEST_CASE("a record of a type that is not known is refused though its CRC fits, and one whose spare bytes are in use") {
  constexpr size_t kTypeAt = 4;
  constexpr size_t kHeadCrcAt = 84;
  constexpr size_t kSpareAt = 88;
  const auto is_refused_with = [](size_t offset, uint8_t value) {
    Octets bytes = record_of(some_tensors(), "user");
    bytes[offset] = static_cast<std::byte>(value);
    std::memset(bytes.data() + kHeadCrcAt, 0, sizeof(uint32_t));
    const uint32_t crc = crc32c(Bytes(bytes).first(kRecordHeadBytes));
    std::memcpy(bytes.data() + kHeadCrcAt, &crc, sizeof(crc));
    return !try_read_record(bytes) && !is_record_at(bytes, 0);
  };
  CHECK_FALSE(is_refused_with(kTypeAt, 1));
  CHECK(is_refused_with(kTypeAt, 0));
  CHECK(is_refused_with(kTypeAt, 2));
  CHECK(is_refused_with(kTypeAt + 1, 1));
  for (size_t offset = kSpareAt; offset < kRecordHeadBytes; ++offset) CHECK(is_refused_with(offset, 1));
}

TEST_CASE("any bytes at all are a record or not, and nothing else happens") {
  std::mt19937_64 random(128);
  for (int i = 0; i < 20'000; ++i) {
    Octets bytes = random_octets(random, random() % 300);
    CHECK_FALSE(try_read_record(bytes));
  }
}

}  // namespace edgeward
