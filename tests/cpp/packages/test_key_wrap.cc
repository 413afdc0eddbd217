#include "packages/key_wrap.h"

#include <doctest/doctest.h>

#include "rigs/damage.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr HpkeAead kAeads[] = {HpkeAead::aes_256_gcm, HpkeAead::chacha20_poly1305};

// Where the fields of a wrap lie: package-format 6.
constexpr size_t kKemAt = 8;
constexpr size_t kAeadAt = 12;
constexpr size_t kPackageIdAt = 16;
constexpr size_t kDeviceIdAt = 48;
constexpr size_t kEncapsulatedAt = 96;
constexpr size_t kZerosAt = 128;
constexpr size_t kCiphertextAt = 168;

const Digest kPackage = sha256(from_text("package"));

PrivateKey device(char name) { return {KeyAlgorithm::x25519, Secret(Octets(32, static_cast<std::byte>(name)))}; }

Octets content_key() { return Octets(32, std::byte{0xCE}); }

Octets wrapped(Bytes file, const PrivateKey& to, HpkeAead aead = HpkeAead::aes_256_gcm, uint64_t not_before_s = 0,
               uint64_t not_after_s = 0) {
  return add_wrap(file, Secret(content_key()), kPackage, public_key(to), aead, not_before_s, not_after_s);
}

Octets wrapped_for(const char* names) {
  Octets file;
  for (const char* name = names; *name != '\0'; ++name) file = wrapped(file, device(*name));
  return file;
}

// The code that unwrapping at `now_s` fails with, nothing when it gives the content key. It never gives another.
std::optional<Code> refusal(Bytes file, const PrivateKey& with, const Digest& package = kPackage, int64_t now_s = 0) {
  try {
    const Secret key = unwrap(file, package, with, now_s);
    CHECK(is_same(key.bytes(), content_key()));
    return std::nullopt;
  } catch (const Error& error) {
    return error.code();
  }
}

template <class T>
void put(Octets& wrap, size_t offset, T value) {
  std::memcpy(wrap.data() + offset, &value, sizeof(value));
}

}  // namespace

TEST_CASE("a wrap gives each of its devices the content key, and says what it is") {
  for (const HpkeAead aead : kAeads) {
    CAPTURE(static_cast<int>(aead));
    const Octets file = wrapped({}, device('a'), aead, 100, 200);
    REQUIRE(file.size() == kKeyWrapBytes);
    const auto wraps = read_wraps(file);
    REQUIRE(wraps.size() == 1);
    CHECK(wraps[0].aead == aead);
    CHECK(wraps[0].package_id == kPackage);
    CHECK(wraps[0].device_id == key_id(public_key(device('a'))));
    CHECK(wraps[0].not_before_s == 100);
    CHECK(wraps[0].not_after_s == 200);
    CHECK_FALSE(refusal(file, device('a'), kPackage, 150));
  }
  const Octets file = wrapped_for("cabd");
  CHECK(read_wraps(file).size() == 4);
  for (const char name : {'a', 'b', 'c', 'd'}) CHECK_FALSE(refusal(file, device(name)));
}

TEST_CASE("a wrap made from the format's text alone is opened, and one that is made here is opened from it") {
  for (const HpkeAead aead : kAeads) {
    CAPTURE(static_cast<int>(aead));
    const PublicKey to = public_key(device('a'));
    const Digest to_id = key_id(to);
    // magic | kem 0x20, kdf 1, aead, enc_len 32 | package | device | not before 7 | not after 9
    Octets head = from_hex("45574b45590d0a01200001000" + std::to_string(static_cast<int>(aead)) + "002000");
    head.insert(head.end(), kPackage.begin(), kPackage.end());
    head.insert(head.end(), to_id.begin(), to_id.end());
    const Octets times = from_hex("07000000000000000900000000000000");
    head.insert(head.end(), times.begin(), times.end());
    REQUIRE(head.size() == kEncapsulatedAt);
    Octets info = from_text(std::string_view("edgeward/ewk/v1", 16));
    info.insert(info.end(), head.begin() + kKemAt, head.end());

    const HpkeMessage message = hpke_seal(aead, to.bytes, info, {}, content_key());
    Octets file = head;
    file.insert(file.end(), message.encapsulated.begin(), message.encapsulated.end());
    file.resize(kCiphertextAt);
    file.insert(file.end(), message.ciphertext.begin(), message.ciphertext.end());
    CHECK_FALSE(refusal(file, device('a'), kPackage, 8));

    const Octets ours = wrapped({}, device('a'), aead, 7, 9);
    REQUIRE(ours.size() == file.size());
    CHECK(is_same(Bytes(ours).first(kEncapsulatedAt), head));
    CHECK(is_zero(Bytes(ours).subspan(kZerosAt, kCiphertextAt - kZerosAt)));
    Octets key(32);
    CHECK(hpke_open(aead, device('a').secret, Bytes(ours).subspan(kEncapsulatedAt, 32), info, {},
                    Bytes(ours).subspan(kCiphertextAt), key));
    CHECK(key == content_key());
  }
}

TEST_CASE("wraps lie in the order of their devices, whichever was added first, and each device has one") {
  const Octets file = wrapped_for("dbca");
  const auto wraps = read_wraps(file);
  REQUIRE(wraps.size() == 4);
  for (size_t i = 1; i < wraps.size(); ++i) CHECK(wraps[i - 1].device_id < wraps[i].device_id);

  const Octets replaced = wrapped(file, device('b'), HpkeAead::chacha20_poly1305, 5, 6);
  CHECK(replaced.size() == file.size());
  size_t changed = 0;
  for (size_t i = 0; i < wraps.size(); ++i) {
    const Bytes before = Bytes(file).subspan(i * kKeyWrapBytes, kKeyWrapBytes);
    const Bytes after = Bytes(replaced).subspan(i * kKeyWrapBytes, kKeyWrapBytes);
    const bool is_replaced = wraps[i].device_id == key_id(public_key(device('b')));
    CHECK(is_same(before, after) != is_replaced);
    changed += is_replaced ? 1 : 0;
  }
  CHECK(changed == 1);
  CHECK_FALSE(refusal(replaced, device('b'), kPackage, 5));
}

TEST_CASE("a wrap that is removed is gone, and the others stay as they are") {
  const Octets file = wrapped_for("abc");
  const Digest gone = key_id(public_key(device('b')));
  const Octets left = remove_wrap(file, gone);
  CHECK(left.size() == 2 * kKeyWrapBytes);
  CHECK(refusal(left, device('b')) == Code::wrong_key);
  CHECK_FALSE(refusal(left, device('a')));
  CHECK_FALSE(refusal(left, device('c')));
  check_refusal(Code::bad_input, {"key wraps", "got none among 2"}, [&] { remove_wrap(left, gone); });
  CHECK(remove_wrap(wrapped_for("a"), key_id(public_key(device('a')))).empty());
  check_refusal(Code::malformed_key, {"key wraps"}, [&] { remove_wrap({}, gone); });
}

TEST_CASE("a wrap is used from its first second until the one where it ends") {
  struct Row {
    uint64_t not_before_s, not_after_s;
    int64_t now_s;
    bool is_used;
  };
  constexpr int64_t kLast = std::numeric_limits<int64_t>::max();
  const Row rows[] = {{0, 0, 0, true},       {0, 0, kLast, true},    {0, 0, -1, true},      {100, 0, 99, false},
                      {100, 0, 100, true},   {100, 0, kLast, true},  {100, 0, -1, false},   {0, 200, 199, true},
                      {0, 200, 200, false},  {0, 200, kLast, false}, {100, 200, 99, false}, {100, 200, 100, true},
                      {100, 200, 199, true}, {100, 200, 200, false}, {200, 100, 150, false}};
  for (const Row& row : rows) {
    CAPTURE(row.not_before_s);
    CAPTURE(row.not_after_s);
    CAPTURE(row.now_s);
    const Octets file = wrapped({}, device('a'), HpkeAead::aes_256_gcm, row.not_before_s, row.not_after_s);
    const auto got = refusal(file, device('a'), kPackage, row.now_s);
    CHECK(got.has_value() != row.is_used);
    if (got) CHECK(*got == Code::wrong_key);
  }
  const Octets file = wrapped({}, device('a'), HpkeAead::aes_256_gcm, 100, 200);
  check_refusal(Code::wrong_key,
                {"from 1970-01-01T00:01:40Z on until 1970-01-01T00:03:20Z", "got the time 1970-01-01T00:01:39Z"},
                [&] { unwrap(file, kPackage, device('a'), 99); });
}

TEST_CASE("another device's key, a key of another kind, or another package gets nothing") {
  const Octets file = wrapped_for("ab");
  check_refusal(Code::wrong_key, {"this device's key", "got 2 for other devices"},
                [&] { unwrap(file, kPackage, device('c'), 0); });
  const PrivateKey signer{KeyAlgorithm::ed25519, Secret(Octets(32, std::byte{'a'}))};
  check_refusal(Code::wrong_key, {"this device's key"}, [&] { unwrap(file, kPackage, signer, 0); });
  check_refusal(Code::wrong_key, {"another package"},
                [&] { unwrap(file, sha256(from_text("other")), device('a'), 0); });
  // Under the name of the one, what was encrypted to the other; and for one package, what was for another.
  Octets swapped = file;
  const auto half = swapped.begin() + kKeyWrapBytes;
  std::swap_ranges(swapped.begin() + kEncapsulatedAt, half, half + kEncapsulatedAt);
  CHECK(refusal(swapped, device('a')) == Code::wrong_key);
  CHECK(refusal(swapped, device('b')) == Code::wrong_key);
  Octets renamed = wrapped_for("a");
  const Digest other = sha256(from_text("other"));
  std::copy(other.begin(), other.end(), renamed.begin() + kPackageIdAt);
  CHECK(refusal(renamed, device('a'), other) == Code::wrong_key);
}

TEST_CASE("a key that is not of agreement, or that no secret can be agreed with, is not wrapped for") {
  for (const KeyAlgorithm algorithm : {KeyAlgorithm::ed25519, KeyAlgorithm::ecdsa_p256}) {
    CAPTURE(name(algorithm));
    const PublicKey key = public_key(generate_key(algorithm));
    check_refusal(Code::malformed_key, {"expected an x25519 key", name(algorithm)},
                  [&] { add_wrap({}, Secret(content_key()), kPackage, key, HpkeAead::aes_256_gcm, 0, 0); });
  }
  check_refusal(Code::malformed_key, {"x25519 public key"}, [&] {
    add_wrap({}, Secret(content_key()), kPackage, {KeyAlgorithm::x25519, Octets(32)}, HpkeAead::aes_256_gcm, 0, 0);
  });
  check_refusal(Code::malformed_key, {"key wraps"}, [&] { wrapped(from_text("no wraps"), device('a')); });
}

TEST_CASE("a field with another value is refused, and the message says which, of which wrap") {
  struct Row {
    size_t offset;
    uint16_t value;
    const char* expected;
    const char* got;
  };
  const Row rows[] = {{0, 0x5745 + 1, "magic", "others"},
                      {6, 0x020A, "magic", "others"},
                      {kKemAt, 0x10, "kem: expected 32", "got 16"},
                      {kKemAt, 0x647A, "kem: expected 32", "got 25722"},
                      {10, 2, "kdf: expected 1", "got 2"},
                      {kAeadAt, 0, "aead: expected 2 or 3", "got 0"},
                      {kAeadAt, 1, "aead: expected 2 or 3", "got 1"},
                      {kAeadAt, 4, "aead: expected 2 or 3", "got 4"},
                      {kAeadAt, 0xFFFF, "aead: expected 2 or 3", "got 65535"},
                      {14, 65, "enc_len: expected 32", "got 65"},
                      {kZerosAt, 1, "zeros after enc", "others"},
                      {kCiphertextAt - 2, 0x100, "zeros after enc", "others"}};
  const Octets file = wrapped_for("ab");
  for (const Row& row : rows) {
    for (const size_t index : {0, 1}) {
      CAPTURE(row.offset);
      CAPTURE(row.value);
      Octets other = file;
      put(other, index * kKeyWrapBytes + row.offset, row.value);
      const std::string which = "key wrap " + std::to_string(index);
      check_refusal(Code::malformed_key, {which, row.expected, row.got}, [&] { read_wraps(other); });
      for (const char name : {'a', 'b'}) CHECK(refusal(other, device(name)) == Code::malformed_key);
    }
  }
}

TEST_CASE("wraps out of order, or two of one device, are refused") {
  const Octets file = wrapped_for("ab");
  Octets turned = file;
  std::rotate(turned.begin(), turned.begin() + kKeyWrapBytes, turned.end());
  Octets doubled = wrapped_for("a");
  doubled.insert(doubled.end(), doubled.begin(), doubled.begin() + kKeyWrapBytes);
  for (const Octets& other : {turned, doubled}) {
    check_refusal(Code::malformed_key, {"key wrap 1", "above the one before"}, [&] { read_wraps(other); });
    CHECK(refusal(other, device('a')) == Code::malformed_key);
  }
}

TEST_CASE("a file of 65536 wraps is read, and one more is too many") {
  constexpr size_t kMost = 65536;
  const Octets wrap = wrapped_for("a");
  Octets file;
  file.reserve((kMost + 1) * kKeyWrapBytes);
  for (size_t i = 0; i <= kMost; ++i) {
    file.insert(file.end(), wrap.begin(), wrap.end());
    const std::byte number[] = {static_cast<std::byte>(i >> 16), static_cast<std::byte>(i >> 8),
                                static_cast<std::byte>(i)};
    std::copy(std::begin(number), std::end(number), file.end() - kKeyWrapBytes + kDeviceIdAt);
  }
  check_refusal(Code::malformed_key, {"at most 65536", "got 65537"}, [&] { read_wraps(file); });
  file.resize(kMost * kKeyWrapBytes);
  CHECK(read_wraps(file).size() == kMost);
  check_refusal(Code::malformed_key, {"at most 65536", "one more"}, [&] { wrapped(file, device('b')); });
}

TEST_CASE("no bit of a wrap can be another") {
  for (const HpkeAead aead : kAeads) {
    CAPTURE(static_cast<int>(aead));
    size_t flips = 0;
    const PrivateKey with = device('a');
    Damage(wrapped({}, with, aead, 0, 0)).for_each_flip([&](Bytes file) {
      // At the earliest time and at the latest: each bound that is changed allows one of the two.
      for (const int64_t now_s : {int64_t{0}, std::numeric_limits<int64_t>::max()}) {
        const auto got = refusal(file, with, kPackage, now_s);
        CHECK((got == Code::malformed_key || got == Code::wrong_key));
      }
      ++flips;
    });
    CHECK(flips == 8 * kKeyWrapBytes);
  }
}

TEST_CASE("a file that is cut or longer is refused, but between its wraps") {
  const PrivateKey with = device('a');
  const Damage damage(wrapped_for("ab"));
  damage.for_each_cut([&](Bytes file) {
    if (file.size() == kKeyWrapBytes) {
      CHECK(read_wraps(file).size() == 1);
    } else {
      check_refusal(Code::malformed_key, {"a multiple of 216"}, [&] { read_wraps(file); });
      CHECK(refusal(file, with) == Code::malformed_key);
    }
  });
  damage.for_each_byte_more([&](Bytes file) {
    check_refusal(Code::malformed_key, {"a multiple of 216", "got 433"}, [&] { read_wraps(file); });
  });
}

}  // namespace edgeward
