#include "captures/sealed_statistics.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "bytes/hex.h"
#include "crypto/hpke.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr std::array<char, 8> kMagic = {'E', 'W', 'S', 'T', 'S', 'L', '0', '1'};
constexpr char kInfo[] = "edgeward/stats/v1";  // with its zero
constexpr size_t kTagBytes = 16;

struct Head {
  std::array<char, 8> magic;
  Digest recipient;  // the id of its key
  std::array<std::byte, kEncapsulatedBytes> encapsulated;
};
static_assert(sizeof(Head) == 72 && offsetof(Head, recipient) == 8 && offsetof(Head, encapsulated) == 40);

Bytes bytes_of(const Head& head) { return std::as_bytes(std::span(&head, 1)); }

// Name and version of the format, and for whom it is: a file that says another is not opened.
Bytes associated_data(const Head& head) { return bytes_of(head).first(offsetof(Head, encapsulated)); }

}  // namespace

std::vector<std::byte> seal_statistics(const PublicKey& recipient, Bytes document) {
  Head head{kMagic, key_id(recipient), {}};
  const HpkeMessage message = hpke_seal(HpkeAead::chacha20_poly1305, recipient.bytes, std::as_bytes(std::span(kInfo)),
                                        associated_data(head), document);
  head.encapsulated = message.encapsulated;
  std::vector<std::byte> sealed(sizeof(head) + message.ciphertext.size());
  std::copy_n(bytes_of(head).data(), sizeof(head), sealed.begin());
  std::copy(message.ciphertext.begin(), message.ciphertext.end(), sealed.begin() + sizeof(head));
  return sealed;
}

std::vector<std::byte> open_statistics(Bytes sealed, const PrivateKey* key) {
  if (sealed.size() < sizeof(Head) + kTagBytes) {
    throw Error(Code::malformed_capture, "expected at least ", sizeof(Head) + kTagBytes, " bytes, got ", sealed.size());
  }
  Head head;
  std::memcpy(&head, sealed.data(), sizeof(head));
  if (head.magic != kMagic) throw Error(Code::malformed_capture, "expected the magic bytes EWSTSL01, got others");
  const bool is_recipient =
      key != nullptr && key->algorithm == KeyAlgorithm::x25519 && key_id(public_key(*key)) == head.recipient;
  if (!is_recipient) {
    throw Error(Code::wrong_key, "expected the private key of ", hex(head.recipient), ", got ",
                key == nullptr ? "none" : "another");
  }
  const Bytes ciphertext = sealed.subspan(sizeof(head));
  std::vector<std::byte> document(ciphertext.size() - kTagBytes);
  if (!hpke_open(HpkeAead::chacha20_poly1305, key->secret, head.encapsulated, std::as_bytes(std::span(kInfo)),
                 associated_data(head), ciphertext, document)) {
    throw Error(Code::malformed_capture, "expected the bytes that were sealed, got others");
  }
  return document;
}

}  // namespace edgeward
