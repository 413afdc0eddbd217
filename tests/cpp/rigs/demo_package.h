// The package that the format was published with, and smaller ones like it, in any mode; under keys that never change.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "packages/dsse.h"
#include "packages/package_writer.h"
#include "packages/trust_root.h"

namespace edgeward {

inline Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

inline Secret secret_of(std::string_view words) { return Secret(sha256(bytes_of(words))); }

inline PrivateKey publisher_key(std::string_view words = "edgeward test publisher 1") {
  return {KeyAlgorithm::ed25519, secret_of(words)};
}

inline std::vector<std::byte> demo_model(size_t size_bytes) {
  std::vector<std::byte> model(size_bytes);
  for (uint64_t i = 0; i < size_bytes; ++i) model[i] = static_cast<std::byte>((i * i * 31 + i * 7) >> 3);
  return model;
}

// A source over `model`, which must outlive it.
inline PackageSource demo_source(const std::vector<std::byte>& model, std::optional<AeadAlgorithm> aead) {
  PackageSource source;
  source.name = "demo";
  source.version = "1.0.0";
  source.target = "any";
  source.publisher = "publisher";
  source.release_counter = 7;
  source.min_counter = 3;
  source.created_s = 1'700'000'000;
  source.hard_expiry_s = 0;
  source.aead = aead;
  source.chunk_bytes = uint32_t{1} << 16;
  source.members = {{"model.tflite", MemberType::tflite, true, model},
                    {"labels.txt", MemberType::labels, false, bytes_of("cat\ndog\n")}};
  source.metadata = "{}";
  return source;
}

inline Digest seal_demo(const std::string& path, const PackageSource& source, const std::vector<Signer>& signers,
                        std::string_view key_words = "edgeward test cek") {
  const Secret content_key = secret_of(key_words);
  const Digest salt = source.aead ? sha256(bytes_of("edgeward test salt")) : Digest{};
  return seal_package_with(source.aead ? &content_key : nullptr, salt, source, signers, path, {});
}

// A trust root under which `publisher` signs every model alone.
inline TrustRoot demo_root(const PrivateKey& publisher) {
  const PrivateKey owner = publisher_key("edgeward test owner");
  const auto entry = [](const PublicKey& key) {
    return R"({"id":")" + hex(key_id(key)) + R"(","alg":"ed25519","pub":")" + encode_base64(key.bytes) + R"("})";
  };
  const PublicKey owner_key = public_key(owner);
  const PublicKey signing_key = public_key(publisher);
  const std::string text = R"({"version":1,"epoch":0,"issued":1,"expires":4000000000,"keys":[)" + entry(owner_key) +
                           "," + entry(signing_key) + R"(],"roles":{"root":{"keyids":[")" + hex(key_id(owner_key)) +
                           R"("],"threshold":1},"publisher:publisher":{"keyids":[")" + hex(key_id(signing_key)) +
                           R"("],"threshold":1,"prefixes":[""]}},"revoked":[]})";
  const std::string type(kRootType);
  const Bytes payload = bytes_of(text);
  const SignatureBytes signature = sign(owner, pre_authentication_encoding(type, payload));
  const Envelope envelope{
      type, {payload.begin(), payload.end()}, {{key_id(owner_key), {signature.begin(), signature.end()}}}};
  return TrustRoot::first(bytes_of(write_envelope(envelope)));
}

inline Policy demo_policy() { return {"linux-test", std::nullopt, {{"demo", 5}}, 1'750'000'000}; }

}  // namespace edgeward
