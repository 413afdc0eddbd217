#include "model_files/protobuf.h"

#include "bytes/utf8.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr uint64_t kMaxFieldNumber = (1u << 29) - 1;

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw Error(Code::malformed_model, parts...);
}

void expect_wire(const ProtobufField& field, ProtobufWire wire) {
  if (field.wire != wire)
    refuse(field.message_name, ", field ", field.number, ": wire type ", int(field.wire), ", expected ", int(wire));
}

}  // namespace

std::string_view ProtobufField::text() const {
  expect_wire(*this, ProtobufWire::length);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!is_utf8_name(text)) refuse(message_name, ", field ", number, ": not UTF-8");
  return text;
}

Bytes ProtobufField::message() const {
  expect_wire(*this, ProtobufWire::length);
  return bytes;
}

int64_t ProtobufField::integer() const {
  expect_wire(*this, ProtobufWire::varint);
  return static_cast<int64_t>(value);
}

float ProtobufField::float32() const {
  expect_wire(*this, ProtobufWire::fixed32);
  const auto bits = static_cast<uint32_t>(value);
  float number = 0;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}

uint64_t ProtobufField::count(ProtobufWire element) const {
  if (element != ProtobufWire::varint && wire == ProtobufWire::length) {
    const size_t width = element == ProtobufWire::fixed32 ? 4 : 8;
    if (bytes.size() % width != 0) refuse(message_name, ", field ", number, ": ", bytes.size(), " bytes of ", width);
    return bytes.size() / width;
  }
  uint64_t count = 0;
  numbers(element, [&](uint64_t) { ++count; });
  return count;
}

void ProtobufField::refuse_number() const { refuse(message_name, ", field ", number, ": not a number"); }

bool ProtobufFields::next(ProtobufField& field) {
  if (rest_.empty()) return false;
  const uint64_t tag = varint();
  const uint64_t field_number = tag >> 3;
  if (field_number == 0 || field_number > kMaxFieldNumber) refuse(name_, ": field number ", field_number);
  field = {};
  field.message_name = name_;
  field.number = static_cast<uint32_t>(field_number);
  switch (tag & 7) {
    case 0:
    case 1:
    case 5:
      field.wire = static_cast<ProtobufWire>(tag & 7);
      field.value = number(field.wire);
      return true;
    case 2:
      field.wire = ProtobufWire::length;
      field.bytes = take(varint());
      return true;
    default: refuse(name_, ", field ", field_number, ": wire type ", tag & 7, ", expected 0, 1, 2 or 5");
  }
}

uint64_t ProtobufFields::number(ProtobufWire wire) {
  if (wire == ProtobufWire::varint) return varint();
  const size_t width = wire == ProtobufWire::fixed32 ? 4 : 8;
  uint64_t value = 0;
  std::memcpy(&value, take(width).data(), width);
  return value;
}

uint64_t ProtobufFields::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (rest_.empty()) refuse(name_, ": ends inside a number");
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_ = rest_.subspan(1);
    if (shift == 63 && byte > 1) refuse(name_, ": a number of more than 64 bits");
    value |= uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  refuse(name_, ": a number of more than 10 bytes");
}

Bytes ProtobufFields::take(uint64_t size_bytes) {
  if (size_bytes > rest_.size()) refuse(name_, ": a field of ", size_bytes, " bytes, but ", rest_.size(), " are left");
  const Bytes content = rest_.first(size_bytes);
  rest_ = rest_.subspan(size_bytes);
  return content;
}

}  // namespace edgeward
