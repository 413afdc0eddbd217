#include "packages/dsse.h"

#include <algorithm>
#include <set>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "bytes/json.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr size_t kMaxSignatures = 16;

const Json& field(const Json::Object& object, std::string_view name) { return object.find(name)->second; }

void require_fields(const Json::Object& object, std::string_view what, const std::set<std::string_view>& expected) {
  const bool has_all =
      object.size() == expected.size() &&
      std::all_of(object.begin(), object.end(), [&](const auto& member) { return expected.count(member.first) != 0; });
  if (has_all) return;
  std::string names;
  for (const std::string_view name : expected) names += (names.empty() ? "" : ", ") + std::string(name);
  throw Error(Code::malformed_root, what, ": expected the fields ", names, ", got others");
}

std::vector<std::byte> decoded(const Json& value, std::string_view what) {
  auto bytes = try_decode_base64(value.string(what));
  if (!bytes) throw Error(Code::malformed_root, what, ": expected base64, got something else");
  return std::move(*bytes);
}

Digest key_id_from(const Json& value) {
  Digest digest;
  if (!try_decode_hex(value.string("keyid"), digest))
    throw Error(Code::malformed_root, "keyid: expected 64 hexadecimal digits, got something else");
  return digest;
}

}  // namespace

std::vector<std::byte> pre_authentication_encoding(std::string_view type, Bytes payload) {
  const std::string head =
      "DSSEv1 " + std::to_string(type.size()) + " " + std::string(type) + " " + std::to_string(payload.size()) + " ";
  std::vector<std::byte> bytes;
  bytes.reserve(head.size() + payload.size());
  const Bytes head_bytes = std::as_bytes(std::span(head));
  bytes.insert(bytes.end(), head_bytes.begin(), head_bytes.end());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

Envelope read_envelope(Bytes json) {
  if (json.size() > kMaxEnvelopeBytes)
    throw Error(Code::malformed_root, "envelope: expected at most ", kMaxEnvelopeBytes, " bytes, got ", json.size());
  const Json document = Json::parse(json);
  const Json::Object& fields = document.object("envelope");
  require_fields(fields, "envelope", {"payload", "payloadType", "signatures"});
  Envelope envelope;
  envelope.type = field(fields, "payloadType").string("payloadType");
  envelope.payload = decoded(field(fields, "payload"), "payload");
  const Json::Array& signatures = field(fields, "signatures").array("signatures");
  if (signatures.size() > kMaxSignatures) {
    throw Error(Code::malformed_root, "signatures: expected at most ", kMaxSignatures, ", got ", signatures.size());
  }
  for (const Json& signature : signatures) {
    const Json::Object& parts = signature.object("signature");
    require_fields(parts, "signature", {"keyid", "sig"});
    envelope.signatures.push_back({key_id_from(field(parts, "keyid")), decoded(field(parts, "sig"), "sig")});
  }
  return envelope;
}

// Type and key ids need no JSON escapes: the type is a constant of this program, the ids are hexadecimal.
std::string write_envelope(const Envelope& envelope) {
  std::string json = R"({"payloadType":")" + envelope.type + R"(","payload":")" + encode_base64(envelope.payload) +
                     R"(","signatures":[)";
  for (const EnvelopeSignature& signature : envelope.signatures) {
    if (&signature != envelope.signatures.data()) json += ',';
    json += R"({"keyid":")" + hex(signature.key_id) + R"(","sig":")" + encode_base64(signature.signature) + R"("})";
  }
  return json + "]}\n";
}

}  // namespace edgeward
