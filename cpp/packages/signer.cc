#include "packages/signer.h"

#include <algorithm>
#include <utility>

#include "bytes/hex.h"
#include "error.h"

namespace edgeward {

Signer::Signer(const PrivateKey* key)
    : name_("private key"), public_key_(edgeward::public_key(*key)), sign_([key](Bytes message) {
        const SignatureBytes signature = sign(*key, message);
        return std::vector<std::byte>(signature.begin(), signature.end());
      }) {}

Signer::Signer(std::string name, PublicKey key, Sign sign)
    : name_(std::move(name)), public_key_(std::move(key)), sign_(std::move(sign)) {
  if (public_key_.algorithm == KeyAlgorithm::x25519)
    throw Error(Code::bad_input, "signer \"", name_, "\": expected an ed25519 or ecdsa-p256 key, got a device's");
}

SignatureBytes Signer::signature_of(Bytes message) const {
  const std::vector<std::byte> answer = sign_(message);
  const auto refuse = [&](const auto&... got) {
    throw Error(Code::signer_failed, "signer \"", name_, "\": expected a signature by ", name(public_key_.algorithm),
                " key ", hex(key_id(public_key_)).substr(0, 16), ", got ", got...);
  };
  SignatureBytes signature;
  if (answer.size() != signature.size()) refuse(answer.size(), " bytes that are none");
  if (!verify(public_key_, message, answer)) refuse("one by another key or of something else");
  std::copy(answer.begin(), answer.end(), signature.begin());
  return signature;
}

}  // namespace edgeward
