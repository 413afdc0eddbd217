// Bytes as tests write them down: from text, from hexadecimal digits, from a seed.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"

namespace edgeward {

using Octets = std::vector<std::byte>;

inline Octets from_text(std::string_view text) {
  const Bytes bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::string to_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

inline Octets from_hex(std::string_view digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  REQUIRE(digits.size() % 2 == 0);
  Octets bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    const size_t high = kDigits.find(digits[i]);
    const size_t low = kDigits.find(digits[i + 1]);
    REQUIRE(high < kDigits.size());
    REQUIRE(low < kDigits.size());
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

template <size_t kSize>
std::array<std::byte, kSize> array_from_hex(std::string_view digits) {
  const Octets bytes = from_hex(digits);
  REQUIRE(bytes.size() == kSize);
  std::array<std::byte, kSize> octets;
  std::copy(bytes.begin(), bytes.end(), octets.begin());
  return octets;
}

inline bool is_same(Bytes a, Bytes b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

inline Octets random_octets(std::mt19937_64& random, size_t size_bytes) {
  Octets bytes(size_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

}  // namespace edgeward
