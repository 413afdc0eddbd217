// PackageReader: a package, opened in the order of docs/package-format.md, section 7: signature before parse, policy
// before key, hash before decryption, and nothing handed out before its last chunk
// has passed. Immutable; any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/crypto.h"
#include "packages/package_format.h"
#include "packages/trust_root.h"
#include "system/file.h"
#include "system/memory.h"

namespace edgeward {

// What this device asks of a package.
struct Policy {
  std::string target;                      // the kind of this machine: "linux-aarch64"
  std::optional<Digest> device_id;         // key id of its device key
  std::map<std::string, uint64_t> floors;  // by model name: the lowest release_counter it accepts
  int64_t now_s = 0;                       // Unix seconds
  // By publisher, Unix seconds: what its packages that ran have shown the time to be. It holds for its own packages.
  std::map<std::string, int64_t> publisher_times_s = {};

  // The time to judge a package of `publisher` by: the later of the two.
  int64_t now_s_for(const std::string& publisher) const;
};

class PackageReader {
 public:
  // Reads the head, believes it if `root` does, and holds it against `policy`: steps 1 to 6 of section 7. Throws
  // std::filesystem::filesystem_error, Error(malformed_package), untrusted_package, rollback_refused, wrong_target,
  // expired_package.
  PackageReader(const std::string& path, const TrustRoot& root, const Policy& policy);

  // The same without a policy, steps 1 to 5: a package to judge by, which need not be one that may run here. Throws
  // std::filesystem::filesystem_error, Error(malformed_package), untrusted_package.
  static PackageReader authentic(const std::string& path, const TrustRoot& root);

  // The same without a trust root or policy: the bytes keep the format, and no signature has been checked.
  static PackageReader unverified(const std::string& path);

  // Holds it once more against a root and a policy, those of now: steps 4 and 6. Throws Error(untrusted_package),
  // rollback_refused, wrong_target, expired_package; Error(malformed_package) when the head in the file has changed.
  void require_allowed(const TrustRoot& root, const Policy& policy) const;

  const std::string& path() const { return file_->path(); }
  const PackageFacts& facts() const { return facts_; }
  const Member& entry() const;
  // What the facts are parsed from; both live as long as this reader.
  const File& file() const { return *file_; }
  Bytes body() const { return body_; }

  // Requires that every stored chunk is the signed one. Needs no key. Throws Error(malformed_package) naming the chunk.
  void check_stored(int threads) const;

  // Requires that the table of chunks is the signed one: step 7, which comes before a key is looked for. Throws
  // Error(malformed_package).
  void check_table() const;

  // The payload, verified and decrypted into pages of its own; secret pages when it is encrypted. `content_key` is null
  // when it is not. Throws Error(malformed_package), Error(wrong_key), Error(out_of_memory).
  Block open_payload(const Secret* content_key, int threads) const;

  // The same, with the digest of each member, for which threads have time that wait for no chunk.
  struct DigestedPayload {
    Block block;
    std::vector<Digest> digests;
  };
  DigestedPayload open_digested_payload(const Secret* content_key, int threads) const;

  // Requires that every member has the digest in its row. That is so or not for a package id, whoever asks. Throws
  // Error(malformed_package).
  void check_digests(const std::vector<Digest>& digests) const;
  // The same, of a payload that open_payload gave.
  void check_payload(const Block& payload) const;

  // One member alone, likewise, of the chunks that it lies in; its digest is the one in its row.
  Block read_member(const Member& member, const Secret* content_key) const;

  // Bytes of one member once more, as open_payload gave them. `parts` are of the member, in order and apart; when it
  // throws, they hold any bytes that were signed for their places or that they had. Throws as open_payload does.
  void read_parts(const Member& member, std::span<const FilePart> parts, const Secret* content_key, int threads) const;

  // Requires that the payload opens and that every member has the digest in its row, chunk by chunk: as much memory as
  // two chunks take. Throws as open_payload does.
  void check_members(const Secret* content_key) const;

 private:
  struct Opening;
  class MemberDigests;

  PackageReader(std::unique_ptr<File> file, const PackageHead& head);
  Bytes checked_table(std::vector<std::byte>& table) const;
  Opening opening(const Secret* content_key) const;
  // `digests` may be null.
  Block open_chunks(const Secret* content_key, int threads, MemberDigests* digests) const;
  // For what the payload holds.
  Block new_block(uint64_t size_bytes) const;
  void require_padding(Bytes between) const;
  void require_digest(const Member& member, const Digest& digest) const;

  std::unique_ptr<File> file_;
  PackageFacts facts_;
  std::vector<std::byte> body_;
};

}  // namespace edgeward
