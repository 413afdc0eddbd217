#include "bytes/crc32c.h"

#include <doctest/doctest.h>

#include "rigs/octets.h"

namespace edgeward {
namespace {

// By the definition, one bit after the other: as slow as it is plain.
uint32_t crc_by_bits(Bytes bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
  }
  return ~crc;
}

}  // namespace

TEST_CASE("the examples of RFC 3720 B.4 have the CRCs that stand there") {
  Octets ascending(32);
  for (size_t i = 0; i < ascending.size(); ++i) ascending[i] = static_cast<std::byte>(i);
  const Octets descending(ascending.rbegin(), ascending.rend());
  struct Row {
    const char* name;
    Octets bytes;
    uint32_t expected;
  };
  const Row rows[] = {
      {"32 zeros", Octets(32), 0x8A9136AA},
      {"32 ones", Octets(32, std::byte{0xFF}), 0x62A8AB43},
      {"ascending", ascending, 0x46DD794E},
      {"descending", descending, 0x113FDB5C},
      {"a SCSI read",
       from_hex("01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
                "0200000000000000"),
       0xD9963A56},
      // Not of the RFC: the check value by which CRCs are told apart, and nothing at all.
      {"123456789", from_text("123456789"), 0xE3069283},
      {"nothing", {}, 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(crc32c(row.bytes) == row.expected);
    CHECK(crc32c_by_table(row.bytes) == row.expected);
    CHECK(crc_by_bits(row.bytes) == row.expected);
  }
}

TEST_CASE("with the instruction and without it, a CRC is the same, of every length and from every address") {
  std::mt19937_64 random(3720);
  const Octets bytes = random_octets(random, 300);
  for (size_t begin = 0; begin < 16; ++begin) {
    for (size_t size = 0; begin + size <= bytes.size(); ++size) {
      const Bytes part = Bytes(bytes).subspan(begin, size);
      const uint32_t expected = crc_by_bits(part);
      if (crc32c(part) == expected && crc32c_by_table(part) == expected) continue;
      CAPTURE(begin);
      CAPTURE(size);
      CHECK(crc32c(part) == expected);
      CHECK(crc32c_by_table(part) == expected);
    }
  }
}

TEST_CASE("a CRC that goes on from that of the first part is that of the whole, wherever it is cut") {
  std::mt19937_64 random(1);
  const Octets bytes = random_octets(random, 200);
  const Bytes whole(bytes);
  const uint32_t expected = crc_by_bits(whole);
  for (size_t cut = 0; cut <= whole.size(); ++cut) {
    CAPTURE(cut);
    CHECK(crc32c(whole.subspan(cut), crc32c(whole.first(cut))) == expected);
    CHECK(crc32c_by_table(whole.subspan(cut), crc32c(whole.first(cut))) == expected);
  }
  uint32_t crc = 0;
  for (size_t i = 0; i < whole.size(); ++i) crc = crc32c(whole.subspan(i, 1), crc);
  CHECK(crc == expected);
}

TEST_CASE("every single bit that turns over changes the CRC") {
  std::mt19937_64 random(2);
  Octets bytes = random_octets(random, 168);
  const uint32_t before = crc32c(bytes);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    CAPTURE(bit);
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    CHECK(crc32c(bytes) != before);
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
  CHECK(crc32c(bytes) == before);
}

}  // namespace edgeward
