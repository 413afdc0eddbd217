// Bytes as pairs of lower-case hexadecimal digits.
#pragma once

#include <string>
#include <string_view>

#include "bytes/bytes.h"

namespace edgeward {

// Writes two digits per byte to `digits`, which is twice as long as `bytes`. For secrets: no copy is left behind.
inline void encode_hex(Bytes bytes, std::span<char> digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (size_t i = 0; i < bytes.size(); ++i) {
    digits[2 * i] = kDigits[std::to_integer<size_t>(bytes[i]) / 16];
    digits[2 * i + 1] = kDigits[std::to_integer<size_t>(bytes[i]) % 16];
  }
}

inline std::string hex(Bytes bytes) {
  std::string digits(2 * bytes.size(), '0');
  encode_hex(bytes, digits);
  return digits;
}

// False unless `digits` spells exactly as many bytes as `bytes` holds.
inline bool try_decode_hex(std::string_view digits, std::span<std::byte> bytes) {
  const auto value = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (digits.size() != 2 * bytes.size()) return false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = value(digits[2 * i]);
    const int low = value(digits[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<std::byte>(high * 16 + low);
  }
  return true;
}

}  // namespace edgeward
