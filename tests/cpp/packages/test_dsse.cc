#include "packages/dsse.h"

#include <doctest/doctest.h>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "rigs/damage.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/vectors.h"

namespace edgeward {
namespace {

constexpr size_t kMostBytes = size_t{512} << 10;

Envelope read(std::string_view text) { return read_envelope(std::as_bytes(std::span(text))); }

void check_refused(std::string_view text, const std::vector<std::string_view>& words) {
  CAPTURE(text.substr(0, 200));
  check_refusal(Code::malformed_root, words, [&] { read(text); });
}

Envelope envelope(size_t signatures) {
  Envelope envelope{"application/vnd.edgeward.test+json", from_text("{\"version\":1}"), {}};
  for (size_t i = 0; i < signatures; ++i) {
    const Octets number{static_cast<std::byte>(i)};
    envelope.signatures.push_back({sha256(number), Octets(64, static_cast<std::byte>(i))});
  }
  return envelope;
}

bool is_same_envelope(const Envelope& a, const Envelope& b) {
  return a.type == b.type && a.payload == b.payload &&
         std::equal(a.signatures.begin(), a.signatures.end(), b.signatures.begin(), b.signatures.end(),
                    [](const EnvelopeSignature& a, const EnvelopeSignature& b) {
                      return a.key_id == b.key_id && a.signature == b.signature;
                    });
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("what is signed is encoded as the protocol's example, and its signature is accepted") {
  for (const Vector& vector : read_vectors("dsse", "protocol.txt")) {
    const Octets encoding = pre_authentication_encoding(to_text(vector.bytes("type")), vector.bytes("payload"));
    CHECK(to_text(encoding) == to_text(vector.bytes("encoding")));
    const PublicKey known = public_key({KeyAlgorithm::ecdsa_p256, Secret(vector.bytes("private"))});
    CHECK(is_same(known.bytes, vector.bytes("public")));
    CHECK(verify(known, encoding, vector.bytes("signature")));
    CHECK_FALSE(verify(known, vector.bytes("payload"), vector.bytes("signature")));
  }
}

TEST_CASE("lengths count bytes, and no two types and payloads have one encoding") {
  const auto encoding = [](std::string_view type, std::string_view payload) {
    return to_text(pre_authentication_encoding(type, std::as_bytes(std::span(payload))));
  };
  CHECK(encoding("", "") == "DSSEv1 0  0 ");
  CHECK(encoding("a", "") == "DSSEv1 1 a 0 ");
  CHECK(encoding("\xC3\xA9", std::string_view("\0\n\xFF", 3)) == std::string("DSSEv1 2 \xC3\xA9 3 \0\n\xFF", 17));
  CHECK(encoding("t", std::string(1000, 'x')) == "DSSEv1 1 t 1000 " + std::string(1000, 'x'));
  // The same bytes after each other, cut in another place.
  CHECK(encoding("a 1 b", "c") != encoding("a", "b 1 c"));
  CHECK(encoding("ab", "c") != encoding("a", "bc"));
}

TEST_CASE("an envelope is written in one line, and read as it was") {
  for (size_t signatures = 0; signatures <= 16; ++signatures) {
    CAPTURE(signatures);
    const Envelope written = envelope(signatures);
    const std::string text = write_envelope(written);
    CHECK(text.find('\n') == text.size() - 1);
    CHECK(is_same_envelope(read(text), written));
  }
  Envelope empty;
  CHECK(write_envelope(empty) == "{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":[]}\n");
  CHECK(is_same_envelope(read(write_envelope(empty)), empty));
}

TEST_CASE("fields are known by name, in any order and with any space") {
  const Envelope expected{"t", from_text("hello world"), {{Digest{}, from_text("sig")}}};
  const std::string id(64, '0');
  CHECK(is_same_envelope(read(" { \"signatures\" : [ { \"sig\" : \"c2ln\" , \"keyid\" : \"" + id +
                              "\" } ] ,\n\"payload\":\"aGVsbG8gd29ybGQ=\",\t\"payloadType\":\"\\u0074\" }\r\n"),
                         expected));
}

TEST_CASE("an envelope without a field, with another one, or with one of another kind is refused") {
  const std::string text = write_envelope(envelope(1));
  const std::string key_id = hex(envelope(1).signatures[0].key_id);
  for (const char* name : {"payloadType", "payload", "signatures"}) {
    CAPTURE(name);
    check_refused(replaced(text, "\"" + std::string(name) + "\"", "\"other\""),
                  {"envelope", "payload, payloadType, signatures"});
  }
  check_refused("{}", {"envelope", "payload, payloadType, signatures"});
  check_refused(replaced(text, "{", "{\"more\":1,"), {"envelope", "payload, payloadType, signatures"});
  check_refused(replaced(text, "{", "{\"payload\":\"\","), {"each key once"});
  check_refused(replaced(text, "{\"keyid\"", "{\"more\":1,\"keyid\""), {"signature", "keyid, sig"});
  check_refused(replaced(text, "\"keyid\":\"" + key_id + "\",", ""), {"signature", "keyid, sig"});
  check_refused(replaced(text, "\"sig\"", "\"signature\""), {"signature", "keyid, sig"});
  for (const char* other : {"1", "null", "true", "[]", "{}"}) {
    CAPTURE(other);
    const std::string value(other);
    check_refused("{\"payloadType\":" + value + ",\"payload\":\"\",\"signatures\":[]}", {"payloadType", "a string"});
    check_refused("{\"payloadType\":\"\",\"payload\":" + value + ",\"signatures\":[]}", {"payload", "a string"});
    check_refused(replaced(text, "\"" + key_id + "\"", value), {"keyid", "a string"});
    if (value != "{}") {
      check_refused(value, {"envelope", "an object"});
      check_refused("{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":[" + value + "]}",
                    {"signature", "an object"});
    }
    if (value != "[]") {
      check_refused("{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":" + value + "}", {"signatures", "an array"});
    }
  }
}

TEST_CASE("payload and signature are Base64 in its one spelling, and a key id is 64 digits") {
  for (const char* other : {"A", "AA=", "AB==", "AA-_", "AAA=\\n", "\\u0000", " AAA"}) {
    CAPTURE(other);
    const std::string value(other);
    CHECK_THROWS_AS(read("{\"payloadType\":\"\",\"payload\":\"" + value + "\",\"signatures\":[]}"), Error);
    CHECK_THROWS_AS(read("{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":[{\"keyid\":\"" + std::string(64, '0') +
                         "\",\"sig\":\"" + value + "\"}]}"),
                    Error);
  }
  const auto with_key_id = [](const std::string& id) {
    return "{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":[{\"keyid\":\"" + id + "\",\"sig\":\"\"}]}";
  };
  CHECK(read(with_key_id(std::string(64, 'a'))).signatures[0].key_id[31] == std::byte{0xAA});
  for (const std::string& id : {std::string(), std::string(63, '0'), std::string(65, '0'), std::string(128, '0'),
                                std::string(64, 'A'), std::string(63, '0') + "g"}) {
    check_refused(with_key_id(id), {"keyid", "64 hexadecimal digits"});
  }
}

TEST_CASE("sixteen signatures are read, and a seventeenth is one too many") {
  CHECK(read(write_envelope(envelope(16))).signatures.size() == 16);
  check_refused(write_envelope(envelope(17)), {"signatures", "at most 16", "got 17"});
}

TEST_CASE("an envelope of 512 KiB is read, and one byte more is too many") {
  std::string text = write_envelope(envelope(2));
  text.insert(0, kMostBytes - text.size(), ' ');
  REQUIRE(text.size() == kMostBytes);
  CHECK(is_same_envelope(read(text), envelope(2)));
  check_refused(text + " ", {"at most 524288 bytes", "got 524289"});
}

TEST_CASE("an envelope that is cut is refused, but for its newline, and so is one with a byte behind it") {
  const std::string text = write_envelope(envelope(2));
  const Damage damage(from_text(text));
  damage.for_each_cut([&](Bytes cut) {
    if (cut.size() + 1 == text.size()) {
      CHECK(is_same_envelope(read_envelope(cut), envelope(2)));
    } else {
      check_refusal(Code::malformed_root, {"expected"}, [&] { read_envelope(cut); });
    }
  });
  damage.for_each_byte_more([&](Bytes longer) {
    const char last = static_cast<char>(longer.back());
    if (std::string_view(" \t\r\n").find(last) != std::string_view::npos) {
      CHECK(is_same_envelope(read_envelope(longer), envelope(2)));
    } else {
      check_refusal(Code::malformed_root, {"JSON"}, [&] { read_envelope(longer); });
    }
  });
}

TEST_CASE("an envelope with a bit turned over is refused or says something else, and no reader goes past its end") {
  const Envelope written = envelope(2);
  size_t read_otherwise = 0;
  size_t refused = 0;
  Damage(from_text(write_envelope(written))).for_each_flip([&](Bytes text) {
    try {
      const Envelope other = read_envelope(text);
      CHECK_FALSE(is_same_envelope(other, written));
      ++read_otherwise;
    } catch (const Error& error) {
      CHECK(error.code() == Code::malformed_root);
      ++refused;
    }
  });
  CHECK(read_otherwise > 0);
  CHECK(refused > 0);
}

}  // namespace edgeward
