#include "crypto/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <memory>

#include "error.h"

namespace edgeward {
namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* owned) const {
    kFree(owned);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using DerivationContext = std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>>;
using Group = std::unique_ptr<EC_GROUP, Free<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Free<EC_POINT_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_clear_free>>;
using PlainSignature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;

constexpr size_t kEd25519Bytes = 32;
constexpr size_t kX25519Bytes = 32;
constexpr size_t kP256PointBytes = 65;
constexpr size_t kP256NumberBytes = 32;
constexpr size_t kTagBytes = 16;

const unsigned char* in(Bytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* out(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

// Throws for a call that fails only when libcrypto has no memory or lacks an algorithm that every OpenSSL 3 has.
void require(bool succeeded, const char* what) {
  if (!succeeded) throw Error(Code::out_of_memory, "libcrypto: expected ", what, ", got none");
}

template <class T>
T required(T pointer, const char* what) {
  require(pointer != nullptr, what);
  return pointer;
}

// The algorithm is fetched once and kept: a fetch takes longer than the hash of a small chunk.
const EVP_MD* sha256_method() {
  static const EVP_MD* const method = required(EVP_MD_fetch(nullptr, "SHA256", nullptr), "SHA-256");
  return method;
}

const EVP_CIPHER* cipher(AeadAlgorithm algorithm) {
  static const EVP_CIPHER* const aes = required(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), "AES-256-GCM");
  static const EVP_CIPHER* const chacha =
      required(EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr), "ChaCha20-Poly1305");
  return algorithm == AeadAlgorithm::aes_256_gcm ? aes : chacha;
}

Group p256() { return Group(required(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1), "P-256")); }

// Returns null for a point that is not on the curve. `scalar` may be empty.
Key p256_key(Bytes point, Bytes scalar) {
  const KeyContext context(required(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr), "P-256"));
  char curve[] = "P-256";
  std::vector<unsigned char> native(scalar.size());  // OSSL_PARAM wants its numbers little-endian
  std::reverse_copy(in(scalar), in(scalar) + scalar.size(), native.begin());
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<std::byte*>(point.data()), point.size()),
      scalar.empty() ? OSSL_PARAM_construct_end()
                     : OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native.data(), native.size()),
      OSSL_PARAM_construct_end(),
  };
  require(EVP_PKEY_fromdata_init(context.get()) == 1, "P-256");
  EVP_PKEY* key = nullptr;
  const int status = EVP_PKEY_fromdata(context.get(), &key, scalar.empty() ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR,
                                       const_cast<OSSL_PARAM*>(parameters));
  OPENSSL_cleanse(native.data(), native.size());
  return Key(status == 1 ? key : nullptr);
}

// Checks what RFC 8032 leaves to the verifier: y must be below p, and the point's order must not divide 8. libcrypto
// itself refuses S >= L, and any R but the canonical one, since it compares encodings.
bool is_strict_ed25519(Bytes public_key) {
  std::array<std::byte, kEd25519Bytes> y;
  std::copy(public_key.begin(), public_key.end(), y.begin());
  y.back() &= std::byte{0x7F};  // the sign of x
  // p = 2^255 - 19, little-endian: ED FF .. FF 7F.
  const bool is_top = y.back() == std::byte{0x7F} &&
                      std::all_of(y.begin() + 1, y.end() - 1, [](std::byte byte) { return byte == std::byte{0xFF}; });
  if (is_top && y[0] >= std::byte{0xED}) return false;
  // The y of every point whose order divides 8: 0, 1, p - 1 and those of order 8.
  static constexpr uint8_t kSmallOrder[][kEd25519Bytes] = {
      {0},
      {1},
      {0xEC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
       0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F},
      {0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0,
       0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05},
      {0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F,
       0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A},
  };
  return std::none_of(std::begin(kSmallOrder), std::end(kSmallOrder),
                      [&](const auto& small) { return std::memcmp(small, y.data(), y.size()) == 0; });
}

// Converts r | s to the DER that libcrypto takes.
std::vector<unsigned char> der_signature(Bytes signature) {
  const PlainSignature plain(required(ECDSA_SIG_new(), "a signature"));
  Number r(BN_bin2bn(in(signature), kP256NumberBytes, nullptr));
  Number s(BN_bin2bn(in(signature.subspan(kP256NumberBytes)), kP256NumberBytes, nullptr));
  require(r != nullptr && s != nullptr && ECDSA_SIG_set0(plain.get(), r.get(), s.get()) == 1, "a signature");
  static_cast<void>(r.release());  // the signature's now
  static_cast<void>(s.release());
  unsigned char* encoded = nullptr;
  const int size = i2d_ECDSA_SIG(plain.get(), &encoded);
  require(size > 0, "a signature");
  std::vector<unsigned char> der(encoded, encoded + size);
  OPENSSL_free(encoded);
  return der;
}

void derive(int mode, Bytes salt, Bytes key, Bytes info, std::span<std::byte> derived) {
  static EVP_KDF* const method = required(EVP_KDF_fetch(nullptr, "HKDF", nullptr), "HKDF");
  const DerivationContext context(required(EVP_KDF_CTX_new(method), "HKDF"));
  char hash[] = "SHA256";
  // libcrypto takes no null for "empty".
  static std::byte nothing{};
  const auto octets = [](const char* name, Bytes bytes) {
    return OSSL_PARAM_construct_octet_string(name, bytes.empty() ? &nothing : const_cast<std::byte*>(bytes.data()),
                                             bytes.size());
  };
  OSSL_PARAM parameters[6];
  OSSL_PARAM* next = parameters;
  *next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
  *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0);
  *next++ = octets(OSSL_KDF_PARAM_KEY, key);
  if (mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY) *next++ = octets(OSSL_KDF_PARAM_SALT, salt);
  if (mode != EVP_KDF_HKDF_MODE_EXTRACT_ONLY) *next++ = octets(OSSL_KDF_PARAM_INFO, info);
  *next = OSSL_PARAM_construct_end();
  require(EVP_KDF_derive(context.get(), out(derived), derived.size(), parameters) == 1, "HKDF");
}

}  // namespace

const char* libcrypto_version() { return OpenSSL_version(OPENSSL_VERSION); }

// ---- Hash, comparison, random.

Sha256::Sha256() : context_(required(EVP_MD_CTX_new(), "SHA-256")) {
  require(EVP_DigestInit_ex2(static_cast<EVP_MD_CTX*>(context_), sha256_method(), nullptr) == 1, "SHA-256");
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::add(Bytes bytes) {
  require(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1, "SHA-256");
}

Digest Sha256::finish() {
  Digest digest;
  auto* context = static_cast<EVP_MD_CTX*>(context_);
  require(EVP_DigestFinal_ex(context, out(digest), nullptr) == 1, "SHA-256");
  require(EVP_DigestInit_ex2(context, nullptr, nullptr) == 1, "SHA-256");
  return digest;
}

Digest sha256(Bytes bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

Digest hmac_sha256(Bytes key, Bytes message) {
  Digest digest;
  require(HMAC(sha256_method(), key.data(), static_cast<int>(key.size()), in(message), message.size(), out(digest),
               nullptr) != nullptr,
          "HMAC");
  return digest;
}

bool is_equal_secretly(Bytes a, Bytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void fill_random(std::span<std::byte> bytes) {
  require(RAND_priv_bytes(out(bytes), static_cast<int>(bytes.size())) == 1, "random bytes");
}

// ---- Keys.

std::string_view name(KeyAlgorithm algorithm) {
  switch (algorithm) {
    case KeyAlgorithm::ed25519: return "ed25519";
    case KeyAlgorithm::ecdsa_p256: return "ecdsa-p256";
    case KeyAlgorithm::x25519: return "x25519";
  }
  return "unknown";
}

std::optional<KeyAlgorithm> key_algorithm(std::string_view wanted) {
  for (const auto algorithm : {KeyAlgorithm::ed25519, KeyAlgorithm::ecdsa_p256, KeyAlgorithm::x25519}) {
    if (name(algorithm) == wanted) return algorithm;
  }
  return std::nullopt;
}

Digest key_id(const PublicKey& key) {
  constexpr char kLabel[] = "edgeward/key/v1";  // with its zero
  const auto number = static_cast<uint16_t>(key.algorithm);
  const std::byte algorithm[] = {static_cast<std::byte>(number >> 8), static_cast<std::byte>(number)};
  Sha256 hash;
  hash.add(std::as_bytes(std::span(kLabel)));
  hash.add(algorithm);
  hash.add(key.bytes);
  return hash.finish();
}

PrivateKey generate_key(KeyAlgorithm algorithm) {
  PrivateKey key{algorithm, Secret()};
  if (algorithm != KeyAlgorithm::ecdsa_p256) {
    fill_random(key.secret.bytes());
    return key;
  }
  const Group group = p256();
  const Number scalar(required(BN_secure_new(), "a key"));
  do {
    require(BN_priv_rand_range_ex(scalar.get(), EC_GROUP_get0_order(group.get()), 0, nullptr) == 1, "a key");
  } while (BN_is_zero(scalar.get()) == 1);
  require(BN_bn2binpad(scalar.get(), out(key.secret.bytes()), kP256NumberBytes) == kP256NumberBytes, "a key");
  return key;
}

PublicKey public_key(const PrivateKey& key) {
  PublicKey result{key.algorithm, {}};
  const Bytes secret = key.secret.bytes();
  if (key.algorithm == KeyAlgorithm::ecdsa_p256) {
    const Group group = p256();
    const Number scalar(required(BN_bin2bn(in(secret), kP256NumberBytes, nullptr), "a key"));
    if (BN_is_zero(scalar.get()) == 1 || BN_cmp(scalar.get(), EC_GROUP_get0_order(group.get())) >= 0)
      throw Error(Code::malformed_key, "ecdsa-p256 key: expected a number from 1 to n - 1, got one outside");
    const Point point(required(EC_POINT_new(group.get()), "a point"));
    require(EC_POINT_mul(group.get(), point.get(), scalar.get(), nullptr, nullptr, nullptr) == 1, "a point");
    result.bytes.resize(kP256PointBytes);
    require(EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED, out(result.bytes),
                               result.bytes.size(), nullptr) == result.bytes.size(),
            "a point");
    return result;
  }
  const char* kind = key.algorithm == KeyAlgorithm::ed25519 ? "ED25519" : "X25519";
  const Key pair(required(EVP_PKEY_new_raw_private_key_ex(nullptr, kind, nullptr, in(secret), secret.size()), "a key"));
  result.bytes.resize(kEd25519Bytes);
  size_t size = result.bytes.size();
  require(EVP_PKEY_get_raw_public_key(pair.get(), out(result.bytes), &size) == 1, "a key");
  return result;
}

// ---- Signatures.

SignatureBytes sign(const PrivateKey& key, Bytes message) {
  const Bytes secret = key.secret.bytes();
  SignatureBytes signature;
  const DigestContext context(required(EVP_MD_CTX_new(), "a signature"));
  if (key.algorithm == KeyAlgorithm::ed25519) {
    const Key pair(
        required(EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, in(secret), secret.size()), "a key"));
    size_t size = signature.size();
    require(EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, pair.get(), nullptr) == 1 &&
                EVP_DigestSign(context.get(), out(signature), &size, in(message), message.size()) == 1,
            "a signature");
    return signature;
  }
  if (key.algorithm != KeyAlgorithm::ecdsa_p256) {
    throw Error(Code::malformed_key, "key: expected an ed25519 or ecdsa-p256 key to sign with, got ",
                name(key.algorithm));
  }
  const Key pair(p256_key(public_key(key).bytes, secret));
  require(pair != nullptr, "a key");
  std::array<unsigned char, 80> der;  // of two numbers of 33 bytes with their heads
  size_t size = der.size();
  require(EVP_DigestSignInit_ex(context.get(), nullptr, "SHA256", nullptr, nullptr, pair.get(), nullptr) == 1 &&
              EVP_DigestSign(context.get(), der.data(), &size, in(message), message.size()) == 1,
          "a signature");
  const unsigned char* next = der.data();
  const PlainSignature plain(required(d2i_ECDSA_SIG(nullptr, &next, static_cast<long>(size)), "a signature"));
  require(BN_bn2binpad(ECDSA_SIG_get0_r(plain.get()), out(signature), kP256NumberBytes) > 0 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(plain.get()), out(signature) + kP256NumberBytes, kP256NumberBytes) > 0,
          "a signature");
  return signature;
}

bool verify(const PublicKey& key, Bytes message, Bytes signature) {
  if (signature.size() != std::tuple_size_v<SignatureBytes>) return false;
  const DigestContext context(required(EVP_MD_CTX_new(), "a signature check"));
  if (key.algorithm == KeyAlgorithm::ed25519) {
    if (key.bytes.size() != kEd25519Bytes || !is_strict_ed25519(key.bytes)) return false;
    const Key known(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, in(key.bytes), key.bytes.size()));
    return known != nullptr &&
           EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, known.get(), nullptr) == 1 &&
           EVP_DigestVerify(context.get(), in(signature), signature.size(), in(message), message.size()) == 1;
  }
  if (key.algorithm != KeyAlgorithm::ecdsa_p256) return false;
  // A compressed or hybrid encoding would give the same key a second key id.
  if (key.bytes.size() != kP256PointBytes || key.bytes[0] != std::byte{4}) return false;
  const Key known = p256_key(key.bytes, {});
  if (known == nullptr) return false;
  const auto der = der_signature(signature);
  return EVP_DigestVerifyInit_ex(context.get(), nullptr, "SHA256", nullptr, nullptr, known.get(), nullptr) == 1 &&
         EVP_DigestVerify(context.get(), der.data(), der.size(), in(message), message.size()) == 1;
}

// ---- Agreement and derivation.

std::optional<Secret> x25519(const Secret& private_key, Bytes public_key) {
  if (public_key.size() != kX25519Bytes) return std::nullopt;
  const Bytes secret = private_key.bytes();
  const Key ours(
      required(EVP_PKEY_new_raw_private_key_ex(nullptr, "X25519", nullptr, in(secret), secret.size()), "a key"));
  const Key theirs(
      required(EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, in(public_key), public_key.size()), "a key"));
  const KeyContext context(required(EVP_PKEY_CTX_new_from_pkey(nullptr, ours.get(), nullptr), "X25519"));
  require(EVP_PKEY_derive_init(context.get()) == 1 && EVP_PKEY_derive_set_peer(context.get(), theirs.get()) == 1,
          "X25519");
  Secret shared;
  size_t size = kX25519Bytes;
  // libcrypto refuses a shared secret of zeros (RFC 7748, 6.1); the comparison covers libraries that do not.
  if (EVP_PKEY_derive(context.get(), out(shared.bytes()), &size) != 1) return std::nullopt;
  static constexpr std::array<std::byte, kX25519Bytes> kZeros{};
  if (is_equal_secretly(shared.bytes(), kZeros)) return std::nullopt;
  return shared;
}

void hkdf(Bytes salt, Bytes input_key, Bytes info, std::span<std::byte> derived) {
  derive(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, salt, input_key, info, derived);
}

void hkdf_extract(Bytes salt, Bytes input_key, std::span<std::byte, 32> derived) {
  derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, salt, input_key, {}, derived);
}

void hkdf_expand(Bytes pseudo_random_key, Bytes info, std::span<std::byte> derived) {
  derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, {}, pseudo_random_key, info, derived);
}

// ---- Authenticated encryption.

Aead::Aead(AeadAlgorithm algorithm, Bytes key, Direction direction)
    : context_(required(EVP_CIPHER_CTX_new(), "a cipher")) {
  const int is_sealing = direction == Direction::seal ? 1 : 0;
  const bool is_ready =
      key.size() == kSecretBytes && EVP_CipherInit_ex2(static_cast<EVP_CIPHER_CTX*>(context_), cipher(algorithm),
                                                       in(key), nullptr, is_sealing, nullptr) == 1;
  if (is_ready) return;
  EVP_CIPHER_CTX_free(static_cast<EVP_CIPHER_CTX*>(context_));
  require(false, "a cipher");
}

Aead::~Aead() { EVP_CIPHER_CTX_free(static_cast<EVP_CIPHER_CTX*>(context_)); }

void Aead::seal(const Nonce& nonce, Bytes associated_data, Bytes plaintext, std::span<std::byte> ciphertext, Tag& tag) {
  auto* context = static_cast<EVP_CIPHER_CTX*>(context_);
  int size = 0;
  require(EVP_CipherInit_ex2(context, nullptr, nullptr, in(nonce), -1, nullptr) == 1 &&
              (associated_data.empty() || EVP_CipherUpdate(context, nullptr, &size, in(associated_data),
                                                           static_cast<int>(associated_data.size())) == 1) &&
              (plaintext.empty() || EVP_CipherUpdate(context, out(ciphertext), &size, in(plaintext),
                                                     static_cast<int>(plaintext.size())) == 1) &&
              EVP_CipherFinal_ex(context, nullptr, &size) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()) == 1,
          "a sealed message");
}

bool Aead::open(const Nonce& nonce, Bytes associated_data, Bytes ciphertext, Bytes tag,
                std::span<std::byte> plaintext) {
  auto* context = static_cast<EVP_CIPHER_CTX*>(context_);
  int size = 0;
  return tag.size() == kTagBytes && EVP_CipherInit_ex2(context, nullptr, nullptr, in(nonce), -1, nullptr) == 1 &&
         (associated_data.empty() || EVP_CipherUpdate(context, nullptr, &size, in(associated_data),
                                                      static_cast<int>(associated_data.size())) == 1) &&
         (ciphertext.empty() ||
          EVP_CipherUpdate(context, out(plaintext), &size, in(ciphertext), static_cast<int>(ciphertext.size())) == 1) &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, const_cast<std::byte*>(tag.data())) == 1 &&
         EVP_CipherFinal_ex(context, nullptr, &size) == 1;
}

}  // namespace edgeward
