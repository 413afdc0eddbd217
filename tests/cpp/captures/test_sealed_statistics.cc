#include "captures/sealed_statistics.h"

#include <doctest/doctest.h>

#include "bytes/hex.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

PrivateKey key_of(std::byte filling) { return {KeyAlgorithm::x25519, Secret(Octets(32, filling))}; }

const PrivateKey& owner() {
  static const PrivateKey key = key_of(std::byte{5});
  return key;
}

Octets sealed_for_owner(std::string_view text) { return seal_statistics(public_key(owner()), from_text(text)); }

}  // namespace

TEST_CASE("the owner of the key reads what was sealed, of any length") {
  for (const std::string_view text : {"", "x", "{\"version\": 1}"}) {
    CAPTURE(text);
    CHECK(open_statistics(sealed_for_owner(text), &owner()) == from_text(text));
  }
}

TEST_CASE("nobody else does, and two of one text are not alike") {
  const Octets sealed = sealed_for_owner("text");
  const std::string recipient = hex(key_id(public_key(owner())));
  CHECK(sealed != sealed_for_owner("text"));
  check_refusal(Code::wrong_key, {recipient, "none"}, [&] { open_statistics(sealed, nullptr); });
  const PrivateKey other = key_of(std::byte{6});
  check_refusal(Code::wrong_key, {recipient, "another"}, [&] { open_statistics(sealed, &other); });
  const PrivateKey signer{KeyAlgorithm::ed25519, Secret(Octets(32, std::byte{5}))};
  check_refusal(Code::wrong_key, {recipient, "another"}, [&] { open_statistics(sealed, &signer); });
}

TEST_CASE("bytes that are cut short or changed are refused") {
  const Octets sealed = sealed_for_owner("text");
  for (size_t size = 0; size < sealed.size(); ++size) {
    CAPTURE(size);
    check_refusal(Code::malformed_capture, {"expected"}, [&] { open_statistics(Bytes(sealed).first(size), &owner()); });
  }
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    CAPTURE(bit);
    Octets damaged = sealed;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    const bool is_recipient = bit / 8 >= 8 && bit / 8 < 40;
    check_refusal(is_recipient ? Code::wrong_key : Code::malformed_capture, {"expected"},
                  [&] { open_statistics(damaged, &owner()); });
  }
  Octets longer = sealed;
  longer.push_back(std::byte{0});
  check_refusal(Code::malformed_capture, {"expected"}, [&] { open_statistics(longer, &owner()); });
}

TEST_CASE("a file that says it is for another is not opened by the key that it was sealed to") {
  // As if `other` were the recipient: its own key does not open it, and the owner's is refused.
  Octets sealed = sealed_for_owner("text");
  const PrivateKey other = key_of(std::byte{6});
  const Digest id = key_id(public_key(other));
  std::copy(id.begin(), id.end(), sealed.begin() + 8);
  check_refusal(Code::malformed_capture, {"expected"}, [&] { open_statistics(sealed, &other); });
  check_refusal(Code::wrong_key, {"another"}, [&] { open_statistics(sealed, &owner()); });
}

}  // namespace edgeward
