#include "captures/thinning.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <tmmintrin.h>
#endif

namespace edgeward {
namespace {

// With a step that the compiler knows it takes several elements at once.
template <size_t kElementBytes>
void thin_elements(std::byte* target, const std::byte* source, size_t step, size_t count) {
  const auto take = [&](size_t stride) {
    for (size_t i = 0; i < count; ++i)
      std::memcpy(target + i * kElementBytes, source + i * stride * kElementBytes, kElementBytes);
  };
  if (step == 2) {
    take(2);
  } else {
    take(step);
  }
}

#if defined(__x86_64__)
// Of every second pixel of three bytes, as many as can be taken three by three; returns how many.
__attribute__((target("ssse3"))) size_t thin_rgb(std::byte* target, const std::byte* source, size_t count) {
  const __m128i taken = _mm_setr_epi8(0, 1, 2, 6, 7, 8, 12, 13, 14, -1, -1, -1, -1, -1, -1, -1);
  size_t i = 0;
  // A store writes 16 bytes, of which the next one overwrites 7: room for them is where three more pixels come.
  for (; i + 6 <= count; i += 3) {
    const __m128i pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i * 6));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + i * 3), _mm_shuffle_epi8(pixels, taken));
  }
  return i;
}

bool has_instruction() { return __builtin_cpu_supports("ssse3") != 0; }
#endif

}  // namespace

void thin_plainly(std::byte* target, const std::byte* source, size_t element_bytes, size_t step, size_t count) {
  switch (element_bytes) {
    case 1: return thin_elements<1>(target, source, step, count);
    case 2: return thin_elements<2>(target, source, step, count);
    case 3: return thin_elements<3>(target, source, step, count);
    case 4: return thin_elements<4>(target, source, step, count);
    case 12: return thin_elements<12>(target, source, step, count);
    default:
      for (size_t i = 0; i < count; ++i)
        std::memcpy(target + i * element_bytes, source + i * step * element_bytes, element_bytes);
  }
}

void thin(std::byte* target, const std::byte* source, size_t element_bytes, size_t step, size_t count) {
  size_t done = 0;
#if defined(__x86_64__)
  if (element_bytes == 3 && step == 2 && has_instruction()) done = thin_rgb(target, source, count);
#endif
  thin_plainly(target + done * element_bytes, source + done * step * element_bytes, element_bytes, step, count - done);
}

}  // namespace edgeward
