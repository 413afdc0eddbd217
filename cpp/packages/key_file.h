// Keys as text, one line each: "edgeward-private-key ed25519 <64 hex digits>", "edgeward-public-key x25519 <hex>".
// A public key may be PEM too (RFC 7468, "BEGIN PUBLIC KEY"), as OpenSSL and key services give it.
// A private key is read into secret memory; every other copy of it is wiped.
#pragma once

#include <string>

#include "crypto/crypto.h"

namespace edgeward {

// Throws Error(malformed_key), whose message shows nothing of the text.
PrivateKey parse_private_key(Bytes text);
PublicKey parse_public_key(Bytes text);

std::string text(const PublicKey& key);

// The key in a file. Throws std::filesystem::filesystem_error, Error(malformed_key).
PublicKey read_public_key(const std::string& path);

// The key in a file that its owner alone may read. Throws std::filesystem::filesystem_error, Error(malformed_key),
// Error(bad_input) when others may read it too.
PrivateKey read_private_key(const std::string& path);

// The same for a file that is protected by its directory, as a service manager's credentials directory does.
PrivateKey read_credential(const std::string& path);

// Writes a new file that only its owner may read. Throws std::filesystem::filesystem_error; EEXIST when there is one,
// which stays as it is.
void write_private_key(const PrivateKey& key, const std::string& path);

}  // namespace edgeward
