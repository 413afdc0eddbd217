// The elements of a tensor as real numbers, whatever its dtype. Complex numbers, packed elements and the four kinds of
// float8 are not converted: such a tensor counts as having no elements.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "tensor/tensor.h"

namespace edgeward {

// IEEE 754 binary16.
inline float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1Fu;
  const uint32_t mantissa = half & 0x3FFu;
  if (exponent == 0) {
    // Zero or subnormal: a multiple of 2^-24.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return (half & 0x8000u) != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

inline float float_of_brain(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Calls `use(elements, count, to_number)` with the elements' own type, or not at all. `to_number` returns a float for
// types that a float holds exactly, else a double.
template <class Use>
void with_elements(const TensorView& view, const Use& use) {
  const auto as = [&]<class T>(T, const auto& to_number) {
    use(reinterpret_cast<const T*>(view.data), view.size_bytes / sizeof(T), to_number);
  };
  const auto same = [](auto element) { return element; };
  const auto as_float = [](auto element) { return static_cast<float>(element); };
  const auto as_double = [](auto element) { return static_cast<double>(element); };
  switch (view.dtype) {
    case DType::boolean:
    case DType::uint8: return as(uint8_t{}, as_float);
    case DType::int8: return as(int8_t{}, as_float);
    case DType::int16: return as(int16_t{}, as_float);
    case DType::uint16: return as(uint16_t{}, as_float);
    case DType::int32: return as(int32_t{}, as_double);
    case DType::uint32: return as(uint32_t{}, as_double);
    case DType::int64: return as(int64_t{}, as_double);
    case DType::uint64: return as(uint64_t{}, as_double);
    case DType::float16: return as(uint16_t{}, float_of_half);
    case DType::bfloat16: return as(uint16_t{}, float_of_brain);
    case DType::float32: return as(float{}, same);
    case DType::float64: return as(double{}, same);
    default: return;
  }
}

// Whether the elements of such a tensor are converted.
inline bool has_elements(DType dtype) {
  bool has_any = false;
  with_elements({dtype, {}, nullptr, 0}, [&](const auto*, size_t, const auto&) { has_any = true; });
  return has_any;
}

// The real number that a stored one stands for; the stored one itself where there is a scale for each index of an axis.
inline double real_of(double stored, const Quantization& quantization) {
  return quantization.scales.size() == 1
             ? quantization.scales[0] * (stored - static_cast<double>(quantization.zero_points[0]))
             : stored;
}

// Calls `use(index, value)` for each element, in order.
template <class Use>
void for_each_element(const TensorView& view, const Use& use) {
  with_elements(view, [&](const auto* elements, size_t count, const auto& to_number) {
    for (size_t i = 0; i < count; ++i) use(i, static_cast<double>(to_number(elements[i])));
  });
}

}  // namespace edgeward
