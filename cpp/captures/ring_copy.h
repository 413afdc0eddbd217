// RingCopy: one tensor's way into a ring or a pre-roll, written from its beginning to its end in pieces: copied, left
// out as zeros, or thinned. Each byte of the target is written once, so that what is left out was never there. A large
// tensor bypasses the caches: nobody reads it soon, and what they hold is worth more. One thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "captures/thinning.h"

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

  // `count` elements, one of each `step`.
  void copy_every(size_t step, const std::byte* source, size_t element_bytes, size_t count) {
    if (!is_streamed_) {
      thin(target_, source, element_bytes, step, count);
      target_ += count * element_bytes;
      return;
    }
    // Of so few at a time that they stay in the first cache on their way.
    std::byte block[2048];
    const size_t most = std::max(sizeof(block) / element_bytes, size_t{1});
    for (size_t taken = 0; count > 0; count -= taken, source += taken * step * element_bytes) {
      taken = std::min(count, most);
      if (element_bytes > sizeof(block)) {
        copy(source, element_bytes);
      } else {
        thin(block, source, element_bytes, step, taken);
        copy(block, taken * element_bytes);
      }
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

  std::byte* target_;  // of the next piece, or of the line that is begun
  bool is_streamed_;
  size_t begun_bytes_ = 0;
  std::byte begun_[kLineBytes];
};

}  // namespace edgeward
