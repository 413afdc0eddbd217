#include "model_files/tflite_layers.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <vector>

namespace edgeward::tflite_layers {

using Dims = TfliteCheck::Dims;

namespace {

struct Window {
  int64_t padding, stride_w, stride_h, dilation_w, dilation_h;
};

void expect_window(const TfliteCheck& check, const Window& window) {
  check.expect_enum("padding", window.padding, 1);
  if (window.stride_h < 1 || window.stride_w < 1) {
    check.refuse("strides ", window.stride_h, " x ", window.stride_w, ", expected positive numbers");
  }
  if (window.dilation_h < 1 || window.dilation_w < 1) {
    check.refuse("dilations ", window.dilation_h, " x ", window.dilation_w, ", expected positive numbers");
  }
}

// How many positions a window has along one dimension.
int64_t window_out(const TfliteCheck& check, int64_t dim, int64_t size, int64_t stride, int64_t dilation,
                   int64_t padding) {
  if (!is_known(dim)) return -1;
  const int64_t reach = (size - 1) * dilation + 1;
  const int64_t out = padding == 0 ? (dim + stride - 1) / stride : dim < reach ? 0 : (dim - reach) / stride + 1;
  if (out < 1) check.refuse("a window of ", reach, " does not fit into ", dim, " elements");
  return out;
}

void expect_bias(const TfliteCheck& check, uint32_t index, int64_t channels) {
  const Dims bias = check.shape(index);
  const std::optional<int64_t> elements = bias ? check.element_count(*bias) : std::nullopt;
  if (elements && *elements != channels) check.refuse("bias ", text(*bias), ", expected ", channels, " elements");
}

void expect_channel_scales(const TfliteCheck& check, uint32_t index, int32_t dimension, int64_t channels) {
  const TfliteValue* value = check.find_input(index);
  if (value->scales.size() > 1 && (value->quantized_dimension != dimension || value->scales.size() != channels)) {
    check.refuse("input ", index, " has ", value->scales.size(), " scales along dimension ", value->quantized_dimension,
                 ", expected ", channels, " along ", dimension);
  }
}

}  // namespace

void conv_2d(const TfliteCheck& check) {
  const Dims input = check.expect_rank(0, 4);
  const Dims filter = check.expect_rank(1, 4);
  check.expect_multiplier(0, 1);
  const Window window{check.option(0, 1, 0), check.option(1, 4, 0), check.option(2, 4, 0), check.option(4, 4, 1),
                      check.option(5, 4, 1)};
  expect_window(check, window);
  check.expect_enum("fused_activation_function", check.option(3, 1, 0), 5);
  if (!filter) return;
  check.expect_positive_dims("filter", *filter);
  if (input && is_known((*input)[3]) && ((*input)[3] < (*filter)[3] || (*input)[3] % (*filter)[3] != 0)) {
    check.refuse("input ", text(*input), " has ", (*input)[3], " channels, expected a multiple of the filter's ",
                 (*filter)[3]);
  }
  if (input && is_known((*input)[3]) && (*filter)[0] % ((*input)[3] / (*filter)[3]) != 0) {
    check.refuse("filter ", text(*filter), " does not divide into ", (*input)[3] / (*filter)[3], " groups");
  }
  expect_bias(check, 2, (*filter)[0]);
  expect_channel_scales(check, 1, 0, (*filter)[0]);
  if (input) {
    check.expect_output(
        0, Shape{(*input)[0],
                 window_out(check, (*input)[1], (*filter)[1], window.stride_h, window.dilation_h, window.padding),
                 window_out(check, (*input)[2], (*filter)[2], window.stride_w, window.dilation_w, window.padding),
                 (*filter)[0]});
  }
}

namespace {

// The kernel of floats by int8 weights reads a scale and a bias for each channel, of however many there are.
void expect_hybrid(const TfliteCheck& check, int64_t channels) {
  if (check.find_input(1)->scales.size() != channels) {
    check.unsupported("float32 by int8 weights with ", check.find_input(1)->scales.size(), " scales, expected ",
                      channels, ", one for each channel");
  }
  if (check.find_input(2) == nullptr) check.unsupported("float32 by int8 weights without a bias, expected one");
}

}  // namespace

void depthwise_conv_2d(const TfliteCheck& check) {
  const Dims input = check.expect_rank(0, 4);
  const Dims filter = check.expect_rank(1, 4);
  check.expect_multiplier(0, 1);
  const Window window{check.option(0, 1, 0), check.option(1, 4, 0), check.option(2, 4, 0), check.option(5, 4, 1),
                      check.option(6, 4, 1)};
  expect_window(check, window);
  check.expect_enum("fused_activation_function", check.option(4, 1, 0), 5);
  if (!filter) return;
  check.expect_positive_dims("filter", *filter);
  if ((*filter)[0] != 1) check.refuse("filter ", text(*filter), ", expected [1, height, width, channels]");
  if (input && is_known((*input)[3]) && ((*input)[3] == 0 || (*filter)[3] % (*input)[3] != 0)) {
    check.refuse("filter ", text(*filter), ", expected a multiple of the input's ", (*input)[3], " channels");
  }
  expect_bias(check, 2, (*filter)[3]);
  expect_channel_scales(check, 1, 3, (*filter)[3]);
  if (check.type(0) == TfliteType::float32 && check.type(1) == TfliteType::int8) expect_hybrid(check, (*filter)[3]);
  if (input) {
    check.expect_output(
        0, Shape{(*input)[0],
                 window_out(check, (*input)[1], (*filter)[1], window.stride_h, window.dilation_h, window.padding),
                 window_out(check, (*input)[2], (*filter)[2], window.stride_w, window.dilation_w, window.padding),
                 (*filter)[3]});
  }
}

void transpose_conv(const TfliteCheck& check) {
  const Dims filter = check.expect_rank(1, 4);
  const Dims input = check.expect_rank(2, 4);
  check.expect_multiplier(2, 1);
  const int64_t padding = check.option(0, 1, 0);
  const int64_t stride_w = check.option(1, 4, 0);
  const int64_t stride_h = check.option(2, 4, 0);
  expect_window(check, {padding, stride_w, stride_h, 1, 1});
  check.expect_enum("fused_activation_function", check.option(3, 1, 0), 5);
  if (!filter) return;
  check.expect_positive_dims("filter", *filter);
  if (input && is_known((*input)[3]) && (*input)[3] != (*filter)[3]) {
    check.refuse("input ", text(*input), " has ", (*input)[3], " channels, expected the filter's ", (*filter)[3]);
  }
  expect_bias(check, 3, (*filter)[0]);
  expect_channel_scales(check, 1, 0, (*filter)[0]);
  const auto size = check.constant_ints(0);
  if (!size) return;
  if (size->size() != 4) check.refuse("output_shape has ", size->size(), " elements, expected 4");
  const Dims output = check.dims_of("output_shape", *size);
  if ((*output)[3] != (*filter)[0])
    check.refuse("output_shape ", text(*output), ", expected ", (*filter)[0], " channels");
  if (input) {
    for (const size_t axis : {size_t{1}, size_t{2}}) {
      const int64_t back =
          window_out(check, (*output)[axis], (*filter)[axis], axis == 1 ? stride_h : stride_w, 1, padding);
      if (is_known((*input)[axis]) && back != (*input)[axis]) {
        check.refuse("output_shape ", text(*output), " does not lead back to input ", text(*input));
      }
    }
    if (is_known((*input)[0]) && (*input)[0] != (*output)[0]) {
      check.refuse("output_shape ", text(*output), ", expected the input's batch of ", (*input)[0]);
    }
  }
  check.expect_output(0, output);
}

namespace {

struct Steps {
  int64_t stride, dilation;
};

// Of depth, height and width.
std::vector<Steps> expect_steps_3d(const TfliteCheck& check) {
  check.expect_enum("padding", check.option(0, 1, 0), 1);
  check.expect_enum("fused_activation_function", check.option(4, 1, 0), 5);
  std::vector<Steps> steps = {{check.option(1, 4, 0), check.option(5, 4, 1)},
                              {check.option(3, 4, 0), check.option(7, 4, 1)},
                              {check.option(2, 4, 0), check.option(6, 4, 1)}};
  for (const Steps& step : steps) {
    if (step.stride < 1 || step.dilation < 1) {
      check.refuse("a stride of ", step.stride, " with a dilation of ", step.dilation, ", expected positive numbers");
    }
  }
  return steps;
}

void expect_floats(const TfliteCheck& check, std::initializer_list<uint32_t> inputs) {
  for (const uint32_t index : inputs) {
    const TfliteValue* value = check.find_input(index);
    if (value != nullptr && value->type != TfliteType::float32)
      check.refuse("input ", index, " of type ", name(value->type), ", expected float32");
  }
  check.expect_type(0, TfliteType::float32);
}

}  // namespace

void conv_3d(const TfliteCheck& check) {
  const Dims input = check.expect_rank(0, 5);
  const Dims filter = check.expect_rank(1, 5);
  expect_floats(check, {0, 1, 2});
  const std::vector<Steps> steps = expect_steps_3d(check);
  if (!filter) return;
  check.expect_positive_dims("filter", *filter);
  if (filter->is_dynamic()) return;
  expect_bias(check, 2, (*filter)[4]);
  if (!input) return;
  if (is_known((*input)[4]) && (*input)[4] != (*filter)[3])
    check.refuse("input ", text(*input), ", expected the filter's ", (*filter)[3], " channels");
  Shape output = *input;
  for (size_t i = 0; i < 3; ++i) {
    output[i + 1] =
        window_out(check, (*input)[i + 1], (*filter)[i], steps[i].stride, steps[i].dilation, check.option(0, 1, 0));
  }
  output[4] = (*filter)[4];
  check.expect_output(0, output);
}

void conv_3d_transpose(const TfliteCheck& check) {
  const Dims filter = check.expect_rank(1, 5);
  const Dims input = check.expect_rank(2, 5);
  expect_floats(check, {1, 2, 3});
  const std::vector<Steps> steps = expect_steps_3d(check);
  if (!filter) return;
  check.expect_positive_dims("filter", *filter);
  if (filter->is_dynamic()) return;
  expect_bias(check, 3, (*filter)[3]);
  if (input && is_known((*input)[4]) && (*input)[4] != (*filter)[4])
    check.refuse("input ", text(*input), ", expected the filter's ", (*filter)[4], " channels");
  const auto size = check.constant_ints(0);
  if (!size) return;
  if (size->size() != 5) check.refuse("output_shape has ", size->size(), " elements, expected 5");
  const Dims output = check.dims_of("output_shape", *size);
  if ((*output)[4] != (*filter)[3])
    check.refuse("output_shape ", text(*output), ", expected ", (*filter)[3], " channels");
  for (size_t i = 0; input && i < 3; ++i) {
    const int64_t back =
        window_out(check, (*output)[i + 1], (*filter)[i], steps[i].stride, steps[i].dilation, check.option(0, 1, 0));
    if (is_known((*input)[i + 1]) && back != (*input)[i + 1])
      check.refuse("output_shape ", text(*output), " does not lead back to input ", text(*input));
  }
  if (input && is_known((*input)[0]) && (*input)[0] != (*output)[0])
    check.refuse("output_shape ", text(*output), ", expected the input's batch of ", (*input)[0]);
  check.expect_output(0, output);
}

void pool_2d(const TfliteCheck& check) {
  const Dims input = check.expect_rank(0, 4);
  const Window window{check.option(0, 1, 0), check.option(1, 4, 0), check.option(2, 4, 0), 1, 1};
  expect_window(check, window);
  const int64_t width = check.option(3, 4, 0);
  const int64_t height = check.option(4, 4, 0);
  if (width < 1 || height < 1) check.refuse("filter ", height, " x ", width, ", expected positive numbers");
  check.expect_enum("fused_activation_function", check.option(5, 1, 0), 5);
  check.expect_same_type(0);
  if (!input) return;
  check.expect_output(0, Shape{(*input)[0], window_out(check, (*input)[1], height, window.stride_h, 1, window.padding),
                               window_out(check, (*input)[2], width, window.stride_w, 1, window.padding), (*input)[3]});
  // Padding wider than the image would leave windows without a single element to divide by.
  if ((is_known((*input)[1]) && height > (*input)[1] * 2 + window.stride_h * 2) ||
      (is_known((*input)[2]) && width > (*input)[2] * 2 + window.stride_w * 2)) {
    check.refuse("filter ", height, " x ", width, " on input ", text(*input));
  }
}

void fully_connected(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  const Dims weights = check.expect_rank(1, 2);
  check.expect_multiplier(0, 1);
  check.expect_enum("fused_activation_function", check.option(0, 1, 0), 5);
  if (check.option(1, 1, 0) != 0) check.unsupported("shuffled weights");
  const bool keeps_rank = check.option(2, 1, 0) != 0;
  if (!weights) return;
  check.expect_positive_dims("weights", *weights);
  const int64_t units = (*weights)[0];
  const int64_t depth = (*weights)[1];
  expect_bias(check, 2, units);
  expect_channel_scales(check, 1, 0, units);
  if (!input) return;
  if (input->rank() == 0) check.refuse("a scalar input");
  if (input->rank() == 2 && is_known((*input)[1]) && (*input)[1] != depth) {
    check.refuse("input ", text(*input), ", expected ", depth, " columns");
  }
  if (keeps_rank) {
    const int64_t last = (*input)[input->rank() - 1];
    if (is_known(last) && last != depth) check.refuse("input ", text(*input), ", expected a last dimension of ", depth);
    Shape output = *input;
    output[output.rank() - 1] = units;
    check.expect_output(0, output);
    return;
  }
  const std::optional<int64_t> elements = check.element_count(*input);
  if (elements && *elements % depth != 0)
    check.refuse("input ", text(*input), ", expected a multiple of ", depth, " elements");
  const int64_t rows = elements ? *elements / depth : -1;
  // Converters write the output both as [rows, units] and with the input's leading dimensions.
  const Dims output = check.output_shape(0);
  if (!output) return;
  const std::optional<int64_t> got = check.element_count(*output);
  if (output->rank() == 0 || (is_known((*output)[output->rank() - 1]) && (*output)[output->rank() - 1] != units) ||
      (got && rows >= 0 && *got != rows * units)) {
    check.refuse("output ", text(*output), ", expected ", text(Shape{rows, units}));
  }
}

void batch_matmul(const TfliteCheck& check) {
  check.expect_multiplier(0, 1);
  const Dims left = check.shape(0);
  const Dims right = check.shape(1);
  if (!left || !right) return;
  if (left->rank() < 2 || right->rank() < 2)
    check.refuse("inputs ", text(*left), " and ", text(*right), ", expected at least rank 2");
  const bool turns_left = check.option(0, 1, 0) != 0;
  const bool turns_right = check.option(1, 1, 0) != 0;
  const int64_t inner_left = (*left)[left->rank() - (turns_left ? 2 : 1)];
  const int64_t inner_right = (*right)[right->rank() - (turns_right ? 1 : 2)];
  if (is_known(inner_left) && is_known(inner_right) && inner_left != inner_right) {
    check.refuse("inputs ", text(*left), " and ", text(*right), " meet in ", inner_left, " and ", inner_right,
                 " elements");
  }
  const Dims batch = check.broadcast(Shape(std::span(left->data(), left->rank() - 2)),
                                     Shape(std::span(right->data(), right->rank() - 2)));
  std::vector<int64_t> output(batch->begin(), batch->end());
  output.push_back((*left)[left->rank() - (turns_left ? 1 : 2)]);
  output.push_back((*right)[right->rank() - (turns_right ? 2 : 1)]);
  check.expect_output(0, Shape(std::span<const int64_t>(output)));
}

void embedding_lookup(const TfliteCheck& check) {
  const Dims table = check.shape(1);
  if (table && table->rank() < 2) check.refuse("table ", text(*table), ", expected at least rank 2");
  // A quantized table may give floats; the kernel copies every other.
  if (check.output(0).type != TfliteType::float32 || check.find_input(1)->scales.empty())
    check.expect_type(0, check.type(1));
  check.expect_elements(1);
  if (table) check.expect_indices(0, (*table)[0]);
}

void resize_image(const TfliteCheck& check) {
  constexpr int64_t kMaxSide = (1 << 21) - 1;  // the kernels place pixels in 32 bits, 10 of them below the point
  const Dims input = check.expect_rank(0, 4);
  check.expect_same_type(0);
  check.expect_elements(0);
  if (input && std::max((*input)[1], (*input)[2]) > kMaxSide)
    check.refuse("input ", text(*input), " has a side above ", kMaxSide);
  const auto size = check.constant_ints(1);
  if (!size) return;
  if (size->size() != 2) check.refuse("size has ", size->size(), " elements, expected 2");
  for (const int64_t dim : *size) {
    if (dim < 1 || dim > kMaxSide) check.refuse("a size of ", dim, ", expected 1 to ", kMaxSide);
  }
  if (input) check.expect_output(0, Shape{(*input)[0], (*size)[0], (*size)[1], (*input)[3]});
}

}  // namespace edgeward::tflite_layers
