// A map of named values as Google's writer of flexbuffers leaves it, and what is none.
#include "model_files/flexbuffer.h"

#include <doctest/doctest.h>

#include <string>

#include "rigs/damage.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

using namespace edgeward;

namespace {

// {bits: typed vector, count: 7, far: indirect -70000, few: [1, -2, true], name: "fast", nothing: null,
//  ratio: indirect -0.75, real: 2.5, sign: -3, wide: indirect 2^63, words: ["x"], yes: true}; keys and values of widths
// 1 and 4.
constexpr std::string_view kMap =
    "626974730003010203636f756e7400666172000090eefeff666577000301fe010404686e616d65000466617374006e6f7468696e67007261"
    "74696f00000040bf7265616c007369676e007769646500000000000000000080776f72647300017800010314796573000c69615c544a4039"
    "302c281b100000000f000000010000000c0000007e0000000700000078000000730000006b000000000000006000000000002040fdffffff"
    "580000004a000000010000002c061a281402220e061f286a3c2601";
// {a: 1, b: -1}, of which each offset and count is a byte.
constexpr std::string_view kSmall = "6100620002050402010201ff0404042401";

// Asks for everything that there is, as an operator's rule would.
void read_all(Bytes bytes) {
  const Flexbuffer map(bytes, "options");
  for (const std::string_view key : {"a", "b", "count", "far", "nothing", "ratio", "real", "sign", "wide", "yes"}) {
    map.integer(key);
    map.expect_number(key);
  }
  for (const std::string_view key : {"bits", "few"}) map.expect_integers(key);
  if (map.has("name")) map.string("name");
}

template <class Call>
void check_refused(std::string_view words, Call&& call) {
  check_refusal(Code::malformed_model, {"options: ", words}, call);
}

}  // namespace

TEST_CASE("values are read as Google's reader converts them") {
  const Octets octets = from_hex(kMap);
  const Flexbuffer map(octets, "options");
  CHECK(map.integer("count") == 7);
  CHECK(map.integer("far") == -70000);
  CHECK(map.integer("nothing") == 0);
  CHECK(map.integer("ratio") == 0);
  CHECK(map.integer("real") == 2);
  CHECK(map.integer("sign") == -3);
  CHECK(map.integer("wide") == INT64_MIN);
  CHECK(map.integer("yes") == 1);
  CHECK(map.integer("absent") == 0);
  CHECK(map.string("name") == "fast");
  CHECK(map.has("yes"));
  CHECK_FALSE(map.has("nothing"));
  CHECK_FALSE(map.has("absent"));
  CHECK_NOTHROW(read_all(octets));
  const Octets few = from_hex(kSmall);
  const Flexbuffer small(few, "options");
  CHECK(small.integer("a") == 1);
  CHECK(small.integer("b") == -1);
}

TEST_CASE("a root that is no map has no keys") {
  const Octets seven = from_hex("070401");
  const Flexbuffer map(seven, "options");
  CHECK_FALSE(map.has("a"));
  CHECK(map.integer("a") == 0);
}

TEST_CASE("a value of another kind is refused by its key") {
  const Octets octets = from_hex(kMap);
  const Flexbuffer map(octets, "options");
  check_refused("\"name\" is of type 5, expected a number", [&] { map.integer("name"); });
  check_refused("\"few\" is of type 10, expected a number", [&] { map.expect_number("few"); });
  check_refused("\"words\" is of type 5, expected a number", [&] { map.expect_integers("words"); });
  check_refused("\"name\" is of type 5, expected a vector", [&] { map.expect_integers("name"); });
  check_refused("\"count\" is no string", [&] { map.string("count"); });
  check_refused("\"absent\" is no string", [&] { map.string("absent"); });
}

TEST_CASE("no cut, flip or byte more makes it read outside") {
  for (const Octets& whole : {from_hex(kMap), from_hex(kSmall)}) {
    const Damage damage(whole);
    size_t refused = 0;
    const auto read = [&](Bytes bytes) {
      try {
        read_all(bytes);
      } catch (const Error& error) {
        CHECK(error.code() == Code::malformed_model);
        ++refused;
      }
    };
    damage.for_each_cut(read);
    CHECK(refused > 0);
    damage.for_each_flip(read);
    damage.for_each_byte_more(read);
    // Its root stands at the end, so a cut at the front is another one.
    const Bytes bytes(whole);
    for (size_t size = 0; size < whole.size(); ++size) read(Octets(bytes.end() - static_cast<long>(size), bytes.end()));
  }
}

TEST_CASE("what leaves its bytes is named") {
  struct Row {
    std::string_view hex;
    std::string_view words;
  };
  for (const Row& row : {
           Row{"", "0 bytes, expected at least 3"},
           Row{"2401", "2 bytes, expected at least 3"},
           Row{"6100620002050402010201ff0404042403", "a root of 3 bytes in 17"},
           Row{"6100620002050402010201ff0404042408", "an offset of"},
           Row{"6100620002050402010201ff04040f2401", "an offset of 15 bytes back from 14"},
           Row{"6100620002050402010201ff04040e2401", "a map at 0"},
           Row{"6100620002050402030201ff0404042401", "keys of width 3"},
           Row{"6100620003050402010201ff0404042401", "3 keys for 2 values"},
           Row{"6100620002050402010901ff0404042401", "9 elements at 10 leave its 17 bytes"},
           Row{"6101020101010504022401", "key 0 does not end inside it"},
           Row{"6100610002050402010201ff0404042401", "key 1 does not come behind the one before it"},
           Row{"6200610002050402010201ff0404042401", "key 1 does not come behind the one before it"},
       }) {
    CAPTURE(row.hex);
    const Octets bytes = from_hex(row.hex);
    check_refused(row.words, [&] { Flexbuffer(bytes, "options"); });
  }
}

TEST_CASE("keys that share bytes cost no more than a few times them") {
  // 4,000 keys of 2 bytes each, all of which are tails of one that is as long.
  constexpr uint16_t kCount = 4000;
  const auto word = [](Octets& bytes, size_t value) {
    bytes.push_back(static_cast<std::byte>(value));
    bytes.push_back(static_cast<std::byte>(value >> 8));
  };
  Octets bytes(kCount, std::byte{0x61});
  bytes.push_back({});
  word(bytes, kCount);
  const size_t keys = bytes.size();
  for (size_t i = 0; i < kCount; ++i) word(bytes, keys + 2 * i - (kCount - 1 - i));
  word(bytes, bytes.size() - keys);
  word(bytes, 2);
  word(bytes, kCount);
  const size_t values = bytes.size();
  bytes.insert(bytes.end(), 3 * kCount, std::byte{});
  word(bytes, bytes.size() - values);
  bytes.push_back(std::byte{9 << 2 | 1});
  bytes.push_back(std::byte{2});
  check_refused("keys of more than 16 times its bytes", [&] { Flexbuffer(bytes, "options"); });
}
