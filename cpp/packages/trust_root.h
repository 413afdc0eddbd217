// TrustRoot: the document that says which keys may sign packages and which may replace it, and the rules by which
// it and its successor are trusted. Bytes: package-format 8. Immutable; any thread. Reads no file and no clock.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/crypto.h"
#include "error.h"
#include "packages/dsse.h"

namespace edgeward {

inline constexpr std::string_view kRootType = "application/vnd.edgeward.root.v1+json";

// A set of keys, and how many distinct ones of it must sign.
struct Role {
  std::vector<Digest> key_ids;        // distinct
  uint32_t threshold = 1;             // 1 to key_ids.size()
  std::vector<std::string> prefixes;  // of the model names a publisher may sign; "" is every name. Empty for the root
};

// A signature with the id of the key that it claims to be made by.
struct ClaimedSignature {
  Digest key_id;
  Bytes signature;
  std::optional<KeyAlgorithm> algorithm = std::nullopt;  // when present, it must be the key's
};

class TrustRoot {
 public:
  // The first root on a device: trusted because its own root role signed it.
  // Throws Error(malformed_root), Error(untrusted_root).
  static TrustRoot first(Bytes envelope);

  // The next root: signed by this root's root role and by its own; its version is one higher, its epoch and issued are
  // not lower. Throws as first() does; Error(rollback_refused) for a version that is not higher.
  TrustRoot successor(Bytes envelope) const;

  uint64_t version() const { return version_; }
  uint16_t epoch() const { return epoch_; }
  int64_t issued_s() const { return issued_s_; }    // Unix seconds
  int64_t expires_s() const { return expires_s_; }  // Unix seconds

  // Throws Error(expired_root) from `expires_s` on.
  void require_current(int64_t now_s) const;

  // Requires the signatures on `message` that this publisher's packages of this model name need. Throws
  // Error(untrusted_package): no such publisher, name outside its prefixes, a known key whose signature fails, too few
  // distinct keys that are the publisher's and not revoked. Keys this root does not list are ignored.
  void require_publisher(std::string_view publisher, std::string_view model_name, Bytes message,
                         const std::vector<ClaimedSignature>& signatures) const;

 private:
  TrustRoot() = default;
  static TrustRoot parse(Bytes payload);
  size_t signature_count(Code code, const Role& role, Bytes message,
                         const std::vector<ClaimedSignature>& signatures) const;
  std::string uncounted(const Role& role, const std::vector<ClaimedSignature>& signatures) const;
  bool is_revoked(const Digest& id) const;
  void require_root_signatures(const Envelope& envelope, std::string_view whose) const;

  uint64_t version_ = 0;
  uint16_t epoch_ = 0;
  int64_t issued_s_ = 0;
  int64_t expires_s_ = 0;
  std::map<Digest, PublicKey> keys_;
  Role root_;
  std::map<std::string, Role, std::less<>> publishers_;
  std::vector<Digest> revoked_;
};

}  // namespace edgeward
