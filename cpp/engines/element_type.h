// TfLiteType: the numbers that LiteRT and tflite-runtime give to element types. Those in a .tflite file are others
// (model_files/tflite_file.cc), and so are ONNX's.
#pragma once

#include "tensor/tensor.h"

namespace edgeward {

// 0, TfLiteType's "no type", for a dtype that it does not number.
constexpr int element_type(DType dtype) {
  switch (dtype) {
    case DType::float32: return 1;
    case DType::int32: return 2;
    case DType::uint8: return 3;
    case DType::int64: return 4;
    case DType::string: return 5;
    case DType::boolean: return 6;
    case DType::int16: return 7;
    case DType::complex64: return 8;
    case DType::int8: return 9;
    case DType::float16: return 10;
    case DType::float64: return 11;
    case DType::complex128: return 12;
    case DType::uint64: return 13;
    case DType::uint32: return 16;
    case DType::uint16: return 17;
    case DType::int4: return 18;
    case DType::bfloat16: return 19;
    case DType::int2: return 20;
    case DType::uint4: return 21;
    case DType::float8_e4m3fn: return 22;
    case DType::float8_e5m2: return 23;
    case DType::float8_e4m3fnuz:
    case DType::float8_e5m2fnuz:
    case DType::uint2:
    case DType::float8_e8m0fnu: return 0;
  }
  return 0;
}

}  // namespace edgeward
