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

  // `target` has room for all pieces together, which are `size_bytes`.
  RingCopy(std::byte* target, size_t size_bytes) : target_(target), is_streamed_(size_bytes >= kMinStreamedBytes) {}
  // Streaming stores may become visible late: fence, so that they do before the ring's tail.
  ~RingCopy() {
#if defined(__SSE2__)
    if (is_streamed_) _mm_sfence();
#endif
  }
  RingCopy(const RingCopy&) = delete;
  RingCopy& operator=(const RingCopy&) = delete;

  // `source` may be null when there is nothing to copy.
  void copy(const std::byte* source, size_t size_bytes) {
    if (size_bytes == 0) return;
    if (is_streamed_) {
      stream(
          size_bytes, [&](size_t skipped_bytes) { return load(source + skipped_bytes); },
          [&](std::byte* target, size_t skipped_bytes, size_t count) {
            std::memcpy(target, source + skipped_bytes, count);
          });
    } else {
      std::memcpy(target_, source, size_bytes);
    }
    target_ += size_bytes;
  }

  // Zeros.
  void blank(size_t size_bytes) {
    if (is_streamed_) {
      stream(
          size_bytes, [](size_t) { return Line(); },
          [](std::byte* target, size_t, size_t count) { std::memset(target, 0, count); });
    } else {
      std::memset(target_, 0, size_bytes);
    }
    target_ += size_bytes;
  }

  // `count` elements, one of each `step`.
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

  // Whole lines of the caches by streaming stores, what is left before and behind them by `put(target, skipped,
  // count)`: no line sees both kinds of stores, which would cost more than either.
  template <class LineAt, class Put>
  void stream(size_t size_bytes, const LineAt& line_at, const Put& put) {
    const size_t first = std::min(-reinterpret_cast<uintptr_t>(target_) % kLineBytes, size_bytes);
    const size_t end = first + (size_bytes - first) / kLineBytes * kLineBytes;
    put(target_, 0, first);
    for (size_t i = first; i < end; i += kLineBytes) store(target_ + i, line_at(i));
    put(target_ + end, end, size_bytes - end);
  }

  template <size_t kElementBytes>
  void copy_elements(size_t step, const std::byte* source, size_t count) {
    for (size_t i = 0; i < count; ++i)
      std::memcpy(target_ + i * kElementBytes, source + i * step * kElementBytes, kElementBytes);
    target_ += count * kElementBytes;
  }

  std::byte* target_;  // of the next piece
  bool is_streamed_;
};

}  // namespace edgeward
