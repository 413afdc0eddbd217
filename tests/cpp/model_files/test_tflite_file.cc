// What read_tflite takes from a file, and every way in which it refuses one.
#include "model_files/tflite_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "model_files/tflite_schema.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"
#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

FlatNode map_entry(const std::string& name, uint32_t tensor) {
  return {string(schema::tensor_map::name, name), scalar(schema::tensor_map::tensor_index, tensor)};
}
FlatNode signature(const std::string& key, std::vector<FlatNode> inputs, std::vector<FlatNode> outputs) {
  return {tables(schema::signature::inputs, std::move(inputs)), tables(schema::signature::outputs, std::move(outputs)),
          string(schema::signature::signature_key, key), scalar<uint32_t>(schema::signature::subgraph_index, 0)};
}

TEST_CASE("a model without signatures has one, with tensor names as names") {
  const TfliteFile file = read(conv_model());
  REQUIRE(file.signatures.size() == 1);
  CHECK(file.signatures[0].key == kPlaceholderSignature);
  CHECK(file.node_count == 1);
  CHECK_FALSE(file.is_stateful);
  REQUIRE(file.signatures[0].inputs.size() == 1);
  CHECK(file.signatures[0].inputs[0].name == "t0");
  CHECK(file.signatures[0].inputs[0].shape == Shape{1, 4, 4, 2});
  CHECK(file.signatures[0].outputs[0].tensor_index == 3);
}

TEST_CASE("a signature gives names in the order of its subgraph") {
  FlatNode model = one_op({kAdd, 11}, {floats({4}), floats({4})}, {floats({4})});
  set(model, tables(schema::model::signature_defs,
                    {signature("run", {map_entry("b", 1), map_entry("a", 0)}, {map_entry("sum", 2)})}));
  const TfliteFile file = read(model);
  REQUIRE(file.signatures.size() == 1);
  CHECK(file.signatures[0].key == "run");
  CHECK(file.signatures[0].inputs[0].name == "a");
  CHECK(file.signatures[0].inputs[1].name == "b");
  CHECK(file.signatures[0].outputs[0].name == "sum");
}

TEST_CASE("an open dimension is -1, and quantization is told") {
  Value input = int8s({1, 4}, {0.5f});
  input.signature = {-1, 4};
  input.zero_points = {3};
  const TfliteFile file = read(one_op({kNeg}, {input}, {input}));
  CHECK(file.signatures[0].inputs[0].shape == Shape{-1, 4});
  CHECK(file.signatures[0].inputs[0].dtype == DType::int8);
  CHECK(file.signatures[0].inputs[0].quantization.scales == std::vector<float>{0.5f});
  CHECK(file.signatures[0].inputs[0].quantization.zero_points == std::vector<int64_t>{3});
}

TEST_CASE("an output without a shape has an unknown one, unless the file says that it is a scalar") {
  FlatNode model = one_op({kNeg}, {floats({2})}, {floats({})});
  CHECK(read(model).signatures[0].outputs[0].shape == Shape::unknown());
  set(tensor_of(model, 1), scalar<uint8_t>(schema::tensor::has_rank, 1));
  check_refusal(Code::malformed_model, {"output 0"}, [&] { read(model); });
  model = one_op({kNeg}, {floats({})}, {floats({})});
  CHECK(read(model).signatures[0].inputs[0].shape == Shape{});
  set(tensor_of(model, 1), scalar<uint8_t>(schema::tensor::has_rank, 1));
  CHECK(read(model).signatures[0].outputs[0].shape == Shape{});
}

TEST_CASE("without signatures, tensors whose names tell too little have names of ours") {
  const FlatNode sum = one_op({kAdd, 11}, {floats({4}), floats({4})}, {floats({4})});
  const auto names = [&](const std::vector<std::optional<std::string>>& labels) {
    FlatNode model = sum;
    for (size_t i = 0; i < labels.size(); ++i) {
      remove(tensor_of(model, i), schema::tensor::name);
      if (labels[i]) set(tensor_of(model, i), string(schema::tensor::name, *labels[i]));
    }
    const TfliteFile file = read(model);
    const auto& [inputs, outputs] = std::tie(file.signatures[0].inputs, file.signatures[0].outputs);
    return std::vector<std::string>{inputs[0].name, inputs[1].name, outputs[0].name,
                                    std::to_string(file.mistakable_names.size())};
  };
  using Names = std::vector<std::string>;
  CHECK(names({"a", "b", "a"}) == Names{"a", "b", "a", "0"});
  CHECK(names({std::nullopt, "", "y"}) == Names{"input_0", "input_1", "y", "0"});
  CHECK(names({"x", "x", ""}) == Names{"input_0", "input_1", "output_0", "2"});
  CHECK(names({"input_1", "", "y"}) == Names{"input_1", "input_1_", "y", "0"});
  // What LiteRT calls a second input without a name.
  CHECK(names({"input1", "", "y"}) == Names{"input1", "input_1", "y", "1"});
}

TEST_CASE("an output may be listed twice, and be an input") {
  FlatNode model = one_op({kAdd, 11}, {floats({4}), floats({4})}, {floats({4})});
  set(subgraph_of(model), vector<int32_t>(schema::subgraph::outputs, {2, 2, 1}));
  const TfliteFile file = read(model);
  REQUIRE(file.signatures[0].outputs.size() == 3);
  CHECK(file.signatures[0].outputs[0].name == "output_0");
  CHECK(file.signatures[0].outputs[1].name == "output_1");
  CHECK(file.signatures[0].outputs[2].name == "t1");
  CHECK(file.signatures[0].outputs[2].tensor_index == 1);
  CHECK(file.mistakable_names.empty());
}

TEST_CASE("a file cut at any byte is refused") {
  const std::string bytes = file(conv_model());
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(read_tflite(view(bytes.substr(0, size))), Error);
  }
}

TEST_CASE("bytes after the last table change nothing") {
  CHECK(read_tflite(view(file(conv_model()) + std::string(7, '\x5a'))).node_count == 1);
}

TEST_CASE("every flipped bit gives a file that is read or refused") {
  const std::string bytes = file(conv_model());
  size_t refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    try {
      read_tflite(view(damaged));
    } catch (const Error& error) {
      CHECK(std::string_view(error.what()).size() > 10);
      ++refused;
    }
  }
  CHECK(refused > bytes.size() * 2);
}

TEST_CASE("a header that is not ours is refused") {
  check_refusal(Code::malformed_model, {"TFL3", "ORTM"},
                [] { read_tflite(view(FlatWriter::file("ORTM", conv_model()))); });
  check_refusal(Code::malformed_model, {"too short"}, [] { read_tflite({}); });
  for (const uint32_t version : {0u, 2u, 4u}) {
    check_edit(Code::malformed_model, {"version", "expected 3"}, neg_model(),
               [&](FlatNode& model) { set(model, scalar(schema::model::version, version)); });
  }
}

TEST_CASE("indices lead to something") {
  check_edit(Code::malformed_model, {"subgraph 0, operator 0 (CONV_2D)", "input 1 is tensor 97", "4 tensors"},
             conv_model(), [](FlatNode& model) {
               set(operator_of(model), vector<int32_t>(schema::operation::inputs, {0, 97, 2}));
             });
  check_edit(Code::malformed_model, {"input 1 is tensor -1"}, conv_model(), [](FlatNode& model) {
    set(operator_of(model), vector<int32_t>(schema::operation::inputs, {0, -1, 2}));
  });
  check_edit(Code::malformed_model, {"output 0 is tensor 4"}, conv_model(),
             [](FlatNode& model) { set(operator_of(model), vector<int32_t>(schema::operation::outputs, {4})); });
  check_edit(Code::malformed_model, {"intermediate 0 is tensor 9"}, conv_model(),
             [](FlatNode& model) { set(operator_of(model), vector<int32_t>(schema::operation::intermediates, {9})); });
  check_edit(Code::malformed_model, {"operator code 7", "has 1"}, conv_model(),
             [](FlatNode& model) { set(operator_of(model), scalar<uint32_t>(schema::operation::opcode_index, 7)); });
  check_edit(Code::malformed_model, {"subgraph 0: input 0 is tensor -2"}, conv_model(),
             [](FlatNode& model) { set(subgraph_of(model), vector<int32_t>(schema::subgraph::inputs, {-2})); });
  check_edit(Code::malformed_model, {"subgraph 0: output 0 is tensor 8"}, conv_model(),
             [](FlatNode& model) { set(subgraph_of(model), vector<int32_t>(schema::subgraph::outputs, {8})); });
  check_edit(Code::malformed_model, {"tensor 1: buffer 12", "3 buffers"}, conv_model(),
             [](FlatNode& model) { set(tensor_of(model, 1), scalar<uint32_t>(schema::tensor::buffer, 12)); });
  check_edit(Code::malformed_model, {"metadata 0: buffer 5"}, neg_model(), [](FlatNode& model) {
    set(model, tables(schema::model::metadata,
                      {{string(schema::metadata::name, "x"), scalar<uint32_t>(schema::metadata::buffer, 5)}}));
  });
}

TEST_CASE("an optional input may be absent") {
  FlatNode model = conv_model();
  set(operator_of(model), vector<int32_t>(schema::operation::inputs, {0, 1, -1}));
  CHECK(read(model).node_count == 1);
}

TEST_CASE("tensors are produced once, before they are used") {
  check_edit(Code::malformed_model, {"input 0 is tensor 0", "nothing before it produces"}, neg_model(),
             [](FlatNode& model) { set(subgraph_of(model), vector<int32_t>(schema::subgraph::inputs, {})); });
  check_edit(Code::malformed_model, {"output 0 is tensor 0", "an input of the subgraph"}, neg_model(),
             [](FlatNode& model) { set(operator_of(model), vector<int32_t>(schema::operation::outputs, {0})); });
  check_edit(Code::malformed_model, {"output 0 is tensor 1", "a constant"}, conv_model(),
             [](FlatNode& model) { set(operator_of(model), vector<int32_t>(schema::operation::outputs, {1})); });
  check_edit(Code::malformed_model, {"operator 1 (NEG)", "output 0 is tensor 1", "produced before"}, neg_model(),
             [](FlatNode& model) {
               auto& operators = at(subgraph_of(model), schema::subgraph::operators).nodes;
               operators.push_back(operators[0]);
             });
  check_edit(Code::malformed_model, {"subgraph 0: input 1 is tensor 0, listed before"}, neg_model(),
             [](FlatNode& model) {
               set(subgraph_of(model), vector<int32_t>(schema::subgraph::inputs, {0, 0}));
             });
  check_edit(Code::malformed_model, {"subgraph 0: input 1 is tensor 1, a constant"}, conv_model(), [](FlatNode& model) {
    set(subgraph_of(model), vector<int32_t>(schema::subgraph::inputs, {0, 1}));
  });
}

TEST_CASE("a constant has at least its bytes") {
  check_edit(Code::malformed_model, {"tensor 2: float32 [4] needs 16 bytes", "has 12"}, conv_model(),
             [](FlatNode& model) { set(tensor_of(model, 2), vector<int32_t>(schema::tensor::shape, {4})); });
  check_edit(Code::malformed_model, {"tensor 1: dimension 0 is -3"}, conv_model(), [](FlatNode& model) {
    set(tensor_of(model, 1), vector<int32_t>(schema::tensor::shape, {-3, 2, 2, 2}));
  });
  check_edit(Code::malformed_model, {"tensor 1: more than", "elements"}, conv_model(), [](FlatNode& model) {
    set(tensor_of(model, 1), vector<int32_t>(schema::tensor::shape, {0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}));
  });
  check_edit(Code::malformed_model, {"tensor 1: a variable with constant data"}, conv_model(),
             [](FlatNode& model) { set(tensor_of(model, 1), scalar<uint8_t>(schema::tensor::is_variable, 1)); });
}

TEST_CASE("what lies in another file is refused by name") {
  check_edit(Code::unsupported_model, {"tensor 0", "another file"}, neg_model(),
             [](FlatNode& model) { set(tensor_of(model, 0), scalar<uint32_t>(schema::tensor::external_buffer, 1)); });
}

TEST_CASE("shapes stay within rank and memory") {
  check_edit(Code::unsupported_model, {"rank 9", "at most 8"}, neg_model(), [](FlatNode& model) {
    for (const size_t index : {0u, 1u})
      set(tensor_of(model, index), vector<int32_t>(schema::tensor::shape, Ints(9, 1)));
  });
  check_edit(Code::unsupported_model, {"tensors that are not constant need"}, neg_model(), [](FlatNode& model) {
    for (const size_t index : {0u, 1u})
      set(tensor_of(model, index), vector<int32_t>(schema::tensor::shape, {1 << 14, 1 << 15}));
  });
  check_edit(Code::malformed_model, {"shape_signature has 1 dimensions, shape has 2"}, neg_model(),
             [](FlatNode& model) { set(tensor_of(model, 0), vector<int32_t>(schema::tensor::shape_signature, {-1})); });
  check_edit(Code::malformed_model, {"shape_signature dimension 1 is 5, expected -1 or 4"}, neg_model(),
             [](FlatNode& model) {
               set(tensor_of(model, 0), vector<int32_t>(schema::tensor::shape_signature, {-1, 5}));
             });
}

TEST_CASE("quantization fits its tensor") {
  const auto with = [](Value value) { return one_op({kNeg}, {value}, {value}); };
  const Value good = int8s({2, 3}, {0.1f, 0.2f}, 0);
  REQUIRE_NOTHROW(read(with(good)));
  const auto refused = [&](const std::vector<std::string_view>& words, const auto& edit) {
    Value value = good;
    edit(value);
    check_refusal(Code::malformed_model, words, [&] { read(with(value)); });
  };
  refused({"2 scales, but 1 zero points"}, [](Value& value) { value.zero_points = {0}; });
  refused({"2 scales for dimension 1 of shape [2, 3]"}, [](Value& value) { value.axis = 1; });
  refused({"quantized_dimension 2"}, [](Value& value) { value.axis = 2; });
  refused({"quantized_dimension -1"}, [](Value& value) { value.axis = -1; });
  refused({"zero point 1 is 128", "-128 to 127"}, [](Value& value) { value.zero_points[1] = 128; });
  for (const float scale : {0.0f, -0.5f, std::numeric_limits<float>::infinity(), std::nanf(""), 1e-45f}) {
    CAPTURE(scale);
    refused({"scale 1", "expected a normal positive number"}, [&](Value& value) { value.scales[1] = scale; });
  }
}

TEST_CASE("names and types of inputs and outputs can be handed out") {
  const FlatNode strings = one_op({kNeg}, {{TfliteType::string, {4}}}, {{TfliteType::string, {4}}});
  CHECK(read(strings).signatures.at(0).inputs.at(0).dtype == DType::string);
  const FlatNode resources = one_op({kNeg}, {{TfliteType::resource, {4}}}, {{TfliteType::resource, {4}}});
  check_refusal(Code::unsupported_model, {"input \"t0\"", "type resource"}, [&] { read(resources); });
  check_edit(Code::unsupported_model, {"element type 77"}, neg_model(),
             [](FlatNode& model) { set(tensor_of(model, 0), scalar<int8_t>(schema::tensor::type, 77)); });
  FlatNode sum = one_op({kAdd, 11}, {floats({4}), floats({4})}, {floats({4})});
  const auto with_signatures = [&](std::vector<FlatNode> all) {
    return [all](FlatNode& model) { set(model, tables(schema::model::signature_defs, all)); };
  };
  const FlatNode good = signature("run", {map_entry("a", 0), map_entry("b", 1)}, {map_entry("c", 2)});
  check_edit(Code::malformed_model, {"two inputs are named \"a\""}, sum,
             with_signatures({signature("run", {map_entry("a", 0), map_entry("a", 1)}, {map_entry("c", 2)})}));
  check_edit(Code::malformed_model, {"signature \"run\" is there twice"}, sum, with_signatures({good, good}));
  check_edit(Code::malformed_model, {"signature \"run\"", "1 inputs, but subgraph 0 has 2"}, sum,
             with_signatures({signature("run", {map_entry("a", 0)}, {map_entry("c", 2)})}));
  check_edit(Code::malformed_model, {"signature \"run\"", "input 1 is tensor 2"}, sum,
             with_signatures({signature("run", {map_entry("a", 0), map_entry("b", 2)}, {map_entry("c", 2)})}));
  check_edit(Code::malformed_model, {"signature \"run\": input 1, tensor 1, has no name"}, sum,
             with_signatures({signature("run", {map_entry("a", 0), map_entry("b", 0)}, {map_entry("c", 2)})}));
  FlatNode two_outputs = sum;
  set(subgraph_of(two_outputs), vector<int32_t>(schema::subgraph::outputs, {2, 1}));
  check_edit(Code::malformed_model, {"signature \"run\": output 1, tensor 1, has no name"}, two_outputs,
             with_signatures(
                 {signature("run", {map_entry("a", 0), map_entry("b", 1)}, {map_entry("c", 2), map_entry("d", 2)})}));
  FlatNode elsewhere = good;
  set(elsewhere, scalar<uint32_t>(schema::signature::subgraph_index, 3));
  check_edit(Code::malformed_model, {"signature \"run\": subgraph 3"}, sum, with_signatures({elsewhere}));
}

}  // namespace
}  // namespace edgeward
