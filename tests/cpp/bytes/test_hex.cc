#include "bytes/hex.h"

#include <doctest/doctest.h>

#include "rigs/damage.h"
#include "rigs/octets.h"

namespace edgeward {

TEST_CASE("each byte has its two digits, and they are read back") {
  Octets all;
  std::string digits;
  for (int value = 0; value < 256; ++value) {
    char expected[3];
    snprintf(expected, sizeof(expected), "%02x", static_cast<unsigned>(value));
    const std::byte byte = static_cast<std::byte>(value);
    CHECK(hex(Bytes(&byte, 1)) == expected);
    all.push_back(byte);
    digits += expected;
  }
  CHECK(hex(all) == digits);
  Octets read(256);
  CHECK(try_decode_hex(digits, read));
  CHECK(read == all);
  CHECK(hex({}).empty());
  CHECK(try_decode_hex("", {}));
}

TEST_CASE("only the sixteen digits are digits, in either place") {
  size_t accepted = 0;
  for (int value = 0; value < 256; ++value) {
    CAPTURE(value);
    const char digit = static_cast<char>(value);
    const bool is_digit = (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f');
    Octets read(1);
    CHECK(try_decode_hex(std::string{digit, '0'}, read) == is_digit);
    CHECK(try_decode_hex(std::string{'0', digit}, read) == is_digit);
    accepted += is_digit ? 1 : 0;
  }
  CHECK(accepted == 16);
}

TEST_CASE("digits of another number of bytes are none") {
  const std::string digits = "00112233";
  for (size_t size = 0; size <= 8; ++size) {
    for (size_t count = 0; count <= digits.size(); ++count) {
      Octets read(size);
      CHECK(try_decode_hex(digits.substr(0, count), read) == (count == 2 * size));
    }
  }
}

TEST_CASE("digits that are cut or changed are refused, or spell other bytes") {
  const Octets bytes = from_hex("0123456789abcdef");
  const Damage damage(from_text(hex(bytes)));
  const auto decoded = [](Bytes text) {
    Octets read(8);
    return try_decode_hex({reinterpret_cast<const char*>(text.data()), text.size()}, read) ? read : Octets();
  };
  damage.for_each_cut([&](Bytes text) { CHECK(decoded(text).empty()); });
  damage.for_each_byte_more([&](Bytes text) { CHECK(decoded(text).empty()); });
  size_t accepted = 0;
  damage.for_each_flip([&](Bytes text) {
    const Octets read = decoded(text);
    CHECK(read != bytes);
    if (!read.empty()) CHECK(hex(read) == to_text(text));
    accepted += read.empty() ? 0 : 1;
  });
  CHECK(accepted > 0);
}

}  // namespace edgeward
