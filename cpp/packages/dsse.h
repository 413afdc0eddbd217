// Signed documents (DSSE, github.com/secure-systems-lab/dsse, protocol v1): what is signed is the payload's bytes and
// their type, so that no two kinds of document can be taken for each other and nothing needs a canonical form.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crypto/crypto.h"

namespace edgeward {

inline constexpr size_t kMaxEnvelopeBytes = size_t{512} << 10;

// The bytes that are signed: "DSSEv1" SP length(type) SP type SP length(payload) SP payload.
std::vector<std::byte> pre_authentication_encoding(std::string_view type, Bytes payload);

struct EnvelopeSignature {
  Digest key_id;
  std::vector<std::byte> signature;
};

// An envelope as it was received: nothing in it may be trusted before its signatures are counted.
struct Envelope {
  std::string type;
  std::vector<std::byte> payload;
  std::vector<EnvelopeSignature> signatures;  // at most 16
};

// Reads the JSON form: payloadType, payload (base64), signatures of keyid (64 hex digits) and sig (base64).
// At most kMaxEnvelopeBytes. Throws Error(malformed_root).
Envelope read_envelope(Bytes json);

// The JSON form, one line and a newline.
std::string write_envelope(const Envelope& envelope);

}  // namespace edgeward
