// Package: one file that holds a model and what belongs to it, signed, and encrypted on request. Format: the numbered
// sections of docs/package-format.md. Opening follows its order: signature before parse, policy before key, hash before
// decryption, nothing handed out before its last chunk has passed. Any thread; a Package is immutable.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/crypto.h"
#include "packages/trust_root.h"
#include "system/file.h"
#include "system/memory.h"

namespace edgeward {

enum class MemberType : uint16_t {
  tflite = 1,
  onnx = 2,  // .onnx or .ort
  onnx_external = 3,
  labels = 4,
  auxiliary = 5,
};

// A named range of the payload.
struct Member {
  std::string name;
  MemberType type;
  bool is_entry;  // the model itself: exactly one is
  uint64_t offset;
  uint64_t size_bytes;
  Digest digest;  // of the plaintext
};

// What the signed body says.
struct PackageFacts {
  Digest package_id;
  std::string name;
  std::string version;
  std::string target;     // "any", or the one kind of machine it is for
  std::string publisher;  // the role whose keys sign it
  uint64_t release_counter;
  uint64_t min_counter;
  uint64_t created_s;                 // Unix seconds; informative
  uint64_t hard_expiry_s;             // Unix seconds; 0: never
  std::optional<Digest> binding;      // the only device it may run on
  std::optional<AeadAlgorithm> aead;  // none: not encrypted
  uint32_t chunk_bytes;
  uint64_t chunk_count;
  uint64_t payload_offset;
  uint64_t payload_bytes;
  std::vector<Member> members;
  std::string metadata;         // JSON, informative: no decision may rest on it
  std::vector<Digest> signers;  // the key ids that the signatures claim, in their order
};

// What this device asks of a package.
struct Policy {
  std::string target;                      // what it is: "linux-aarch64"
  std::optional<Digest> device_id;         // key id of its device key
  std::map<std::string, uint64_t> floors;  // by model name: the lowest release_counter it accepts
  int64_t now_s = 0;                       // Unix seconds
};

class Package {
 public:
  // Reads the head, believes it if `root` does, and holds it against `policy`: steps 1 to 6 of section 7. Throws
  // std::filesystem::filesystem_error, Error(malformed_package), untrusted_package, rollback_refused, wrong_target,
  // expired_package.
  Package(const std::string& path, const TrustRoot& root, const Policy& policy);

  // The same without a trust root or policy: the bytes keep the format, and nobody vouches for them.
  static Package unverified(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const PackageFacts& facts() const { return facts_; }
  const Member& entry() const;

  // Whether every stored chunk is the one that was signed. Needs no key. Throws Error(malformed_package) naming the
  // chunk.
  void check_stored(int threads) const;

  // The payload, verified and decrypted into pages of its own; secret ones when it is encrypted. `content_key` is null
  // when it is not. Throws Error(malformed_package), Error(wrong_key), Error(out_of_memory).
  Block open_payload(const Secret* content_key, int threads) const;

 private:
  class Head;
  Package(std::unique_ptr<File> file, const Head& head);
  Bytes checked_table(std::vector<std::byte>& table) const;

  std::unique_ptr<File> file_;
  PackageFacts facts_;
  std::vector<std::byte> body_;

  friend void resign(const Package& package, const std::string& path, const std::vector<const PrivateKey*>& keys,
                     bool keeps_signatures);
};

// A member that is to be sealed. The bytes are borrowed.
struct MemberSource {
  std::string name;
  MemberType type;
  bool is_entry;
  Bytes bytes;
};

// What is to be sealed; the fields mean what they mean in PackageFacts.
struct PackageSource {
  std::string name;
  std::string version;
  std::string target;
  std::string publisher;
  uint64_t release_counter;
  uint64_t min_counter;
  uint64_t created_s;
  uint64_t hard_expiry_s;
  std::optional<Digest> binding;
  std::optional<AeadAlgorithm> aead;
  uint32_t chunk_bytes;
  std::vector<MemberSource> members;
  std::string metadata;
};

struct Sealed {
  Digest package_id;
  std::optional<Secret> content_key;  // when it is encrypted: to be wrapped for devices, and then forgotten
};

inline constexpr uint32_t kDefaultChunkBytes = uint32_t{1} << 18;

// Called with payload bytes done and to do, from the calling thread. What it throws ends the sealing.
using SealProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

// Writes a package at `path`, whole or not at all, under a fresh content key. Throws Error(bad_input) for a source that
// the format cannot hold, std::filesystem::filesystem_error.
Sealed seal_package(const PackageSource& source, const std::vector<const PrivateKey*>& signers, const std::string& path,
                    const SealProgress& progress);

// The same under a given key and salt, as published vectors give them. One use per key.
Digest seal_package_with(const Secret* content_key, const Digest& salt, const PackageSource& source,
                         const std::vector<const PrivateKey*>& signers, const std::string& path,
                         const SealProgress& progress);

// Writes `package` at `path` with signatures of these keys, after its own when `keeps_signatures`; nothing else
// changes. Throws Error(malformed_package) when the stored chunks are not the ones of its body, Error(bad_input) when
// there is no room for so many signatures.
void resign(const Package& package, const std::string& path, const std::vector<const PrivateKey*>& keys,
            bool keeps_signatures);

}  // namespace edgeward
