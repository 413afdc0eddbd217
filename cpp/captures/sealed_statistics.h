// Sealed statistics: a statistics file that only the owner of one private key can read. Bytes: docs/capture-format.md,
// section 5. Pure; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "crypto/crypto.h"

namespace edgeward {

// What the names of statistics files end with, in a directory of captures.
inline constexpr std::string_view kStatisticsSuffix = ".stats";
inline constexpr std::string_view kJsonStatisticsSuffix = ".stats.json";  // of version 1, which is only read
inline constexpr std::string_view kSealedStatisticsSuffix = ".stats.sealed";

// `recipient` is an X25519 public key. Throws Error(malformed_key) when no secret can be agreed with it.
std::vector<std::byte> seal_statistics(const PublicKey& recipient, Bytes document);

// The document. Throws Error(malformed_capture) for bytes that are no sealed statistics, or were changed, and
// Error(wrong_key), which names the recipient, when `key` is another's or null.
std::vector<std::byte> open_statistics(Bytes sealed, const PrivateKey* key);

}  // namespace edgeward
