// Records that say which one they are: a size, a number, and bytes that follow from the number, so that whoever reads
// one can tell a whole one from any mixture of two.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>

#include "bytes/bytes.h"
#include "captures/ring_writer.h"

namespace edgeward {

inline constexpr uint32_t kMinNumberedBytes = 16;  // size, zero, number

// The eight bytes at `offset` of record `number`.
inline uint64_t numbered_word(uint64_t number, uint64_t offset) {
  return (number * 0x9E3779B97F4A7C15 + offset) ^ number >> 29;
}

// `room` is at least as large as `size_bytes`, which is at least kMinNumberedBytes.
inline void write_numbered(std::span<std::byte> room, uint32_t size_bytes, uint64_t number) {
  const uint64_t first = size_bytes;
  std::memcpy(room.data(), &first, sizeof(first));
  std::memcpy(room.data() + 8, &number, sizeof(number));
  for (uint64_t at = kMinNumberedBytes; at < size_bytes; at += 8) {
    const uint64_t word = numbered_word(number, at);
    std::memcpy(room.data() + at, &word, std::min<uint64_t>(8, size_bytes - at));
  }
}

// The number of a record that is whole, or nothing.
inline std::optional<uint64_t> try_read_number(Bytes record) {
  const auto first = try_read<uint64_t>(record, 0);
  const auto number = try_read<uint64_t>(record, 8);
  if (!number || *first != record.size()) return std::nullopt;
  for (uint64_t at = kMinNumberedBytes; at < record.size(); at += 8) {
    const uint64_t word = numbered_word(*number, at);
    if (std::memcmp(record.data() + at, &word, std::min<uint64_t>(8, record.size() - at)) != 0) return std::nullopt;
  }
  return number;
}

using Numbers = std::vector<uint64_t>;

inline Numbers from_to(uint64_t first, uint64_t last) {
  Numbers numbers(last + 1 - first);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

// False when there is no room.
inline bool try_put(RingWriter& writer, uint64_t number, uint32_t size_bytes) {
  const std::span<std::byte> room = writer.try_claim(size_bytes);
  if (room.empty()) return false;
  write_numbered(room, size_bytes, number);
  writer.commit();
  return true;
}

}  // namespace edgeward
