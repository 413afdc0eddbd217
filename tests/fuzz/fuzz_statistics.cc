// libFuzzer: statistics out of somebody else's file. The first byte says what is done: 1: the CRC is mended first, so
// that the input gets past it; 2: the input is opened as sealed statistics. What is accepted comes back as the same
// bytes, and merges with itself. How to build and run: .ci/run, lane fuzz.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bytes/crc32c.h"
#include "captures/sealed_statistics.h"
#include "captures/statistics_format.h"
#include "error.h"

using namespace edgeward;

namespace {

constexpr uint8_t kMendCrc = 1;
constexpr uint8_t kSealed = 2;

void read_statistics(Bytes bytes) {
  Statistics statistics = statistics_from(bytes);
  const std::vector<std::byte> again = bytes_of(statistics, statistics.description);
  const Statistics same = statistics_from(again);
  if (bytes_of(same, same.description) != again) abort();
  try {
    statistics.merge(same);
  } catch (const Error& error) {
    if (error.code() != Code::bad_input) abort();
    return;  // counts that would pass the largest
  }
  if (bytes_of(statistics, "").empty()) abort();
}

void open_sealed(Bytes bytes) {
  static const PrivateKey key{KeyAlgorithm::x25519, Secret(sha256(std::as_bytes(std::span("fuzzed device", 13))))};
  static const PublicKey recipient = public_key(key);
  const std::vector<std::byte> sealed = seal_statistics(recipient, bytes);
  const std::vector<std::byte> opened = open_statistics(sealed, &key);
  if (opened.size() != bytes.size() || !std::equal(opened.begin(), opened.end(), bytes.begin())) abort();
  // Nobody but this process knows the key: what it opens, the fuzzer found in the corpus.
  for (const PrivateKey* reader : {static_cast<const PrivateKey*>(nullptr), &key}) {
    try {
      if (open_statistics(bytes, reader).size() + 88 != bytes.size()) abort();
    } catch (const Error& error) {
      if (error.code() != Code::wrong_key && error.code() != Code::malformed_capture) abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> bytes(size - 1);
  if (!bytes.empty()) std::memcpy(bytes.data(), data + 1, bytes.size());
  if ((data[0] & kSealed) != 0) {
    open_sealed(bytes);
    return 0;
  }
  if ((data[0] & kMendCrc) != 0 && bytes.size() >= 4) {
    const uint32_t crc = crc32c(Bytes(bytes).first(bytes.size() - 4));
    std::memcpy(bytes.data() + bytes.size() - 4, &crc, sizeof(crc));
  }
  try {
    read_statistics(bytes);
  } catch (const Error& error) {
    if (error.code() != Code::malformed_capture) abort();
  }
  return 0;
}
