// BlankedCopy: a tensor's way into a ring with some of its bytes blank, which are zeros where they are. What RingCopy
// does with pieces of any source goes faster here, since source and target lie alike: a line of the caches that has
// both is masked, not put together. Each byte of the target is written once, so that what is blank was never there. One
// thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>

#include "captures/ring_copy.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace edgeward {

class BlankedCopy {
 public:
  // `target` is aligned to 64 bytes. Both have `size_bytes`, which are those of all pieces together.
  BlankedCopy(const std::byte* source, std::byte* target, size_t size_bytes)
      : source_(source), target_(target), is_streamed_(size_bytes >= RingCopy::kMinStreamedBytes) {}
  // What was kept is complete from here on.
  ~BlankedCopy() {
    turn();
    finish();
  }
  BlankedCopy(const BlankedCopy&) = delete;
  BlankedCopy& operator=(const BlankedCopy&) = delete;

  // The next bytes of the source.
  void keep(size_t size_bytes) {
    if (is_blank_ && size_bytes > 0) turn();
    end_ += size_bytes;
  }
  // Zeros in their place.
  void blank(size_t size_bytes) {
    if (!is_blank_ && size_bytes > 0) turn();
    end_ += size_bytes;
  }

 private:
  // Ends a piece, and begins one of the other kind.
  void turn() {
    is_blank_ ? put<true>() : put<false>();
    is_blank_ = !is_blank_;
  }

#if defined(__SSE2__)
  static constexpr size_t kLineBytes = 64;
  static constexpr size_t kPrefetchedBytes = 6 << 10;  // how far ahead
  static constexpr std::byte kAll{0xFF};

  // Which bytes of a line are kept.
  struct Mask {
    __m128i parts[4];
    static Mask of(bool is_kept) {
      const __m128i part = is_kept ? _mm_set1_epi8(-1) : _mm_setzero_si128();
      return {{part, part, part, part}};
    }
    // Of the bytes from `offset` on, 0 to kLineBytes, those that are kept are not, and the other way round.
    void turn_from(size_t offset) {
      const auto* turned = reinterpret_cast<const __m128i*>(kZerosThenOnes.data() + kLineBytes - offset);
      for (size_t i = 0; i < 4; ++i) parts[i] = _mm_xor_si128(parts[i], _mm_loadu_si128(turned + i));
    }
  };
  static constexpr auto kZerosThenOnes = [] {
    std::array<std::byte, 2 * kLineBytes> bytes{};
    for (size_t i = kLineBytes; i < bytes.size(); ++i) bytes[i] = kAll;
    return bytes;
  }();

  template <bool kStreamed>
  void put_line(const Mask& mask) {
    const auto* from = reinterpret_cast<const __m128i*>(source_ + begin_);
    auto* to = reinterpret_cast<__m128i*>(target_ + begin_);
    for (size_t i = 0; i < 4; ++i) {
      const __m128i part = _mm_and_si128(_mm_loadu_si128(from + i), mask.parts[i]);
      kStreamed ? _mm_stream_si128(to + i, part) : _mm_store_si128(to + i, part);
    }
  }

  // The whole lines up to the piece's end; the mask of the line in which it ends.
  // Inlined, so that the mask stays in registers from line to line.
  template <bool kBlank, bool kStreamed>
  [[gnu::always_inline]] void put_lines() {
    const size_t last = end_ / kLineBytes * kLineBytes;
    if (begin_ < last) {
      put_line<kStreamed>(mask_);
      begin_ += kLineBytes;
      mask_ = Mask::of(!kBlank);
    }
    for (; begin_ < last; begin_ += kLineBytes) {
      if (!kBlank && kStreamed) __builtin_prefetch(source_ + begin_ + kPrefetchedBytes);
      put_line<kStreamed>(Mask::of(!kBlank));
    }
    mask_.turn_from(end_ - last);
  }
  template <bool kBlank>
  void put() {
    is_streamed_ ? put_lines<kBlank, true>() : put_lines<kBlank, false>();
  }

  // The line that the source does not fill.
  void finish() {
    std::byte mask[kLineBytes];
    std::memcpy(mask, &mask_, sizeof(mask));
    for (size_t i = 0; begin_ + i < end_; ++i) target_[begin_ + i] = source_[begin_ + i] & mask[i];
    // Streaming stores may become visible late: fence, so that they do before the ring's tail.
    if (is_streamed_) _mm_sfence();
  }

  Mask mask_ = Mask::of(true);  // of the line at begin_, as if the piece went on to its end
#else
  template <bool kBlank>
  void put() {
    const size_t size_bytes = end_ - begin_;
    if (size_bytes == 0) return;
    kBlank ? std::memset(target_ + begin_, 0, size_bytes) : std::memcpy(target_ + begin_, source_ + begin_, size_bytes);
    begin_ = end_;
  }
  void finish() {}
#endif

  const std::byte* source_;
  std::byte* target_;
  bool is_streamed_;
  bool is_blank_ = false;
  size_t begin_ = 0;  // of what is not written yet
  size_t end_ = 0;    // of the piece
};

}  // namespace edgeward
