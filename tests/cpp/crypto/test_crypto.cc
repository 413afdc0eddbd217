#include "crypto/crypto.h"

#include <doctest/doctest.h>

#include <array>
#include <limits>
#include <set>
#include <thread>

#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/vectors.h"

namespace edgeward {
namespace {

constexpr KeyAlgorithm kAlgorithms[] = {KeyAlgorithm::ed25519, KeyAlgorithm::ecdsa_p256, KeyAlgorithm::x25519};
constexpr KeyAlgorithm kSigners[] = {KeyAlgorithm::ed25519, KeyAlgorithm::ecdsa_p256};
constexpr AeadAlgorithm kAeads[] = {AeadAlgorithm::aes_256_gcm, AeadAlgorithm::chacha20_poly1305};

// The order of P-256's group (SEC 2, 2.4.2), and of Ed25519's, little-endian (RFC 8032, 5.1).
constexpr const char* kP256Order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
constexpr const char* kEd25519Order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
// P-256's generator: the public key of the scalar 1.
constexpr const char* kP256Generator =
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

PrivateKey private_key(KeyAlgorithm algorithm, const Octets& bytes) { return {algorithm, Secret(bytes)}; }

// The number that follows a big-endian one, or precedes it.
Octets next(Octets number, int step) {
  for (size_t i = number.size(); i-- > 0;) {
    const int digit = std::to_integer<int>(number[i]) + step;
    number[i] = static_cast<std::byte>(digit);
    if (digit >= 0 && digit < 256) break;
  }
  return number;
}

// The Ed25519 signature with the group's order added to S: the same equation holds.
Octets with_order_added(const SignatureBytes& signature) {
  Octets shifted(signature.begin(), signature.end());
  const Octets order = from_hex(kEd25519Order);
  unsigned carry = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    carry += std::to_integer<unsigned>(shifted[32 + i]) + std::to_integer<unsigned>(order[i]);
    shifted[32 + i] = static_cast<std::byte>(carry);
    carry >>= 8;
  }
  REQUIRE(carry == 0);
  return shifted;
}

const char* const kAeadNames[] = {"aes_256_gcm", "chacha20_poly1305"};

struct Sealed {
  Octets ciphertext;
  Tag tag;
};

Sealed seal(Aead& aead, const Nonce& nonce, Bytes associated_data, Bytes plaintext) {
  Sealed sealed{Octets(plaintext.size()), {}};
  aead.seal(nonce, associated_data, plaintext, sealed.ciphertext, sealed.tag);
  return sealed;
}

Sealed seal(AeadAlgorithm algorithm, Bytes key, const Nonce& nonce, Bytes associated_data, Bytes plaintext) {
  Aead aead(algorithm, key, Aead::Direction::seal);
  return seal(aead, nonce, associated_data, plaintext);
}

std::optional<Octets> open(AeadAlgorithm algorithm, Bytes key, const Nonce& nonce, Bytes associated_data,
                           Bytes ciphertext, Bytes tag) {
  Octets plaintext(ciphertext.size());
  Aead aead(algorithm, key, Aead::Direction::open);
  if (!aead.open(nonce, associated_data, ciphertext, tag, plaintext)) return std::nullopt;
  return plaintext;
}

Nonce nonce_of(const Octets& bytes) {
  Nonce nonce;
  REQUIRE(bytes.size() == nonce.size());
  std::copy(bytes.begin(), bytes.end(), nonce.begin());
  return nonce;
}

}  // namespace

// ---- Hash, comparison, random.

TEST_CASE("SHA-256 gives the digests of its standard's examples") {
  struct Row {
    std::string message;
    const char* digest;
  };
  const Row rows[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.message.size());
    CHECK(sha256(from_text(row.message)) == array_from_hex<32>(row.digest));
  }
}

TEST_CASE("a hash of parts is the hash of the whole, wherever it is cut, and the next one begins anew") {
  std::mt19937_64 random(1);
  const Octets whole = random_octets(random, 300);
  const Digest expected = sha256(whole);
  Sha256 hash;
  for (size_t cut = 0; cut <= whole.size(); ++cut) {
    CAPTURE(cut);
    hash.add(Bytes(whole).first(cut));
    hash.add(Bytes(whole).subspan(cut));
    CHECK(hash.finish() == expected);
  }
  for (const std::byte& byte : whole) hash.add(Bytes(&byte, 1));
  CHECK(hash.finish() == expected);
}

TEST_CASE("HMAC-SHA256 gives the codes of RFC 4231") {
  struct Row {
    Octets key;
    Octets message;
    const char* code;
  };
  const std::vector<Row> rows{
      {Octets(20, std::byte{0x0b}), from_text("Hi There"),
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {from_text("Jefe"), from_text("what do ya want for nothing?"),
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {Octets(20, std::byte{0xaa}), Octets(50, std::byte{0xdd}),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {Octets(131, std::byte{0xaa}), from_text("Test Using Larger Than Block-Size Key - Hash Key First"),
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
  };
  for (const Row& row : rows) CHECK(hmac_sha256(row.key, row.message) == array_from_hex<32>(row.code));
  CHECK(hmac_sha256(rows[0].key, {}) != hmac_sha256(rows[1].key, {}));
}

TEST_CASE("bytes are equal secretly exactly when they are equal") {
  const Octets bytes = from_hex("00112233445566778899aabbccddeeff");
  CHECK(is_equal_secretly(bytes, Octets(bytes)));
  CHECK(is_equal_secretly({}, {}));
  CHECK_FALSE(is_equal_secretly(bytes, Bytes(bytes).first(15)));
  CHECK_FALSE(is_equal_secretly({}, bytes));
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Octets other = bytes;
    other[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    CHECK_FALSE(is_equal_secretly(bytes, other));
  }
}

TEST_CASE("random bytes fill all of what they are asked for, and come once") {
  std::set<Octets> drawn;
  Octets seen(33);  // bits that were 1 at some time
  for (int i = 0; i < 100; ++i) {
    Octets bytes(33);
    fill_random(std::span(bytes).first(32));
    CHECK(bytes.back() == std::byte{0});
    for (size_t k = 0; k < bytes.size(); ++k) seen[k] |= bytes[k];
    drawn.insert(bytes);
  }
  CHECK(drawn.size() == 100);
  // Each bit stays 0 in a hundred draws with a probability of 2^-100.
  CHECK(std::all_of(seen.begin(), seen.end() - 1, [](std::byte byte) { return byte == std::byte{0xFF}; }));
  CHECK_NOTHROW(fill_random({}));
}

// ---- Keys.

TEST_CASE("a key algorithm has one name, and no other name has an algorithm") {
  std::set<std::string_view> names;
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    CHECK(key_algorithm(name(algorithm)) == algorithm);
    names.insert(name(algorithm));
  }
  CHECK(names == std::set<std::string_view>{"ed25519", "ecdsa-p256", "x25519"});
  for (const char* other : {"", "unknown", "ED25519", "ed25519 ", "ecdsa_p256", "rsa", "x25519\n"}) {
    CHECK_FALSE(key_algorithm(other));
  }
}

TEST_CASE("a key id is the hash that the package format says, and of the algorithm too") {
  // Computed with another implementation of SHA-256 and Ed25519 from the format's text; the seed is
  // SHA-256("edgeward test publisher 1").
  const Digest seed = sha256(from_text("edgeward test publisher 1"));
  PublicKey key = public_key(private_key(KeyAlgorithm::ed25519, {seed.begin(), seed.end()}));
  CHECK(key_id(key) == array_from_hex<32>("511d104bbfda629719bc13d5ccbba2c9f6ae5778c01f0274c7c52d2b771b0333"));
  const Digest of_ed25519 = key_id(key);
  key.algorithm = KeyAlgorithm::x25519;
  CHECK(key_id(key) != of_ed25519);
}

TEST_CASE("keys that are made are different, and what one of a pair signs the other verifies") {
  const Octets message = from_text("message");
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    CAPTURE(name(algorithm));
    std::set<Octets> known;
    for (int i = 0; i < 8; ++i) {
      const PrivateKey key = generate_key(algorithm);
      CHECK(key.algorithm == algorithm);
      const PublicKey half = public_key(key);
      CHECK(half.algorithm == algorithm);
      CHECK(half.bytes.size() == (algorithm == KeyAlgorithm::ecdsa_p256 ? 65 : 32));
      known.insert(half.bytes);
      if (algorithm != KeyAlgorithm::x25519) CHECK(verify(half, message, sign(key, message)));
    }
    CHECK(known.size() == 8);
  }
}

TEST_CASE("a P-256 scalar is a key from 1 to n - 1, and no other number is") {
  const Octets order = from_hex(kP256Order);
  Octets generator_scalar(32);
  generator_scalar.back() = std::byte{1};
  const auto key_of = [](const Octets& scalar) { return private_key(KeyAlgorithm::ecdsa_p256, scalar); };

  CHECK(is_same(public_key(key_of(generator_scalar)).bytes, from_hex(kP256Generator)));
  // The last one's point is the first one's, mirrored: the same x.
  const PublicKey last = public_key(key_of(next(order, -1)));
  CHECK(is_same(Bytes(last.bytes).first(33), Bytes(from_hex(kP256Generator)).first(33)));
  CHECK_FALSE(is_same(last.bytes, from_hex(kP256Generator)));
  CHECK(verify(last, generator_scalar, sign(key_of(next(order, -1)), generator_scalar)));

  for (const Octets& scalar : {Octets(32), order, next(order, 1), Octets(32, std::byte{0xFF})}) {
    const PrivateKey key = key_of(scalar);
    check_refusal(Code::malformed_key, {"ecdsa-p256", "from 1 to n - 1"}, [&] { public_key(key); });
    check_refusal(Code::malformed_key, {"ecdsa-p256", "from 1 to n - 1"}, [&] { sign(key, generator_scalar); });
  }
}

// ---- Signatures.

TEST_CASE("an Ed25519 key signs what RFC 8032 says it signs") {
  for (const Vector& vector : read_vectors("rfc8032", "ed25519.txt")) {
    const PrivateKey key = private_key(KeyAlgorithm::ed25519, vector.bytes("private"));
    CHECK(is_same(public_key(key).bytes, vector.bytes("public")));
    CHECK(is_same(sign(key, vector.bytes("message")), vector.bytes("signature")));
  }
}

TEST_CASE("every signature of Wycheproof is accepted or refused as it says") {
  for (const KeyAlgorithm algorithm : kSigners) {
    const std::string file = algorithm == KeyAlgorithm::ed25519 ? "ed25519.txt" : "ecdsa_p256.txt";
    CAPTURE(file);
    std::map<std::string, size_t> results;
    for (const Vector& vector : read_vectors("wycheproof", file)) {
      CAPTURE(vector.text("number"));
      const PublicKey key{algorithm, vector.bytes("public")};
      CHECK(verify(key, vector.bytes("message"), vector.bytes("signature")) == (vector.text("result") == "valid"));
      ++results[vector.text("result")];
    }
    CHECK(results.size() == 2);
    CHECK(results["valid"] > 0);
    CHECK(results["invalid"] > 0);
  }
}

TEST_CASE("an edge case of Ed25519 is refused for a low order or another spelling, and accepted otherwise") {
  std::map<std::string, size_t> refused;
  size_t accepted = 0;
  for (const Vector& vector : read_vectors("cctv", "ed25519.txt")) {
    CAPTURE(vector.text("number"));
    CAPTURE(vector.text("flags"));
    std::set<std::string> flags;
    std::istringstream words(vector.text("flags"));
    for (std::string word; std::getline(words, word, ',');) flags.insert(word);
    bool is_accepted = true;
    for (const char* reason : {"low_order_A", "non_canonical_A", "non_canonical_R", "low_order_residue"}) {
      if (flags.count(reason) == 0) continue;
      is_accepted = false;
      ++refused[reason];
    }
    accepted += is_accepted ? 1 : 0;
    const PublicKey key{KeyAlgorithm::ed25519, vector.bytes("public")};
    CHECK(verify(key, vector.bytes("message"), vector.bytes("signature")) == is_accepted);
  }
  CHECK(refused.size() == 4);
  CHECK(accepted > 0);
}

TEST_CASE("an S that is the order of the group or more is refused, though the equation holds") {
  const PrivateKey key = private_key(KeyAlgorithm::ed25519, Octets(32, std::byte{7}));
  const Octets message = from_text("message");
  const SignatureBytes signature = sign(key, message);
  CHECK(verify(public_key(key), message, signature));
  CHECK_FALSE(verify(public_key(key), message, with_order_added(signature)));
}

TEST_CASE("a public key of low order is refused whatever it signs, in each of its spellings") {
  // R is the neutral point and S is 0: the equation holds for each of these keys when k is a multiple of 8, and when
  // both sides are multiplied by 8 always.
  Octets signature(64);
  signature[0] = std::byte{1};
  const char* const points[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000080",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  };
  for (const char* point : points) {
    CAPTURE(point);
    for (uint8_t i = 0; i < 64; ++i) {
      const Octets message{static_cast<std::byte>(i)};
      CHECK_FALSE(verify({KeyAlgorithm::ed25519, from_hex(point)}, message, signature));
    }
  }
}

TEST_CASE("no bit of a signature, of its key or of its message can be another") {
  const Octets message = from_text("what is signed");
  for (const KeyAlgorithm algorithm : kSigners) {
    CAPTURE(name(algorithm));
    const PrivateKey key = generate_key(algorithm);
    const PublicKey known = public_key(key);
    const SignatureBytes signature = sign(key, message);
    REQUIRE(verify(known, message, signature));
    const auto flipped = [](Octets bytes, size_t bit) {
      bytes[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      return bytes;
    };
    for (size_t bit = 0; bit < 8 * signature.size(); ++bit) {
      CAPTURE(bit);
      CHECK_FALSE(verify(known, message, flipped({signature.begin(), signature.end()}, bit)));
    }
    for (size_t bit = 0; bit < 8 * message.size(); ++bit) {
      CAPTURE(bit);
      CHECK_FALSE(verify(known, flipped(message, bit), signature));
    }
    for (size_t bit = 0; bit < 8 * known.bytes.size(); ++bit) {
      CAPTURE(bit);
      CHECK_FALSE(verify({algorithm, flipped(known.bytes, bit)}, message, signature));
    }
  }
}

TEST_CASE("a signature or key of a wrong size, or a key of a wrong kind, is a signature that does not fit") {
  const Octets message = from_text("message");
  for (const KeyAlgorithm algorithm : kSigners) {
    CAPTURE(name(algorithm));
    const PrivateKey key = generate_key(algorithm);
    const PublicKey known = public_key(key);
    const SignatureBytes signature = sign(key, message);
    Octets longer(signature.begin(), signature.end());
    longer.resize(130);
    for (size_t size = 0; size <= longer.size(); ++size) {
      CAPTURE(size);
      CHECK(verify(known, message, Bytes(longer).first(size)) == (size == signature.size()));
    }
    Octets longer_key = known.bytes;
    longer_key.resize(130);
    for (size_t size = 0; size <= longer_key.size(); ++size) {
      CAPTURE(size);
      CHECK(verify({algorithm, {longer_key.begin(), longer_key.begin() + static_cast<std::ptrdiff_t>(size)}}, message,
                   signature) == (size == known.bytes.size()));
    }
    for (const KeyAlgorithm other : kAlgorithms) {
      CHECK(verify({other, known.bytes}, message, signature) == (other == algorithm));
    }
    CHECK_FALSE(verify({static_cast<KeyAlgorithm>(3), known.bytes}, message, signature));
  }
}

TEST_CASE("a P-256 key has one spelling: neither the compressed nor the hybrid form is taken") {
  const PrivateKey key = generate_key(KeyAlgorithm::ecdsa_p256);
  const Octets message = from_text("message");
  const SignatureBytes signature = sign(key, message);
  const PublicKey known = public_key(key);
  REQUIRE(verify(known, message, signature));
  for (int form = 0; form < 256; ++form) {
    CAPTURE(form);
    PublicKey other = known;
    other.bytes[0] = static_cast<std::byte>(form);
    CHECK(verify(other, message, signature) == (form == 4));
    other.bytes.resize(33);
    CHECK_FALSE(verify(other, message, signature));
  }
}

TEST_CASE("P-256 draws a fresh nonce for each signature, and Ed25519 none") {
  const Octets message = from_text("message");
  for (const KeyAlgorithm algorithm : kSigners) {
    CAPTURE(name(algorithm));
    const PrivateKey key = generate_key(algorithm);
    CHECK((sign(key, message) == sign(key, message)) == (algorithm == KeyAlgorithm::ed25519));
  }
}

TEST_CASE("a key of agreement signs nothing") {
  const PrivateKey key = generate_key(KeyAlgorithm::x25519);
  check_refusal(Code::malformed_key, {"ed25519 or ecdsa-p256", "got x25519"}, [&] { sign(key, {}); });
}

// ---- Agreement and derivation.

TEST_CASE("every agreement of Wycheproof gives what RFC 7748 says, or nothing for zeros") {
  std::map<std::string, size_t> results;
  size_t zeros = 0;
  for (const Vector& vector : read_vectors("wycheproof", "x25519.txt")) {
    CAPTURE(vector.text("number"));
    const Octets shared = vector.bytes("shared");
    const auto got = x25519(Secret(vector.bytes("private")), vector.bytes("public"));
    CHECK(got.has_value() != is_zero(shared));
    if (got) CHECK(is_same(got->bytes(), shared));
    zeros += is_zero(shared) ? 1 : 0;
    ++results[vector.text("result")];
  }
  CHECK(zeros > 0);
  CHECK(results["valid"] > 0);
  CHECK(results["acceptable"] > 0);
  CHECK(results.size() == 2);
}

TEST_CASE("two agree on the same secret, and with a key of another size on none") {
  const PrivateKey ours = generate_key(KeyAlgorithm::x25519);
  const PrivateKey theirs = generate_key(KeyAlgorithm::x25519);
  const auto here = x25519(ours.secret, public_key(theirs).bytes);
  const auto there = x25519(theirs.secret, public_key(ours).bytes);
  REQUIRE(here);
  REQUIRE(there);
  CHECK(is_same(here->bytes(), there->bytes()));
  CHECK_FALSE(is_zero(here->bytes()));
  const Octets key(65, std::byte{9});
  for (size_t size = 0; size <= key.size(); ++size) {
    CAPTURE(size);
    CHECK(x25519(ours.secret, Bytes(key).first(size)).has_value() == (size == 32));
  }
}

TEST_CASE("every derivation of Wycheproof gives its bytes, whole and in two steps, and none gives too many") {
  std::map<std::string, size_t> results;
  for (const Vector& vector : read_vectors("wycheproof", "hkdf_sha256.txt")) {
    CAPTURE(vector.text("number"));
    const Octets salt = vector.bytes("salt");
    const Octets input_key = vector.bytes("input_key");
    const Octets info = vector.bytes("info");
    Octets output(vector.number("size_bytes"));
    std::array<std::byte, 32> pseudo_random_key;
    hkdf_extract(salt, input_key, pseudo_random_key);
    ++results[vector.text("result")];
    if (vector.text("result") == "invalid") {
      CHECK(output.size() > 255 * 32);
      check_refusal(Code::out_of_memory, {"HKDF"}, [&] { hkdf(salt, input_key, info, output); });
      check_refusal(Code::out_of_memory, {"HKDF"}, [&] { hkdf_expand(pseudo_random_key, info, output); });
      continue;
    }
    hkdf(salt, input_key, info, output);
    CHECK(is_same(output, vector.bytes("output")));
    Octets in_two_steps(output.size());
    hkdf_expand(pseudo_random_key, info, in_two_steps);
    CHECK(in_two_steps == output);
  }
  CHECK(results.size() == 2);
  CHECK(results["valid"] > 0);
}

// ---- Authenticated encryption.

TEST_CASE("every message of Wycheproof seals to its bytes and opens to them, or does not open") {
  for (const AeadAlgorithm algorithm : kAeads) {
    const std::string file = std::string(kAeadNames[static_cast<size_t>(algorithm) - 1]) + ".txt";
    CAPTURE(file);
    std::map<std::string, size_t> results;
    for (const Vector& vector : read_vectors("wycheproof", file)) {
      CAPTURE(vector.text("number"));
      const Octets key = vector.bytes("key");
      const Nonce nonce = nonce_of(vector.bytes("nonce"));
      const Octets associated_data = vector.bytes("aad");
      const Octets plaintext = vector.bytes("plaintext");
      const auto opened = open(algorithm, key, nonce, associated_data, vector.bytes("ciphertext"), vector.bytes("tag"));
      const Sealed sealed = seal(algorithm, key, nonce, associated_data, plaintext);
      const bool is_same_sealed =
          is_same(sealed.ciphertext, vector.bytes("ciphertext")) && is_same(sealed.tag, vector.bytes("tag"));
      const bool is_valid = vector.text("result") == "valid";
      CHECK(is_same_sealed == is_valid);
      CHECK(opened.has_value() == is_valid);
      if (opened) CHECK(*opened == plaintext);
      ++results[vector.text("result")];
    }
    CHECK(results.size() == 2);
    CHECK(results["valid"] > 0);
    CHECK(results["invalid"] > 0);
  }
}

TEST_CASE("no bit of a sealed message, its tag, its nonce, its key or its associated data can be another") {
  std::mt19937_64 random(2);
  const Octets key = random_octets(random, 32);
  const Octets nonce = random_octets(random, 12);
  const Octets associated_data = random_octets(random, 20);
  const Octets plaintext = random_octets(random, 50);
  for (const AeadAlgorithm algorithm : kAeads) {
    CAPTURE(kAeadNames[static_cast<size_t>(algorithm) - 1]);
    const Sealed sealed = seal(algorithm, key, nonce_of(nonce), associated_data, plaintext);
    Octets parts[] = {key, nonce, associated_data, sealed.ciphertext, {sealed.tag.begin(), sealed.tag.end()}};
    const auto opened = [&] { return open(algorithm, parts[0], nonce_of(parts[1]), parts[2], parts[3], parts[4]); };
    REQUIRE(opened() == plaintext);
    for (Octets& part : parts) {
      CAPTURE(&part - parts);
      for (size_t bit = 0; bit < 8 * part.size(); ++bit) {
        CAPTURE(bit);
        part[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        CHECK_FALSE(opened());
        part[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      }
    }
    CHECK(opened() == plaintext);
  }
}

TEST_CASE("a tag of another size opens nothing, and a key of another size is no key") {
  const Octets key(64, std::byte{1});
  const Nonce nonce{};
  for (const AeadAlgorithm algorithm : kAeads) {
    const Sealed sealed = seal(algorithm, Bytes(key).first(32), nonce, {}, key);
    Octets tag(sealed.tag.begin(), sealed.tag.end());
    tag.resize(40);
    for (size_t size = 0; size <= tag.size(); ++size) {
      CAPTURE(size);
      CHECK(open(algorithm, Bytes(key).first(32), nonce, {}, sealed.ciphertext, Bytes(tag).first(size)).has_value() ==
            (size == 16));
    }
    for (size_t size = 0; size <= key.size(); ++size) {
      if (size == 32) continue;
      check_refusal(Code::out_of_memory, {"cipher"},
                    [&] { Aead(algorithm, Bytes(key).first(size), Aead::Direction::open); });
    }
  }
}

TEST_CASE("one cipher seals and opens many messages, each as if it were the first, also after one that did not fit") {
  std::mt19937_64 random(3);
  const Octets key = random_octets(random, 32);
  for (const AeadAlgorithm algorithm : kAeads) {
    CAPTURE(kAeadNames[static_cast<size_t>(algorithm) - 1]);
    Aead sealer(algorithm, key, Aead::Direction::seal);
    Aead opener(algorithm, key, Aead::Direction::open);
    for (size_t i = 0; i < 200; ++i) {
      CAPTURE(i);
      const Nonce nonce = nonce_of(random_octets(random, 12));
      const Octets associated_data = random_octets(random, i % 3 == 0 ? 0 : i % 40);
      const Octets plaintext = random_octets(random, i % 5 == 0 ? 0 : i * i % 3000);
      const Sealed sealed = seal(sealer, nonce, associated_data, plaintext);
      const Sealed alone = seal(algorithm, key, nonce, associated_data, plaintext);
      CHECK(sealed.ciphertext == alone.ciphertext);
      CHECK(sealed.tag == alone.tag);
      Octets opened(plaintext.size());
      Tag wrong = sealed.tag;
      wrong[i % wrong.size()] ^= std::byte{1};
      CHECK_FALSE(opener.open(nonce, associated_data, sealed.ciphertext, wrong, opened));
      CHECK(opener.open(nonce, associated_data, sealed.ciphertext, sealed.tag, opened));
      CHECK(opened == plaintext);
    }
  }
}

TEST_CASE("every primitive works in several threads at once") {
  std::array<bool, 4> is_right{};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < is_right.size(); ++i) {
    threads.emplace_back([&is_right, i] {
      const Octets message{static_cast<std::byte>(i)};
      bool is_good = true;
      for (const KeyAlgorithm algorithm : kSigners) {
        const PrivateKey key = generate_key(algorithm);
        is_good = is_good && verify(public_key(key), message, sign(key, message));
      }
      const PrivateKey first = generate_key(KeyAlgorithm::x25519);
      const PrivateKey second = generate_key(KeyAlgorithm::x25519);
      const auto here = x25519(first.secret, public_key(second).bytes);
      const auto there = x25519(second.secret, public_key(first).bytes);
      is_good = is_good && here && there && is_equal_secretly(here->bytes(), there->bytes());
      Octets key(32);
      hkdf(sha256(message), here->bytes(), message, key);
      for (const AeadAlgorithm algorithm : kAeads) {
        const Sealed sealed = seal(algorithm, key, Nonce{}, {}, message);
        is_good = is_good && open(algorithm, key, Nonce{}, {}, sealed.ciphertext, sealed.tag) == message;
      }
      is_right[i] = is_good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(std::all_of(is_right.begin(), is_right.end(), [](bool is_ok) { return is_ok; }));
}

}  // namespace edgeward
