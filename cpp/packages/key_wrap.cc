#include "packages/key_wrap.h"

#include <algorithm>
#include <array>
#include <string>

#include "bytes/hex.h"
#include "error.h"
#include "packages/date.h"

namespace edgeward {
namespace {

// Package-format 6.
constexpr std::array<uint8_t, 8> kMagic = {'E', 'W', 'K', 'E', 'Y', 0x0D, 0x0A, 0x01};
constexpr size_t kKemAt = 8;
constexpr size_t kKdfAt = 10;
constexpr size_t kAeadAt = 12;
constexpr size_t kEncapsulatedBytesAt = 14;
constexpr size_t kPackageIdAt = 16;
constexpr size_t kDeviceIdAt = 48;
constexpr size_t kNotBeforeAt = 80;
constexpr size_t kNotAfterAt = 88;
constexpr size_t kEncapsulatedAt = 96;
constexpr size_t kZerosAt = kEncapsulatedAt + kEncapsulatedBytes;
constexpr size_t kCiphertextAt = 168;
constexpr size_t kCiphertextBytes = kSecretBytes + 16;
static_assert(kCiphertextAt + kCiphertextBytes == kKeyWrapBytes);

constexpr uint16_t kKem = 0x0020;
constexpr uint16_t kKdf = 0x0001;

using WrapBytes = std::array<std::byte, kKeyWrapBytes>;

template <class... Parts>
[[noreturn]] void malformed(size_t index, const Parts&... parts) {
  throw Error(Code::malformed_key, "key wrap ", index, ": ", parts...);
}

Digest digest_at(Bytes wrap, size_t offset) {
  Digest digest;
  std::copy_n(wrap.begin() + static_cast<std::ptrdiff_t>(offset), digest.size(), digest.begin());
  return digest;
}

KeyWrap read_wrap(Bytes wrap, size_t index) {
  if (!std::equal(kMagic.begin(), kMagic.end(), wrap.begin(), [](uint8_t a, std::byte b) { return std::byte{a} == b; }))
    malformed(index, "expected the magic bytes EWKEY 0D 0A 01, got others");
  const auto require_u16 = [&](size_t offset, uint16_t expected, const char* what) {
    const uint16_t got = *try_read<uint16_t>(wrap, offset);
    if (got != expected) malformed(index, what, ": expected ", expected, ", got ", got);
  };
  require_u16(kKemAt, kKem, "kem");
  require_u16(kKdfAt, kKdf, "kdf");
  require_u16(kEncapsulatedBytesAt, kEncapsulatedBytes, "enc_len");
  const uint16_t aead = *try_read<uint16_t>(wrap, kAeadAt);
  if (aead != static_cast<uint16_t>(HpkeAead::aes_256_gcm) &&
      aead != static_cast<uint16_t>(HpkeAead::chacha20_poly1305))
    malformed(index, "aead: expected 2 or 3, got ", aead);
  const Bytes zeros = wrap.subspan(kZerosAt, kCiphertextAt - kZerosAt);
  if (!is_zero(zeros)) malformed(index, "expected zeros after enc, got others");
  return {static_cast<HpkeAead>(aead), digest_at(wrap, kPackageIdAt), digest_at(wrap, kDeviceIdAt),
          *try_read<uint64_t>(wrap, kNotBeforeAt), *try_read<uint64_t>(wrap, kNotAfterAt)};
}

Bytes wrap_at(Bytes file, size_t index) { return file.subspan(index * kKeyWrapBytes, kKeyWrapBytes); }

// The HPKE info, which binds the wrap to every field before the encapsulated key.
std::vector<std::byte> info(Bytes wrap) {
  constexpr char kLabel[] = "edgeward/ewk/v1";  // with its zero
  const Bytes label = std::as_bytes(std::span(kLabel));
  std::vector<std::byte> bytes(label.begin(), label.end());
  bytes.insert(bytes.end(), wrap.begin() + kKemAt, wrap.begin() + kEncapsulatedAt);
  return bytes;
}

template <class T>
void put(WrapBytes& wrap, size_t offset, T value) {
  std::memcpy(wrap.data() + offset, &value, sizeof(value));
}

}  // namespace

std::vector<KeyWrap> read_wraps(Bytes file) {
  const size_t count = file.size() / kKeyWrapBytes;
  if (file.empty() || file.size() % kKeyWrapBytes != 0) {
    throw Error(Code::malformed_key, "key wraps: expected a multiple of ", kKeyWrapBytes, " bytes, got ", file.size());
  }
  if (count > kMaxWraps) throw Error(Code::malformed_key, "key wraps: expected at most ", kMaxWraps, ", got ", count);
  std::vector<KeyWrap> wraps;
  wraps.reserve(count);
  for (size_t index = 0; index < count; ++index) {
    wraps.push_back(read_wrap(wrap_at(file, index), index));
    if (index > 0 && wraps[index].device_id <= wraps[index - 1].device_id)
      malformed(index, "expected a device id above the one before, got one that is not");
  }
  return wraps;
}

std::vector<std::byte> add_wrap(Bytes file, const Secret& content_key, const Digest& package_id,
                                const PublicKey& device, HpkeAead aead, uint64_t not_before_s, uint64_t not_after_s) {
  if (device.algorithm != KeyAlgorithm::x25519)
    throw Error(Code::malformed_key, "device key: expected an x25519 key, got ", name(device.algorithm));
  const Digest device_id = key_id(device);
  WrapBytes wrap{};
  std::memcpy(wrap.data(), kMagic.data(), kMagic.size());
  put(wrap, kKemAt, kKem);
  put(wrap, kKdfAt, kKdf);
  put(wrap, kAeadAt, aead);
  put(wrap, kEncapsulatedBytesAt, static_cast<uint16_t>(kEncapsulatedBytes));
  put(wrap, kPackageIdAt, package_id);
  put(wrap, kDeviceIdAt, device_id);
  put(wrap, kNotBeforeAt, not_before_s);
  put(wrap, kNotAfterAt, not_after_s);
  const HpkeMessage message = hpke_seal(aead, device.bytes, info(wrap), {}, content_key.bytes());
  put(wrap, kEncapsulatedAt, message.encapsulated);
  std::copy(message.ciphertext.begin(), message.ciphertext.end(), wrap.begin() + kCiphertextAt);

  std::vector<std::byte> result(file.begin(), file.end());
  const auto wraps = file.empty() ? std::vector<KeyWrap>() : read_wraps(file);
  size_t index = 0;
  while (index < wraps.size() && wraps[index].device_id < device_id) ++index;
  const auto position = result.begin() + static_cast<std::ptrdiff_t>(index * kKeyWrapBytes);
  if (index < wraps.size() && wraps[index].device_id == device_id) {
    std::copy(wrap.begin(), wrap.end(), position);
    return result;
  }
  if (wraps.size() == kMaxWraps)
    throw Error(Code::malformed_key, "key wraps: expected at most ", kMaxWraps, ", got one more");
  result.insert(position, wrap.begin(), wrap.end());
  return result;
}

std::vector<std::byte> remove_wrap(Bytes file, const Digest& device_id) {
  const auto wraps = read_wraps(file);
  const auto match =
      std::find_if(wraps.begin(), wraps.end(), [&](const KeyWrap& wrap) { return wrap.device_id == device_id; });
  if (match == wraps.end())
    throw Error(Code::bad_input, "key wraps: expected one for device ", hex(device_id), ", got none among ",
                wraps.size());
  std::vector<std::byte> result(file.begin(), file.end());
  const auto position = result.begin() + (match - wraps.begin()) * static_cast<std::ptrdiff_t>(kKeyWrapBytes);
  result.erase(position, position + kKeyWrapBytes);
  return result;
}

Secret unwrap(Bytes file, const Digest& package_id, const PrivateKey& device, int64_t now_s) {
  const auto wraps = read_wraps(file);
  const Digest device_id = key_id(public_key(device));
  const auto match =
      std::find_if(wraps.begin(), wraps.end(), [&](const KeyWrap& wrap) { return wrap.device_id == device_id; });
  if (match == wraps.end()) {
    throw Error(Code::wrong_key, "key wraps: expected one for this device's key, got ", wraps.size(),
                " for other devices");
  }
  if (match->package_id != package_id)
    throw Error(Code::wrong_key, "key wrap: expected one of this package, got one of another package");
  const auto now = static_cast<uint64_t>(std::max<int64_t>(now_s, 0));
  if (now < match->not_before_s || (match->not_after_s != 0 && now >= match->not_after_s)) {
    throw Error(Code::wrong_key, "key wrap: expected use from ", date_text(match->not_before_s), " on",
                match->not_after_s == 0 ? "" : " until " + date_text(match->not_after_s), ", got the time ",
                date_text(now));
  }
  const Bytes wrap = wrap_at(file, static_cast<size_t>(match - wraps.begin()));
  Secret content_key;
  if (!hpke_open(match->aead, device.secret, wrap.subspan(kEncapsulatedAt, kEncapsulatedBytes), info(wrap), {},
                 wrap.subspan(kCiphertextAt), content_key.bytes()))
    throw Error(Code::wrong_key, "key wrap: expected one that this device's key opens, got an altered one");
  return content_key;
}

}  // namespace edgeward
