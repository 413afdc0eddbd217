// The wire format of protocol buffers: a message taken apart into its fields. Every length is compared with what is
// left before it is used. Knows no schema: who reads a field says which wire type it must have. Views point into
// the message, which must outlive them. Throws Error(malformed_model) in the name of the message. One thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "bytes/bytes.h"

namespace edgeward {

enum class ProtobufWire : uint8_t {
  varint = 0,
  fixed64 = 1,
  length = 2,
  fixed32 = 5
};

// One field. Its readers throw Error(malformed_model) for another wire type than theirs.
struct ProtobufField {
  std::string_view message_name;  // of the message it is in
  uint32_t number = 0;
  ProtobufWire wire = ProtobufWire::varint;
  uint64_t value = 0;  // the bits of a field that is not length-delimited
  Bytes bytes;         // the content of one that is

  // A string: UTF-8 without NULs.
  std::string_view text() const;
  // A message, or bytes.
  Bytes message() const;
  int64_t integer() const;
  float float32() const;

  // How many elements a repeated number has. Elements of a fixed width are not looked at.
  uint64_t count(ProtobufWire element) const;

  // Calls `take` with the bits of each element of a repeated number, which may be packed or a field each.
  template <class Take>
  void numbers(ProtobufWire element, const Take& take) const;

 private:
  [[noreturn]] void refuse_number() const;
};

class ProtobufFields {
 public:
  // `name` is the message's, for errors.
  ProtobufFields(Bytes message, std::string_view name) : rest_(message), name_(name) {}

  // Reads the next field into `field`; false at the end of the message.
  bool next(ProtobufField& field);

 private:
  friend struct ProtobufField;

  // The bits of the next number, without a tag before it.
  uint64_t number(ProtobufWire wire);
  uint64_t varint();
  Bytes take(uint64_t size_bytes);

  Bytes rest_;
  std::string_view name_;
};

template <class Take>
void ProtobufField::numbers(ProtobufWire element, const Take& take) const {
  if (wire == element) return take(value);
  if (wire != ProtobufWire::length) refuse_number();
  ProtobufFields packed(bytes, message_name);
  while (!packed.rest_.empty()) take(packed.number(element));
}

}  // namespace edgeward
