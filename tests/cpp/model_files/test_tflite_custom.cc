// What options and tensors a custom operator may have, so that its kernel stays inside its memory.
#include "model_files/tflite_custom.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "rigs/custom_model.h"

namespace edgeward {
namespace {

using namespace testing;

FlexNumbers with(FlexNumbers numbers, const std::string& key, int32_t value) {
  numbers[key] = value;
  return numbers;
}
FlexNumbers without(FlexNumbers numbers, const std::string& key) {
  numbers.erase(key);
  return numbers;
}

const FlexNumbers kSpectrogram = {{"window_size", 5}, {"stride", 3}, {"magnitude_squared", 1}};
// 2 channels of 20 samples: 6 windows, each of 1 + 8 / 2 frequencies.
FlatNode spectrogram(const FlexNumbers& options, Ints output = {2, 6, 5}) {
  return custom("AudioSpectrogram", options, {floats({20, 2})}, {floats(std::move(output))});
}

const FlexNumbers kMel = {{"upper_frequency_limit", 4000},
                          {"lower_frequency_limit", 20},
                          {"filterbank_channel_count", 40},
                          {"dct_coefficient_count", 13}};
FlatNode mel(const FlexNumbers& options, Ints rate = {1}, Ints output = {2, 6, 13}) {
  return custom("Mfcc", options, {floats({2, 6, 5}), {TfliteType::int32, std::move(rate)}},
                {floats(std::move(output))});
}

FlatNode verifier(Ints reference) {
  FlatNode model = custom("NumericVerify", {{"log_if_failed", 0}},
                          {int8s({1, 4}, {0.5f}), floats(std::move(reference))}, {floats({1, 4})});
  add_neg(model, {1, 4});
  return model;
}

FlatNode rotation(int32_t size, Ints input, Ints output) {
  return custom("aeq.hadamard_rotation", {{"hadamard_size", size}}, {floats(std::move(input))},
                {floats(std::move(output))});
}

FlatNode attention(Ints query, Ints key, Ints mask = {1, 1, 5, 5}) {
  const Value keys = floats(std::move(key));
  return custom("odml.scaled_dot_product_attention", {{"scale", 1}},
                {floats(query), keys, keys, floats(std::move(mask))}, {floats(query)});
}

FlatNode experts(const FlexNumbers& options) {
  return custom("moe", options, std::vector<Value>(7, floats({4})), {floats({4})});
}

struct Case {
  FlatNode bad;
  std::vector<std::string_view> words;
};

TEST_CASE("custom operators that kernels can run pass") {
  for (const FlatNode& model : {
           detector(),
           detector(with(kDetectorOptions, "num_classes", 4)),  // without a background
           detector(with(with(kDetectorOptions, "use_regular_nms", 1), "detections_per_class", 100)),
           detector(kDetectorOptions, {{TfliteType::uint8, {1, 6, 4}}, floats({1, 6, 4}), {TfliteType::uint8, {6, 4}}}),
           detector(without(kDetectorOptions, "y_scale")),
           spectrogram(kSpectrogram),
           spectrogram(with(kSpectrogram, "window_size", 21), {2, 0, 17}),
           spectrogram(kSpectrogram, {}),
           mel(kMel),
           mel(kMel, {}),
           verifier({1, 4}),
           rotation(4, {3, 8}, {3, 8}),
           rotation(4, {2, 3, 8}, {2, 3, 8}),
           attention({1, 5, 4, 8}, {1, 5, 2, 8}),
           custom("MaxUnpooling2D", {}, {floats({1, 2, 2, 1}), floats({1, 2, 2, 1})}, {floats({1, 4, 4, 1})}),
           custom("Unheard", {}, {floats({1})}, {floats({1})}),
       }) {
    CHECK_NOTHROW(read(model));
  }
}

TEST_CASE("custom operators that kernels cannot bear are refused") {
  const auto boxes = [](const FlexNumbers& options, Ints of_boxes, Ints of_scores, Ints of_anchors) {
    return detector(options,
                    {floats(std::move(of_boxes)), floats(std::move(of_scores)), floats(std::move(of_anchors))});
  };
  const Case cases[] = {
      {detector(without(kDetectorOptions, "num_classes")), {"num_classes 0, expected 1 to"}},
      {detector(with(kDetectorOptions, "num_classes", -1)), {"num_classes -1, expected 1 to"}},
      {detector(with(kDetectorOptions, "num_classes", 2)), {"scores [1, 6, 4], expected 2 classes"}},
      {detector(with(kDetectorOptions, "max_detections", -1)), {"max_detections -1, expected 1 to"}},
      {detector(with(kDetectorOptions, "max_classes_per_detection", 0)), {"max_classes_per_detection 0, expected"}},
      {detector(with(kDetectorOptions, "max_detections", 1 << 28)), {"an output of [268435456, 4] elements"}},
      {detector(with(with(kDetectorOptions, "max_detections", 1 << 30), "max_classes_per_detection", 1 << 30)),
       {"a shape of more than 2^40 elements"}},
      {detector(with(kDetectorOptions, "max_detections", 3)), {"output 0 [1, 2, 4], expected [1, 3, 4]"}},
      {detector(with(kDetectorOptions, "detections_per_class", -1)), {"detections_per_class -1, expected 0 to"}},
      {boxes(kDetectorOptions, {1, 6, 3}, {1, 6, 4}, {6, 4}), {"boxes [1, 6, 3], expected 4 numbers"}},
      {boxes(kDetectorOptions, {1, 6, 4}, {1, 6, 4}, {5, 4}), {"anchors [5, 4] for boxes [1, 6, 4]"}},
      {boxes(kDetectorOptions, {1, 6, 4}, {1, 5, 4}, {6, 4}), {"scores [1, 5, 4] for boxes [1, 6, 4]"}},
      {boxes(kDetectorOptions, {6, 4}, {1, 6, 4}, {6, 4}), {"input 0 [6, 4], expected rank 3"}},
      {detector(kDetectorOptions, {floats({1, 6, 4}), floats({1, 6, 4}), {TfliteType::uint8, {6, 4}}}),
       {"input 2 of type uint8, expected float32"}},
      {detector(kDetectorOptions, {{TfliteType::int8, {1, 6, 4}}, floats({1, 6, 4}), floats({6, 4})}),
       {"input 0 of type int8, expected uint8"}},
      {spectrogram(with(kSpectrogram, "window_size", 1)), {"window_size 1, expected 2 to"}},
      {spectrogram(with(kSpectrogram, "window_size", INT32_MAX)), {"window_size 2147483647, expected 2 to"}},
      {spectrogram(with(kSpectrogram, "stride", 0)), {"stride 0, expected 1 to"}},
      {spectrogram(kSpectrogram, {2, 7, 5}), {"output 0 [2, 7, 5], expected [2, 6, 5]"}},
      {mel(with(kMel, "filterbank_channel_count", 1 << 30)), {"filterbank_channel_count 1073741824, expected 1 to"}},
      {mel(with(kMel, "dct_coefficient_count", 41)), {"dct_coefficient_count 41, expected 1 to 40"}},
      {mel(with(kMel, "lower_frequency_limit", -1)), {"lower_frequency_limit -1, expected 0 to"}},
      {mel(with(kMel, "upper_frequency_limit", 20)), {"upper_frequency_limit 20, expected 21 to"}},
      {mel(kMel, {2}), {"a rate of shape [2]"}},
      {mel(kMel, {1}, {2, 6, 12}), {"output 0 [2, 6, 12], expected [2, 6, 13]"}},
      {verifier({1, 3}), {"inputs [1, 4] and [1, 3], expected equal shapes"}},
      {rotation(0, {3, 8}, {3, 8}), {"hadamard_size 0, expected 1 to"}},
      {rotation(4, {8}, {8}), {"input [8], expected rank 2 or 3"}},
      {rotation(4, {3, 8}, {2, 8}), {"an output of another shape than [3, 8]"}},
      {attention({1, 5, 4, 8}, {1, 5, 0, 8}), {"input 1 [1, 5, 0, 8], expected heads"}},
      {attention({5, 4, 8}, {1, 5, 2, 8}), {"input 0 [5, 4, 8], expected rank 4"}},
      {attention({1, 5, 4, 8}, {2, 5, 2, 8}), {"input 1 [2, 5, 2, 8], expected [1, 5, 2, 8]"}},
      {attention({1, 5, 4, 8}, {1, 5, 2, 8}, {3, 1, 5, 5}), {"a mask of [3, 1, 5, 5] for scores [1, 4, 5, 5]"}},
      {experts({{"num_experts", 0}}), {"num_experts 0, expected 1 to"}},
      {experts(
           {{"num_experts", 2}, {"num_active_experts", 1}, {"model_dim", 4}, {"hidden_dim", 4}, {"weight_type", 1}}),
       {"\"weight_type\" is no string"}},
      {custom("Mfcc", kMel, {floats({2, 6, 5})}, {floats({2, 6, 13})}), {"CUSTOM Mfcc", "1 inputs, expected 2"}},
      {custom("AudioSpectrogram", kSpectrogram, {floats({20, 2})}, {floats({2, 6, 5}), floats({1})}),
       {"2 outputs, expected 1"}},
  };
  for (const Case& row : cases) {
    CAPTURE(row.words[0]);
    check_refusal(Code::malformed_model, row.words, [&] { read(row.bad); });
  }
}

TEST_CASE("an input that is as long as a caller says has an output that is not, in a rotation") {
  FlatNode model = rotation(4, {3, 8}, {3, 8});
  set(tensor_of(model, 0), vector<int32_t>(schema::tensor::shape_signature, {-1, 8}));
  check_refusal(Code::unsupported_model, {"an input of unknown shape"}, [&] { read(model); });
}

TEST_CASE("a detector does not find more for its classes than there is memory to put together") {
  FlexNumbers options = with(with(kDetectorOptions, "use_regular_nms", 1), "detections_per_class", 1);
  CHECK_NOTHROW(read(detector(options)));  // three at most, and memory for three
  options = with(options, "num_classes", 4);
  check_refusal(Code::unsupported_model, {"1 detections for each of 4 classes, expected at least 2"},
                [&] { read(detector(options)); });
  CHECK_NOTHROW(read(detector(with(options, "detections_per_class", 2))));
}

TEST_CASE("options that are no flexbuffer are refused in the name of the operator") {
  const std::vector<std::string_view> words = {"operator 0 (CUSTOM TFLite_Detection_PostProcess): options: ",
                                               "bytes, expected at least 3"};
  FlatNode model = detector();
  remove(operator_of(model), schema::operation::custom_options);
  check_refusal(Code::malformed_model, words, [&] { read(model); });
  set_options(model, "");
  check_refusal(Code::malformed_model, words, [&] { read(model); });
}

TEST_CASE("options behind the flatbuffer are read where there are none inside") {
  FlatNode model = detector();
  remove(operator_of(model), schema::operation::custom_options);
  const std::string options = flexbuffer(kDetectorOptions);
  set(operator_of(model), scalar(schema::operation::large_custom_options_size, uint64_t{options.size()}));
  set(operator_of(model), scalar(schema::operation::large_custom_options_offset, uint64_t{2}));
  const size_t offset = file(model).size();
  set(operator_of(model), scalar(schema::operation::large_custom_options_offset, uint64_t{offset}));
  const std::string whole = file(model) + options;
  CHECK(read_tflite(view(whole)).node_count == 1);
  const std::string empty = file(model) + flexbuffer({}) + std::string(options.size(), '\0');
  check_refusal(Code::malformed_model, {"a root of 0 bytes"}, [&] { read_tflite(view(empty)); });
}

TEST_CASE("a detector's outputs are what its kernel makes of them") {
  FlatNode model = detector();
  set(tensor_of(model, 3), scalar(schema::tensor::type, static_cast<int8_t>(TfliteType::uint8)));
  CHECK(read(model).signatures[0].outputs[0].dtype == DType::float32);
}

TEST_CASE("no input of a known custom operator is absent") {
  FlatNode model = detector();
  set(operator_of(model), vector<int32_t>(schema::operation::inputs, {0, 1, -1}));
  check_refusal(Code::malformed_model, {"input 2 is tensor -1"}, [&] { read(model); });
}

}  // namespace
}  // namespace edgeward
