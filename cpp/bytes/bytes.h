// Byte spans: little-endian reads that stay inside, and arithmetic that says when it overflows.
// Every decoder of foreign bytes is built on these; none of them trusts an offset it has not compared.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace edgeward {

static_assert(std::endian::native == std::endian::little, "formats and engines are little-endian");

using Bytes = std::span<const std::byte>;

template <class T>
std::optional<T> checked_add(T a, T b) {
  static_assert(std::is_integral_v<T>);
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <class T>
std::optional<T> checked_multiply(T a, T b) {
  static_assert(std::is_integral_v<T>);
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// `alignment` is a power of two.
constexpr uint64_t round_up(uint64_t size_bytes, uint64_t alignment) {
  return (size_bytes + alignment - 1) / alignment * alignment;
}

inline bool is_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

// True when [offset, offset + size) lies inside bytes.
inline bool contains(Bytes bytes, uint64_t offset, uint64_t size) {
  return offset <= bytes.size() && size <= bytes.size() - offset;
}

// The little-endian value at offset, or nothing when it does not lie inside. Any alignment.
template <class T>
std::optional<T> try_read(Bytes bytes, uint64_t offset) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (!contains(bytes, offset, sizeof(T))) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace edgeward
