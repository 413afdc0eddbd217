// What loops over numbers share that are to run over wide vectors. Floats, Ints and Doubles are vectors of the
// compiler's, as wide as a register of the processors that there are; they are passed by reference, since by value each
// processor passes them in another way.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

// Compiles a function once more for processors with wider vectors; the processor chooses when the library loads.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define EDGEWARD_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEWARD_WIDE
#endif
#define EDGEWARD_INLINE inline __attribute__((always_inline))

namespace edgeward {

#if defined(__x86_64__)
inline constexpr size_t kWidth = 8;
#else
inline constexpr size_t kWidth = 4;
#endif
// What is padded to a multiple of this is read in whole vectors.
inline constexpr size_t kLanes = 8;

using Floats = float __attribute__((vector_size(kWidth * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kWidth * sizeof(int32_t))));
using Doubles = double __attribute__((vector_size(kWidth / 2 * sizeof(double))));
using Longs = int64_t __attribute__((vector_size(sizeof(Doubles))));
using HalfLongs = int64_t __attribute__((vector_size(sizeof(Doubles) / 2)));
using HalfFloats = float __attribute__((vector_size(kWidth / 2 * sizeof(float))));

// From and to memory of any alignment.
template <class Vector, class Number>
EDGEWARD_INLINE void load(Vector& vector, const Number* numbers) {
  std::memcpy(&vector, numbers, sizeof(vector));
}
template <class Vector, class Number>
EDGEWARD_INLINE void store(const Vector& vector, Number* numbers) {
  std::memcpy(numbers, &vector, sizeof(vector));
}

// As many floats as there are places, as doubles.
EDGEWARD_INLINE void load_doubles(Doubles& doubles, const float* floats) {
  HalfFloats half;
  load(half, floats);
  doubles = __builtin_convertvector(half, Doubles);
}

// Where `mask` is -1 `a`, where it is 0 `b`.
EDGEWARD_INLINE void select(Floats& chosen, const Ints& mask, const Floats& a, const Floats& b) {
  chosen = reinterpret_cast<Floats>((mask & reinterpret_cast<Ints>(a)) | (~mask & reinterpret_cast<Ints>(b)));
}

// -1 for NaN and infinities.
EDGEWARD_INLINE void mark_special(Ints& mask, const Floats& values) {
  mask = (reinterpret_cast<Ints>(values) & 0x7F80'0000) == 0x7F80'0000;
}

// The two halves of `vector`.
template <class Half, class Vector>
EDGEWARD_INLINE void halve(const Vector& vector, Half& first, Half& second) {
  std::memcpy(&first, &vector, sizeof(first));
  std::memcpy(&second, reinterpret_cast<const std::byte*>(&vector) + sizeof(first), sizeof(second));
}

EDGEWARD_INLINE bool has_any(const Ints& mask) {
  HalfLongs first, second;
  halve(mask, first, second);
  first |= second;
  int64_t any = first[0];
  for (size_t lane = 1; lane < kWidth / 4; ++lane) any |= first[lane];
  return any != 0;
}

// The least and the greatest of vectors without NaN.
EDGEWARD_INLINE float least_of(const Floats& values) {
  HalfFloats first, second;
  halve(values, first, second);
  first = first < second ? first : second;
  float least = first[0];
  for (size_t lane = 1; lane < kWidth / 2; ++lane) least = first[lane] < least ? first[lane] : least;
  return least;
}
EDGEWARD_INLINE float greatest_of(const Floats& values) { return -least_of(-values); }

}  // namespace edgeward
