#include "packages/signer.h"

#include <doctest/doctest.h>

#include <stdexcept>

#include "rigs/demo_package.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr KeyAlgorithm kSigning[] = {KeyAlgorithm::ed25519, KeyAlgorithm::ecdsa_p256};

std::vector<std::byte> octets_of(const SignatureBytes& signature) { return {signature.begin(), signature.end()}; }

// Signs as `key` does, and answers what `change` makes of it.
template <class Change>
Signer changed(const PrivateKey& key, const Change& change) {
  return {"token", public_key(key), [&key, change](Bytes message) {
            auto answer = octets_of(sign(key, message));
            change(answer);
            return answer;
          }};
}

TEST_CASE("a private key is a signer, and so is who answers with its signatures") {
  for (const KeyAlgorithm algorithm : kSigning) {
    const PrivateKey key = generate_key(algorithm);
    const auto message = bytes_of("message");
    for (const Signer& signer : {Signer(&key), changed(key, [](auto&) {})}) {
      CHECK(key_id(signer.public_key()) == key_id(public_key(key)));
      CHECK(verify(public_key(key), message, signer.signature_of(message)));
    }
  }
}

TEST_CASE("an answer that is no signature of the key over the message is refused, whatever it is") {
  for (const KeyAlgorithm algorithm : kSigning) {
    const PrivateKey key = generate_key(algorithm);
    const PrivateKey other = generate_key(algorithm);
    const auto message = bytes_of("message");
    for (size_t size = 0; size < 130; ++size) {
      if (size == 64) continue;
      const Signer cut = changed(key, [size](auto& answer) { answer.resize(size); });
      check_refusal(Code::signer_failed, {"\"token\"", "that are none"}, [&] { cut.signature_of(message); });
    }
    for (size_t bit = 0; bit < 512; ++bit) {
      const Signer flipped = changed(key, [bit](auto& answer) { answer[bit / 8] ^= std::byte{1} << (bit % 8); });
      check_refusal(Code::signer_failed, {"\"token\"", "by another key"}, [&] { flipped.signature_of(message); });
    }
    const Signer stranger("token", public_key(key), [&](Bytes asked) { return octets_of(sign(other, asked)); });
    check_refusal(Code::signer_failed, {"by another key"}, [&] { stranger.signature_of(message); });
    const Signer stale("token", public_key(key), [&](Bytes) { return octets_of(sign(key, bytes_of("other"))); });
    check_refusal(Code::signer_failed, {"of something else"}, [&] { stale.signature_of(message); });
  }
}

TEST_CASE("a device's key is no signer") {
  const PrivateKey key = generate_key(KeyAlgorithm::x25519);
  check_refusal(Code::bad_input, {"got a device's"}, [&] { Signer("token", public_key(key), {}); });
}

TEST_CASE("a package is not there when its signer fails or throws, and the one before it stays") {
  const Directory directory;
  const PrivateKey key = publisher_key();
  const std::string path = directory.at("package.ewp");
  const auto model = demo_model(5000);
  const Signer wrong = changed(key, [](auto& answer) { answer.clear(); });
  const Signer gone("token", public_key(key),
                    [](Bytes) -> std::vector<std::byte> { throw std::runtime_error("gone"); });
  const PackageSource source = demo_source(model, AeadAlgorithm::aes_256_gcm);
  CHECK_THROWS_AS(seal_demo(path, source, {wrong}), Error);
  CHECK_THROWS_AS(seal_demo(path, source, {gone}), std::runtime_error);
  CHECK(std::filesystem::is_empty(std::filesystem::path(path).parent_path()));

  seal_demo(path, source, {Signer(&key)});
  const std::string before = content_of(path);
  CHECK_THROWS_AS(seal_demo(path, source, {gone}), std::runtime_error);
  CHECK_THROWS_AS(resign(PackageReader::unverified(path), path, {wrong}, true), Error);
  CHECK(content_of(path) == before);
}

}  // namespace
}  // namespace edgeward
