#include "model_files/tflite_arithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace edgeward::tflite_arithmetic {

using Dims = TfliteCheck::Dims;

namespace {

void inputs_of_one_type(const TfliteCheck& check) {
  check.expect_output(0, check.broadcast(check.shape(0), check.shape(1)));
  if (check.type(0) != check.type(1))
    check.refuse("inputs of types ", name(check.type(0)), " and ", name(check.type(1)), ", expected one type");
}

}  // namespace

void unary(const TfliteCheck& check) { check.expect_same_spec(); }

void unary_setting(const TfliteCheck& check) {
  check.expect_output(0, check.shape(0));
  check.set_type(0, check.type(0));
}

void converting(const TfliteCheck& check) { check.expect_output(0, check.shape(0)); }

void binary(const TfliteCheck& check) {
  binary_plain(check);
  check.expect_activation(0);
}

void binary_setting(const TfliteCheck& check) {
  inputs_of_one_type(check);
  check.set_type(0, check.type(0));
}

void quotient(const TfliteCheck& check) {
  binary_setting(check);
  check.expect_activation(0);
}

// The kernel writes 2 * input scale / (2^20 * output scale) as a fraction below 1, with 2^15 for int16.
void sum(const TfliteCheck& check) {
  binary_setting(check);
  check.expect_activation(0);
  if (!check.is_quantized()) return;
  const double input =
      std::max(check.expect_scale("input", check.find_input(0)), check.expect_scale("input", check.find_input(1)));
  const double output = check.expect_scale("output", &check.output(0));
  const double room = check.type(0) == TfliteType::int16 ? 1 << 15 : 1 << 20;
  if (2 * input >= room * output || room * output > std::numeric_limits<float>::max()) {
    check.refuse("output scale ", output, " is out of range for inputs of scale ", input);
  }
}

void product(const TfliteCheck& check) {
  binary(check);
  check.expect_multiplier(0, 1);
}

// As in a sum, with the square of the inputs' scale and of 2^7.
void squared_difference(const TfliteCheck& check) {
  binary_setting(check);
  if (!check.is_quantized()) return;
  const double input =
      std::max(check.expect_scale("input", check.find_input(0)), check.expect_scale("input", check.find_input(1)));
  const double output = check.expect_scale("output", &check.output(0));
  if (4 * input * input >= (1 << 14) * output || (1 << 14) * output > std::numeric_limits<float>::max()) {
    check.refuse("output scale ", output, " is out of range for inputs of scale ", input);
  }
}

void binary_plain(const TfliteCheck& check) {
  inputs_of_one_type(check);
  check.expect_same_type(0);
}

void predicate(const TfliteCheck& check) {
  inputs_of_one_type(check);
  check.set_type(0, TfliteType::boolean);
}

// The kernels write the inputs' scales as fractions below 1.
void comparison(const TfliteCheck& check) {
  predicate(check);
  if (!check.is_quantized()) return;
  for (const uint32_t index : {0u, 1u}) {
    const double input = check.expect_scale("input", check.find_input(index));
    if (input >= 1) check.unsupported("input ", index, " has scale ", input, ", expected less than 1");
  }
}

void like_first(const TfliteCheck& check) { check.expect_same_type(0); }

void prelu(const TfliteCheck& check) {
  check.expect_same_type(0);
  check.expect_output(0, check.broadcast(check.shape(0), check.shape(1)));
}

void select(const TfliteCheck& check) {
  check.set_type(0, check.type(1));
  check.expect_output(0, check.broadcast(check.broadcast(check.shape(0), check.shape(1)), check.shape(2)));
}

void select_old(const TfliteCheck& check) {
  check.set_type(0, check.type(1));
  if (const Dims value = check.shape(1)) check.expect_output(0, value);
}

void leaky_relu(const TfliteCheck& check) {
  check.expect_same_spec();
  if (!std::isfinite(check.options().scalar<float>(0, 0))) check.refuse("alpha is not finite");
}

void cumsum(const TfliteCheck& check) {
  check.expect_same_spec();
  const Dims input = check.shape(0);
  const auto axis = check.constant_ints(1);
  if (axis && axis->size() != 1) check.refuse("axis has ", axis->size(), " elements, expected 1");
  if (axis && input) check.expect_axis("axis", (*axis)[0], input->rank());
}

void reduce(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  const auto axes = check.constant_ints(1);
  if (!input || !axes) return;
  const bool keeps_dims = check.option(0, 1, 0) != 0;
  uint32_t reduced = 0;
  for (const int64_t axis : *axes) reduced |= 1u << check.expect_axis("axis", axis, input->rank());
  std::vector<int64_t> output;
  for (size_t i = 0; i < input->rank(); ++i) {
    if ((reduced & (1u << i)) == 0) {
      output.push_back((*input)[i]);
    } else if (keeps_dims) {
      output.push_back(1);
    }
  }
  check.expect_output(0, Shape(std::span<const int64_t>(output)));
}

void sum_or_product(const TfliteCheck& check) {
  // The kernels return before they write.
  if (check.is_quantized()) check.expect_elements(0);
  reduce(check);
}

void arg_extreme(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  const auto axes = check.constant_ints(1);
  const auto wanted = static_cast<TfliteType>(check.option(0, 1, 0));
  if (wanted != TfliteType::int32 && wanted != TfliteType::int64) check.refuse("output_type ", check.option(0, 1, 0));
  if (check.output(0).type != wanted)
    check.refuse("output of type ", name(check.output(0).type), ", expected ", name(wanted));
  if (!input || !axes) return;
  if (axes->size() != 1) check.refuse("axis has ", axes->size(), " elements, expected 1");
  const size_t axis = check.expect_axis("axis", (*axes)[0], input->rank());
  std::vector<int64_t> output;
  for (size_t i = 0; i < input->rank(); ++i) {
    if (i != axis) output.push_back((*input)[i]);
  }
  check.expect_output(0, Shape(std::span<const int64_t>(output)));
}

void softmax(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  if (input && input->rank() == 0) check.refuse("a scalar input");
  if (!std::isfinite(check.options().scalar<float>(0, 0))) check.refuse("beta is not finite");
  check.expect_output(0, input);
  const TfliteType output = check.output(0).type;
  const bool is_byte = check.type(0) == TfliteType::int8 || check.type(0) == TfliteType::uint8;
  if (!is_byte || output != TfliteType::int16) check.expect_same_type(0);
}

void log_softmax(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  if (input && input->rank() == 0) check.refuse("a scalar input");
  check.expect_output(0, input);
}

void response_normalization(const TfliteCheck& check) {
  check.expect_same_spec();
  const int64_t radius = check.option(0, 4, 0);
  if (radius < 0 || radius > kMaxDim) check.refuse("radius ", radius);
}

// The kernel's tables are as long as the lengths, which it takes for powers of 2.
void rfft_2d(const TfliteCheck& check) {
  const auto lengths = check.constant_ints(1);
  if (!lengths) return;
  if (lengths->size() != 2) check.refuse("fft_length has ", lengths->size(), " elements, expected 2");
  for (const int64_t length : *lengths) {
    if (length < 1 || length > kMaxDim || (length & (length - 1)) != 0)
      check.refuse("a length of ", length, ", expected a power of 2");
  }
}

}  // namespace edgeward::tflite_arithmetic
