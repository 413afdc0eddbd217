// The primitives that packages and trust are built from: hash, signatures, key agreement, key derivation, authenticated
// encryption. The only file that knows libcrypto (OpenSSL 3.0 or later). Composes nothing: hpke.h and package_format.h
// do. Every function may be called from any thread; an Aead or a Sha256 belongs to one thread at a time. A failure that
// input can cause is an answer (false, nullopt); one that it cannot is Error(out_of_memory).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "crypto/secret.h"

namespace edgeward {

// The name and version of the libcrypto in use, such as "OpenSSL 3.0.19 27 Jan 2026". Static.
const char* libcrypto_version();

using Digest = std::array<std::byte, 32>;  // SHA-256

// SHA-256 (FIPS 180-4) of bytes that come in parts.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(Bytes bytes);
  // The digest of what was added; the next add() begins anew.
  Digest finish();

 private:
  void* context_;
};

Digest sha256(Bytes bytes);

// HMAC-SHA256 (RFC 2104). For a short message it takes about a microsecond.
Digest hmac_sha256(Bytes key, Bytes message);

// Compares in constant time: it depends on the sizes alone.
bool is_equal_secretly(Bytes a, Bytes b);

// Fills with bytes from the system's random source. Throws Error(out_of_memory) when it has none.
void fill_random(std::span<std::byte> bytes);

// ---- Keys. A private key is a Secret: an Ed25519 seed (RFC 8032), a P-256 scalar, an X25519 scalar (RFC 7748).

enum class KeyAlgorithm : uint16_t {
  ed25519 = 1,     // public key: 32 bytes
  ecdsa_p256 = 2,  // public key: 65 bytes, uncompressed point (SEC 1, 2.3.3)
  x25519 = 0x20,   // public key: 32 bytes; the number is the KEM's (RFC 9180, 7.1)
};

// "ed25519", "ecdsa-p256", "x25519".
std::string_view name(KeyAlgorithm algorithm);
std::optional<KeyAlgorithm> key_algorithm(std::string_view name);

struct PublicKey {
  KeyAlgorithm algorithm;
  std::vector<std::byte> bytes;
};

// H("edgeward/key/v1" 00 | u16be algorithm | public key): package-format 2.
Digest key_id(const PublicKey& key);

struct PrivateKey {
  KeyAlgorithm algorithm;
  Secret secret;
};

PrivateKey generate_key(KeyAlgorithm algorithm);
// Throws Error(malformed_key) for a P-256 scalar outside of 1 to n-1.
PublicKey public_key(const PrivateKey& key);

// ---- Signatures: 64 bytes. Ed25519: R | S (RFC 8032). P-256: r | s, big-endian, over SHA-256.

using SignatureBytes = std::array<std::byte, 64>;

// Signs with an ed25519 or ecdsa_p256 key. P-256 draws a fresh nonce, so two signatures of one message differ.
SignatureBytes sign(const PrivateKey& key, Bytes message);

// Ed25519 is strict: a public key of small order, a public key or R that is not canonical and S >= L are refused, so
// that every verifier agrees. Also false for a key of a wrong size, off the curve, or of no signature algorithm.
bool verify(const PublicKey& key, Bytes message, Bytes signature);

// ---- Agreement and derivation.

// X25519 (RFC 7748). Returns nullopt when the shared secret is zero or a size is wrong.
std::optional<Secret> x25519(const Secret& private_key, Bytes public_key);

// HKDF-SHA256 (RFC 5869), whole or in its two steps. `out` holds at most 255 * 32 bytes. An output may be a secret,
// so it is written directly to the caller's memory.
void hkdf(Bytes salt, Bytes input_key, Bytes info, std::span<std::byte> out);
void hkdf_extract(Bytes salt, Bytes input_key, std::span<std::byte, 32> out);
void hkdf_expand(Bytes pseudo_random_key, Bytes info, std::span<std::byte> out);

// ---- Authenticated encryption: 32-byte key, 12-byte nonce, 16-byte tag.

enum class AeadAlgorithm : uint16_t {
  aes_256_gcm = 1,        // NIST SP 800-38D
  chacha20_poly1305 = 2,  // RFC 8439
};

using Nonce = std::array<std::byte, 12>;
using Tag = std::array<std::byte, 16>;

class Aead {
 public:
  enum class Direction : uint8_t {
    seal,
    open
  };
  Aead(AeadAlgorithm algorithm, Bytes key, Direction direction);
  ~Aead();
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;

  // `ciphertext` is as long as `plaintext`. At most 2 GiB - 1 a call.
  void seal(const Nonce& nonce, Bytes associated_data, Bytes plaintext, std::span<std::byte> ciphertext, Tag& tag);
  // Returns false when the tag does not match; `plaintext` then holds bytes that must not be used.
  bool open(const Nonce& nonce, Bytes associated_data, Bytes ciphertext, Bytes tag, std::span<std::byte> plaintext);

 private:
  void* context_;
};

}  // namespace edgeward
