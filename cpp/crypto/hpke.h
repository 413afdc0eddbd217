// Hybrid public key encryption to one recipient (RFC 9180, base mode, one message): DHKEM(X25519, HKDF-SHA256) with
// AES-256-GCM or ChaCha20-Poly1305. Key wraps are such messages. Pure; any thread.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "crypto/crypto.h"

namespace edgeward {

inline constexpr size_t kEncapsulatedBytes = 32;

// RFC 9180, 7.3.
enum class HpkeAead : uint16_t {
  aes_256_gcm = 2,
  chacha20_poly1305 = 3,
};

struct HpkeMessage {
  std::array<std::byte, kEncapsulatedBytes> encapsulated;  // "enc" in the RFC
  std::vector<std::byte> ciphertext;                       // 16 bytes longer than the plaintext
};

// `recipient` is an X25519 public key. Throws Error(malformed_key) when no secret can be agreed with it.
HpkeMessage hpke_seal(HpkeAead aead, Bytes recipient, Bytes info, Bytes associated_data, Bytes plaintext);
// The same under an ephemeral key of the caller's choice, as published vectors need it. A key must be used only once.
HpkeMessage hpke_seal_with(const Secret& ephemeral, HpkeAead aead, Bytes recipient, Bytes info, Bytes associated_data,
                           Bytes plaintext);

// Returns false when the ciphertext was not sealed with these inputs; `plaintext`, 16 bytes shorter than `ciphertext`,
// then holds zeros.
bool hpke_open(HpkeAead aead, const Secret& recipient, Bytes encapsulated, Bytes info, Bytes associated_data,
               Bytes ciphertext, std::span<std::byte> plaintext);

}  // namespace edgeward
