// Writing packages: a source sealed into a new file, and new signatures on a package that is there. A file appears
// whole or not at all. One thread at a time per call; nothing is kept between calls. Format: docs/package-format.md.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "crypto/crypto.h"
#include "packages/package_format.h"
#include "packages/package_reader.h"
#include "packages/signer.h"
#include "system/file.h"

namespace edgeward {

// A member that is to be sealed: bytes, or a file that is read while it is sealed. Either is borrowed.
struct MemberSource {
  std::string name;
  MemberType type;
  bool is_entry;
  Bytes bytes;
  const File* file = nullptr;

  uint64_t size_bytes() const { return file != nullptr ? file->size_bytes() : bytes.size(); }
};

// What is to be sealed; the fields mean what they mean in PackageFacts.
struct PackageSource {
  std::string name;
  std::string version;
  std::string target;
  std::string publisher;
  uint64_t release_counter = 0;
  uint64_t min_counter = 0;
  uint64_t created_s = 0;
  uint64_t hard_expiry_s = 0;
  std::optional<Digest> binding;
  std::optional<AeadAlgorithm> aead;
  uint32_t chunk_bytes = package_format::kDefaultChunkBytes;
  std::vector<MemberSource> members;
  std::string metadata;
};

struct Sealed {
  Digest package_id;
  std::optional<Secret> content_key;  // of an encrypted package: to be wrapped for devices, and then forgotten
};

// Called with payload bytes done and to do, from the calling thread. What it throws ends the sealing.
using SealProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

// Writes a package at `path` under a fresh content key, in as much memory as its table and a few chunks take. Throws
// Error(bad_input) for a source that the format cannot hold or a file that has become shorter,
// std::filesystem::filesystem_error, and as Signer::signature_of.
Sealed seal_package(const PackageSource& source, const std::vector<Signer>& signers, const std::string& path,
                    const SealProgress& progress);

// The same under a content key and salt of the caller's choice, as published vectors need them. A key seals once:
// nonces repeat under it.
Digest seal_package_with(const Secret* content_key, const Digest& salt, const PackageSource& source,
                         const std::vector<Signer>& signers, const std::string& path, const SealProgress& progress);

// Writes `package` at `path` with signatures of `signers`, after its own when `keeps_signatures`; nothing else
// changes. Throws Error(malformed_package) when the stored chunks are not the ones of its body, Error(bad_input) when
// there is no room for so many signatures, and as Signer::signature_of.
void resign(const PackageReader& package, const std::string& path, const std::vector<Signer>& signers,
            bool keeps_signatures);

}  // namespace edgeward
