// Loops over numbers, eight at a time. Float8, Int8 and Double8 are vectors of the compiler's, which every processor
// has in one or more registers; EDGEWARD_WIDE compiles a function once more for processors with wider ones, and the
// processor chooses when the library loads. Vectors are passed by reference: by value, each processor passes them in
// another way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define EDGEWARD_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEWARD_WIDE
#endif

namespace edgeward {

inline constexpr size_t kLanes = 8;
using Float8 = float __attribute__((vector_size(kLanes * sizeof(float))));
using Int8 = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));
using Double8 = double __attribute__((vector_size(kLanes * sizeof(double))));

// From and to memory of any alignment.
template <class Vector, class Number>
inline __attribute__((always_inline)) void load(Vector& vector, const Number* numbers) {
  std::memcpy(&vector, numbers, sizeof(vector));
}
template <class Vector, class Number>
inline __attribute__((always_inline)) void store(const Vector& vector, Number* numbers) {
  std::memcpy(numbers, &vector, sizeof(vector));
}

// Where `mask` is -1 `a`, where it is 0 `b`.
inline __attribute__((always_inline)) void select(Float8& chosen, const Int8& mask, const Float8& a, const Float8& b) {
  chosen = reinterpret_cast<Float8>((mask & reinterpret_cast<Int8>(a)) | (~mask & reinterpret_cast<Int8>(b)));
}

// -1 for NaN and infinities.
inline __attribute__((always_inline)) void mark_special(Int8& mask, const Float8& values) {
  const Int8 exponents = reinterpret_cast<Int8>(values) & 0x7F80'0000;
  mask = exponents == 0x7F80'0000;
}

inline __attribute__((always_inline)) bool has_any(const Int8& mask) {
  int32_t any = 0;
  for (size_t lane = 0; lane < kLanes; ++lane) any |= mask[lane];
  return any != 0;
}

}  // namespace edgeward
