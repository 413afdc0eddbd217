// Signer: whoever signs packages and trust roots: a private key in this process, or one in a token or a service that
// answers with a signature and keeps the key. Immutable; any thread that `sign` may be called from.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "crypto/crypto.h"

namespace edgeward {

class Signer {
 public:
  // Answers with the signature of `message`, 64 bytes (crypto.h). May take long, and may throw anything.
  using Sign = std::function<std::vector<std::byte>(Bytes message)>;

  // The key is borrowed: it must outlive the signer.
  Signer(const PrivateKey* key);  // NOLINT(google-explicit-constructor): a private key is a signer

  // `name` says in messages who it is. Throws Error(bad_input) for a key of no signature algorithm.
  Signer(std::string name, PublicKey key, Sign sign);

  const PublicKey& public_key() const { return public_key_; }

  // The signature, verified: what `sign` answered is one of this key over this message. Throws Error(signer_failed)
  // for any other answer, and whatever `sign` throws.
  SignatureBytes signature_of(Bytes message) const;

 private:
  std::string name_;
  PublicKey public_key_;
  Sign sign_;
};

}  // namespace edgeward
