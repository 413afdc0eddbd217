// What an operator of a .tflite file must look like before a kernel may run it: arity, options, types, shapes,
// constants. The kernels of the engines divide by, index with and allocate from these values. An operator that is not
// in the table here passes with the checks that hold for all. Rules: docs/model-files.md, section 3.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bytes/bytes.h"
#include "model_files/flatbuffer.h"
#include "tensor/tensor.h"

namespace edgeward {

// The element types of a .tflite file, by their number there.
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

// Nothing for string, resource and variant: they are no numbers of a fixed width.
std::optional<DType> dtype(TfliteType type);

// One tensor of a subgraph, as its operators see it.
struct TfliteValue {
  TfliteType type;
  bool is_constant;
  bool is_variable;
  bool has_shape;  // false: not even the rank is known before a run
  Shape shape;     // -1: not known before a run
  Bytes data;      // of a constant
  FlatVector<float> scales;
  FlatVector<int64_t> zero_points;
  int32_t quantized_dimension;
};

// What a subgraph takes and gives, for the operators that call it.
struct TfliteInterface {
  uint32_t input_count;
  uint32_t output_count;
};

struct TfliteOperator {
  size_t subgraph_index;
  size_t index;
  int32_t code;
  std::string_view custom_name;
  uint8_t options_type;  // member of BuiltinOptions, 0: none
  FlatTable options;
  uint8_t options_2_type;
  FlatTable options_2;
  FlatVector<int32_t> inputs;  // -1: an optional input that is absent
  FlatVector<int32_t> outputs;
};

// "subgraph 0, operator 3 (CONV_2D)".
std::string text(const TfliteOperator& operation);

// True when input `index` of the operator may be -1.
bool is_optional_input(const TfliteOperator& operation, uint32_t index);

// Indices in `operation` must have been checked. Throws Error(malformed_model | unsupported_model).
void check_operator(const TfliteOperator& operation, std::span<const TfliteValue> tensors,
                    std::span<const TfliteInterface> subgraphs);

}  // namespace edgeward
