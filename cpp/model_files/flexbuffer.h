// A flexbuffer from an untrusted file, as custom operators of a .tflite get their options: a map of named values.
// The keys are proven when it is read, a value when it is asked for: engines read no others. Follows Google's reader,
// which checks nothing: a root that is no map has no keys, and a value that is absent is 0.
// Views of the bytes, which must outlive it; immutable. Rules: docs/model-files.md, section 3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bytes/bytes.h"
#include "error.h"

namespace edgeward {

class Flexbuffer {
 public:
  // `what` it is, for messages. Throws Error(malformed_model) when the root or a key does not lie inside `bytes`.
  Flexbuffer(Bytes bytes, std::string what);

  // Each of these throws Error(malformed_model), with the key, when the value is not of the kind that is asked for or
  // does not lie inside the bytes.

  // Of a number or boolean; 0 when it is absent. One that is no integer is rounded towards 0.
  int64_t integer(std::string_view key) const;
  // Requires a number or boolean, if there is a value.
  void expect_number(std::string_view key) const;
  // Requires that there is a string.
  std::string_view string(std::string_view key) const;
  // Requires that every element of an untyped vector is a number or boolean. A typed vector passes: a reader of the
  // other kind sees an empty one.
  void expect_integers(std::string_view key) const;

  bool has(std::string_view key) const { return find(key).has_value(); }

 private:
  // `width` is that of the slot, `target_width` of what it points to, in bytes.
  struct Value {
    uint8_t type;
    uint64_t position;
    uint64_t width;
    uint64_t target_width;
  };

  struct Number {
    bool is_real;
    int64_t integer;  // unless it is real
    double real;      // if it is
  };

  void read_keys();
  std::string_view key_at(uint64_t index) const;
  // None for a null, too.
  std::optional<Value> find(std::string_view key) const;
  // Of `count` elements from `first`, which have been proven to lie inside.
  Value element(uint64_t first, uint64_t count, uint64_t width, uint64_t index) const;
  Number number(std::string_view key, const Value& value) const;
  int64_t integer(std::string_view key, const Number& number) const;
  uint64_t target(uint64_t position, uint64_t width) const;
  uint64_t count_before(uint64_t position, uint64_t width, uint64_t bytes_each) const;
  uint64_t unsigned_at(uint64_t position, uint64_t width) const;
  int64_t signed_at(uint64_t position, uint64_t width) const;
  double real_at(uint64_t position, uint64_t width) const;

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw Error(Code::malformed_model, what_, ": ", parts...);
  }

  Bytes bytes_;
  std::string what_;
  uint64_t values_ = 0;  // where the map's first value stands
  uint64_t width_ = 1;   // of its values
  uint64_t keys_ = 0;    // where the offset of its first key stands
  uint64_t key_width_ = 1;
  uint64_t count_ = 0;
};

}  // namespace edgeward
