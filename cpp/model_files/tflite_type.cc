#include "model_files/tflite_type.h"

#include <cmath>
#include <iterator>

namespace edgeward {

std::string_view name(TfliteType type) {
  constexpr std::string_view kNames[] = {
      "float32",   "float16", "int32",    "uint8",      "int64",  "string",        "boolean",     "int16",
      "complex64", "int8",    "float64",  "complex128", "uint64", "resource",      "variant",     "uint32",
      "uint16",    "int4",    "bfloat16", "int2",       "uint4",  "float8_e4m3fn", "float8_e5m2",
  };
  static_assert(std::size(kNames) == kTfliteTypeCount);
  return kNames[static_cast<size_t>(type)];
}

std::optional<DType> dtype(TfliteType type) {
  switch (type) {
    case TfliteType::float32: return DType::float32;
    case TfliteType::float16: return DType::float16;
    case TfliteType::int32: return DType::int32;
    case TfliteType::uint8: return DType::uint8;
    case TfliteType::int64: return DType::int64;
    case TfliteType::boolean: return DType::boolean;
    case TfliteType::int16: return DType::int16;
    case TfliteType::complex64: return DType::complex64;
    case TfliteType::int8: return DType::int8;
    case TfliteType::float64: return DType::float64;
    case TfliteType::complex128: return DType::complex128;
    case TfliteType::uint64: return DType::uint64;
    case TfliteType::uint32: return DType::uint32;
    case TfliteType::uint16: return DType::uint16;
    case TfliteType::int4: return DType::int4;
    case TfliteType::bfloat16: return DType::bfloat16;
    case TfliteType::int2: return DType::int2;
    case TfliteType::uint4: return DType::uint4;
    case TfliteType::float8_e4m3fn: return DType::float8_e4m3fn;
    case TfliteType::float8_e5m2: return DType::float8_e5m2;
    case TfliteType::string:
    case TfliteType::resource:
    case TfliteType::variant: return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ZeroPointRange> zero_point_range(TfliteType type) {
  switch (type) {
    case TfliteType::int8: return ZeroPointRange{-128, 127};
    case TfliteType::uint8: return ZeroPointRange{0, 255};
    case TfliteType::int16: return ZeroPointRange{-32768, 32767};
    case TfliteType::uint16: return ZeroPointRange{0, 65535};
    case TfliteType::int4: return ZeroPointRange{-8, 7};
    case TfliteType::uint4: return ZeroPointRange{0, 15};
    case TfliteType::int2: return ZeroPointRange{-2, 1};
    case TfliteType::int32: return ZeroPointRange{INT32_MIN, INT32_MAX};
    default: return std::nullopt;
  }
}

bool is_scale(float scale) { return std::isnormal(scale) && scale > 0; }

}  // namespace edgeward
