// libFuzzer: a trust root. The first byte says how the rest is taken: as an envelope that came from anywhere, or as the
// document inside of one, signed as it should be, so that what lies behind the signatures is reached; as a first root,
// or as a successor. Nothing but Error is thrown, and what is believed keeps the rules that can be asked for. How to
// build and run: .ci/run, lane fuzz.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "bytes/json.h"
#include "error.h"
#include "packages/dsse.h"
#include "packages/trust_root.h"

using namespace edgeward;

namespace {

Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

const PrivateKey& owner() {
  static const PrivateKey key{KeyAlgorithm::ed25519, Secret(sha256(bytes_of("edgeward test owner")))};
  return key;
}

std::string signed_by_owner(Bytes payload) {
  const std::string type(kRootType);
  const SignatureBytes signature = sign(owner(), pre_authentication_encoding(type, payload));
  return write_envelope(
      {type, {payload.begin(), payload.end()}, {{key_id(public_key(owner())), {signature.begin(), signature.end()}}}});
}

TrustRoot root_in_force() {
  const PublicKey key = public_key(owner());
  const std::string id = hex(key_id(key));
  const std::string text = R"({"version":1,"epoch":1,"issued":10,"expires":20,"keys":[{"id":")" + id +
                           R"(","alg":"ed25519","pub":")" + encode_base64(key.bytes) +
                           R"("}],"roles":{"root":{"keyids":[")" + id + R"("],"threshold":1}},"revoked":[]})";
  return TrustRoot::first(bytes_of(signed_by_owner(bytes_of(text))));
}

void check(const TrustRoot& root) {
  if (root.version() < 1 || root.issued_s() < 0 || root.expires_s() <= root.issued_s()) abort();
  // Nobody's signature is never enough.
  for (const char* publisher : {"", "default", "publisher"}) {
    try {
      root.require_publisher(publisher, "demo", bytes_of("body"), {});
      abort();
    } catch (const Error& error) {
      if (error.code() != Code::untrusted_package) abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TrustRoot in_force = root_in_force();
  if (size == 0) return 0;
  const Bytes rest{reinterpret_cast<const std::byte*>(data) + 1, size - 1};
  std::string envelope(reinterpret_cast<const char*>(rest.data()), rest.size());
  try {
    if ((data[0] & 1) != 0) {
      // A signature costs more than all of the rest: what is no document at all is not signed.
      Json::parse(rest);
      envelope = signed_by_owner(rest);
    }
    if ((data[0] & 2) == 0) return check(TrustRoot::first(bytes_of(envelope))), 0;
    const TrustRoot next = in_force.successor(bytes_of(envelope));
    check(next);
    if (next.version() != in_force.version() + 1 || next.epoch() < in_force.epoch()) abort();
  } catch (const Error&) {
  }
  return 0;
}
