// Key wraps: a package's content key, encrypted to one device each, in a file beside the package. Bytes: package-format
// 6. A wrap needs no signature, since the package commits to its content key. Pure; any thread.
#pragma once

#include <optional>
#include <vector>

#include "crypto/crypto.h"
#include "crypto/hpke.h"

namespace edgeward {

inline constexpr size_t kKeyWrapBytes = 216;
inline constexpr size_t kMaxWraps = 65536;
inline constexpr size_t kMaxWrapsBytes = kMaxWraps * kKeyWrapBytes;  // of a .ewk file

// The fields of a wrap, not authenticated before unwrap().
struct KeyWrap {
  HpkeAead aead;
  Digest package_id;
  Digest device_id;       // key id of the device's x25519 key
  uint64_t not_before_s;  // Unix seconds
  uint64_t not_after_s;   // Unix seconds; 0: no end
};

// Reads every wrap in the bytes of a .ewk file, in ascending order of device id. Throws Error(malformed_key).
std::vector<KeyWrap> read_wraps(Bytes file);

// Returns `file`, which may be empty, with `content_key` wrapped for `device`; replaces that device's wrap. Throws
// Error(malformed_key), also for a key that is not x25519 and for more wraps than a file holds.
std::vector<std::byte> add_wrap(Bytes file, const Secret& content_key, const Digest& package_id,
                                const PublicKey& device, HpkeAead aead, uint64_t not_before_s, uint64_t not_after_s);

// Returns `file` without the wrap for the device. Throws Error(bad_input) when there is none.
std::vector<std::byte> remove_wrap(Bytes file, const Digest& device_id);

// Decrypts the content key of the package from its wrap for this device. Throws Error(malformed_key), Error(wrong_key).
Secret unwrap(Bytes file, const Digest& package_id, const PrivateKey& device, int64_t now_s);

}  // namespace edgeward
