// A strict parser of signed JSON: RFC 8259 without what two parsers may read differently. Integers only, unique keys,
// at most 8 levels, valid UTF-8, nothing after the document. Pure; the caller bounds the size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bytes/bytes.h"

namespace edgeward {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  // Throws Error(malformed_root), with the byte offset where the text is UTF-8.
  static Json parse(Bytes text);

  // Each throws Error(malformed_root), naming `what`, when the value has another type.
  const Object& object(std::string_view what) const;
  const Array& array(std::string_view what) const;
  const std::string& string(std::string_view what) const;
  int64_t integer(std::string_view what) const;

 private:
  class Parser;
  std::variant<std::nullptr_t, bool, int64_t, std::string, Array, Object> value_;
};

}  // namespace edgeward
