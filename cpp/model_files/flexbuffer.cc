#include "model_files/flexbuffer.h"

#include <cmath>

namespace edgeward {
namespace {

enum Type : uint8_t {
  kNull = 0,
  kInt = 1,
  kUInt = 2,
  kFloat = 3,
  kString = 5,
  kIndirectInt = 6,
  kIndirectUInt = 7,
  kIndirectFloat = 8,
  kMap = 9,
  kVector = 10,
  kFirstTypedVector = 11,
  kLastTypedVector = 24,
  kBool = 26,
  kBoolVector = 36,
};

// Keys may share bytes; beyond this many times the size of all they only waste time.
constexpr uint64_t kMaxKeySharing = 16;

// A packed type has the type in its upper 6 bits, and the logarithm of a width in the lower 2.
uint8_t type_of(std::byte packed) { return static_cast<uint8_t>(packed) >> 2; }
uint64_t width_of(std::byte packed) { return uint64_t{1} << (static_cast<uint8_t>(packed) & 3); }

bool is_width(uint64_t width) { return width == 1 || width == 2 || width == 4 || width == 8; }

}  // namespace

Flexbuffer::Flexbuffer(Bytes bytes, std::string what) : bytes_(bytes), what_(std::move(what)) {
  // The last byte is the width of the root, the one before it its type, and before them stands the root.
  if (bytes.size() < 3) refuse(bytes.size(), " bytes, expected at least 3");
  const auto width = static_cast<uint64_t>(bytes.back());
  if (!is_width(width) || width > bytes.size() - 2)
    refuse("a root of ", width, " bytes in ", bytes.size(), ", expected 1, 2, 4 or 8 inside them");
  const std::byte packed = bytes[bytes.size() - 2];
  if (type_of(packed) != kMap) return;
  width_ = width_of(packed);
  values_ = target(bytes.size() - 2 - width, width);
  read_keys();
}

void Flexbuffer::read_keys() {
  // Before the values stand the offset of the keys, the keys' width, and the count of values. Behind them their types.
  if (values_ < 3 * width_) refuse("a map at ", values_, ", expected ", 3 * width_, " bytes before it");
  count_ = count_before(values_, width_, width_ + 1);
  keys_ = target(values_ - 3 * width_, width_);
  key_width_ = unsigned_at(values_ - 2 * width_, width_);
  if (!is_width(key_width_)) refuse("keys of width ", key_width_, ", expected 1, 2, 4 or 8");
  const uint64_t key_count = count_before(keys_, key_width_, key_width_);
  if (key_count != count_) refuse(key_count, " keys for ", count_, " values");
  uint64_t key_bytes = 0;
  for (uint64_t i = 0; i < count_; ++i) {
    key_bytes += key_at(i).size() + 1;
    if (key_bytes / kMaxKeySharing > bytes_.size()) refuse("keys of more than ", kMaxKeySharing, " times its bytes");
    // Readers search by halves.
    if (i > 0 && key_at(i - 1) >= key_at(i)) refuse("key ", i, " does not come behind the one before it");
  }
}

std::string_view Flexbuffer::key_at(uint64_t index) const {
  const uint64_t position = target(keys_ + index * key_width_, key_width_);
  const char* first = reinterpret_cast<const char*>(bytes_.data()) + position;
  const size_t limit = bytes_.size() - position;
  const size_t length = strnlen(first, limit);
  if (length == limit) refuse("key ", index, " does not end inside it");
  return {first, length};
}

std::optional<Flexbuffer::Value> Flexbuffer::find(std::string_view key) const {
  uint64_t first = 0;
  for (uint64_t count = count_; count > 0;) {
    const uint64_t half = count / 2;
    if (key_at(first + half) < key) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  if (first == count_ || key_at(first) != key) return std::nullopt;
  const Value value = element(values_, count_, width_, first);
  if (value.type == kNull) return std::nullopt;
  return value;
}

Flexbuffer::Value Flexbuffer::element(uint64_t first, uint64_t count, uint64_t width, uint64_t index) const {
  const std::byte packed = bytes_[first + count * width + index];
  return {type_of(packed), first + index * width, width, width_of(packed)};
}

int64_t Flexbuffer::integer(std::string_view key) const {
  const std::optional<Value> value = find(key);
  return value ? integer(key, number(key, *value)) : 0;
}

void Flexbuffer::expect_number(std::string_view key) const {
  if (const std::optional<Value> value = find(key)) number(key, *value);
}

int64_t Flexbuffer::integer(std::string_view key, const Number& number) const {
  if (!number.is_real) return number.integer;
  // Beyond 64 bits a reader's conversion means nothing.
  if (!(std::abs(number.real) < 9223372036854775808.0)) refuse("\"", key, "\" is ", number.real, ", expected 64 bits");
  return static_cast<int64_t>(number.real);
}

Flexbuffer::Number Flexbuffer::number(std::string_view key, const Value& value) const {
  const bool is_indirect = value.type >= kIndirectInt && value.type <= kIndirectFloat;
  const uint64_t position = is_indirect ? target(value.position, value.width) : value.position;
  const uint64_t width = is_indirect ? value.target_width : value.width;
  switch (value.type) {
    case kNull: return {false, 0, 0};
    case kInt:
    case kIndirectInt: return {false, signed_at(position, width), 0};
    case kBool:
    case kUInt:
    case kIndirectUInt: return {false, static_cast<int64_t>(unsigned_at(position, width)), 0};
    case kFloat:
    case kIndirectFloat: return {true, 0, real_at(position, width)};
    default: refuse("\"", key, "\" is of type ", int{value.type}, ", expected a number");
  }
}

std::string_view Flexbuffer::string(std::string_view key) const {
  const std::optional<Value> value = find(key);
  if (!value || value->type != kString) refuse("\"", key, "\" is no string");
  const uint64_t position = target(value->position, value->width);
  const uint64_t size = count_before(position, value->target_width, 1);
  return {reinterpret_cast<const char*>(bytes_.data()) + position, static_cast<size_t>(size)};
}

void Flexbuffer::expect_integers(std::string_view key) const {
  const std::optional<Value> value = find(key);
  if (!value || value->type == kBoolVector || (value->type >= kFirstTypedVector && value->type <= kLastTypedVector))
    return;
  if (value->type != kVector) refuse("\"", key, "\" is of type ", int{value->type}, ", expected a vector");
  const uint64_t first = target(value->position, value->width);
  const uint64_t count = count_before(first, value->target_width, value->target_width + 1);
  for (uint64_t i = 0; i < count; ++i) integer(key, number(key, element(first, count, value->target_width, i)));
}

// What the offset at `position` points back to.
uint64_t Flexbuffer::target(uint64_t position, uint64_t width) const {
  const uint64_t offset = unsigned_at(position, width);
  if (offset > position) refuse("an offset of ", offset, " bytes back from ", position);
  return position - offset;
}

// The count that stands before `position`, of elements that need so many bytes from there.
uint64_t Flexbuffer::count_before(uint64_t position, uint64_t width, uint64_t bytes_each) const {
  if (position < width) refuse("no count before ", position);
  const uint64_t count = unsigned_at(position - width, width);
  if (count > (bytes_.size() - position) / bytes_each)
    refuse(count, " elements at ", position, " leave its ", bytes_.size(), " bytes");
  return count;
}

uint64_t Flexbuffer::unsigned_at(uint64_t position, uint64_t width) const {
  if (!contains(bytes_, position, width)) refuse(width, " bytes at ", position, " leave its ", bytes_.size());
  uint64_t value = 0;
  std::memcpy(&value, bytes_.data() + position, width);
  return value;
}

int64_t Flexbuffer::signed_at(uint64_t position, uint64_t width) const {
  const uint64_t shift = 64 - 8 * width;
  return static_cast<int64_t>(unsigned_at(position, width) << shift) >> shift;
}

// Readers take what is too narrow for a floating-point number for an integer.
double Flexbuffer::real_at(uint64_t position, uint64_t width) const {
  if (width < 4) return static_cast<double>(signed_at(position, width));
  const uint64_t bits = unsigned_at(position, width);
  return width == 8 ? std::bit_cast<double>(bits) : double{std::bit_cast<float>(static_cast<uint32_t>(bits))};
}

}  // namespace edgeward
