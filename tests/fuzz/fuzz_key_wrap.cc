// libFuzzer: a file of wrapped keys. Whatever the bytes, reading throws nothing but Error; what is added can be taken
// out again; and no bytes but genuine ones unwrap. How to build and run: .ci/run, lane fuzz.
#include <cstdint>
#include <cstdlib>

#include "error.h"
#include "packages/key_wrap.h"

using namespace edgeward;

namespace {

struct Device {
  PrivateKey key{KeyAlgorithm::x25519, Secret(sha256(std::as_bytes(std::span("fuzzed device", 13))))};
  PublicKey public_half = public_key(key);
  Digest id = key_id(public_half);
  Secret content_key{sha256(std::as_bytes(std::span("fuzzed content key", 18)))};
  Digest package_id{};
};

// Throws what is no Error.
template <class Act>
bool succeeds(const Act& act) {
  try {
    act();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Device device;
  const Bytes file{reinterpret_cast<const std::byte*>(data), size};
  std::vector<KeyWrap> wraps;
  if (!succeeds([&] { wraps = read_wraps(file); })) return 0;
  if (wraps.empty() || wraps.size() * kKeyWrapBytes != size) abort();
  // A wrap that opens for our device must hold the only key that was ever wrapped for it.
  succeeds([&] {
    const Secret opened = unwrap(file, device.package_id, device.key, 1'750'000'000);
    if (!is_equal_secretly(opened.bytes(), device.content_key.bytes())) abort();
  });
  // Dearer than all else: once in a while, by the input itself.
  if (size % 7 != 0 || data[size - 1] % 8 != 0) return 0;
  succeeds([&] {
    const auto more =
        add_wrap(file, device.content_key, device.package_id, device.public_half, HpkeAead::chacha20_poly1305, 0, 0);
    const Secret opened = unwrap(more, device.package_id, device.key, 1);
    if (!is_equal_secretly(opened.bytes(), device.content_key.bytes())) abort();
    if (more.size() == kKeyWrapBytes) return;
    for (const KeyWrap& wrap : read_wraps(remove_wrap(more, device.id))) {
      if (wrap.device_id == device.id) abort();
    }
  });
  return 0;
}
