// The element types of a .tflite file, their names, and the dtypes that they are in the core.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/tensor.h"

namespace edgeward {

// By their number in the file.
enum class TfliteType : int8_t {
  float32,
  float16,
  int32,
  uint8,
  int64,
  string,
  boolean,
  int16,
  complex64,
  int8,
  float64,
  complex128,
  uint64,
  resource,
  variant,
  uint32,
  uint16,
  int4,
  bfloat16,
  int2,
  uint4,
  float8_e4m3fn,
  float8_e5m2,
};
inline constexpr int8_t kTfliteTypeCount = 23;

std::string_view name(TfliteType type);

struct ZeroPointRange {
  int64_t lowest;
  int64_t highest;
};

// None for a type that is not quantized: engines ignore what is written.
std::optional<ZeroPointRange> zero_point_range(TfliteType type);

// Whether a kernel can compute with `scale`: a normal positive number.
bool is_scale(float scale);

// None for string, resource and variant, whose elements are not numbers of a fixed width.
std::optional<DType> dtype(TfliteType type);

}  // namespace edgeward
