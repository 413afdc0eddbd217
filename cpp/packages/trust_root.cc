#include "packages/trust_root.h"

#include <algorithm>
#include <set>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "bytes/json.h"
#include "packages/date.h"
#include "packages/name.h"

namespace edgeward {
namespace {

constexpr size_t kMaxPayloadBytes = size_t{256} << 10;
constexpr size_t kMaxKeys = 64;
constexpr size_t kMaxPublishers = 64;
constexpr size_t kMaxPrefixes = 256;
constexpr std::string_view kRootRole = "root";
constexpr std::string_view kPublisherWord = "publisher:";
constexpr size_t kMaxPublisherName = 32;  // the field of a package that names it

template <class... Parts>
[[noreturn]] void malformed(const Parts&... parts) {
  throw Error(Code::malformed_root, "trust root: ", parts...);
}

// A JSON object that must have exactly these fields, read by name.
class Fields {
 public:
  Fields(const Json& value, std::string what, const std::set<std::string_view>& expected)
      : fields_(value.object(what)), what_(std::move(what)) {
    for (const auto& [name, unused] : fields_) {
      if (expected.count(name) == 0) malformed(what_, ": expected no field \"", name, "\", got one");
    }
    for (const std::string_view name : expected) {
      if (fields_.find(name) == fields_.end()) malformed(what_, ": expected a field \"", name, "\", got none");
    }
  }
  const Json& at(std::string_view name) const { return fields_.find(name)->second; }
  std::string path(std::string_view name) const { return what_ + "." + std::string(name); }
  int64_t integer(std::string_view name, int64_t least, int64_t most) const {
    const int64_t got = at(name).integer(path(name));
    if (got < least || got > most) malformed(path(name), ": expected ", least, " to ", most, ", got ", got);
    return got;
  }
  const std::string& string(std::string_view name) const { return at(name).string(path(name)); }
  const Json::Array& array(std::string_view name, size_t most) const {
    const Json::Array& got = at(name).array(path(name));
    if (got.size() > most) malformed(path(name), ": expected at most ", most, ", got ", got.size());
    return got;
  }

 private:
  const Json::Object& fields_;
  std::string what_;
};

Digest digest_from(const Json& value, const std::string& what) {
  Digest digest;
  if (!try_decode_hex(value.string(what), digest)) malformed(what, ": expected 64 hexadecimal digits, got others");
  return digest;
}

std::vector<Digest> distinct_digests(const Json::Array& values, const std::string& what) {
  std::vector<Digest> digests;
  for (const Json& value : values) {
    digests.push_back(digest_from(value, what));
    if (std::count(digests.begin(), digests.end(), digests.back()) > 1)
      malformed(what, ": expected each once, got one twice");
  }
  return digests;
}

PublicKey key_from(const Json& value, Digest& id) {
  const Fields fields(value, "keys", {"id", "alg", "pub"});
  const auto algorithm = key_algorithm(fields.string("alg"));
  if (!algorithm || *algorithm == KeyAlgorithm::x25519)
    malformed("keys.alg: expected \"ed25519\" or \"ecdsa-p256\", got \"", fields.string("alg"), "\"");
  auto bytes = try_decode_base64(fields.string("pub"));
  const size_t expected_bytes = *algorithm == KeyAlgorithm::ed25519 ? 32 : 65;
  if (!bytes || bytes->size() != expected_bytes) malformed("keys.pub: expected ", expected_bytes, " bytes in base64");
  PublicKey key{*algorithm, std::move(*bytes)};
  id = digest_from(fields.at("id"), "keys.id");
  if (key_id(key) != id) malformed("keys.id: expected ", hex(key_id(key)), ", the hash of its key, got ", hex(id));
  return key;
}

Role role_from(const Json& value, const std::string& name, const std::map<Digest, PublicKey>& keys) {
  const bool is_publisher = name != kRootRole;
  const std::string what = "roles." + name;
  const Fields fields(value, what,
                      is_publisher ? std::set<std::string_view>{"keyids", "threshold", "prefixes"}
                                   : std::set<std::string_view>{"keyids", "threshold"});
  Role role;
  role.key_ids = distinct_digests(fields.array("keyids", kMaxKeys), fields.path("keyids"));
  for (const Digest& id : role.key_ids) {
    if (keys.find(id) == keys.end()) malformed(fields.path("keyids"), ": expected ids of listed keys, got ", hex(id));
  }
  if (role.key_ids.empty()) malformed(fields.path("keyids"), ": expected at least one, got none");
  role.threshold = static_cast<uint32_t>(fields.integer("threshold", 1, static_cast<int64_t>(role.key_ids.size())));
  if (!is_publisher) return role;
  for (const Json& prefix : fields.array("prefixes", kMaxPrefixes)) {
    role.prefixes.push_back(prefix.string(fields.path("prefixes")));
    if (!std::all_of(role.prefixes.back().begin(), role.prefixes.back().end(), is_name_character))
      malformed(fields.path("prefixes"), ": expected ", kNameCharacters, ", got \"", role.prefixes.back(), "\"");
  }
  if (role.prefixes.empty()) malformed(fields.path("prefixes"), ": expected at least one, got none");
  return role;
}

}  // namespace

TrustRoot TrustRoot::parse(Bytes payload) {
  if (payload.size() > kMaxPayloadBytes)
    malformed("expected at most ", kMaxPayloadBytes, " bytes, got ", payload.size());
  constexpr int64_t kMax = INT64_MAX;
  const Json document = Json::parse(payload);
  const Fields fields(document, "document", {"version", "epoch", "issued", "expires", "keys", "roles", "revoked"});
  TrustRoot root;
  root.version_ = static_cast<uint64_t>(fields.integer("version", 1, kMax));
  root.epoch_ = static_cast<uint16_t>(fields.integer("epoch", 0, UINT16_MAX));
  root.issued_s_ = fields.integer("issued", 0, kMax - 1);
  root.expires_s_ = fields.integer("expires", root.issued_s_ + 1, kMax);
  for (const Json& value : fields.array("keys", kMaxKeys)) {
    Digest id;
    PublicKey key = key_from(value, id);
    if (!root.keys_.emplace(id, std::move(key)).second) malformed("keys: expected each once, got ", hex(id), " twice");
  }
  root.revoked_ = distinct_digests(fields.array("revoked", 16 * kMaxKeys), fields.path("revoked"));
  const Json::Object& roles = fields.at("roles").object("roles");
  if (roles.size() > kMaxPublishers + 1)
    malformed("roles: expected at most ", kMaxPublishers + 1, ", got ", roles.size());
  if (roles.find(kRootRole) == roles.end()) malformed("roles: expected one named \"root\", got none");
  for (const auto& [name, value] : roles) {
    if (name == kRootRole) {
      root.root_ = role_from(value, name, root.keys_);
      continue;
    }
    const std::string_view publisher = std::string_view(name).substr(std::min(name.size(), kPublisherWord.size()));
    if (!name.starts_with(kPublisherWord) || publisher.size() > kMaxPublisherName || !is_name(publisher))
      malformed("roles: expected \"root\" or \"publisher:NAME\", got \"", name, "\"");
    root.publishers_.emplace(publisher, role_from(value, name, root.keys_));
  }
  return root;
}

// How many distinct keys of `role` signed. A signature of a listed key that is not revoked must verify: otherwise the
// bytes were changed, and no other signature makes up for it.
size_t TrustRoot::signature_count(Code code, const Role& role, Bytes message,
                                  const std::vector<ClaimedSignature>& signatures) const {
  std::set<Digest> counted;
  for (const ClaimedSignature& claim : signatures) {
    const auto key = keys_.find(claim.key_id);
    if (key == keys_.end() || is_revoked(claim.key_id)) continue;
    const bool is_claimed_rightly = !claim.algorithm || *claim.algorithm == key->second.algorithm;
    if (!is_claimed_rightly || !verify(key->second, message, claim.signature)) {
      throw Error(code, "signature: expected one that key ", hex(claim.key_id), " made of these bytes, got another");
    }
    if (std::find(role.key_ids.begin(), role.key_ids.end(), claim.key_id) != role.key_ids.end())
      counted.insert(claim.key_id);
  }
  return counted.size();
}

// What the signatures that do not count are by: ": key ... is not in it".
std::string TrustRoot::uncounted(const Role& role, const std::vector<ClaimedSignature>& signatures) const {
  constexpr size_t kMaxNamed = 4;
  std::string text;
  size_t count = 0;
  for (const ClaimedSignature& claim : signatures) {
    const auto& ids = role.key_ids;
    const char* reason = is_revoked(claim.key_id)                                       ? " is revoked"
                         : keys_.find(claim.key_id) == keys_.end()                      ? " is not in it"
                         : std::find(ids.begin(), ids.end(), claim.key_id) == ids.end() ? " is of another role"
                                                                                        : nullptr;
    if (reason == nullptr || ++count > kMaxNamed) continue;
    text += (count == 1 ? ": key " : ", key ") + hex(claim.key_id) + reason;
  }
  if (count > kMaxNamed) text += ", and " + std::to_string(count - kMaxNamed) + " more";
  return text;
}

bool TrustRoot::is_revoked(const Digest& id) const {
  return std::find(revoked_.begin(), revoked_.end(), id) != revoked_.end();
}

void TrustRoot::require_root_signatures(const Envelope& envelope, std::string_view whose) const {
  std::vector<ClaimedSignature> claimed;
  for (const EnvelopeSignature& signature : envelope.signatures)
    claimed.push_back({signature.key_id, signature.signature});
  const size_t count = signature_count(Code::untrusted_root, root_,
                                       pre_authentication_encoding(envelope.type, envelope.payload), claimed);
  if (count < root_.threshold) {
    throw Error(Code::untrusted_root, "trust root: expected signatures of ", root_.threshold, " root keys of ", whose,
                ", got ", count);
  }
}

namespace {

Envelope root_envelope(Bytes bytes) {
  Envelope envelope = read_envelope(bytes);
  if (envelope.type != kRootType) malformed("payloadType: expected \"", kRootType, "\", got \"", envelope.type, "\"");
  return envelope;
}

}  // namespace

TrustRoot TrustRoot::first(Bytes bytes) {
  const Envelope envelope = root_envelope(bytes);
  TrustRoot root = parse(envelope.payload);
  root.require_root_signatures(envelope, "its own");
  return root;
}

TrustRoot TrustRoot::successor(Bytes bytes) const {
  const Envelope envelope = root_envelope(bytes);
  // Check the signatures of the root in force before any field of the successor is read.
  require_root_signatures(envelope, "the root in force");
  TrustRoot next = parse(envelope.payload);
  next.require_root_signatures(envelope, "its own");
  if (next.version_ <= version_) {
    throw Error(Code::rollback_refused, "trust root: version: expected ", version_ + 1, ", got ", next.version_);
  }
  if (next.version_ != version_ + 1) {
    throw Error(Code::untrusted_root, "trust root: version: expected ", version_ + 1, ", got ", next.version_,
                ": the ones between must come first");
  }
  if (next.epoch_ < epoch_) {
    throw Error(Code::rollback_refused, "trust root: epoch: expected at least ", epoch_, ", got ", next.epoch_);
  }
  if (next.issued_s_ < issued_s_) {
    throw Error(Code::rollback_refused, "trust root: issued: expected no time before ",
                date_text(static_cast<uint64_t>(issued_s_)), ", when the root in force was issued, got ",
                date_text(static_cast<uint64_t>(next.issued_s_)));
  }
  return next;
}

void TrustRoot::require_current(int64_t now_s) const {
  if (now_s < expires_s_) return;
  // It expires after it was issued, so that no time before 1970 comes here.
  throw Error(Code::expired_root, "trust root: version ", version_, ": expires: expected a time after ",
              date_text(static_cast<uint64_t>(now_s)), ", which it is on this device, got ",
              date_text(static_cast<uint64_t>(expires_s_)), ": renew it, or set the clock if it is ahead");
}

void TrustRoot::require_publisher(std::string_view publisher, std::string_view model_name, Bytes message,
                                  const std::vector<ClaimedSignature>& signatures) const {
  const auto match = publishers_.find(publisher);
  if (match == publishers_.end()) {
    throw Error(Code::untrusted_package, "publisher: expected one that trust root version ", version_, " lists, got \"",
                publisher, "\"");
  }
  const Role& role = match->second;
  const size_t count = signature_count(Code::untrusted_package, role, message, signatures);
  if (count < role.threshold) {
    throw Error(Code::untrusted_package, "signatures: expected ", role.threshold, " by keys of publisher \"", publisher,
                "\" in trust root version ", version_, ", got ", count, " among ", signatures.size(),
                uncounted(role, signatures));
  }
  const bool may_sign = std::any_of(role.prefixes.begin(), role.prefixes.end(),
                                    [&](const std::string& prefix) { return model_name.starts_with(prefix); });
  if (!may_sign) {
    throw Error(Code::untrusted_package, "name: expected one that publisher \"", publisher, "\" may sign, got \"",
                model_name, "\"");
  }
}

}  // namespace edgeward
