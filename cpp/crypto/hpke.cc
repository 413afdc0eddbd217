#include "crypto/hpke.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "error.h"

namespace edgeward {
namespace {

constexpr uint16_t kKem = 0x0020;  // DHKEM(X25519, HKDF-SHA256)
constexpr uint16_t kKdf = 0x0001;  // HKDF-SHA256
constexpr size_t kTagBytes = std::tuple_size_v<Tag>;

// Concatenated bytes: the labelled inputs of RFC 9180, 4. Wiped by the destructor, since some hold a secret.
class Text {
 public:
  ~Text() { wipe(bytes_); }
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  Text& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }
  Text& add(Bytes bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Text& add_u16(uint16_t number) {
    const std::byte big_endian[] = {static_cast<std::byte>(number >> 8), static_cast<std::byte>(number)};
    return add(big_endian);
  }
  Bytes bytes() const { return bytes_; }

 private:
  // The text never grows past this, so that no reallocation leaves an unwiped copy behind.
  static constexpr size_t kMaxBytes = 512;
  std::vector<std::byte> bytes_ = [] {
    std::vector<std::byte> reserved;
    reserved.reserve(kMaxBytes);
    return reserved;
  }();
};

void labelled_extract(Bytes suite, Bytes salt, std::string_view label, Bytes input_key, std::span<std::byte, 32> out) {
  Text labelled;
  labelled.add("HPKE-v1").add(suite).add(label).add(input_key);
  hkdf_extract(salt, labelled.bytes(), out);
}

void labelled_expand(Bytes suite, Bytes key, std::string_view label, Bytes info, std::span<std::byte> out) {
  Text labelled;
  labelled.add_u16(static_cast<uint16_t>(out.size())).add("HPKE-v1").add(suite).add(label).add(info);
  hkdf_expand(key, labelled.bytes(), out);
}

// RFC 9180, 4.1: derives the KEM's shared secret from the Diffie-Hellman secret.
Secret extract_and_expand(const Secret& agreed, Bytes encapsulated, Bytes recipient) {
  Text suite;
  suite.add("KEM").add_u16(kKem);
  Text context;
  context.add(encapsulated).add(recipient);
  Secret key;
  labelled_extract(suite.bytes(), {}, "eae_prk", agreed.bytes(), key.bytes().first<32>());
  Secret shared;
  labelled_expand(suite.bytes(), key.bytes(), "shared_secret", context.bytes(), shared.bytes());
  return shared;
}

// RFC 9180, 5.1, in base mode: the key and nonce of message 0.
struct Schedule {
  Secret key;
  Nonce base_nonce;
};

Schedule key_schedule(HpkeAead aead, const Secret& shared, Bytes info) {
  Text suite;
  suite.add("HPKE").add_u16(kKem).add_u16(kKdf).add_u16(static_cast<uint16_t>(aead));
  Digest id_hash;
  Digest info_hash;
  labelled_extract(suite.bytes(), {}, "psk_id_hash", {}, id_hash);
  labelled_extract(suite.bytes(), {}, "info_hash", info, info_hash);
  Text context;
  constexpr std::byte kBaseMode{0};
  context.add(Bytes(&kBaseMode, 1)).add(id_hash).add(info_hash);
  Secret secret;
  labelled_extract(suite.bytes(), shared.bytes(), "secret", {}, secret.bytes().first<32>());
  Schedule schedule;
  labelled_expand(suite.bytes(), secret.bytes(), "key", context.bytes(), schedule.key.bytes());
  labelled_expand(suite.bytes(), secret.bytes(), "base_nonce", context.bytes(), schedule.base_nonce);
  return schedule;
}

AeadAlgorithm algorithm(HpkeAead aead) {
  return aead == HpkeAead::aes_256_gcm ? AeadAlgorithm::aes_256_gcm : AeadAlgorithm::chacha20_poly1305;
}

Secret copy_of(const Secret& secret) { return Secret(secret.bytes()); }

}  // namespace

HpkeMessage hpke_seal(HpkeAead aead, Bytes recipient, Bytes info, Bytes associated_data, Bytes plaintext) {
  return hpke_seal_with(generate_key(KeyAlgorithm::x25519).secret, aead, recipient, info, associated_data, plaintext);
}

HpkeMessage hpke_seal_with(const Secret& ephemeral, HpkeAead aead, Bytes recipient, Bytes info, Bytes associated_data,
                           Bytes plaintext) {
  const auto agreed = x25519(ephemeral, recipient);
  if (!agreed)
    throw Error(Code::malformed_key, "x25519 public key: expected one that a secret can be agreed with, got none");
  HpkeMessage message;
  const PublicKey ours = public_key({KeyAlgorithm::x25519, copy_of(ephemeral)});
  std::copy(ours.bytes.begin(), ours.bytes.end(), message.encapsulated.begin());
  const Secret shared = extract_and_expand(*agreed, message.encapsulated, recipient);
  const Schedule schedule = key_schedule(aead, shared, info);
  message.ciphertext.resize(plaintext.size() + kTagBytes);
  Tag tag;
  Aead(algorithm(aead), schedule.key.bytes(), Aead::Direction::seal)
      .seal(schedule.base_nonce, associated_data, plaintext, std::span(message.ciphertext).first(plaintext.size()),
            tag);
  std::copy(tag.begin(), tag.end(), message.ciphertext.end() - kTagBytes);
  return message;
}

bool hpke_open(HpkeAead aead, const Secret& recipient, Bytes encapsulated, Bytes info, Bytes associated_data,
               Bytes ciphertext, std::span<std::byte> plaintext) {
  std::fill(plaintext.begin(), plaintext.end(), std::byte{0});
  if (ciphertext.size() < kTagBytes || plaintext.size() != ciphertext.size() - kTagBytes) return false;
  const auto agreed = x25519(recipient, encapsulated);
  if (!agreed) return false;
  const PublicKey ours = public_key({KeyAlgorithm::x25519, copy_of(recipient)});
  const Secret shared = extract_and_expand(*agreed, encapsulated, ours.bytes);
  const Schedule schedule = key_schedule(aead, shared, info);
  const bool is_authentic = Aead(algorithm(aead), schedule.key.bytes(), Aead::Direction::open)
                                .open(schedule.base_nonce, associated_data, ciphertext.first(plaintext.size()),
                                      ciphertext.last(kTagBytes), plaintext);
  if (!is_authentic) wipe(plaintext);
  return is_authentic;
}

}  // namespace edgeward
