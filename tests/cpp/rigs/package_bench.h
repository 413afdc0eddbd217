// A device and packages for it: sealed, opened, damaged and signed again.
#pragma once

#include <cstring>
#include <optional>
#include <string>

#include "error.h"
#include "packages/package_reader.h"
#include "rigs/demo_package.h"
#include "rigs/directory.h"

namespace edgeward {

inline constexpr std::optional<AeadAlgorithm> kModes[] = {std::nullopt, AeadAlgorithm::aes_256_gcm,
                                                          AeadAlgorithm::chacha20_poly1305};
inline constexpr size_t kTableAt = 64 + 776 + 2304;  // of a demo package, whose body has 776 bytes
inline constexpr size_t kPayloadAt = 4096;

// A device that trusts one publisher, and the directory that its packages are in.
struct PackageBench {
  Directory directory;
  PrivateKey publisher = publisher_key();
  TrustRoot root = demo_root(publisher);
  Secret content_key = secret_of("edgeward test cek");

  std::string path() const { return directory.at("demo.ewp"); }
  Digest seal(const PackageSource& source, const std::string& name = "demo.ewp") const {
    return seal_demo(directory.at(name), source, {&publisher});
  }
  PackageReader open(const std::string& name = "demo.ewp") const {
    return PackageReader(directory.at(name), root, demo_policy());
  }
  const Secret* key_to(const PackageReader& package) const { return package.facts().aead ? &content_key : nullptr; }
  Block payload(const PackageReader& package, int threads = 2) const {
    return package.open_payload(key_to(package), threads);
  }
  // Checks every byte of the file, as a device does.
  void open_whole(const std::string& name = "demo.ewp") const { payload(open(name)); }
};

inline std::string text_of(const Block& block, const Member& member) {
  return {reinterpret_cast<const char*>(block.data()) + member.offset, member.size_bytes};
}

inline std::string text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Whether `check` refuses the file, and by an error of the core.
template <class Check>
bool is_refused_by(const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    return error.code() == Code::malformed_package || error.code() == Code::untrusted_package ||
           error.code() == Code::wrong_key;
  }
  return false;
}

// The same, by who opens it whole and by who looks at it chunk by chunk.
inline bool is_refused(const PackageBench& bench) {
  const auto check_members = [&] {
    const PackageReader package = bench.open();
    package.check_members(bench.key_to(package));
  };
  return is_refused_by([&] { bench.open_whole(); }) && is_refused_by(check_members);
}

inline bool is_refused(const PackageBench& bench, const std::string& content) {
  write_file(bench.path(), content);
  return is_refused(bench);
}

// The file with its table digest, id and signature made to fit again: a publisher can do this; who has only the content
// key cannot.
inline std::string resigned(std::string content, const PrivateKey& signer) {
  const auto at = [&](size_t offset, size_t size) {
    return std::as_writable_bytes(std::span(content)).subspan(offset, size);
  };
  const size_t body_bytes = 776;
  const size_t rows = (kPayloadAt - kTableAt) / 48 >= 2 ? 2 : 1;
  const Digest table = sha256(at(kTableAt, 48 * rows));
  std::memcpy(content.data() + 64 + 96, table.data(), table.size());
  const Digest package_id = sha256(at(64, body_bytes));
  std::memcpy(content.data() + 32, package_id.data(), package_id.size());
  const auto message = pre_authentication_encoding("application/vnd.edgeward.ewp.body.v1", at(64, body_bytes));
  const SignatureBytes signature = sign(signer, message);
  std::memcpy(content.data() + 64 + body_bytes + 40, signature.data(), signature.size());
  return content;
}

}  // namespace edgeward
