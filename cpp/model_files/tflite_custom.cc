#include "model_files/tflite_custom.h"

#include <iterator>

#include "model_files/flexbuffer.h"
#include "model_files/tflite_control_flow.h"

namespace edgeward::tflite_custom {
namespace {

// The most that an output whose size only the options give may need.
constexpr int64_t kMaxBytes = int64_t{2} << 30;
constexpr int64_t kMaxFrequencyWindow = int64_t{1} << 24;
constexpr int64_t kMaxFilters = int64_t{1} << 13;

struct Rule {
  std::string_view name;
  int32_t min_inputs;
  int32_t max_inputs;
  int32_t output_count;
  void (*check)(const TfliteCheck&);
};

constexpr std::string_view kAttention = "odml.scaled_dot_product_attention";

Flexbuffer options_of(const TfliteCheck& check) {
  return {check.operation().custom_options, check.where() + ": options"};
}

int64_t expect_option(const TfliteCheck& check, const Flexbuffer& options, std::string_view key, int64_t min,
                      int64_t max) {
  const int64_t value = options.integer(key);
  if (value < min || value > max) check.refuse(key, " ", value, ", expected ", min, " to ", max);
  return value;
}

void expect_input_type(const TfliteCheck& check, uint32_t index, TfliteType expected) {
  if (check.type(index) != expected) {
    check.refuse("input ", index, " of type ", name(check.type(index)), ", expected ", name(expected));
  }
}

void expect_memory(const TfliteCheck& check, const Shape& shape) {
  const std::optional<int64_t> elements = check.element_count(shape);
  if (elements && *elements > kMaxBytes / 4) check.refuse("an output of ", text(shape), " elements");
}

// Boxes [1, boxes, 4 or more], scores [1, boxes, classes, with or without a background], anchors [boxes, 4].
void expect_boxes(const TfliteCheck& check, int64_t class_count) {
  const TfliteCheck::Dims boxes = check.expect_rank(0, 3);
  const TfliteCheck::Dims scores = check.expect_rank(1, 3);
  const TfliteCheck::Dims anchors = check.expect_rank(2, 2);
  for (const uint32_t input : {0u, 1u}) {
    if (check.type(input) != TfliteType::float32) expect_input_type(check, input, TfliteType::uint8);
  }
  expect_input_type(check, 2, check.type(0));
  if (boxes && is_known((*boxes)[2]) && (*boxes)[2] < 4) check.refuse("boxes ", text(*boxes), ", expected 4 numbers");
  if (scores && is_known((*scores)[2]) && (*scores)[2] != class_count && (*scores)[2] != class_count + 1) {
    check.refuse("scores ", text(*scores), ", expected ", class_count, " classes");
  }
  // The kernel reads an anchor for each box.
  const std::optional<int64_t> numbers = anchors ? check.element_count(*anchors) : std::nullopt;
  if (boxes && numbers && *numbers < check.scaled((*boxes)[1], 4)) {
    check.refuse("anchors ", text(*anchors), " for boxes ", text(*boxes));
  }
  if (boxes && scores && !agrees(Shape{(*scores)[0], (*scores)[1]}, Shape{1, (*boxes)[1]})) {
    check.refuse("scores ", text(*scores), " for boxes ", text(*boxes));
  }
}

void detections(const TfliteCheck& check) {
  const Flexbuffer options = options_of(check);
  const int64_t max_detections = expect_option(check, options, "max_detections", 1, kMaxDim);
  const int64_t per_box = expect_option(check, options, "max_classes_per_detection", 1, kMaxDim);
  const int64_t class_count = expect_option(check, options, "num_classes", 1, kMaxDim);
  int64_t per_class = 100;
  if (options.has("detections_per_class"))
    per_class = expect_option(check, options, "detections_per_class", 0, kMaxDim);
  for (const std::string_view key :
       {"use_regular_nms", "nms_score_threshold", "nms_iou_threshold", "y_scale", "x_scale", "h_scale", "w_scale"}) {
    options.expect_number(key);
  }
  // Threads share the classes, and what they find is put together in memory for max_detections and those of one class.
  if (options.integer("use_regular_nms") != 0 && per_class < max_detections &&
      check.multiplied(class_count, per_class) > max_detections + per_class) {
    check.unsupported(per_class, " detections for each of ", class_count, " classes, expected at least ",
                      max_detections,
                      ", the most of all: the kernel writes past its memory where threads share the classes");
  }
  const int64_t rows = check.multiplied(max_detections, per_box);
  expect_memory(check, Shape{rows, 4});
  expect_boxes(check, class_count);
  const Shape outputs[] = {{1, rows, 4}, {1, rows}, {1, rows}, {1}};
  for (uint32_t i = 0; i < std::size(outputs); ++i) {
    check.set_type(i, TfliteType::float32);
    check.expect_output(i, outputs[i]);
  }
}

void spectrogram(const TfliteCheck& check) {
  const Flexbuffer options = options_of(check);
  const int64_t window = expect_option(check, options, "window_size", 2, kMaxFrequencyWindow);
  const int64_t stride = expect_option(check, options, "stride", 1, kMaxDim);
  options.expect_number("magnitude_squared");
  expect_input_type(check, 0, TfliteType::float32);
  check.expect_type(0, TfliteType::float32);
  const TfliteCheck::Dims samples = check.expect_rank(0, 2);
  if (!samples) return;
  int64_t transform = 2;
  while (transform < window) transform *= 2;
  int64_t rows = -1;
  if (is_known((*samples)[0])) rows = (*samples)[0] < window ? 0 : 1 + ((*samples)[0] - window) / stride;
  const Shape output{(*samples)[1], rows, 1 + transform / 2};
  expect_memory(check, output);
  check.expect_output(0, output);
}

void mel_coefficients(const TfliteCheck& check) {
  const Flexbuffer options = options_of(check);
  const int64_t filters = expect_option(check, options, "filterbank_channel_count", 1, kMaxFilters);
  const int64_t coefficients = expect_option(check, options, "dct_coefficient_count", 1, filters);
  const int64_t lowest = expect_option(check, options, "lower_frequency_limit", 0, kMaxDim);
  expect_option(check, options, "upper_frequency_limit", lowest + 1, kMaxDim);
  expect_input_type(check, 0, TfliteType::float32);
  expect_input_type(check, 1, TfliteType::int32);
  check.expect_type(0, TfliteType::float32);
  const TfliteCheck::Dims rate = check.shape(1);
  if (rate && check.element_count(*rate).value_or(1) != 1)
    check.refuse("a rate of shape ", text(*rate), ", expected 1");
  const TfliteCheck::Dims frames = check.expect_rank(0, 3);
  if (!frames) return;
  const Shape output{(*frames)[0], (*frames)[1], coefficients};
  expect_memory(check, output);
  check.expect_output(0, output);
}

void numeric_verify(const TfliteCheck& check) {
  const Flexbuffer options = options_of(check);
  options.expect_number("tolerance");
  options.expect_number("log_if_failed");
  if (!check.is_quantized()) expect_input_type(check, 0, TfliteType::float16);
  expect_input_type(check, 1, TfliteType::float32);
  // The kernel reads as many elements of the second as the first has.
  const TfliteCheck::Dims input = check.shape(0);
  const TfliteCheck::Dims reference = check.shape(1);
  if (input && reference && !agrees(*input, *reference))
    check.refuse("inputs ", text(*input), " and ", text(*reference), ", expected equal shapes");
  check.set_type(0, TfliteType::float32);
  check.expect_output(0, input);
}

void hadamard_rotation(const TfliteCheck& check) {
  const Flexbuffer options = options_of(check);
  expect_option(check, options, "hadamard_size", 1, kMaxDim);
  options.expect_integers("random_binary_vector");
  if (check.type(0) != TfliteType::float32) expect_input_type(check, 0, TfliteType::int32);
  check.expect_same_type(0);
  // The kernel leaves the output as large as the file says, and copies the input into it.
  const TfliteCheck::Dims input = check.shape(0);
  if (!input || input->is_dynamic()) check.unsupported("an input of unknown shape, expected a known one");
  if (input->rank() != 2 && input->rank() != 3) check.refuse("input ", text(*input), ", expected rank 2 or 3");
  if (check.output_shape(0) != input) check.refuse("an output of another shape than ", text(*input), ", the input's");
}

// A mask is as large as the scores, or 1 where it is shared. The delegate asks that its last dimension is theirs.
void expect_mask(const TfliteCheck& check, const Shape& scores) {
  const TfliteCheck::Dims mask = check.shape(3);
  if (!mask) check.unsupported("a mask of unknown rank");
  bool fits = mask->rank() >= 1 && mask->rank() <= scores.rank();
  for (size_t i = 0; fits && i < mask->rank(); ++i) {
    const int64_t dim = (*mask)[i];
    const int64_t score = scores[scores.rank() - mask->rank() + i];
    fits = !is_known(dim) || !is_known(score) || dim == score || dim == 1;
  }
  if (!fits) check.refuse("a mask of ", text(*mask), " for scores ", text(scores));
}

void attention(const TfliteCheck& check) {
  const TfliteCheck::Dims queries = check.expect_rank(0, 4);
  const TfliteCheck::Dims keys = check.expect_rank(1, 4);
  if (!queries || !keys || !check.shape(2)) check.unsupported("an input of unknown rank");
  if ((*keys)[2] == 0) check.refuse("input 1 ", text(*keys), ", expected heads");
  // A batch of another size would grow the output, which the file has as large as the queries.
  const Shape keys_of_queries{(*queries)[0], (*keys)[1], (*keys)[2], (*queries)[3]};
  for (const uint32_t input : {1u, 2u}) {
    const TfliteCheck::Dims dims = check.expect_rank(input, 4);
    if (!agrees(*dims, keys_of_queries))
      check.refuse("input ", input, " ", text(*dims), ", expected ", text(keys_of_queries));
  }
  if (check.operation().inputs.size() > 3)
    expect_mask(check, Shape{(*queries)[0], (*queries)[2], (*queries)[1], (*keys)[1]});
  check.expect_output(0, queries);
}

// Of which the delegate finds keys, and passes on where their values stand.
void custom_attention(const TfliteCheck& check) {
  options_of(check);
  attention(check);
}

// The delegate leaves what it does not run to the composite's own subgraph: what is not of floats, or of other depths.
bool is_of_delegate(const TfliteCheck& check) {
  const TfliteCheck::Dims queries = check.shape(0);
  if (!queries || queries->rank() == 0) return true;
  for (uint32_t input = 0; input < check.operation().inputs.size(); ++input) {
    const TfliteCheck::Dims dims = check.shape(input);
    if (!dims || dims->rank() == 0) return true;
    if (check.type(input) != TfliteType::float32) return false;
    const int64_t depth = (*dims)[dims->rank() - 1];
    const int64_t wanted = (*queries)[queries->rank() - 1];
    if (input < 3 && is_known(depth) && is_known(wanted) && depth != wanted) return false;
  }
  return true;
}

void mixture_of_experts(const TfliteCheck& check) {
  const Flexbuffer options = options_of(check);
  for (const std::string_view key : {"num_experts", "num_active_experts", "model_dim", "hidden_dim"})
    expect_option(check, options, key, 1, kMaxDim);
  options.string("weight_type");
  if (options.has("activation")) options.string("activation");
}

// Their options are a struct, which the delegate copies as far as it goes, and checks.
void any(const TfliteCheck&) {}

constexpr Rule kRules[] = {
    {"AudioSpectrogram", 1, 1, 1, spectrogram},
    {"Convolution2DTransposeBias", 3, 3, 1, any},
    {"MaxPoolingWithArgmax2D", 1, 1, 2, any},
    {"MaxUnpooling2D", 2, 2, 1, any},
    {"Mfcc", 2, 2, 1, mel_coefficients},
    {"NumericVerify", 2, 2, 1, numeric_verify},
    {"TFLite_Detection_PostProcess", 3, 3, 4, detections},
    {"aeq.hadamard_rotation", 1, 1, 1, hadamard_rotation},
    {"moe", 7, 10, 1, mixture_of_experts},
    {kAttention, 3, 4, 1, custom_attention},
};

const Rule* find_rule(std::string_view name) {
  for (const Rule& rule : kRules) {
    if (rule.name == name) return &rule;
  }
  return nullptr;
}

}  // namespace

bool has_rule(std::string_view name) { return find_rule(name) != nullptr; }

void check_custom(const TfliteCheck& check) {
  const Rule* rule = find_rule(check.operation().custom_name);
  if (rule == nullptr) return;
  check.expect_count("inputs", check.operation().inputs.size(), rule->min_inputs, rule->max_inputs);
  check.expect_count("outputs", check.operation().outputs.size(), rule->output_count, rule->output_count);
  rule->check(check);
}

void check_composite(const TfliteCheck& check) {
  tflite_control_flow::call_composite(check);
  const FlatTable& options = check.operation().options_2;
  if (options.string(0) != kAttention) return;
  const auto attributes = options.vector<uint8_t>(2);
  const Flexbuffer map({attributes.data(), attributes.size()}, check.where() + ": attributes");
  check.expect_count("inputs", check.operation().inputs.size(), 3, TfliteCheck::kAnyCount);
  check.expect_count("outputs", check.operation().outputs.size(), 1, TfliteCheck::kAnyCount);
  if (is_of_delegate(check)) attention(check);
}

}  // namespace edgeward::tflite_custom
