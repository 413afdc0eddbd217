#include "crypto/hpke.h"

#include <doctest/doctest.h>

#include <set>

#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/vectors.h"

namespace edgeward {
namespace {

constexpr HpkeAead kAeads[] = {HpkeAead::aes_256_gcm, HpkeAead::chacha20_poly1305};

// A sealed message and all that opens it.
struct Letter {
  HpkeAead aead;
  Octets recipient;
  Octets info;
  Octets associated_data;
  Octets plaintext;
  Octets encapsulated;
  Octets ciphertext;
};

Letter letter(HpkeAead aead) {
  Letter letter{aead, Octets(32, std::byte{5}), from_text("info"), from_text("data"), from_text("plaintext"), {}, {}};
  const PublicKey recipient = public_key({KeyAlgorithm::x25519, Secret(letter.recipient)});
  const HpkeMessage message = hpke_seal(aead, recipient.bytes, letter.info, letter.associated_data, letter.plaintext);
  letter.encapsulated = {message.encapsulated.begin(), message.encapsulated.end()};
  letter.ciphertext = message.ciphertext;
  return letter;
}

// The plaintext, or nothing; what is left behind after a refusal must be zeros.
std::optional<Octets> opened(const Letter& sealed) {
  Octets plaintext(sealed.ciphertext.size() < 16 ? 0 : sealed.ciphertext.size() - 16, std::byte{0xA5});
  if (hpke_open(sealed.aead, Secret(sealed.recipient), sealed.encapsulated, sealed.info, sealed.associated_data,
                sealed.ciphertext, plaintext))
    return plaintext;
  CHECK(is_zero(plaintext));
  return std::nullopt;
}

}  // namespace

TEST_CASE("a message seals and opens byte for byte as RFC 9180 was published with") {
  std::set<size_t> aeads;
  for (const Vector& vector : read_vectors("hpke", "rfc9180.txt")) {
    CAPTURE(vector.text("aead"));
    aeads.insert(vector.number("aead"));
    const auto aead = static_cast<HpkeAead>(vector.number("aead"));
    const Octets plaintext = vector.bytes("plaintext");
    const HpkeMessage message =
        hpke_seal_with(Secret(vector.bytes("ephemeral_private")), aead, vector.bytes("recipient_public"),
                       vector.bytes("info"), vector.bytes("aad"), plaintext);
    CHECK(is_same(message.encapsulated, vector.bytes("enc")));
    CHECK(is_same(message.ciphertext, vector.bytes("ciphertext")));
    Octets got(plaintext.size());
    CHECK(hpke_open(aead, Secret(vector.bytes("recipient_private")), vector.bytes("enc"), vector.bytes("info"),
                    vector.bytes("aad"), vector.bytes("ciphertext"), got));
    CHECK(got == plaintext);
  }
  CHECK(aeads == std::set<size_t>{2, 3});
}

TEST_CASE("what is sealed opens, whatever is empty and whatever is long") {
  const PrivateKey recipient = generate_key(KeyAlgorithm::x25519);
  const Octets known = public_key(recipient).bytes;
  std::mt19937_64 random(4);
  for (const HpkeAead aead : kAeads) {
    for (const size_t size : {0, 1, 32, 1000}) {
      for (const size_t info_size : {0, 1, 2000}) {
        CAPTURE(size);
        CAPTURE(info_size);
        const Octets plaintext = random_octets(random, size);
        const Octets info = random_octets(random, info_size);
        const HpkeMessage message = hpke_seal(aead, known, info, info, plaintext);
        CHECK(message.ciphertext.size() == size + 16);
        Octets got(size);
        CHECK(hpke_open(aead, recipient.secret, message.encapsulated, info, info, message.ciphertext, got));
        CHECK(got == plaintext);
      }
    }
  }
}

TEST_CASE("two messages of the same words have nothing in common") {
  const Letter first = letter(HpkeAead::aes_256_gcm);
  const Letter second = letter(HpkeAead::aes_256_gcm);
  CHECK(first.encapsulated != second.encapsulated);
  CHECK(first.ciphertext != second.ciphertext);
}

TEST_CASE("no bit of what opens a message can be another, the bit that X25519 ignores included") {
  for (const HpkeAead aead : kAeads) {
    CAPTURE(static_cast<int>(aead));
    Letter sealed = letter(aead);
    REQUIRE(opened(sealed) == sealed.plaintext);
    for (Octets Letter::*part : {&Letter::encapsulated, &Letter::info, &Letter::associated_data, &Letter::ciphertext}) {
      for (size_t bit = 0; bit < 8 * (sealed.*part).size(); ++bit) {
        CAPTURE(bit);
        (sealed.*part)[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
        CHECK_FALSE(opened(sealed));
        (sealed.*part)[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      }
    }
    CHECK(opened(sealed) == sealed.plaintext);
  }
}

TEST_CASE("another recipient, another cipher or a part of another size opens nothing") {
  for (const HpkeAead aead : kAeads) {
    CAPTURE(static_cast<int>(aead));
    const Letter sealed = letter(aead);
    Letter other = sealed;
    other.recipient = Octets(32, std::byte{6});
    CHECK_FALSE(opened(other));
    other = sealed;
    other.aead = aead == HpkeAead::aes_256_gcm ? HpkeAead::chacha20_poly1305 : HpkeAead::aes_256_gcm;
    CHECK_FALSE(opened(other));
    for (Octets Letter::*part : {&Letter::encapsulated, &Letter::info, &Letter::associated_data, &Letter::ciphertext}) {
      const size_t right = (sealed.*part).size();
      for (size_t size = 0; size <= right + 40; ++size) {
        CAPTURE(size);
        other = sealed;
        (other.*part).resize(size);
        CHECK(opened(other).has_value() == (size == right));
      }
    }
  }
}

TEST_CASE("a message opens only into memory of its size") {
  const Letter sealed = letter(HpkeAead::aes_256_gcm);
  for (size_t size = 0; size <= sealed.plaintext.size() + 20; ++size) {
    CAPTURE(size);
    Octets plaintext(size, std::byte{0xA5});
    const bool is_opened = hpke_open(sealed.aead, Secret(sealed.recipient), sealed.encapsulated, sealed.info,
                                     sealed.associated_data, sealed.ciphertext, plaintext);
    CHECK(is_opened == (size == sealed.plaintext.size()));
    CHECK(is_zero(plaintext) == !is_opened);
  }
}

TEST_CASE("a key that every secret can be guessed with is refused on both sides") {
  // Points of low order: Diffie-Hellman gives zeros with whatever private key.
  const char* const points[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                                "0100000000000000000000000000000000000000000000000000000000000000",
                                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                                "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"};
  for (const char* point : points) {
    CAPTURE(point);
    check_refusal(Code::malformed_key, {"x25519 public key"},
                  [&] { hpke_seal(HpkeAead::aes_256_gcm, from_hex(point), {}, {}, {}); });
    Letter sealed = letter(HpkeAead::aes_256_gcm);
    sealed.encapsulated = from_hex(point);
    CHECK_FALSE(opened(sealed));
  }
  for (const size_t size : {0, 31, 33, 65}) {
    check_refusal(Code::malformed_key, {"x25519 public key"},
                  [&] { hpke_seal(HpkeAead::aes_256_gcm, Octets(size, std::byte{9}), {}, {}, {}); });
  }
}

}  // namespace edgeward
