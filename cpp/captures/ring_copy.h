// RingCopy: one tensor's way into a ring or a pre-roll, written from its beginning to its end in pieces: copied, left
// out as zeros, or thinned. Each byte of the target is written once, so that what is left out was never there. A large
// tensor bypasses the caches: nobody reads it soon, and what they hold is worth more. One thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace edgeward {

class RingCopy {
 public:
  // From this size on a tensor bypasses the caches.
  static constexpr size_t kMinStreamedBytes = size_t{64} << 10;

  // `target` is aligned to 64 bytes and has room for all pieces together, which are `size_bytes`.
  RingCopy(std::byte* target, size_t size_bytes) : target_(target), is_streamed_(size_bytes >= kMinStreamedBytes) {}
  // What was put is complete from here on.
  ~RingCopy() {
    if (!is_streamed_) return;
    std::memcpy(target_, begun_, begun_bytes_);
#if defined(__SSE2__)
    // Streaming stores may become visible late: fence, so that they do before the ring's tail.
    _mm_sfence();
#endif
  }
  RingCopy(const RingCopy&) = delete;
  RingCopy& operator=(const RingCopy&) = delete;

  // `source` may be null when there is nothing to copy.
  void copy(const std::byte* source, size_t size_bytes) {
    if (size_bytes == 0) return;
    put(
        size_bytes,
        [&](size_t offset) {
          // Over what is left out, too: a processor that foresees a copy loses its way where a piece ends.
          prefetch(source + offset + kPrefetchedBytes);
          return load(source + offset);
        },
        [&](std::byte* to, size_t offset, size_t count) { std::memcpy(to, source + offset, count); });
  }

  // Zeros.
  void blank(size_t size_bytes) {
    put(
        size_bytes, [](size_t) { return Line(); },
        [](std::byte* to, size_t, size_t count) { std::memset(to, 0, count); });
  }

  // Says that these bytes are copied soon.
  static void announce(const std::byte* source, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += kLineBytes) prefetch(source + i);
  }

  // `count` elements, one of each `step`, which is at least 2.
  void copy_every(size_t step, const std::byte* source, size_t element_bytes, size_t count) {
    switch (element_bytes) {
      case 1: return copy_elements<1>(step, source, count);
      case 2: return copy_elements<2>(step, source, count);
      case 3: return copy_elements<3>(step, source, count);
      case 4: return copy_elements<4>(step, source, count);
      case 12: return copy_elements<12>(step, source, count);
      default:
        for (size_t i = 0; i < count; ++i) copy(source + i * step * element_bytes, element_bytes);
    }
  }

 private:
  static constexpr size_t kLineBytes = 64;
  static constexpr size_t kPrefetchedBytes = 6 << 10;  // how far ahead

  // The address need not be valid.
  static void prefetch(const std::byte* source) { __builtin_prefetch(source); }

#if defined(__SSE2__)
  struct Line {
    __m128i parts[4] = {};
  };
  static Line load(const std::byte* source) {
    const auto* from = reinterpret_cast<const __m128i*>(source);
    return {{_mm_loadu_si128(from), _mm_loadu_si128(from + 1), _mm_loadu_si128(from + 2), _mm_loadu_si128(from + 3)}};
  }
  static void store(std::byte* target, const Line& line) {
    for (size_t i = 0; i < 4; ++i) _mm_stream_si128(reinterpret_cast<__m128i*>(target) + i, line.parts[i]);
  }
#else
  struct Line {
    std::byte bytes[kLineBytes] = {};
  };
  static Line load(const std::byte* source) {
    Line line;
    std::memcpy(line.bytes, source, kLineBytes);
    return line;
  }
  static void store(std::byte* target, const Line& line) { std::memcpy(target, line.bytes, kLineBytes); }
#endif

  // A line of the caches that two pieces share is put together before it is stored: to store a part of a line, the
  // processor would have to fetch the rest of it from memory.
  template <class LineAt, class Fill>
  void put(size_t size_bytes, const LineAt& line_at, const Fill& fill) {
    if (!is_streamed_) {
      fill(target_, 0, size_bytes);
      target_ += size_bytes;
      return;
    }
    size_t offset = 0;
    if (begun_bytes_ > 0) {
      offset = std::min(kLineBytes - begun_bytes_, size_bytes);
      fill(begun_ + begun_bytes_, 0, offset);
      begun_bytes_ += offset;
      if (begun_bytes_ < kLineBytes) return;
      store(target_, load(begun_));
      target_ += kLineBytes;
    }
    for (; size_bytes - offset >= kLineBytes; offset += kLineBytes, target_ += kLineBytes)
      store(target_, line_at(offset));
    begun_bytes_ = size_bytes - offset;
    fill(begun_, offset, begun_bytes_);
  }

  template <size_t kElementBytes>
  void copy_elements(size_t step, const std::byte* source, size_t count) {
    // Of few elements at a time, so that they stay in the first cache on their way.
    constexpr size_t kBlock = 512;
    std::byte block[kBlock * kElementBytes];
    while (count > 0) {
      const size_t now = std::min(count, kBlock);
      size_t i = 0;
      if constexpr (kElementBytes == 3) {
        // Two by one store. Each moves with the bytes behind it, which the next two overwrite.
        for (; i + 3 < now; i += 2) {
          uint32_t first;
          uint32_t second;
          std::memcpy(&first, source + i * step * 3, 4);
          std::memcpy(&second, source + (i + 1) * step * 3, 4);
          const uint64_t both = (first & 0xFFFFFFu) | (uint64_t{second} << 24);
          std::memcpy(block + i * 3, &both, 8);
        }
      }
      for (; i < now; ++i) std::memcpy(block + i * kElementBytes, source + i * step * kElementBytes, kElementBytes);
      copy(block, now * kElementBytes);
      source += now * step * kElementBytes;
      count -= now;
    }
  }

  std::byte* target_;  // of the next piece, or of the line that is begun
  bool is_streamed_;
  size_t begun_bytes_ = 0;
  std::byte begun_[kLineBytes];
};

}  // namespace edgeward
