// What read_tflite takes from a file, and every way in which it refuses one.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "model_files/tflite_file.h"
#include "model_files/tflite_operators.h"
#include "model_files/tflite_schema.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

using namespace testing;
namespace schema = tflite_schema;

using Ints = std::vector<int32_t>;

// A tensor of a test graph; with data it is a constant.
struct Value {
  TfliteType type = TfliteType::float32;
  Ints shape = {};
  std::string data = {};
  Ints signature = {};
  std::vector<float> scales = {};
  std::vector<int64_t> zero_points = {};
  int32_t axis = 0;
};

Value floats(Ints shape) { return {TfliteType::float32, std::move(shape)}; }
Value int8s(Ints shape, std::vector<float> scales, int32_t axis = 0) {
  const size_t count = scales.size();
  return {TfliteType::int8, std::move(shape), {}, {}, std::move(scales), std::vector<int64_t>(count, 0), axis};
}
Value ints(const Ints& values, Ints shape) {
  return {TfliteType::int32, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size())};
}
Value ints(const Ints& values) { return ints(values, {static_cast<int32_t>(values.size())}); }
Value weights(Ints shape) {
  size_t count = 4;
  for (const int32_t dim : shape) count *= static_cast<size_t>(dim);
  return {TfliteType::float32, std::move(shape), std::string(count, '\0')};
}

struct Op {
  int32_t code;
  uint8_t options_type = 0;
  FlatNode options = {};
};

FlatNode tensor_node(const Value& value, size_t index, std::vector<FlatNode>& buffers) {
  FlatNode node = {vector<int32_t>(schema::tensor::shape, value.shape),
                   scalar(schema::tensor::type, static_cast<int8_t>(value.type)),
                   string(schema::tensor::name, "t" + std::to_string(index))};
  if (!value.data.empty()) {
    node.push_back(scalar(schema::tensor::buffer, static_cast<uint32_t>(buffers.size())));
    buffers.push_back({{schema::buffer::data, FlatField::Kind::vector, 1, value.data}});
  }
  if (!value.signature.empty()) node.push_back(vector<int32_t>(schema::tensor::shape_signature, value.signature));
  if (!value.scales.empty()) {
    node.push_back(
        table(schema::tensor::quantization, {vector<float>(schema::quantization::scale, value.scales),
                                             vector<int64_t>(schema::quantization::zero_point, value.zero_points),
                                             scalar(schema::quantization::quantized_dimension, value.axis)}));
  }
  return node;
}

// A model of one operator. Tensors are the inputs, then the outputs; inputs without data are the graph's.
FlatNode one_op(const Op& op, const std::vector<Value>& inputs, const std::vector<Value>& outputs) {
  std::vector<FlatNode> buffers = {{}};
  std::vector<FlatNode> tensors;
  Ints of_op, results, of_graph;
  for (const Value& value : inputs) {
    const auto index = static_cast<int32_t>(tensors.size());
    of_op.push_back(index);
    if (value.data.empty()) of_graph.push_back(index);
    tensors.push_back(tensor_node(value, tensors.size(), buffers));
  }
  for (const Value& value : outputs) {
    results.push_back(static_cast<int32_t>(tensors.size()));
    tensors.push_back(tensor_node(value, tensors.size(), buffers));
  }
  FlatNode operation = {scalar<uint32_t>(schema::operation::opcode_index, 0),
                        vector<int32_t>(schema::operation::inputs, of_op),
                        vector<int32_t>(schema::operation::outputs, results)};
  if (op.options_type != 0) {
    operation.push_back(scalar(schema::operation::builtin_options_type, op.options_type));
    operation.push_back(table(schema::operation::builtin_options, op.options));
  }
  FlatNode subgraph = {
      tables(schema::subgraph::tensors, std::move(tensors)), vector<int32_t>(schema::subgraph::inputs, of_graph),
      vector<int32_t>(schema::subgraph::outputs, results), tables(schema::subgraph::operators, {operation})};
  return {scalar<uint32_t>(schema::model::version, 3),
          tables(schema::model::operator_codes, {{scalar<int32_t>(schema::operator_code::builtin_code, op.code)}}),
          tables(schema::model::subgraphs, {subgraph}), tables(schema::model::buffers, buffers)};
}

std::string file(const FlatNode& model) { return FlatWriter::file("TFL3", model); }
TfliteFile read(const FlatNode& model) { return read_tflite(view(file(model))); }

constexpr int32_t kAdd = 0, kPool = 17, kConcat = 2, kConv = 3, kDepthwise = 4, kDense = 9, kReshape = 22, kResize = 23,
                  kSoftmax = 25, kPad = 34, kGather = 36, kTranspose = 39, kMean = 40, kStridedSlice = 45, kSplit = 49,
                  kSlice = 65, kNeg = 59, kEqual = 71, kPack = 83, kUnpack = 88, kWhile = 119, kTransposeConv = 67,
                  kMul = 18, kLogSoftmax = 50, kReverseSequence = 112, kUnknown = 4000;

FlatNode window(int32_t stride, int8_t padding = 1) {
  return {scalar<int8_t>(0, padding), scalar<int32_t>(1, stride), scalar<int32_t>(2, stride)};
}
Op conv(int32_t stride = 1) { return {kConv, 1, window(stride)}; }
FlatNode conv_model(int32_t stride = 1) {
  return one_op(conv(stride), {floats({1, 4, 4, 2}), weights({3, 2, 2, 2}), weights({3})}, {floats({1, 3, 3, 3})});
}
FlatNode neg_model() { return one_op({kNeg}, {floats({1, 4})}, {floats({1, 4})}); }

FlatNode& subgraph_of(FlatNode& model) { return at(model, schema::model::subgraphs).nodes[0]; }
FlatNode& tensor_of(FlatNode& model, size_t index) {
  return at(subgraph_of(model), schema::subgraph::tensors).nodes[index];
}
FlatNode& operator_of(FlatNode& model) { return at(subgraph_of(model), schema::subgraph::operators).nodes[0]; }

template <class Edit>
void check_edit(Code code, const std::vector<std::string_view>& words, FlatNode model, const Edit& edit) {
  REQUIRE_NOTHROW(read(model));
  edit(model);
  check_refusal(code, words, [&] { read(model); });
}

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
  CHECK_FALSE(file.has_variables);
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

TEST_CASE("a constant has exactly its bytes") {
  check_edit(Code::malformed_model, {"tensor 2: float32 [4] needs 16 bytes", "has 12"}, conv_model(),
             [](FlatNode& model) { set(tensor_of(model, 2), vector<int32_t>(schema::tensor::shape, {4})); });
  check_edit(Code::malformed_model, {"tensor 1: dimension 0 is -3"}, conv_model(), [](FlatNode& model) {
    set(tensor_of(model, 1), vector<int32_t>(schema::tensor::shape, {-3, 2, 2, 2}));
  });
  check_edit(Code::malformed_model, {"tensor 1: more than", "elements"}, conv_model(), [](FlatNode& model) {
    set(tensor_of(model, 1), vector<int32_t>(schema::tensor::shape, {0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}));
  });
  check_edit(Code::malformed_model, {"buffer 0", "expected none"}, neg_model(), [](FlatNode& model) {
    at(model, schema::model::buffers).nodes[0] = {vector<uint8_t>(schema::buffer::data, {1, 2})};
  });
  check_edit(Code::malformed_model, {"tensor 1: a variable with constant data"}, conv_model(),
             [](FlatNode& model) { set(tensor_of(model, 1), scalar<uint8_t>(schema::tensor::is_variable, 1)); });
}

TEST_CASE("what lies outside the flatbuffer is refused by name") {
  check_edit(Code::unsupported_model, {"buffer 1", "outside the flatbuffer"}, conv_model(), [](FlatNode& model) {
    set(at(model, schema::model::buffers).nodes[1], scalar<uint64_t>(schema::buffer::offset, 4096));
  });
  check_edit(Code::unsupported_model, {"CONV_2D", "options outside"}, conv_model(), [](FlatNode& model) {
    set(operator_of(model), scalar<uint64_t>(schema::operation::large_custom_options_offset, 4096));
  });
  check_edit(Code::unsupported_model, {"tensor 0", "another file"}, neg_model(),
             [](FlatNode& model) { set(tensor_of(model, 0), scalar<uint32_t>(schema::tensor::external_buffer, 1)); });
  check_edit(Code::unsupported_model, {"tensor 0", "sparse"}, neg_model(),
             [](FlatNode& model) { set(tensor_of(model, 0), table(schema::tensor::sparsity, {})); });
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
  FlatNode strings = one_op({kNeg}, {{TfliteType::string, {4}}}, {{TfliteType::string, {4}}});
  check_refusal(Code::unsupported_model, {"input \"t0\"", "type string"}, [&] { read(strings); });
  check_edit(Code::unsupported_model, {"element type 77"}, neg_model(),
             [](FlatNode& model) { set(tensor_of(model, 0), scalar<int8_t>(schema::tensor::type, 77)); });
  FlatNode sum = one_op({kAdd, 11}, {floats({4}), floats({4})}, {floats({4})});
  check_edit(Code::malformed_model, {"two inputs are named \"t0\""}, sum,
             [](FlatNode& model) { set(tensor_of(model, 1), string(schema::tensor::name, "t0")); });
  const auto with_signatures = [&](std::vector<FlatNode> all) {
    return [all](FlatNode& model) { set(model, tables(schema::model::signature_defs, all)); };
  };
  const FlatNode good = signature("run", {map_entry("a", 0), map_entry("b", 1)}, {map_entry("c", 2)});
  check_edit(Code::malformed_model, {"signature \"run\" is there twice"}, sum, with_signatures({good, good}));
  check_edit(Code::malformed_model, {"signature \"run\"", "1 inputs, but subgraph 0 has 2"}, sum,
             with_signatures({signature("run", {map_entry("a", 0)}, {map_entry("c", 2)})}));
  check_edit(Code::malformed_model, {"signature \"run\"", "input 1 is tensor 2"}, sum,
             with_signatures({signature("run", {map_entry("a", 0), map_entry("b", 2)}, {map_entry("c", 2)})}));
  FlatNode elsewhere = good;
  set(elsewhere, scalar<uint32_t>(schema::signature::subgraph_index, 3));
  check_edit(Code::malformed_model, {"signature \"run\": subgraph 3"}, sum, with_signatures({elsewhere}));
}

TEST_CASE("options must be those of the operator") {
  check_edit(Code::malformed_model, {"CONV_2D", "options of type 0, expected 1"}, conv_model(), [](FlatNode& model) {
    remove(operator_of(model), schema::operation::builtin_options);
    remove(operator_of(model), schema::operation::builtin_options_type);
  });
  check_edit(Code::malformed_model, {"CONV_2D", "options of type 22, expected 1"}, conv_model(), [](FlatNode& model) {
    set(operator_of(model), scalar<uint8_t>(schema::operation::builtin_options_type, 22));
    set(operator_of(model), table(schema::operation::builtin_options, {}));
  });
  check_edit(Code::malformed_model, {"CONV_2D", "1 inputs, expected 2 to 3"}, conv_model(),
             [](FlatNode& model) { set(operator_of(model), vector<int32_t>(schema::operation::inputs, {0})); });
}

TEST_CASE("an operator without a rule passes with the checks for all") {
  FlatNode model = neg_model();
  at(model, schema::model::operator_codes).nodes[0] = {scalar<int32_t>(schema::operator_code::builtin_code, kUnknown)};
  CHECK(read(model).node_count == 1);
  check_edit(Code::malformed_model, {"operator 0 (operator code 4000)", "tensor 9"}, model,
             [](FlatNode& broken) { set(operator_of(broken), vector<int32_t>(schema::operation::inputs, {9})); });
}

// One operator, what is wrong with it, and what the refusal says.
struct Case {
  std::string name;
  FlatNode good;
  FlatNode bad;
  std::vector<std::string_view> words;
};

TEST_CASE("each operator's rule refuses what its kernel cannot bear") {
  const auto dense = [](Ints input, Ints shape, Ints output) {
    return one_op({kDense, 8}, {floats(std::move(input)), weights(std::move(shape)), weights({3})},
                  {floats(std::move(output))});
  };
  const auto pool = [](int32_t stride, int32_t size) {
    FlatNode options = window(stride);
    options.push_back(scalar<int32_t>(3, size));
    options.push_back(scalar<int32_t>(4, size));
    return one_op({kPool, 5, options}, {floats({1, 4, 4, 2})}, {floats({1, 2, 2, 2})});
  };
  const auto depthwise = [](Ints filter) {
    return one_op({kDepthwise, 2, window(1)}, {floats({1, 4, 4, 2}), weights(std::move(filter)), weights({4})},
                  {floats({1, 3, 3, 4})});
  };
  const auto concat = [](int32_t axis, Ints output) {
    return one_op({kConcat, 10, {scalar<int32_t>(0, axis)}}, {floats({1, 2}), floats({1, 3})},
                  {floats(std::move(output))});
  };
  const auto with_ints = [](int32_t code, Ints input, Ints values, Ints shape, Ints output) {
    return one_op({code}, {floats(std::move(input)), ints(values, std::move(shape))}, {floats(std::move(output))});
  };
  const auto slice = [](Ints begin, Ints size) {
    return one_op({kSlice}, {floats({4}), ints(begin), ints(size)}, {floats({2})});
  };
  const auto strided = [](int32_t stride, int32_t mask) {
    return one_op({kStridedSlice, 32, {scalar<int32_t>(0, mask)}}, {floats({4}), ints({0}), ints({4}), ints({stride})},
                  {floats({2})});
  };
  const auto split = [](int32_t axis, int32_t parts) {
    return one_op({kSplit, 35, {scalar<int32_t>(0, parts)}}, {ints({axis}, {}), floats({4, 3})},
                  {floats({2, 3}), floats({2, 3})});
  };
  const auto gather = [](int32_t index, int32_t axis) {
    return one_op({kGather, 23, {scalar<int32_t>(0, axis)}}, {floats({4, 3}), ints({index, 0})}, {floats({2, 3})});
  };
  const auto sum = [](float scale) {
    return one_op({kAdd, 11}, {int8s({4}, {0.5f}), int8s({4}, {0.25f})}, {int8s({4}, {scale})});
  };
  const auto product = [](float scale) {
    return one_op({kMul, 21}, {int8s({4}, {0.5f}), int8s({4}, {0.25f})}, {int8s({4}, {scale})});
  };
  const auto equal = [](float scale) {
    return one_op({kEqual}, {int8s({4}, {scale}), int8s({4}, {0.25f})}, {{TfliteType::boolean, {4}}});
  };
  const auto deconv = [](Ints size) {
    return one_op({kTransposeConv, 49, window(2)}, {ints(size), weights({3, 2, 2, 2}), floats({1, 4, 4, 2})},
                  {floats({1, 8, 8, 3})});
  };
  const std::vector<Case> cases = {
      {"stride of 0", conv_model(), conv_model(0), {"CONV_2D", "strides 0 x 0"}},
      {"channels",
       conv_model(),
       one_op(conv(), {floats({1, 4, 4, 3}), weights({3, 2, 2, 2}), weights({3})}, {floats({1, 3, 3, 3})}),
       {"3 channels", "the filter's 2"}},
      {"bias",
       conv_model(),
       one_op(conv(), {floats({1, 4, 4, 2}), weights({3, 2, 2, 2}), weights({2})}, {floats({1, 3, 3, 3})}),
       {"bias [2], expected 3"}},
      {"filter beyond image",
       conv_model(),
       one_op(conv(), {floats({1, 1, 4, 2}), weights({3, 2, 2, 2}), weights({3})}, {floats({1, 1, 3, 3})}),
       {"a window of 2 does not fit"}},
      {"shape of a convolution",
       conv_model(),
       one_op(conv(), {floats({1, 4, 4, 2}), weights({3, 2, 2, 2}), weights({3})}, {floats({1, 4, 4, 3})}),
       {"output 0 [1, 4, 4, 3], expected [1, 3, 3, 3]"}},
      {"depthwise filter",
       depthwise({1, 2, 2, 4}),
       depthwise({2, 2, 1, 4}),
       {"DEPTHWISE_CONV_2D", "expected [1, height, width, channels]"}},
      {"depthwise channels", depthwise({1, 2, 2, 4}), depthwise({1, 2, 2, 5}), {"DEPTHWISE_CONV_2D", "multiple"}},
      {"pool of 0", pool(2, 2), pool(2, 0), {"MAX_POOL_2D", "filter 0 x 0"}},
      {"pool's stride of 0", pool(2, 2), pool(0, 2), {"MAX_POOL_2D", "strides 0 x 0"}},
      {"deconvolution's shape", deconv({1, 8, 8, 3}), deconv({1, 10, 8, 3}), {"TRANSPOSE_CONV", "does not lead back"}},
      {"columns",
       dense({1, 4}, {3, 4}, {1, 3}),
       dense({1, 5}, {3, 4}, {1, 3}),
       {"FULLY_CONNECTED", "expected 4 columns"}},
      {"dense output",
       dense({1, 4}, {3, 4}, {1, 3}),
       dense({1, 4}, {3, 4}, {2, 3}),
       {"output [2, 3], expected [1, 3]"}},
      {"axis of concatenation", concat(1, {1, 5}), concat(2, {1, 5}), {"CONCATENATION", "axis 2, expected -2 to 1"}},
      {"size of concatenation", concat(1, {1, 5}), concat(1, {1, 4}), {"output 0 [1, 4], expected [1, 5]"}},
      {"reshape",
       with_ints(kReshape, {2, 3}, {6}, {1}, {6}),
       with_ints(kReshape, {2, 3}, {7}, {1}, {6}),
       {"RESHAPE", "6 elements, the new shape 7"}},
      {"two open dimensions",
       with_ints(kReshape, {2, 3}, {6, -1}, {2}, {6, 1}),
       with_ints(kReshape, {2, 3}, {-1, -1}, {2}, {6, 1}),
       {"two dimensions"}},
      {"permutation",
       with_ints(kTranspose, {2, 3}, {1, 0}, {2}, {3, 2}),
       with_ints(kTranspose, {2, 3}, {1, 1}, {2}, {3, 2}),
       {"TRANSPOSE", "names dimension 1 twice"}},
      {"paddings",
       with_ints(kPad, {2}, {1, 1}, {1, 2}, {4}),
       with_ints(kPad, {2}, {-1, 1}, {1, 2}, {4}),
       {"PAD", "an element -1"}},
      {"reduced axis",
       with_ints(kMean, {2, 3}, {1}, {1}, {2}),
       with_ints(kMean, {2, 3}, {5}, {1}, {2}),
       {"MEAN", "axis 5"}},
      {"resize",
       one_op({kResize, 15}, {floats({1, 2, 2, 1}), ints({4, 4})}, {floats({1, 4, 4, 1})}),
       one_op({kResize, 15}, {floats({1, 2, 2, 1}), ints({0, 4})}, {floats({1, 4, 4, 1})}),
       {"RESIZE_BILINEAR", "a size of 0, expected 1 to"}},
      {"slice", slice({1}, {2}), slice({3}, {2}), {"SLICE", "sliced from 3 by 2"}},
      {"stride of a slice", strided(2, 0), strided(0, 0), {"STRIDED_SLICE", "a stride of 0"}},
      {"mask of a slice", strided(2, 0), strided(2, 1 << 20), {"STRIDED_SLICE", "mask 0"}},
      {"parts", split(0, 2), split(0, 3), {"SPLIT", "num_splits 3, but 2 outputs"}},
      {"axis of a split", split(0, 2), split(1, 2), {"SPLIT", "does not divide by 2"}},
      {"index", gather(3, 0), gather(4, 0), {"GATHER", "index 0 is 4, expected 0 to 3"}},
      {"axis of a gather", gather(0, 0), gather(0, 2), {"GATHER", "axis 2"}},
      {"output scale", sum(0.5f), sum(1e-20f), {"ADD", "out of range for inputs of scale 0.5"}},
      {"no scale",
       sum(0.5f),
       one_op({kAdd, 11}, {int8s({4}, {}), int8s({4}, {})}, {int8s({4}, {})}),
       {"ADD", "int8 without a scale"}},
      {"no place for a bias",
       depthwise({1, 2, 2, 4}),
       one_op({kDepthwise, 2, window(1)}, {floats({1, 4, 4, 2}), weights({1, 2, 2, 4})}, {floats({1, 3, 3, 4})}),
       {"2 inputs, expected 3"}},
      {"multiplier", product(0.5f), product(1e-20f), {"MUL", "expected a multiplier below 2^30"}},
      {"type of the output",
       one_op({kNeg}, {floats({4})}, {floats({4})}),
       one_op({kNeg}, {floats({4})}, {{TfliteType::int64, {4}}}),
       {"NEG", "output 0 of type int64, expected float32"}},
      {"scalar input",
       one_op({kLogSoftmax}, {floats({4})}, {floats({4})}),
       one_op({kLogSoftmax}, {floats({})}, {floats({})}),
       {"LOG_SOFTMAX", "a scalar input"}},
      {"lengths",
       one_op({kReverseSequence, 87}, {floats({3, 2}), ints({1, 2, 3})}, {floats({3, 2})}),
       one_op({kReverseSequence, 87}, {floats({3, 2}), ints({1, 2})}, {floats({3, 2})}),
       {"REVERSE_SEQUENCE", "2 lengths"}},
      {"beta",
       one_op({kSoftmax, 9, {scalar<float>(0, 1)}}, {floats({1, 4})}, {floats({1, 4})}),
       one_op({kSoftmax, 9, {scalar<float>(0, std::nanf(""))}}, {floats({1, 4})}, {floats({1, 4})}),
       {"SOFTMAX", "beta"}},
      {"packed values",
       one_op({kPack, 59, {scalar<int32_t>(0, 2)}}, {floats({3}), floats({3})}, {floats({2, 3})}),
       one_op({kPack, 59, {scalar<int32_t>(0, 3)}}, {floats({3}), floats({3})}, {floats({2, 3})}),
       {"PACK", "values_count 3"}},
      {"unpacked axis",
       one_op({kUnpack, 64, {scalar<int32_t>(0, 2)}}, {floats({2, 3})}, {floats({3}), floats({3})}),
       one_op({kUnpack, 64, {scalar<int32_t>(0, 2), scalar<int32_t>(1, 1)}}, {floats({2, 3})},
              {floats({3}), floats({3})}),
       {"UNPACK", "expected 2"}},
      {"broadcast",
       one_op({kAdd, 11}, {floats({4, 1}), floats({3})}, {floats({4, 3})}),
       one_op({kAdd, 11}, {floats({4, 2}), floats({3})}, {floats({4, 3})}),
       {"ADD", "do not broadcast"}},
      {"activation",
       one_op({kAdd, 11, {scalar<int8_t>(0, 1)}}, {floats({4}), floats({4})}, {floats({4})}),
       one_op({kAdd, 11, {scalar<int8_t>(0, 99)}}, {floats({4}), floats({4})}, {floats({4})}),
       {"ADD", "fused_activation_function 99"}},
  };
  REQUIRE_FALSE(cases.empty());
  for (const Case& one : cases) {
    CAPTURE(one.name);
    CHECK_NOTHROW(read(one.good));
    check_refusal(Code::malformed_model, one.words, [&] { read(one.bad); });
  }
  CHECK_NOTHROW(read(equal(0.5f)));
  check_refusal(Code::unsupported_model, {"EQUAL", "scale 1, expected less than 1"}, [&] { read(equal(1.0f)); });
}

TEST_CASE("a loop may not call itself") {
  const auto model = [](int32_t condition, int32_t body) {
    FlatNode loop =
        one_op({kWhile, 93, {scalar<int32_t>(0, condition), scalar<int32_t>(1, body)}}, {floats({4})}, {floats({4})});
    FlatNode inner = subgraph_of(loop);
    set(inner, tables(schema::subgraph::operators, {}));
    set(inner, vector<int32_t>(schema::subgraph::outputs, {0}));
    at(loop, schema::model::subgraphs).nodes.push_back(inner);
    at(loop, schema::model::subgraphs).nodes.push_back(inner);
    return loop;
  };
  CHECK_NOTHROW(read(model(1, 2)));
  check_refusal(Code::malformed_model, {"WHILE", "subgraph 0 calls itself"}, [&] { read(model(0, 2)); });
  check_refusal(Code::malformed_model, {"WHILE", "subgraph 3, but the model has 3"}, [&] { read(model(1, 3)); });
}

}  // namespace
}  // namespace edgeward
