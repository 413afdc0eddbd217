// What is asked of one operator of a .tflite file: its tensors, options and constants as its rule reads them, and the
// checks that rules are made of. An unknown dimension, or a value that is known only at run time, satisfies every
// check. A failed check throws Error(malformed_model) in the name of the operator. Borrows everything. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "error.h"
#include "model_files/flatbuffer.h"
#include "model_files/tflite_type.h"
#include "tensor/tensor.h"

namespace edgeward {

// One tensor of a subgraph, as its operators see it.
struct TfliteValue {
  TfliteType type;
  bool is_constant;
  bool is_variable;
  bool is_retyped;  // its kernel gives it another type than the file says
  bool is_sparse;   // a constant whose data holds a part of its elements
  bool has_shape;   // false: not even the rank is known before a run
  Shape shape;      // -1: not known before a run
  Bytes data;       // of a constant
  FlatVector<float> scales;
  FlatVector<int64_t> zero_points;
  int32_t quantized_dimension;
};

// How many inputs and outputs a subgraph has, for the operators that call it.
struct TfliteInterface {
  uint32_t input_count;
  uint32_t output_count;
};

struct TfliteOperator {
  size_t subgraph_index;
  size_t index;
  int32_t code;
  std::string_view custom_name;
  Bytes custom_options;
  uint8_t options_type;  // member of BuiltinOptions, 0: none
  FlatTable options;
  uint8_t options_2_type;
  FlatTable options_2;
  FlatVector<int32_t> inputs;  // -1: an optional input that is absent
  FlatVector<int32_t> outputs;
  FlatVector<int32_t> intermediates;
};

// "subgraph 0, operator 3 (CONV_2D)".
std::string text(const TfliteOperator& operation, std::string_view name);

// No dimension of a tensor that fits into memory is larger.
inline constexpr int64_t kMaxDim = INT32_MAX;
// False for a dimension that is not known before a run.
inline bool is_known(int64_t dim) { return dim >= 0; }
// Whether the ranks and all known dimensions are equal.
bool agrees(const Shape& a, const Shape& b);

class TfliteCheck {
 public:
  using Dims = std::optional<Shape>;  // none: not even the rank is known

  static constexpr int32_t kAnyCount = -1;

  // `name` is the operator's, for messages. Indices in `operation` must have been checked.
  TfliteCheck(const TfliteOperator& operation, std::string_view name, std::span<TfliteValue> tensors,
              std::span<const TfliteInterface> subgraphs)
      : operation_(operation), name_(name), tensors_(tensors), subgraphs_(subgraphs) {}

  const TfliteOperator& operation() const { return operation_; }
  // What messages begin with.
  std::string where() const { return text(operation_, name_); }

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw Error(Code::malformed_model, where(), ": ", parts...);
  }
  // For what the format allows and the kernels cannot handle.
  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... parts) const {
    throw Error(Code::unsupported_model, where(), ": ", parts...);
  }

  // ---- What the operator has.

  // Null for an optional input that is absent. Where an input is asked for its type, it must be present.
  const TfliteValue* find_input(uint32_t index) const;
  const TfliteValue& output(uint32_t index) const { return tensors_[static_cast<size_t>(operation_.outputs[index])]; }
  TfliteType type(uint32_t index) const { return find_input(index)->type; }
  std::vector<const TfliteValue*> intermediates() const;
  Dims shape(uint32_t index) const;
  Dims output_shape(uint32_t index) const;
  // Whether the first input is int8, uint8 or int16.
  bool is_quantized() const;
  const FlatTable& options() const { return operation_.options; }
  // An integer option of `width` bytes.
  int64_t option(uint32_t field, uint32_t width, int64_t otherwise) const;
  // The integers of a small constant input; none when they are known only at run time.
  std::optional<std::vector<int64_t>> constant_ints(uint32_t index) const;

  // ---- What is required of inputs.

  // `max` may be kAnyCount.
  void expect_count(std::string_view what, uint32_t count, int32_t min, int32_t max) const;
  Dims expect_rank(uint32_t index, size_t rank) const;
  // Requires elements where the first output has any, for kernels that would crash or leave it unwritten. Throws
  // Error(unsupported_model).
  void expect_elements(uint32_t index) const;
  // Returns the first scale of `value`.
  double expect_scale(std::string_view what, const TfliteValue* value) const;
  // Requires input scale * other scale / output scale below 2^30: the kernels apply it by shifting 32 bits.
  void expect_multiplier(uint32_t left, uint32_t right) const;
  // Requires that every element of a constant input is an index below `count`.
  void expect_indices(uint32_t index, int64_t count) const;
  // Requires that every row of `width` elements of a constant input is an index into the first `width` dimensions of
  // `bounds`.
  void expect_rows(uint32_t index, int64_t width, const Shape& bounds) const;

  // ---- What is required of outputs.

  void expect_type(uint32_t index, TfliteType expected) const;
  // For a kernel that sets the type of output `index`: from then on it is `type`, whatever the file says. A delegate
  // goes by the file, so the tensor may only be an output of the subgraph, or meet one of that type in a sum.
  void set_type(uint32_t index, TfliteType type) const;
  void expect_same_type(uint32_t index) const { expect_type(index, type(0)); }
  void expect_output(uint32_t index, const Dims& expected) const;
  // Requires that the first output has the shape and the type of the first input.
  void expect_same_spec() const;
  // Requires that the first output has as many elements as the first input.
  void expect_same_elements() const;

  // ---- What is required of numbers.

  // Returns the axis counted from the front.
  size_t expect_axis(std::string_view what, int64_t axis, size_t rank) const;
  void expect_enum(std::string_view what, int64_t value, int64_t last) const;
  void expect_activation(uint32_t field) const;
  // Requires 0 to kMaxDim.
  void expect_amount(std::string_view what, int64_t value) const;
  int64_t expect_block(int64_t block) const;
  void expect_positive_dims(std::string_view what, const Shape& dims) const;
  // Requires a subgraph other than the operator's own.
  const TfliteInterface& expect_other_subgraph(int64_t index) const;
  // Requires a subgraph behind the operator's own: converters write a caller before what it calls.
  const TfliteInterface& expect_subgraph(int64_t index) const;

  // ---- Shapes computed.

  Dims dims_of(std::string_view what, const std::vector<int64_t>& ints) const;
  Dims broadcast(const Dims& a, const Dims& b) const;
  // Requires at most 2^40.
  int64_t multiplied(int64_t a, int64_t b) const;
  // -1 when `dim` is not known.
  int64_t scaled(int64_t dim, int64_t factor) const;
  // None when a dimension is not known.
  std::optional<int64_t> element_count(const Shape& dims) const;

 private:
  const TfliteOperator& operation_;
  std::string_view name_;
  std::span<TfliteValue> tensors_;
  std::span<const TfliteInterface> subgraphs_;
};

}  // namespace edgeward
