#include "model_files/tflite_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "error.h"

namespace edgeward {
namespace {

constexpr int32_t kAnyCount = -1;

class Check;

// What is known of one operator. `options` is the member of BuiltinOptions that its kernel reads, 0 for none.
struct Rule {
  std::string_view name;
  uint8_t options = 0;
  bool needs_options = false;  // without them the kernel would divide by, or index with, zeroes
  int16_t min_inputs = 0;
  int16_t max_inputs = kAnyCount;
  int16_t min_outputs = 0;
  int16_t max_outputs = kAnyCount;
  uint64_t optional_inputs = ~uint64_t{0};  // bit per input
  void (Check::*check)() = nullptr;
};

struct Options {
  uint8_t member;
  bool needed;
};
constexpr Options no_options() { return {0, false}; }
constexpr Options reads(uint8_t member) { return {member, false}; }
constexpr Options needs(uint8_t member) { return {member, true}; }

struct Counts {
  int16_t min;
  int16_t max;
};
constexpr Counts exactly(int16_t count) { return {count, count}; }
constexpr Counts from(int16_t min, int16_t max) { return {min, max}; }
constexpr Counts at_least(int16_t min) { return {min, kAnyCount}; }

constexpr uint64_t kNone = 0;
constexpr uint64_t input_bit(uint32_t index) { return uint64_t{1} << index; }

constexpr Rule rule(std::string_view name, Options options, Counts inputs, Counts outputs,
                    void (Check::*check)() = nullptr, uint64_t optional_inputs = kNone) {
  return {name,        options.member, options.needed,  inputs.min, inputs.max,
          outputs.min, outputs.max,    optional_inputs, check};
}
// Known by name only.
constexpr Rule named(std::string_view name) {
  Rule rule;
  rule.name = name;
  return rule;
}

// The rules of one operator. An unknown dimension or a value known only at run time satisfies every rule.
class Check {
 public:
  Check(const TfliteOperator& operation, std::span<const TfliteValue> tensors,
        std::span<const TfliteInterface> subgraphs)
      : operation_(operation), tensors_(tensors), subgraphs_(subgraphs) {}

  void counts_and_options(const Rule& rule) const {
    expect_count("inputs", operation_.inputs.size(), rule.min_inputs, rule.max_inputs);
    expect_count("outputs", operation_.outputs.size(), rule.min_outputs, rule.max_outputs);
    if (rule.options == 0) return;
    if (operation_.options_type != rule.options && (operation_.options_type != 0 || rule.needs_options)) {
      refuse("options of type ", int{operation_.options_type}, ", expected ", int{rule.options});
    }
  }

  void unary() {
    expect_output(0, shape(0));
    expect_same_type(0);
  }
  // Elements change their type, not their place.
  void converting() { expect_output(0, shape(0)); }

  void inputs_of_one_type() const {
    expect_output(0, broadcast(shape(0), shape(1)));
    if (type(0) != type(1)) refuse("inputs of types ", name(type(0)), " and ", name(type(1)), ", expected one type");
  }
  void binary() {
    binary_plain();
    expect_activation(0);
  }
  // The kernel writes 2 * input scale / (2^20 * output scale) as a fraction below 1, with 2^15 for int16.
  void sum() {
    binary();
    if (!is_quantized()) return;
    const double input = std::max(expect_scale("input", find_input(0)), expect_scale("input", find_input(1)));
    const double output = expect_scale("output", &this->output(0));
    const double room = type(0) == TfliteType::int16 ? 1 << 15 : 1 << 20;
    if (2 * input >= room * output || room * output > std::numeric_limits<float>::max()) {
      refuse("output scale ", output, " is out of range for inputs of scale ", input);
    }
  }
  // The kernels apply input scale * other scale / output scale by shifting 32 bits.
  void expect_multiplier(uint32_t left, uint32_t right) const {
    if (find_input(left)->scales.empty() || find_input(right)->scales.empty() || output(0).scales.empty()) return;
    const double multiplier = double{find_input(left)->scales[0]} * find_input(right)->scales[0] / output(0).scales[0];
    if (multiplier >= 1 << 30) {
      refuse("scales ", find_input(left)->scales[0], " and ", find_input(right)->scales[0], " over ",
             output(0).scales[0], ", expected a multiplier below 2^30");
    }
  }
  void product() {
    binary();
    expect_multiplier(0, 1);
  }
  // As in a sum, with the square of the inputs' scale and of 2^7.
  void squared_difference() {
    binary_plain();
    if (!is_quantized()) return;
    const double input = std::max(expect_scale("input", find_input(0)), expect_scale("input", find_input(1)));
    const double output = expect_scale("output", &this->output(0));
    if (4 * input * input >= (1 << 14) * output || (1 << 14) * output > std::numeric_limits<float>::max()) {
      refuse("output scale ", output, " is out of range for inputs of scale ", input);
    }
  }
  void binary_plain() {
    inputs_of_one_type();
    expect_same_type(0);
  }
  void predicate() {
    inputs_of_one_type();
    expect_type(0, TfliteType::boolean);
  }
  // The kernels write the inputs' scales as fractions below 1.
  void comparison() {
    predicate();
    if (!is_quantized()) return;
    for (const uint32_t index : {0u, 1u}) {
      const double input = expect_scale("input", find_input(index));
      if (input >= 1) unsupported("input ", index, " has scale ", input, ", expected less than 1");
    }
  }
  // What comes out has the type of an input.
  void like_first() { expect_same_type(0); }

  // Indices are rows of places, one for each of the first dimensions of what they lead into.
  void gather_nd() {
    expect_same_type(0);
    const Dims indices = shape(1);
    if (const Dims values = shape(0); values && indices && indices->rank() > 0)
      expect_rows(1, (*indices)[indices->rank() - 1], *values);
  }
  void scatter_nd() {
    expect_type(0, type(1));
    const Dims indices = shape(0);
    const auto size = constant_ints(2);
    if (size && indices && indices->rank() > 0)
      expect_rows(0, (*indices)[indices->rank() - 1], *dims_of("shape", *size));
  }
  void sparse_to_dense() {
    expect_type(0, type(2));
    const Dims indices = shape(0);
    const auto size = constant_ints(1);
    if (size && indices) expect_rows(0, indices->rank() < 2 ? 1 : (*indices)[1], *dims_of("output_shape", *size));
  }

  void prelu() {
    expect_same_type(0);
    expect_output(0, broadcast(shape(0), shape(1)));
  }
  void select() {
    expect_type(0, type(1));
    expect_output(0, broadcast(broadcast(shape(0), shape(1)), shape(2)));
  }
  void select_old() {
    expect_type(0, type(1));
    if (const Dims value = shape(1)) expect_output(0, value);
  }

  void conv_2d() {
    const Dims input = expect_rank(0, 4);
    const Dims filter = expect_rank(1, 4);
    expect_multiplier(0, 1);
    const Window window{option(0, 1, 0), option(1, 4, 0), option(2, 4, 0), option(4, 4, 1), option(5, 4, 1)};
    expect_window(window);
    expect_enum("fused_activation_function", option(3, 1, 0), 5);
    if (!filter) return;
    expect_positive_dims("filter", *filter);
    if (input && known((*input)[3]) && ((*input)[3] < (*filter)[3] || (*input)[3] % (*filter)[3] != 0)) {
      refuse("input ", text(*input), " has ", (*input)[3], " channels, expected a multiple of the filter's ",
             (*filter)[3]);
    }
    if (input && known((*input)[3]) && (*filter)[0] % ((*input)[3] / (*filter)[3]) != 0) {
      refuse("filter ", text(*filter), " does not divide into ", (*input)[3] / (*filter)[3], " groups");
    }
    expect_bias(2, (*filter)[0]);
    expect_channel_scales(1, 0, (*filter)[0]);
    if (input) {
      expect_output(0, Shape{(*input)[0],
                             window_out((*input)[1], (*filter)[1], window.stride_h, window.dilation_h, window.padding),
                             window_out((*input)[2], (*filter)[2], window.stride_w, window.dilation_w, window.padding),
                             (*filter)[0]});
    }
  }

  void depthwise_conv_2d() {
    const Dims input = expect_rank(0, 4);
    const Dims filter = expect_rank(1, 4);
    expect_multiplier(0, 1);
    const Window window{option(0, 1, 0), option(1, 4, 0), option(2, 4, 0), option(5, 4, 1), option(6, 4, 1)};
    expect_window(window);
    expect_enum("fused_activation_function", option(4, 1, 0), 5);
    if (!filter) return;
    expect_positive_dims("filter", *filter);
    if ((*filter)[0] != 1) refuse("filter ", text(*filter), ", expected [1, height, width, channels]");
    if (input && known((*input)[3]) && ((*input)[3] == 0 || (*filter)[3] % (*input)[3] != 0)) {
      refuse("filter ", text(*filter), ", expected a multiple of the input's ", (*input)[3], " channels");
    }
    expect_bias(2, (*filter)[3]);
    expect_channel_scales(1, 3, (*filter)[3]);
    if (input) {
      expect_output(0, Shape{(*input)[0],
                             window_out((*input)[1], (*filter)[1], window.stride_h, window.dilation_h, window.padding),
                             window_out((*input)[2], (*filter)[2], window.stride_w, window.dilation_w, window.padding),
                             (*filter)[3]});
    }
  }

  void transpose_conv() {
    const Dims filter = expect_rank(1, 4);
    const Dims input = expect_rank(2, 4);
    expect_multiplier(2, 1);
    const int64_t padding = option(0, 1, 0);
    const int64_t stride_w = option(1, 4, 0);
    const int64_t stride_h = option(2, 4, 0);
    expect_window({padding, stride_w, stride_h, 1, 1});
    expect_enum("fused_activation_function", option(3, 1, 0), 5);
    if (!filter) return;
    expect_positive_dims("filter", *filter);
    if (input && known((*input)[3]) && (*input)[3] != (*filter)[3]) {
      refuse("input ", text(*input), " has ", (*input)[3], " channels, expected the filter's ", (*filter)[3]);
    }
    expect_bias(3, (*filter)[0]);
    expect_channel_scales(1, 0, (*filter)[0]);
    const auto size = constant_ints(0);
    if (!size) return;
    if (size->size() != 4) refuse("output_shape has ", size->size(), " elements, expected 4");
    const Dims output = dims_of("output_shape", *size);
    if ((*output)[3] != (*filter)[0]) refuse("output_shape ", text(*output), ", expected ", (*filter)[0], " channels");
    if (input) {
      for (const size_t axis : {size_t{1}, size_t{2}}) {
        const int64_t back = window_out((*output)[axis], (*filter)[axis], axis == 1 ? stride_h : stride_w, 1, padding);
        if (known((*input)[axis]) && back != (*input)[axis]) {
          refuse("output_shape ", text(*output), " does not lead back to input ", text(*input));
        }
      }
      if (known((*input)[0]) && (*input)[0] != (*output)[0]) {
        refuse("output_shape ", text(*output), ", expected the input's batch of ", (*input)[0]);
      }
    }
    expect_output(0, output);
  }

  void pool_2d() {
    const Dims input = expect_rank(0, 4);
    const Window window{option(0, 1, 0), option(1, 4, 0), option(2, 4, 0), 1, 1};
    expect_window(window);
    const int64_t width = option(3, 4, 0);
    const int64_t height = option(4, 4, 0);
    if (width < 1 || height < 1) refuse("filter ", height, " x ", width, ", expected positive numbers");
    expect_enum("fused_activation_function", option(5, 1, 0), 5);
    expect_same_type(0);
    if (!input) return;
    expect_output(0, Shape{(*input)[0], window_out((*input)[1], height, window.stride_h, 1, window.padding),
                           window_out((*input)[2], width, window.stride_w, 1, window.padding), (*input)[3]});
    // Padding wider than the image would leave windows without a single element to divide by.
    if ((known((*input)[1]) && height > (*input)[1] * 2 + window.stride_h * 2) ||
        (known((*input)[2]) && width > (*input)[2] * 2 + window.stride_w * 2)) {
      refuse("filter ", height, " x ", width, " on input ", text(*input));
    }
  }

  void fully_connected() {
    const Dims input = shape(0);
    const Dims weights = expect_rank(1, 2);
    expect_multiplier(0, 1);
    expect_enum("fused_activation_function", option(0, 1, 0), 5);
    if (option(1, 1, 0) != 0) unsupported("shuffled weights");
    const bool keeps_rank = option(2, 1, 0) != 0;
    if (!weights) return;
    expect_positive_dims("weights", *weights);
    const int64_t units = (*weights)[0];
    const int64_t depth = (*weights)[1];
    expect_bias(2, units);
    expect_channel_scales(1, 0, units);
    if (!input) return;
    if (input->rank() == 0) refuse("a scalar input");
    if (input->rank() == 2 && known((*input)[1]) && (*input)[1] != depth) {
      refuse("input ", text(*input), ", expected ", depth, " columns");
    }
    if (keeps_rank) {
      const int64_t last = (*input)[input->rank() - 1];
      if (known(last) && last != depth) refuse("input ", text(*input), ", expected a last dimension of ", depth);
      Shape output = *input;
      output[output.rank() - 1] = units;
      expect_output(0, output);
      return;
    }
    const std::optional<int64_t> elements = element_count(*input);
    if (elements && *elements % depth != 0)
      refuse("input ", text(*input), ", expected a multiple of ", depth, " elements");
    const int64_t rows = elements ? *elements / depth : -1;
    // Written both as [rows, units] and with the input's leading dimensions.
    const Dims output = output_shape(0);
    if (!output) return;
    const std::optional<int64_t> got = element_count(*output);
    if (output->rank() == 0 || (known((*output)[output->rank() - 1]) && (*output)[output->rank() - 1] != units) ||
        (got && rows >= 0 && *got != rows * units)) {
      refuse("output ", text(*output), ", expected ", text(Shape{rows, units}));
    }
  }

  void softmax() {
    const Dims input = shape(0);
    if (input && input->rank() == 0) refuse("a scalar input");
    if (!std::isfinite(options().scalar<float>(0, 0))) refuse("beta is not finite");
    expect_output(0, input);
    expect_same_type(0);
  }
  void log_softmax() {
    const Dims input = shape(0);
    if (input && input->rank() == 0) refuse("a scalar input");
    expect_output(0, input);
  }

  void concatenation() {
    const Dims first = shape(0);
    if (!first) return;
    const size_t axis = expect_axis("axis", option(0, 4, 0), first->rank());
    expect_enum("fused_activation_function", option(1, 1, 0), 5);
    Shape output = *first;
    for (uint32_t i = 1; i < operation_.inputs.size(); ++i) {
      const Dims next = shape(i);
      if (!next) return;
      if (type(i) != type(0)) refuse("input ", i, " of type ", name(type(i)), ", expected ", name(type(0)));
      if (next->rank() != first->rank()) refuse("input ", i, " ", text(*next), ", expected rank ", first->rank());
      for (size_t k = 0; k < next->rank(); ++k) {
        if (k == axis) {
          output[k] = known(output[k]) && known((*next)[k]) ? output[k] + (*next)[k] : -1;
        } else if (known((*next)[k]) && known(output[k]) && (*next)[k] != output[k]) {
          refuse("input ", i, " ", text(*next), ", expected ", text(*first), " but for axis ", axis);
        } else if (known((*next)[k])) {
          output[k] = (*next)[k];
        }
      }
    }
    expect_same_type(0);
    expect_output(0, output);
  }

  void reshape() {
    expect_same_type(0);
    expect_same_elements();
    std::vector<int64_t> wanted;
    if (operation_.inputs.size() == 2) {
      const auto constant = constant_ints(1);
      if (!constant) return;
      wanted = *constant;
    } else {
      const auto list = options().vector<int32_t>(0);
      for (uint32_t i = 0; i < list.size() && i <= Shape::kMaxRank; ++i) wanted.push_back(list[i]);
      if (wanted.size() == 1 && wanted[0] == 0) wanted.clear();  // how old converters write a scalar
    }
    if (wanted.size() > Shape::kMaxRank) refuse("a shape of rank ", wanted.size());
    size_t stretch = wanted.size();
    int64_t rest = 1;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i] < -1) refuse("dimension ", i, " of the new shape is ", wanted[i]);
      if (wanted[i] == -1) {
        if (stretch != wanted.size()) refuse("two dimensions of the new shape are -1");
        stretch = i;
      } else {
        rest = multiplied(rest, wanted[i]);
      }
    }
    const Dims input = shape(0);
    const std::optional<int64_t> elements = input ? element_count(*input) : std::nullopt;
    if (!elements) return;
    if (stretch != wanted.size()) {
      if (rest == 0 || *elements % rest != 0) refuse("input ", text(*input), " does not divide by ", rest);
      wanted[stretch] = *elements / rest;
    } else if (rest != *elements) {
      refuse("input ", text(*input), " has ", *elements, " elements, the new shape ", rest);
    }
    expect_output(0, Shape(std::span<const int64_t>(wanted)));
  }

  void squeeze() {
    const Dims input = shape(0);
    expect_same_type(0);
    expect_same_elements();
    const auto axes = options().vector<int32_t>(0);
    if (!input) return;
    for (uint32_t i = 0; i < axes.size(); ++i) {
      const size_t axis = expect_axis("squeeze_dims", axes[i], input->rank());
      if (known((*input)[axis]) && (*input)[axis] != 1) refuse("dimension ", axis, " of ", text(*input), " is not 1");
    }
  }

  void expand_dims() {
    const Dims input = shape(0);
    expect_same_type(0);
    expect_same_elements();
    const auto axis = constant_ints(1);
    if (axis && axis->size() != 1) refuse("axis has ", axis->size(), " elements, expected 1");
    if (input && axis) expect_axis("axis", (*axis)[0], input->rank() + 1);
  }

  void pad() {
    const Dims input = shape(0);
    expect_same_type(0);
    const auto paddings = constant_ints(1);
    if (!input || !paddings) return;
    Shape output = *input;
    if (paddings->size() != 2 * input->rank())
      refuse("paddings has ", paddings->size(), " elements, expected ", 2 * input->rank());
    for (size_t i = 0; i < input->rank(); ++i) {
      const int64_t before = (*paddings)[2 * i];
      const int64_t after = (*paddings)[2 * i + 1];
      expect_amount("paddings", before);
      expect_amount("paddings", after);
      if (known(output[i])) output[i] += before + after;
    }
    expect_output(0, output);
  }
  void mirror_pad() {
    pad();
    expect_enum("mode", option(0, 1, 0), 1);
    const Dims input = shape(0);
    const auto paddings = constant_ints(1);
    if (!input || !paddings) return;
    for (size_t i = 0; i < paddings->size(); ++i) {
      const int64_t dim = (*input)[i / 2];
      if (known(dim) && (*paddings)[i] > dim - (option(0, 1, 0) == 0 ? 1 : 0)) {
        refuse("padding of ", (*paddings)[i], " mirrors more than dimension ", i / 2, " of ", text(*input));
      }
    }
  }

  void transpose() {
    const Dims input = shape(0);
    expect_same_type(0);
    const auto order = constant_ints(1);
    if (!input || !order) return;
    if (order->size() != input->rank()) refuse("permutation of ", order->size(), " dimensions, input ", text(*input));
    Shape output = *input;
    uint32_t seen = 0;
    for (size_t i = 0; i < order->size(); ++i) {
      const size_t from = expect_axis("permutation", (*order)[i], input->rank());
      if ((seen & (1u << from)) != 0) refuse("permutation names dimension ", from, " twice");
      seen |= 1u << from;
      output[i] = (*input)[from];
    }
    expect_output(0, output);
  }

  void reduce() {
    const Dims input = shape(0);
    expect_same_type(0);
    const auto axes = constant_ints(1);
    if (!input || !axes) return;
    const bool keeps_dims = option(0, 1, 0) != 0;
    uint32_t reduced = 0;
    for (const int64_t axis : *axes) reduced |= 1u << expect_axis("axis", axis, input->rank());
    std::vector<int64_t> output;
    for (size_t i = 0; i < input->rank(); ++i) {
      if ((reduced & (1u << i)) == 0) {
        output.push_back((*input)[i]);
      } else if (keeps_dims) {
        output.push_back(1);
      }
    }
    expect_output(0, Shape(std::span<const int64_t>(output)));
  }

  void arg_extreme() {
    const Dims input = shape(0);
    const auto axes = constant_ints(1);
    const auto wanted = static_cast<TfliteType>(option(0, 1, 0));
    if (wanted != TfliteType::int32 && wanted != TfliteType::int64) refuse("output_type ", option(0, 1, 0));
    if (output(0).type != wanted) refuse("output of type ", name(output(0).type), ", expected ", name(wanted));
    if (!input || !axes) return;
    if (axes->size() != 1) refuse("axis has ", axes->size(), " elements, expected 1");
    const size_t axis = expect_axis("axis", (*axes)[0], input->rank());
    std::vector<int64_t> output;
    for (size_t i = 0; i < input->rank(); ++i) {
      if (i != axis) output.push_back((*input)[i]);
    }
    expect_output(0, Shape(std::span<const int64_t>(output)));
  }

  void split() {
    const int64_t parts = option(0, 4, 0);
    if (parts < 1 || parts != operation_.outputs.size())
      refuse("num_splits ", parts, ", but ", operation_.outputs.size(), " outputs");
    const auto axes = constant_ints(0);
    if (axes && axes->size() != 1) refuse("axis has ", axes->size(), " elements, expected 1");
    const Dims input = shape(1);
    if (!axes || !input) return;
    const size_t axis = expect_axis("axis", (*axes)[0], input->rank());
    Shape part = *input;
    if (known(part[axis])) {
      if (part[axis] % parts != 0) refuse("dimension ", axis, " of ", text(*input), " does not divide by ", parts);
      part[axis] /= parts;
    }
    for (uint32_t i = 0; i < operation_.outputs.size(); ++i) {
      expect_type(i, type(1));
      expect_output(i, part);
    }
  }

  void split_v() {
    const int64_t parts = option(0, 4, 0);
    if (parts < 1 || parts != operation_.outputs.size())
      refuse("num_splits ", parts, ", but ", operation_.outputs.size(), " outputs");
    const auto sizes = constant_ints(1);
    const auto axes = constant_ints(2);
    if (axes && axes->size() != 1) refuse("axis has ", axes->size(), " elements, expected 1");
    if (sizes && sizes->size() != static_cast<size_t>(parts))
      refuse("size_splits has ", sizes->size(), " elements, expected ", parts);
    const Dims input = shape(0);
    if (!sizes || !axes || !input) return;
    const size_t axis = expect_axis("axis", (*axes)[0], input->rank());
    int64_t sum = 0;
    bool has_rest = false;
    for (const int64_t size : *sizes) {
      if (size < -1 || (size == -1 && has_rest) || size > kMaxDim) refuse("size_splits has an element ", size);
      has_rest = has_rest || size == -1;
      sum += std::max<int64_t>(size, 0);
    }
    const int64_t dim = (*input)[axis];
    if (!known(dim)) return;
    if (has_rest ? sum > dim : sum != dim)
      refuse("size_splits sum to ", sum, ", dimension ", axis, " of ", text(*input));
    for (uint32_t i = 0; i < operation_.outputs.size(); ++i) {
      Shape part = *input;
      expect_same_type(i);
      part[axis] = (*sizes)[i] == -1 ? dim - sum : (*sizes)[i];
      expect_output(i, part);
    }
  }

  void pack() {
    const int64_t count = option(0, 4, 0);
    if (count != operation_.inputs.size())
      refuse("values_count ", count, ", but ", operation_.inputs.size(), " inputs");
    const Dims first = shape(0);
    if (!first) return;
    const size_t axis = expect_axis("axis", option(1, 4, 0), first->rank() + 1);
    for (uint32_t i = 1; i < operation_.inputs.size(); ++i) {
      const Dims next = shape(i);
      if (!next) return;
      if (!agree(*next, *first)) refuse("input ", i, " ", text(*next), ", expected ", text(*first));
      if (type(i) != type(0)) refuse("input ", i, " of type ", name(type(i)), ", expected ", name(type(0)));
    }
    std::vector<int64_t> output(first->begin(), first->end());
    output.insert(output.begin() + static_cast<std::ptrdiff_t>(axis), count);
    expect_same_type(0);
    expect_output(0, Shape(std::span<const int64_t>(output)));
  }

  void unpack() {
    const int64_t count = option(0, 4, 0);
    if (count != operation_.outputs.size()) refuse("num ", count, ", but ", operation_.outputs.size(), " outputs");
    const Dims input = shape(0);
    if (!input) return;
    const size_t axis = expect_axis("axis", option(1, 4, 0), input->rank());
    if (known((*input)[axis]) && (*input)[axis] != count)
      refuse("dimension ", axis, " of ", text(*input), ", expected ", count);
    std::vector<int64_t> output(input->begin(), input->end());
    output.erase(output.begin() + static_cast<std::ptrdiff_t>(axis));
    for (uint32_t i = 0; i < operation_.outputs.size(); ++i) {
      expect_same_type(i);
      expect_output(i, Shape(std::span<const int64_t>(output)));
    }
  }

  void strided_slice() {
    const Dims input = shape(0);
    expect_same_type(0);
    const auto begin = constant_ints(1);
    const auto end = constant_ints(2);
    const auto strides = constant_ints(3);
    if (strides) {
      for (const int64_t stride : *strides) {
        if (stride == 0) refuse("a stride of 0");
      }
    }
    for (const auto* list : {&begin, &end, &strides}) {
      if (input && *list && (*list)->size() > Shape::kMaxRank)
        refuse("a slice of ", (*list)->size(), " dimensions of ", text(*input));
      if (*list && begin && (*list)->size() != begin->size()) refuse("begin, end and strides differ in length");
    }
    for (uint32_t mask = 0; mask < 5; ++mask) {
      const int64_t bits = option(mask, 4, 0);
      if (bits < 0 || bits >= (1 << Shape::kMaxRank))
        refuse("mask ", mask, " is ", bits, ", expected 0 to ", (1 << Shape::kMaxRank) - 1);
    }
  }

  void slice() {
    const Dims input = shape(0);
    expect_same_type(0);
    const auto begin = constant_ints(1);
    const auto size = constant_ints(2);
    if (!input) return;
    for (const auto* list : {&begin, &size}) {
      if (*list && (*list)->size() != input->rank())
        refuse("a slice of ", (*list)->size(), " dimensions of ", text(*input));
    }
    if (!begin || !size) return;
    Shape output = *input;
    for (size_t i = 0; i < input->rank(); ++i) {
      const int64_t first = (*begin)[i];
      const int64_t count = (*size)[i];
      if (first < 0 || count < -1 || first > kMaxDim || count > kMaxDim ||
          (known((*input)[i]) && first + std::max<int64_t>(count, 0) > (*input)[i])) {
        refuse("dimension ", i, " of ", text(*input), " sliced from ", first, " by ", count);
      }
      output[i] = count >= 0 ? count : known((*input)[i]) ? (*input)[i] - first : -1;
    }
    expect_output(0, output);
  }

  void gather() {
    const Dims values = shape(0);
    const Dims indices = shape(1);
    expect_same_type(0);
    if (!values) return;
    const size_t axis = expect_axis("axis", option(0, 4, 0), values->rank());
    if (!indices) return;
    int64_t batch_dims = option(1, 4, 0);
    if (batch_dims < 0) batch_dims += static_cast<int64_t>(indices->rank());
    if (batch_dims < 0 || static_cast<size_t>(batch_dims) > axis || static_cast<size_t>(batch_dims) > indices->rank()) {
      refuse("batch_dims ", option(1, 4, 0), " for indices ", text(*indices), " along axis ", axis);
    }
    const auto batch = static_cast<size_t>(batch_dims);
    for (size_t i = 0; i < batch; ++i) {
      if (known((*values)[i]) && known((*indices)[i]) && (*values)[i] != (*indices)[i]) {
        refuse("values ", text(*values), " and indices ", text(*indices), " differ in batch dimension ", i);
      }
    }
    expect_indices(1, (*values)[axis]);
    std::vector<int64_t> output(values->begin(), values->begin() + axis);
    output.insert(output.end(), indices->begin() + batch, indices->end());
    output.insert(output.end(), values->begin() + axis + 1, values->end());
    if (output.size() <= Shape::kMaxRank) expect_output(0, Shape(std::span<const int64_t>(output)));
  }

  void embedding_lookup() {
    const Dims table = shape(1);
    if (table && table->rank() < 2) refuse("table ", text(*table), ", expected at least rank 2");
    // A quantized table may give floats; the kernel copies every other.
    if (output(0).type != TfliteType::float32 || find_input(1)->scales.empty()) expect_type(0, type(1));
    if (table) expect_indices(0, (*table)[0]);
  }

  void resize_image() {
    constexpr int64_t kMaxSide = (1 << 21) - 1;  // the kernels place pixels in 32 bits, 10 of them below the point
    const Dims input = expect_rank(0, 4);
    expect_same_type(0);
    if (input && std::max((*input)[1], (*input)[2]) > kMaxSide)
      refuse("input ", text(*input), " has a side above ", kMaxSide);
    const auto size = constant_ints(1);
    if (!size) return;
    if (size->size() != 2) refuse("size has ", size->size(), " elements, expected 2");
    for (const int64_t dim : *size) {
      if (dim < 1 || dim > kMaxSide) refuse("a size of ", dim, ", expected 1 to ", kMaxSide);
    }
    if (input) expect_output(0, Shape{(*input)[0], (*size)[0], (*size)[1], (*input)[3]});
  }

  void depth_to_space() {
    const int64_t block = expect_block(option(0, 4, 0));
    const Dims input = expect_rank(0, 4);
    expect_same_type(0);
    if (!input) return;
    if (known((*input)[3]) && (*input)[3] % (block * block) != 0)
      refuse("input ", text(*input), " for blocks of ", block);
    expect_output(0, Shape{(*input)[0], scaled((*input)[1], block), scaled((*input)[2], block),
                           known((*input)[3]) ? (*input)[3] / (block * block) : -1});
  }
  void space_to_depth() {
    const int64_t block = expect_block(option(0, 4, 0));
    const Dims input = expect_rank(0, 4);
    expect_same_type(0);
    if (!input) return;
    for (const size_t axis : {size_t{1}, size_t{2}}) {
      if (known((*input)[axis]) && (*input)[axis] % block != 0)
        refuse("input ", text(*input), " for blocks of ", block);
    }
    expect_output(0, Shape{(*input)[0], known((*input)[1]) ? (*input)[1] / block : -1,
                           known((*input)[2]) ? (*input)[2] / block : -1, scaled((*input)[3], block * block)});
  }

  // BATCH_TO_SPACE_ND and SPACE_TO_BATCH_ND: input, block shape, crops or paddings.
  void blocks_nd() {
    expect_same_type(0);
    const auto block = constant_ints(1);
    const auto margins = constant_ints(2);
    if (block) {
      for (const int64_t size : *block) expect_block(size);
    }
    if (margins) {
      for (const int64_t margin : *margins) expect_amount("paddings or crops", margin);
    }
    if (block && margins && margins->size() != 2 * block->size()) {
      refuse(margins->size(), " paddings or crops for ", block->size(), " block dimensions");
    }
    const Dims input = shape(0);
    if (input && block && block->size() + 2 != input->rank())
      refuse("input ", text(*input), " for ", block->size(), " block dimensions");
  }

  void tile() {
    const Dims input = shape(0);
    expect_same_type(0);
    const auto multiples = constant_ints(1);
    if (!input || !multiples) return;
    if (multiples->size() != input->rank()) refuse(multiples->size(), " multiples for input ", text(*input));
    Shape output = *input;
    for (size_t i = 0; i < output.rank(); ++i) {
      expect_amount("multiples", (*multiples)[i]);
      output[i] = scaled(output[i], (*multiples)[i]);
    }
    expect_output(0, output);
  }
  void fill() {
    expect_type(0, type(1));
    if (const auto dims = constant_ints(0)) expect_output(0, dims_of("dims", *dims));
  }
  void broadcast_to() {
    expect_same_type(0);
    if (const auto dims = constant_ints(1)) {
      const Dims output = dims_of("shape", *dims);
      broadcast(shape(0), output);
      expect_output(0, output);
    }
  }
  void top_k() {
    expect_same_type(0);
    const Dims input = shape(0);
    const auto count = constant_ints(1);
    if (count && count->size() != 1) refuse("k has ", count->size(), " elements, expected 1");
    if (!input || !count) return;
    if (input->rank() == 0) refuse("a scalar input");
    Shape output = *input;
    int64_t& last = output[output.rank() - 1];
    if ((*count)[0] < 0 || (known(last) && (*count)[0] > last))
      refuse("k of ", (*count)[0], " for input ", text(*input));
    last = (*count)[0];
    expect_output(0, output);
    expect_output(1, output);
  }
  void one_hot() {
    const auto depth = constant_ints(1);
    if (depth && (depth->size() != 1 || (*depth)[0] < 0 || (*depth)[0] > kMaxDim))
      refuse("a depth outside 0 to ", kMaxDim);
    if (const Dims indices = shape(0)) expect_axis("axis", option(0, 4, 0), indices->rank() + 1);
  }
  void cumsum() {
    unary();
    const Dims input = shape(0);
    const auto axis = constant_ints(1);
    if (axis && axis->size() != 1) refuse("axis has ", axis->size(), " elements, expected 1");
    if (axis && input) expect_axis("axis", (*axis)[0], input->rank());
  }
  void reverse() {
    unary();
    const Dims input = shape(0);
    const auto axes = constant_ints(1);
    if (!axes || !input) return;
    for (const int64_t axis : *axes) expect_axis("axis", axis, input->rank());
  }
  void reverse_sequence() {
    unary();
    const Dims input = shape(0);
    if (!input) return;
    const size_t axis = expect_axis("seq_dim", option(0, 4, 0), input->rank());
    const size_t batch = expect_axis("batch_dim", option(1, 4, 0), input->rank());
    const auto lengths = constant_ints(1);
    if (!lengths) return;
    if (known((*input)[batch]) && lengths->size() != static_cast<size_t>((*input)[batch])) {
      refuse(lengths->size(), " lengths for dimension ", batch, " of ", text(*input));
    }
    for (const int64_t length : *lengths) {
      if (length < 0 || (known((*input)[axis]) && length > (*input)[axis])) {
        refuse("a length of ", length, " for dimension ", axis, " of ", text(*input));
      }
    }
  }
  void broadcast_args() {
    const auto left = constant_ints(0);
    const auto right = constant_ints(1);
    if (left && right) broadcast(dims_of("input 0", *left), dims_of("input 1", *right));
  }
  void batch_matmul() {
    expect_multiplier(0, 1);
    const Dims left = shape(0);
    const Dims right = shape(1);
    if (!left || !right) return;
    if (left->rank() < 2 || right->rank() < 2)
      refuse("inputs ", text(*left), " and ", text(*right), ", expected at least rank 2");
    const bool turns_left = option(0, 1, 0) != 0;
    const bool turns_right = option(1, 1, 0) != 0;
    const int64_t inner_left = (*left)[left->rank() - (turns_left ? 2 : 1)];
    const int64_t inner_right = (*right)[right->rank() - (turns_right ? 1 : 2)];
    if (known(inner_left) && known(inner_right) && inner_left != inner_right) {
      refuse("inputs ", text(*left), " and ", text(*right), " meet in ", inner_left, " and ", inner_right, " elements");
    }
    const Dims batch =
        broadcast(Shape(std::span(left->data(), left->rank() - 2)), Shape(std::span(right->data(), right->rank() - 2)));
    std::vector<int64_t> output(batch->begin(), batch->end());
    output.push_back((*left)[left->rank() - (turns_left ? 1 : 2)]);
    output.push_back((*right)[right->rank() - (turns_right ? 2 : 1)]);
    expect_output(0, Shape(std::span<const int64_t>(output)));
  }
  void leaky_relu() {
    unary();
    if (!std::isfinite(options().scalar<float>(0, 0))) refuse("alpha is not finite");
  }
  void response_normalization() {
    unary();
    const int64_t radius = option(0, 4, 0);
    if (radius < 0 || radius > kMaxDim) refuse("radius ", radius);
  }

  void call_if() {
    if (operation_.inputs.empty() || type(0) != TfliteType::boolean) refuse("input 0 must be a boolean");
    for (const uint32_t field : {0u, 1u}) {
      const TfliteInterface& branch = expect_subgraph(option(field, 4, 0));
      if (branch.input_count + 1 != operation_.inputs.size() || branch.output_count != operation_.outputs.size()) {
        refuse("subgraph ", option(field, 4, 0), " has ", branch.input_count, " inputs and ", branch.output_count,
               " outputs");
      }
    }
  }
  void call_while() {
    const TfliteInterface& condition = expect_subgraph(option(0, 4, 0));
    const TfliteInterface& body = expect_subgraph(option(1, 4, 0));
    const uint32_t count = operation_.inputs.size();
    if (condition.input_count != count || condition.output_count != 1) {
      refuse("condition has ", condition.input_count, " inputs and ", condition.output_count, " outputs, expected ",
             count, " and 1");
    }
    if (body.input_count != count || body.output_count != count || operation_.outputs.size() != count) {
      refuse("body has ", body.input_count, " inputs and ", body.output_count, " outputs, expected ", count,
             " of each");
    }
  }
  void call_once() { expect_subgraph(option(0, 4, 0)); }

 private:
  using Dims = std::optional<Shape>;  // nothing: not even the rank is known

  struct Window {
    int64_t padding, stride_w, stride_h, dilation_w, dilation_h;
  };

  // No dimension of a tensor that fits into memory is larger.
  static constexpr int64_t kMaxDim = INT32_MAX;

  static bool known(int64_t dim) { return dim >= 0; }

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw Error(Code::malformed_model, text(operation_), ": ", parts...);
  }
  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... parts) const {
    throw Error(Code::unsupported_model, text(operation_), ": ", parts...);
  }

  const TfliteValue* find_input(uint32_t index) const {
    if (index >= operation_.inputs.size() || operation_.inputs[index] < 0) return nullptr;
    return &tensors_[static_cast<size_t>(operation_.inputs[index])];
  }
  const TfliteValue& output(uint32_t index) const { return tensors_[static_cast<size_t>(operation_.outputs[index])]; }
  TfliteType type(uint32_t index) const { return find_input(index)->type; }

  Dims shape(uint32_t index) const {
    const TfliteValue* value = find_input(index);
    if (value == nullptr || !value->has_shape) return std::nullopt;
    return value->shape;
  }
  Dims output_shape(uint32_t index) const {
    if (!output(index).has_shape) return std::nullopt;
    return output(index).shape;
  }

  bool is_quantized() const {
    return type(0) == TfliteType::int8 || type(0) == TfliteType::uint8 || type(0) == TfliteType::int16;
  }
  double expect_scale(std::string_view what, const TfliteValue* value) const {
    if (value->scales.empty()) refuse(what, " of type ", name(value->type), " without a scale");
    return value->scales[0];
  }

  const FlatTable& options() const { return operation_.options; }
  // An integer option of `width` bytes.
  int64_t option(uint32_t field, uint32_t width, int64_t otherwise) const {
    if (width == 1) return options().scalar<int8_t>(field, static_cast<int8_t>(otherwise));
    return options().scalar<int32_t>(field, static_cast<int32_t>(otherwise));
  }

  void expect_count(std::string_view what, uint32_t count, int32_t min, int32_t max) const {
    const auto got = static_cast<int64_t>(count);
    if (got < min || (max != kAnyCount && got > max)) {
      if (min == max) refuse(count, " ", what, ", expected ", min);
      if (max == kAnyCount) refuse(count, " ", what, ", expected at least ", min);
      refuse(count, " ", what, ", expected ", min, " to ", max);
    }
  }

  // The integers of a small constant input, or nothing when they are known only at run time.
  std::optional<std::vector<int64_t>> constant_ints(uint32_t index) const {
    constexpr size_t kMaxCount = 1024;
    const TfliteValue* value = find_input(index);
    if (value == nullptr || !value->is_constant) return std::nullopt;
    const bool is_wide = value->type == TfliteType::int64;
    if (!is_wide && value->type != TfliteType::int32) {
      if (value->type == TfliteType::int16) return std::nullopt;  // paddings may be; read at run time
      refuse("input ", index, " of type ", name(value->type), ", expected int32 or int64");
    }
    const size_t count = value->data.size() / (is_wide ? 8 : 4);
    if (count > kMaxCount) refuse("input ", index, " has ", count, " elements, expected at most ", kMaxCount);
    std::vector<int64_t> ints(count);
    for (size_t i = 0; i < count; ++i) ints[i] = integer(*value, i, is_wide);
    return ints;
  }
  static int64_t integer(const TfliteValue& value, size_t index, bool is_wide) {
    return is_wide ? try_read<int64_t>(value.data, 8 * index).value_or(0)
                   : try_read<int32_t>(value.data, 4 * index).value_or(0);
  }

  // Every element of a constant input names one of `count` places.
  void expect_indices(uint32_t index, int64_t count) const {
    const TfliteValue* value = find_input(index);
    if (value == nullptr || !value->is_constant || !known(count)) return;
    const bool is_wide = value->type == TfliteType::int64;
    if (!is_wide && value->type != TfliteType::int32) return;
    const size_t elements = value->data.size() / (is_wide ? 8 : 4);
    for (size_t i = 0; i < elements; ++i) {
      const int64_t at = integer(*value, i, is_wide);
      if (at < 0 || at >= count) refuse("index ", i, " is ", at, ", expected 0 to ", count - 1);
    }
  }

  // Every row of `width` elements of a constant input names a place in the first `width` dimensions of `bounds`.
  void expect_rows(uint32_t index, int64_t width, const Shape& bounds) const {
    if (!known(width)) return;
    if (width < 1 || static_cast<size_t>(width) > bounds.rank()) {
      refuse("rows of ", width, " indices into ", text(bounds), ", expected 1 to ", bounds.rank());
    }
    const TfliteValue* value = find_input(index);
    const bool is_wide = value->type == TfliteType::int64;
    if (!value->is_constant || (!is_wide && value->type != TfliteType::int32)) return;
    const size_t elements = value->data.size() / (is_wide ? 8 : 4);
    for (size_t i = 0; i < elements; ++i) {
      const int64_t at = integer(*value, i, is_wide);
      const int64_t count = bounds[i % static_cast<size_t>(width)];
      if (known(count) && (at < 0 || at >= count)) refuse("index ", i, " is ", at, ", expected 0 to ", count - 1);
    }
  }

  Dims expect_rank(uint32_t index, size_t rank) const {
    const Dims dims = shape(index);
    if (dims && dims->rank() != rank) refuse("input ", index, " ", text(*dims), ", expected rank ", rank);
    return dims;
  }
  void expect_same_type(uint32_t index) const { expect_type(index, type(0)); }
  void expect_type(uint32_t index, TfliteType expected) const {
    if (output(index).type != expected) {
      refuse("output ", index, " of type ", name(output(index).type), ", expected ", name(expected));
    }
  }

  size_t expect_axis(std::string_view what, int64_t axis, size_t rank) const {
    const auto limit = static_cast<int64_t>(rank);
    if (axis < -limit || axis >= limit) refuse(what, " ", axis, ", expected ", -limit, " to ", limit - 1);
    return static_cast<size_t>(axis < 0 ? axis + limit : axis);
  }
  void expect_enum(std::string_view what, int64_t value, int64_t last) const {
    if (value < 0 || value > last) refuse(what, " ", value, ", expected 0 to ", last);
  }
  void expect_activation(uint32_t field) const { expect_enum("fused_activation_function", option(field, 1, 0), 5); }
  void expect_amount(std::string_view what, int64_t value) const {
    if (value < 0 || value > kMaxDim) refuse(what, " has an element ", value, ", expected 0 to ", kMaxDim);
  }
  int64_t expect_block(int64_t block) const {
    if (block < 1 || block > 32768) refuse("block size ", block, ", expected 1 to 32768");
    return block;
  }
  void expect_positive_dims(std::string_view what, const Shape& dims) const {
    for (const int64_t dim : dims) {
      if (dim < 1) refuse(what, " ", text(dims), ", expected positive dimensions");
    }
  }
  void expect_window(const Window& window) const {
    expect_enum("padding", window.padding, 1);
    if (window.stride_h < 1 || window.stride_w < 1) {
      refuse("strides ", window.stride_h, " x ", window.stride_w, ", expected positive numbers");
    }
    if (window.dilation_h < 1 || window.dilation_w < 1) {
      refuse("dilations ", window.dilation_h, " x ", window.dilation_w, ", expected positive numbers");
    }
  }
  // Places a window can take along one dimension.
  int64_t window_out(int64_t dim, int64_t size, int64_t stride, int64_t dilation, int64_t padding) const {
    if (!known(dim)) return -1;
    const int64_t reach = (size - 1) * dilation + 1;
    const int64_t out = padding == 0 ? (dim + stride - 1) / stride : dim < reach ? 0 : (dim - reach) / stride + 1;
    if (out < 1) refuse("a window of ", reach, " does not fit into ", dim, " elements");
    return out;
  }
  void expect_bias(uint32_t index, int64_t channels) const {
    const Dims bias = shape(index);
    const std::optional<int64_t> elements = bias ? element_count(*bias) : std::nullopt;
    if (elements && *elements != channels) refuse("bias ", text(*bias), ", expected ", channels, " elements");
  }
  void expect_channel_scales(uint32_t index, int32_t dimension, int64_t channels) const {
    const TfliteValue* value = find_input(index);
    if (value->scales.size() > 1 && (value->quantized_dimension != dimension || value->scales.size() != channels)) {
      refuse("input ", index, " has ", value->scales.size(), " scales along dimension ", value->quantized_dimension,
             ", expected ", channels, " along ", dimension);
    }
  }
  const TfliteInterface& expect_subgraph(int64_t index) const {
    if (index < 0 || static_cast<size_t>(index) >= subgraphs_.size()) {
      refuse("subgraph ", index, ", but the model has ", subgraphs_.size());
    }
    // Converters write a caller before what it calls; the other way lies endless recursion.
    if (static_cast<size_t>(index) <= operation_.subgraph_index) refuse("subgraph ", index, " calls itself");
    return subgraphs_[static_cast<size_t>(index)];
  }

  static bool agree(const Shape& a, const Shape& b) {
    if (a.rank() != b.rank()) return false;
    for (size_t i = 0; i < a.rank(); ++i) {
      if (known(a[i]) && known(b[i]) && a[i] != b[i]) return false;
    }
    return true;
  }
  void expect_output(uint32_t index, const Dims& expected) const {
    const Dims got = output_shape(index);
    if (expected && got && !agree(*got, *expected)) {
      refuse("output ", index, " ", text(*got), ", expected ", text(*expected));
    }
  }
  void expect_same_elements() const {
    const Dims input = shape(0);
    const Dims got = output_shape(0);
    if (!input || !got) return;
    const auto from = element_count(*input);
    const auto to = element_count(*got);
    if (from && to && *from != *to) refuse("input ", text(*input), " and output ", text(*got), " differ in elements");
  }
  Dims dims_of(std::string_view what, const std::vector<int64_t>& ints) const {
    if (ints.size() > Shape::kMaxRank)
      refuse(what, " has ", ints.size(), " elements, expected at most ", Shape::kMaxRank);
    for (const int64_t dim : ints) expect_amount(what, dim);
    return Shape(std::span<const int64_t>(ints));
  }
  Dims broadcast(const Dims& a, const Dims& b) const {
    if (!a || !b) return std::nullopt;
    const Shape& longer = a->rank() >= b->rank() ? *a : *b;
    const Shape& shorter = a->rank() >= b->rank() ? *b : *a;
    Shape result = longer;
    const size_t skip = longer.rank() - shorter.rank();
    for (size_t i = 0; i < shorter.rank(); ++i) {
      int64_t& dim = result[skip + i];
      const int64_t other = shorter[i];
      if (dim == 1) {
        dim = other;
      } else if (!known(dim)) {
        dim = other > 1 ? other : -1;
      } else if (known(other) && other != 1 && other != dim) {
        refuse("shapes ", text(*a), " and ", text(*b), " do not broadcast");
      }
    }
    return result;
  }
  int64_t multiplied(int64_t a, int64_t b) const {
    const auto result = checked_multiply(a, b);
    if (!result || *result > (int64_t{1} << 40)) refuse("a shape of more than 2^40 elements");
    return *result;
  }
  int64_t scaled(int64_t dim, int64_t factor) const { return known(dim) ? multiplied(dim, factor) : -1; }
  std::optional<int64_t> element_count(const Shape& dims) const {
    int64_t count = 1;
    for (const int64_t dim : dims) {
      if (!known(dim)) return std::nullopt;
      count = multiplied(count, dim);
    }
    return count;
  }

  const TfliteOperator& operation_;
  std::span<const TfliteValue> tensors_;
  std::span<const TfliteInterface> subgraphs_;
};

// By the number of the builtin operator.
constexpr Rule kRules[] = {
    rule("ADD", reads(11), exactly(2), exactly(1), &Check::sum),
    rule("AVERAGE_POOL_2D", needs(5), exactly(1), exactly(1), &Check::pool_2d),
    rule("CONCATENATION", needs(10), at_least(1), exactly(1), &Check::concatenation),
    rule("CONV_2D", needs(1), from(2, 3), exactly(1), &Check::conv_2d, input_bit(2)),
    rule("DEPTHWISE_CONV_2D", needs(2), exactly(3), exactly(1), &Check::depthwise_conv_2d, input_bit(2)),
    rule("DEPTH_TO_SPACE", needs(94), exactly(1), exactly(1), &Check::depth_to_space),
    rule("DEQUANTIZE", no_options(), exactly(1), exactly(1), &Check::converting),
    rule("EMBEDDING_LOOKUP", no_options(), exactly(2), exactly(1), &Check::embedding_lookup),
    rule("FLOOR", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("FULLY_CONNECTED", needs(8), from(2, 3), from(1, 2), &Check::fully_connected, input_bit(2)),
    rule("HASHTABLE_LOOKUP", no_options(), exactly(3), exactly(2)),
    rule("L2_NORMALIZATION", reads(12), exactly(1), exactly(1), &Check::unary),
    rule("L2_POOL_2D", needs(5), exactly(1), exactly(1), &Check::pool_2d),
    rule("LOCAL_RESPONSE_NORMALIZATION", needs(13), exactly(1), exactly(1), &Check::response_normalization),
    rule("LOGISTIC", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("LSH_PROJECTION", needs(4), from(2, 3), exactly(1), nullptr, input_bit(2)),
    rule("LSTM", needs(14), from(5, 24), from(1, 4), nullptr, ~kNone),
    rule("MAX_POOL_2D", needs(5), exactly(1), exactly(1), &Check::pool_2d),
    rule("MUL", reads(21), exactly(2), exactly(1), &Check::product),
    rule("RELU", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("RELU_N1_TO_1", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("RELU6", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("RESHAPE", reads(17), from(1, 2), exactly(1), &Check::reshape),
    rule("RESIZE_BILINEAR", reads(15), exactly(2), exactly(1), &Check::resize_image),
    rule("RNN", needs(7), exactly(5), exactly(1)),
    rule("SOFTMAX", needs(9), exactly(1), exactly(1), &Check::softmax),
    rule("SPACE_TO_DEPTH", needs(19), exactly(1), exactly(1), &Check::space_to_depth),
    rule("SVDF", needs(6), exactly(5), exactly(1), nullptr, input_bit(3)),
    rule("TANH", no_options(), exactly(1), exactly(1), &Check::unary),
    named("CONCAT_EMBEDDINGS"),
    named("SKIP_GRAM"),
    rule("CALL", needs(16), at_least(0), at_least(0), &Check::call_once),
    named("CUSTOM"),
    named("EMBEDDING_LOOKUP_SPARSE"),
    rule("PAD", no_options(), exactly(2), exactly(1), &Check::pad),
    rule("UNIDIRECTIONAL_SEQUENCE_RNN", needs(31), exactly(5), exactly(1)),
    rule("GATHER", reads(23), exactly(2), exactly(1), &Check::gather),
    rule("BATCH_TO_SPACE_ND", no_options(), exactly(3), exactly(1), &Check::blocks_nd),
    rule("SPACE_TO_BATCH_ND", no_options(), exactly(3), exactly(1), &Check::blocks_nd),
    rule("TRANSPOSE", no_options(), exactly(2), exactly(1), &Check::transpose),
    rule("MEAN", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("SUB", reads(28), exactly(2), exactly(1), &Check::sum),
    rule("DIV", reads(29), exactly(2), exactly(1), &Check::binary),
    rule("SQUEEZE", reads(30), exactly(1), exactly(1), &Check::squeeze),
    rule("UNIDIRECTIONAL_SEQUENCE_LSTM", needs(71), from(20, 24), exactly(1), nullptr, ~kNone),
    rule("STRIDED_SLICE", needs(32), exactly(4), exactly(1), &Check::strided_slice),
    rule("BIDIRECTIONAL_SEQUENCE_RNN", needs(70), exactly(12), from(1, 2), nullptr, ~kNone),
    rule("EXP", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("TOPK_V2", no_options(), exactly(2), exactly(2), &Check::top_k),
    rule("SPLIT", needs(35), exactly(2), at_least(1), &Check::split),
    rule("LOG_SOFTMAX", no_options(), exactly(1), exactly(1), &Check::log_softmax),
    named("DELEGATE"),
    rule("BIDIRECTIONAL_SEQUENCE_LSTM", needs(69), from(39, 48), from(1, 2), nullptr, ~kNone),
    rule("CAST", reads(37), exactly(1), exactly(1), &Check::converting),
    rule("PRELU", no_options(), exactly(2), exactly(1), &Check::prelu),
    rule("MAXIMUM", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("ARG_MAX", needs(40), exactly(2), exactly(1), &Check::arg_extreme),
    rule("MINIMUM", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("LESS", no_options(), exactly(2), exactly(1), &Check::comparison),
    rule("NEG", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("PADV2", no_options(), exactly(3), exactly(1), &Check::pad),
    rule("GREATER", no_options(), exactly(2), exactly(1), &Check::comparison),
    rule("GREATER_EQUAL", no_options(), exactly(2), exactly(1), &Check::comparison),
    rule("LESS_EQUAL", no_options(), exactly(2), exactly(1), &Check::comparison),
    rule("SELECT", no_options(), exactly(3), exactly(1), &Check::select_old),
    rule("SLICE", no_options(), exactly(3), exactly(1), &Check::slice),
    rule("SIN", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("TRANSPOSE_CONV", needs(49), from(3, 4), exactly(1), &Check::transpose_conv, input_bit(3)),
    rule("SPARSE_TO_DENSE", reads(50), exactly(4), exactly(1), &Check::sparse_to_dense),
    rule("TILE", no_options(), exactly(2), exactly(1), &Check::tile),
    rule("EXPAND_DIMS", no_options(), exactly(2), exactly(1), &Check::expand_dims),
    rule("EQUAL", no_options(), exactly(2), exactly(1), &Check::comparison),
    rule("NOT_EQUAL", no_options(), exactly(2), exactly(1), &Check::comparison),
    rule("LOG", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("SUM", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("SQRT", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("RSQRT", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("SHAPE", reads(55), exactly(1), exactly(1)),
    rule("POW", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("ARG_MIN", needs(57), exactly(2), exactly(1), &Check::arg_extreme),
    rule("FAKE_QUANT", needs(58), exactly(1), exactly(1), &Check::unary),
    rule("REDUCE_PROD", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("REDUCE_MAX", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("PACK", needs(59), at_least(1), exactly(1), &Check::pack),
    rule("LOGICAL_OR", no_options(), exactly(2), exactly(1), &Check::predicate),
    rule("ONE_HOT", needs(61), exactly(4), exactly(1), &Check::one_hot),
    rule("LOGICAL_AND", no_options(), exactly(2), exactly(1), &Check::predicate),
    rule("LOGICAL_NOT", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("UNPACK", needs(64), exactly(1), at_least(1), &Check::unpack),
    rule("REDUCE_MIN", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("FLOOR_DIV", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("REDUCE_ANY", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("SQUARE", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("ZEROS_LIKE", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("FILL", no_options(), exactly(2), exactly(1), &Check::fill),
    rule("FLOOR_MOD", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("RANGE", no_options(), exactly(3), exactly(1), &Check::like_first),
    rule("RESIZE_NEAREST_NEIGHBOR", reads(74), exactly(2), exactly(1), &Check::resize_image),
    rule("LEAKY_RELU", needs(75), exactly(1), exactly(1), &Check::leaky_relu),
    rule("SQUARED_DIFFERENCE", no_options(), exactly(2), exactly(1), &Check::squared_difference),
    rule("MIRROR_PAD", needs(77), exactly(2), exactly(1), &Check::mirror_pad),
    rule("ABS", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("SPLIT_V", needs(79), exactly(3), at_least(1), &Check::split_v),
    rule("UNIQUE", needs(80), exactly(1), exactly(2)),
    rule("CEIL", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("REVERSE_V2", no_options(), exactly(2), exactly(1), &Check::reverse),
    rule("ADD_N", no_options(), at_least(2), exactly(1), &Check::like_first),
    rule("GATHER_ND", no_options(), exactly(2), exactly(1), &Check::gather_nd),
    rule("COS", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("WHERE", no_options(), exactly(1), exactly(1)),
    rule("RANK", no_options(), exactly(1), exactly(1)),
    rule("ELU", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("REVERSE_SEQUENCE", needs(87), exactly(2), exactly(1), &Check::reverse_sequence),
    rule("MATRIX_DIAG", no_options(), exactly(1), exactly(1), &Check::like_first),
    rule("QUANTIZE", no_options(), exactly(1), exactly(1), &Check::converting),
    rule("MATRIX_SET_DIAG", no_options(), exactly(2), exactly(1), &Check::like_first),
    rule("ROUND", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("HARD_SWISH", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("IF", needs(92), at_least(1), at_least(0), &Check::call_if),
    rule("WHILE", needs(93), at_least(0), at_least(0), &Check::call_while),
    rule("NON_MAX_SUPPRESSION_V4", no_options(), exactly(5), exactly(2)),
    rule("NON_MAX_SUPPRESSION_V5", no_options(), exactly(6), exactly(3)),
    rule("SCATTER_ND", no_options(), exactly(3), exactly(1), &Check::scatter_nd),
    rule("SELECT_V2", no_options(), exactly(3), exactly(1), &Check::select),
    rule("DENSIFY", no_options(), exactly(1), exactly(1)),
    rule("SEGMENT_SUM", no_options(), exactly(2), exactly(1), &Check::like_first),
    rule("BATCH_MATMUL", reads(101), exactly(2), exactly(1), &Check::batch_matmul),
    named("PLACEHOLDER_FOR_GREATER_OP_CODES"),
    rule("CUMSUM", reads(102), exactly(2), exactly(1), &Check::cumsum),
    rule("CALL_ONCE", needs(103), exactly(0), exactly(0), &Check::call_once),
    rule("BROADCAST_TO", no_options(), exactly(2), exactly(1), &Check::broadcast_to),
    rule("RFFT2D", no_options(), exactly(2), exactly(1)),
    rule("CONV_3D", needs(106), from(2, 3), exactly(1), nullptr, input_bit(2)),
    rule("IMAG", no_options(), exactly(1), exactly(1), &Check::converting),
    rule("REAL", no_options(), exactly(1), exactly(1), &Check::converting),
    rule("COMPLEX_ABS", no_options(), exactly(1), exactly(1), &Check::converting),
    rule("HASHTABLE", needs(107), exactly(0), exactly(1)),
    rule("HASHTABLE_FIND", no_options(), exactly(3), exactly(1)),
    rule("HASHTABLE_IMPORT", no_options(), exactly(3), exactly(0)),
    rule("HASHTABLE_SIZE", no_options(), exactly(1), exactly(1)),
    rule("REDUCE_ALL", reads(27), exactly(2), exactly(1), &Check::reduce),
    rule("CONV_3D_TRANSPOSE", needs(106), from(3, 4), exactly(1), nullptr, input_bit(3)),
    rule("VAR_HANDLE", needs(111), exactly(0), exactly(1)),
    rule("READ_VARIABLE", no_options(), exactly(1), exactly(1)),
    rule("ASSIGN_VARIABLE", no_options(), exactly(2), exactly(0)),
    rule("BROADCAST_ARGS", no_options(), exactly(2), exactly(1), &Check::broadcast_args),
    rule("RANDOM_STANDARD_NORMAL", reads(114), exactly(1), exactly(1)),
    rule("BUCKETIZE", needs(115), exactly(1), exactly(1), &Check::converting),
    rule("RANDOM_UNIFORM", reads(114), exactly(1), exactly(1)),
    rule("MULTINOMIAL", reads(114), exactly(2), exactly(1)),
    rule("GELU", reads(116), exactly(1), exactly(1), &Check::unary),
    rule("DYNAMIC_UPDATE_SLICE", no_options(), exactly(3), exactly(1), &Check::like_first),
    rule("RELU_0_TO_1", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("UNSORTED_SEGMENT_PROD", no_options(), exactly(3), exactly(1), &Check::like_first),
    rule("UNSORTED_SEGMENT_MAX", no_options(), exactly(3), exactly(1), &Check::like_first),
    rule("UNSORTED_SEGMENT_SUM", no_options(), exactly(3), exactly(1), &Check::like_first),
    rule("ATAN2", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("UNSORTED_SEGMENT_MIN", no_options(), exactly(3), exactly(1), &Check::like_first),
    rule("SIGN", no_options(), exactly(1), exactly(1), &Check::unary),
    rule("BITCAST", no_options(), exactly(1), exactly(1)),
    rule("BITWISE_XOR", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    rule("RIGHT_SHIFT", no_options(), exactly(2), exactly(1), &Check::binary_plain),
    named("STABLEHLO_LOGISTIC"),
    named("STABLEHLO_ADD"),
    named("STABLEHLO_DIVIDE"),
    named("STABLEHLO_MULTIPLY"),
    named("STABLEHLO_MAXIMUM"),
    named("STABLEHLO_RESHAPE"),
    named("STABLEHLO_CLAMP"),
    named("STABLEHLO_CONCATENATE"),
    named("STABLEHLO_BROADCAST_IN_DIM"),
    named("STABLEHLO_CONVOLUTION"),
    named("STABLEHLO_SLICE"),
    named("STABLEHLO_CUSTOM_CALL"),
    named("STABLEHLO_REDUCE"),
    named("STABLEHLO_ABS"),
    named("STABLEHLO_AND"),
    named("STABLEHLO_COSINE"),
    named("STABLEHLO_EXPONENTIAL"),
    named("STABLEHLO_FLOOR"),
    named("STABLEHLO_LOG"),
    named("STABLEHLO_MINIMUM"),
    named("STABLEHLO_NEGATE"),
    named("STABLEHLO_OR"),
    named("STABLEHLO_POWER"),
    named("STABLEHLO_REMAINDER"),
    named("STABLEHLO_RSQRT"),
    named("STABLEHLO_SELECT"),
    named("STABLEHLO_SUBTRACT"),
    named("STABLEHLO_TANH"),
    named("STABLEHLO_SCATTER"),
    named("STABLEHLO_COMPARE"),
    named("STABLEHLO_CONVERT"),
    named("STABLEHLO_DYNAMIC_SLICE"),
    named("STABLEHLO_DYNAMIC_UPDATE_SLICE"),
    named("STABLEHLO_PAD"),
    named("STABLEHLO_IOTA"),
    named("STABLEHLO_DOT_GENERAL"),
    named("STABLEHLO_REDUCE_WINDOW"),
    named("STABLEHLO_SORT"),
    named("STABLEHLO_WHILE"),
    named("STABLEHLO_GATHER"),
    named("STABLEHLO_TRANSPOSE"),
    rule("DILATE", no_options(), exactly(3), exactly(1), &Check::like_first),
    named("STABLEHLO_RNG_BIT_GENERATOR"),
    named("REDUCE_WINDOW"),
    named("STABLEHLO_COMPOSITE"),
    named("STABLEHLO_SHIFT_LEFT"),
    named("STABLEHLO_CBRT"),
    named("STABLEHLO_CASE"),
};

const Rule* find_rule(int32_t code) {
  if (code < 0 || static_cast<size_t>(code) >= std::size(kRules)) return nullptr;
  return &kRules[code];
}

}  // namespace

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

std::string text(const TfliteOperator& operation) {
  const Rule* rule = find_rule(operation.code);
  std::string text =
      "subgraph " + std::to_string(operation.subgraph_index) + ", operator " + std::to_string(operation.index) + " (";
  text += rule != nullptr ? std::string(rule->name) : "operator code " + std::to_string(operation.code);
  return text + ")";
}

bool is_optional_input(const TfliteOperator& operation, uint32_t index) {
  const Rule* rule = find_rule(operation.code);
  if (rule == nullptr) return true;
  return index < 64 && (rule->optional_inputs & input_bit(index)) != 0;
}

void check_operator(const TfliteOperator& operation, std::span<const TfliteValue> tensors,
                    std::span<const TfliteInterface> subgraphs) {
  const Rule* rule = find_rule(operation.code);
  if (rule == nullptr) return;
  Check check(operation, tensors, subgraphs);
  check.counts_and_options(*rule);
  if (rule->check != nullptr) (check.*rule->check)();
}

}  // namespace edgeward
