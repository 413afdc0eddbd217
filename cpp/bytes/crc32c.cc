#include "bytes/crc32c.h"

#include <array>
#include <cstring>

#if defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace edgeward {
namespace {

using Step = uint32_t (*)(const std::byte*, size_t, uint32_t);

constexpr std::array<uint32_t, 256> kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
    table[i] = crc;
  }
  return table;
}();

uint32_t by_table(const std::byte* data, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) crc = kTable[(crc ^ std::to_integer<uint32_t>(data[i])) & 0xFF] ^ (crc >> 8);
  return crc;
}

#if defined(__aarch64__)
__attribute__((target("+crc"))) uint32_t by_instruction(const std::byte* data, size_t size, uint32_t crc) {
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, 8);
    crc = __crc32cd(crc, word);
  }
  for (size_t i = 0; i < size; ++i) crc = __crc32cb(crc, std::to_integer<uint8_t>(data[i]));
  return crc;
}

bool has_instruction() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#elif defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_instruction(const std::byte* data, size_t size, uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (size_t i = 0; i < size; ++i) crc = _mm_crc32_u8(crc, std::to_integer<uint8_t>(data[i]));
  return crc;
}

bool has_instruction() { return __builtin_cpu_supports("sse4.2") != 0; }
#endif

Step fastest() {
#if defined(__aarch64__) || defined(__x86_64__)
  if (has_instruction()) return by_instruction;
#endif
  return by_table;
}

}  // namespace

uint32_t crc32c(Bytes bytes, uint32_t before) {
  static const Step step = fastest();
  return ~step(bytes.data(), bytes.size(), ~before);
}

uint32_t crc32c_by_table(Bytes bytes, uint32_t before) { return ~by_table(bytes.data(), bytes.size(), ~before); }

}  // namespace edgeward
