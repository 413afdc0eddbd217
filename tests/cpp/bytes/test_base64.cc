#include "bytes/base64.h"

#include <doctest/doctest.h>

#include "rigs/damage.h"
#include "rigs/octets.h"

namespace edgeward {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

TEST_CASE("Base64 spells the examples of RFC 4648 as it does, and reads them back") {
  struct Row {
    const char* bytes;
    const char* text;
  };
  const Row rows[] = {{"", ""},
                      {"f", "Zg=="},
                      {"fo", "Zm8="},
                      {"foo", "Zm9v"},
                      {"foob", "Zm9vYg=="},
                      {"fooba", "Zm9vYmE="},
                      {"foobar", "Zm9vYmFy"}};
  for (const Row& row : rows) {
    CAPTURE(row.bytes);
    CHECK(encode_base64(from_text(row.bytes)) == row.text);
    CHECK(try_decode_base64(row.text) == from_text(row.bytes));
  }
}

TEST_CASE("bytes of every length and value come back") {
  std::mt19937_64 random(5);
  for (size_t size = 0; size <= 400; ++size) {
    CAPTURE(size);
    const Octets bytes = random_octets(random, size);
    const std::string text = encode_base64(bytes);
    CHECK(text.size() == (size + 2) / 3 * 4);
    CHECK(text.find_first_not_of(std::string(kDigits) + "=") == std::string::npos);
    CHECK(try_decode_base64(text) == bytes);
  }
}

TEST_CASE("of all texts with two digits or three, those are read that are written") {
  // Every pair of bytes before "==", and every pair before the digit's own and "=": all that padding can be wrong in.
  size_t ones = 0;
  size_t twos = 0;
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string two_padded{static_cast<char>(first), static_cast<char>(second), '=', '='};
      const std::string one_padded{'A', static_cast<char>(first), static_cast<char>(second), '='};
      const auto one_byte = try_decode_base64(two_padded);
      const auto two_bytes = try_decode_base64(one_padded);
      if (one_byte && encode_base64(*one_byte) != two_padded) FAIL_CHECK(two_padded);
      if (two_bytes && encode_base64(*two_bytes) != one_padded) FAIL_CHECK(one_padded);
      ones += one_byte ? 1 : 0;
      twos += two_bytes && two_bytes->size() == 2 ? 1 : 0;
    }
  }
  CHECK(ones == 256);          // of the 64 * 64 with digits
  CHECK(twos == 64 * 64 / 4);  // the last two bits of the third digit are zeros
}

TEST_CASE("a text that is not Base64 as it is written here is refused") {
  const char* const texts[] = {// Not in fours.
                               "A", "AA", "AAA", "AAAAA",
                               // Padding where none can be, and before the end.
                               "====", "A===", "=AAA", "AA=A", "A=A=", "AA==AA==", "AAA=AAAA", "AAAA====",
                               // Other alphabets, and space.
                               "AA-_", "AAA.", "AA\nAA", "AA A", " AAA", "AAA\n", "AAA\xC3",
                               // Bits that no byte takes.
                               "AB==", "AAB=", "Zh==", "Zm9="};
  for (const char* text : texts) {
    CAPTURE(text);
    CHECK_FALSE(try_decode_base64(text));
  }
  CHECK_FALSE(try_decode_base64(std::string_view("AA\0A", 4)));
}

TEST_CASE("a text that is cut or changed is refused, or is another text of other bytes") {
  for (const char* whole : {"foobar", "fooba", "foob"}) {
    CAPTURE(whole);
    const Octets bytes = from_text(whole);
    const Damage damage(from_text(encode_base64(bytes)));
    size_t accepted = 0;
    const auto check = [&](Bytes text) {
      const auto read = try_decode_base64({reinterpret_cast<const char*>(text.data()), text.size()});
      if (!read) return;
      CHECK(*read != bytes);
      CHECK(encode_base64(*read) == to_text(text));
      ++accepted;
    };
    damage.for_each_flip(check);
    CHECK(accepted > 0);
    damage.for_each_cut(check);
    accepted = 0;
    damage.for_each_byte_more(check);
    CHECK(accepted == 0);
  }
}

}  // namespace edgeward
