// The table of operators, and what each rule refuses.
#include "model_files/tflite_operators.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model_files/tflite_schema.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"
#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

TEST_CASE("a rule is found by its operator's code") {
  const auto name_of = [](int32_t code) {
    TfliteOperator operation{};
    operation.subgraph_index = 1;
    operation.index = 2;
    operation.code = code;
    return text(operation);
  };
  // Of the schema's BuiltinOperator: the ends of the table, and codes all over it.
  const std::pair<int32_t, std::string> rows[] = {
      {0, "ADD"},
      {3, "CONV_2D"},
      {9, "FULLY_CONNECTED"},
      {17, "MAX_POOL_2D"},
      {25, "SOFTMAX"},
      {32, "CUSTOM"},
      {40, "MEAN"},
      {51, "DELEGATE"},
      {67, "TRANSPOSE_CONV"},
      {83, "PACK"},
      {98, "LEAKY_RELU"},
      {114, "QUANTIZE"},
      {119, "WHILE"},
      {126, "BATCH_MATMUL"},
      {150, "GELU"},
      {162, "STABLEHLO_LOGISTIC"},
      {203, "DILATE"},
      {209, "STABLEHLO_CASE"},
  };
  for (const auto& [code, name] : rows) CHECK(name_of(code) == "subgraph 1, operator 2 (" + name + ")");
  for (const int32_t code : {INT32_MIN, -1, 210, 4000, INT32_MAX})
    CHECK(name_of(code) == "subgraph 1, operator 2 (operator code " + std::to_string(code) + ")");
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

TEST_CASE("a depthwise convolution of floats by int8 weights has a scale and a bias for each channel") {
  const auto depthwise = [](std::vector<float> scales) {
    Value filter = int8s({1, 2, 2, 2}, std::move(scales), 3);
    filter.data = std::string(8, '\1');
    return one_op({kDepthwise, 2, window(1)}, {floats({1, 4, 4, 2}), filter, weights({2})}, {floats({1, 3, 3, 2})});
  };
  const FlatNode model = depthwise({0.5f, 0.25f});
  CHECK_NOTHROW(read(model));
  check_refusal(Code::unsupported_model, {"DEPTHWISE_CONV_2D", "with 1 scales, expected 2"},
                [&] { read(depthwise({0.5f})); });
  check_edit(Code::unsupported_model, {"without a bias"}, model, [](FlatNode& edited) {
    set(operator_of(edited), vector<int32_t>(schema::operation::inputs, {0, 1, -1}));
  });
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
      {"rank of a reshape that a run tells",
       one_op({kReshape}, {floats({6}), {TfliteType::int32, {8}}}, {floats({2, 3})}),
       one_op({kReshape}, {floats({6}), {TfliteType::int32, {9}}}, {floats({2, 3})}),
       {"RESHAPE", "a shape of rank 9"}},
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
       one_op({kReverse}, {floats({4}), ints({0})}, {floats({4})}),
       one_op({kReverse}, {floats({4}), ints({0})}, {{TfliteType::int64, {4}}}),
       {"REVERSE_V2", "output 0 of type int64, expected float32"}},
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
  for (const Case& row : cases) {
    CAPTURE(row.name);
    CHECK_NOTHROW(read(row.good));
    check_refusal(Code::malformed_model, row.words, [&] { read(row.bad); });
  }
  CHECK_NOTHROW(read(equal(0.5f)));
  check_refusal(Code::unsupported_model, {"EQUAL", "scale 1, expected less than 1"}, [&] { read(equal(1.0f)); });
}

TEST_CASE("kernels that write nothing when there is nothing to read are refused that, and nothing else") {
  constexpr int32_t kLookup = 7, kSum = 74, kProduct = 81, kStablehloGather = 201;
  struct EmptyCase {
    std::string_view words;
    int32_t code;
    uint8_t options_type;
    std::vector<Value> inputs;
    Value output;
    bool is_refused;
  };
  const Value images = floats({1, 0, 4, 1});
  const std::vector<EmptyCase> cases = {
      {"SUM", kSum, 27, {int8s({3, 0}, {0.5f}), ints({1})}, int8s({3}, {0.5f}), true},
      {"SUM", kSum, 27, {int8s({3, 2}, {0.5f}), ints({1})}, int8s({3}, {0.5f}), false},
      {"SUM", kSum, 27, {int8s({0, 3}, {0.5f}), ints({1})}, int8s({0}, {0.5f}), false},
      {"SUM", kSum, 27, {floats({3, 0}), ints({1})}, floats({3}), false},
      {"REDUCE_PROD", kProduct, 27, {int8s({3, 0}, {0.5f}), ints({1})}, int8s({3}, {0.5f}), true},
      {"MEAN", kMean, 27, {int8s({3, 0}, {0.5f}), ints({1})}, int8s({3}, {0.5f}), false},
      {"EMBEDDING_LOOKUP", kLookup, 0, {{TfliteType::int32, {2}}, floats({0, 3})}, floats({2, 3}), true},
      {"EMBEDDING_LOOKUP", kLookup, 0, {{TfliteType::int32, {2}}, floats({5, 3})}, floats({2, 3}), false},
      {"STABLEHLO_GATHER", kStablehloGather, 0, {floats({0, 3}), {TfliteType::int32, {2}}}, floats({2, 3}), true},
      {"STABLEHLO_GATHER", kStablehloGather, 0, {floats({4, 3}), {TfliteType::int32, {2}}}, floats({2, 3}), false},
      {"RESIZE_BILINEAR", kResize, 15, {images, ints({2, 2})}, floats({1, 2, 2, 1}), true},
  };
  for (const EmptyCase& row : cases) {
    CAPTURE(row.words);
    const FlatNode model = one_op({row.code, row.options_type, {}}, row.inputs, {row.output});
    if (row.is_refused) {
      check_refusal(Code::unsupported_model, {row.words, "expected elements"}, [&] { read(model); });
    } else {
      CHECK_NOTHROW(read(model));
    }
  }
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

TEST_CASE("an output has the type that its kernel gives it") {
  const auto output_type = [](const Op& op, const std::vector<Value>& inputs, Value output) {
    return read(one_op(op, inputs, {std::move(output)})).signatures[0].outputs[0].dtype;
  };
  const Value byte = int8s({4}, {0.5f});
  Value declared = floats({4});
  declared.scales = {0.5f};
  declared.zero_points = {-128};
  CHECK(output_type({kAdd, 11}, {byte, byte}, declared) == DType::int8);
  CHECK(output_type({kNeg}, {floats({4})}, byte) == DType::float32);
  CHECK(output_type({kEqual}, {floats({4}), floats({4})}, floats({4})) == DType::boolean);
  CHECK(output_type({kGather, 23}, {floats({4}), ints({1, 0})}, {TfliteType::int32, {2}}) == DType::float32);
  // What the kernel then computes with must fit its type.
  declared.zero_points = {-129};
  check_refusal(Code::malformed_model, {"output 0 becomes int8", "zero point of -129"}, [&] {
    output_type({kAdd, 11}, {byte, byte}, declared);
  });
  // Kernels that set no type read and write as the file says.
  declared.zero_points = {0};
  check_refusal(Code::malformed_model, {"MUL", "output 0 of type float32, expected int8"}, [&] {
    output_type({kMul, 21}, {byte, byte}, declared);
  });
}

TEST_CASE("a tensor of another type than the file says goes into a sum at most") {
  const auto chain = [](int32_t code, const Ints& inputs) {
    const Value byte = int8s({4}, {0.5f});
    Value middle = floats({4});
    middle.scales = {0.5f};
    middle.zero_points = {0};
    FlatNode model = one_op({kAdd, 11}, {byte, byte}, {middle, byte});
    set(operator_of(model), vector<int32_t>(schema::operation::outputs, {2}));
    at(model, schema::model::operator_codes)
        .nodes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, code)});
    at(subgraph_of(model), schema::subgraph::operators)
        .nodes.push_back({scalar<uint32_t>(schema::operation::opcode_index, 1),
                          vector<int32_t>(schema::operation::inputs, inputs),
                          vector<int32_t>(schema::operation::outputs, {3})});
    set(subgraph_of(model), vector<int32_t>(schema::subgraph::outputs, {3}));
    return model;
  };
  CHECK_NOTHROW(read(chain(kAdd, {2, 0})));
  CHECK_NOTHROW(read(chain(kAdd, {0, 2})));
  check_refusal(Code::malformed_model, {"operator 1 (ADD)", "input 0 is of type int8", "another by the file"}, [&] {
    read(chain(kAdd, {2, 2}));
  });
  check_refusal(Code::malformed_model, {"operator 1 (NEG)", "input 0 is of type int8"},
                [&] { read(chain(kNeg, {2})); });
}

TEST_CASE("a softmax of bytes may give 16 bits") {
  Value wide{TfliteType::int16, {1, 4}};
  wide.scales = {1.0f / 65536};
  wide.zero_points = {-32768};
  const FlatNode options = {scalar<float>(0, 1.0f)};
  CHECK_NOTHROW(read(one_op({kSoftmax, 9, options}, {int8s({1, 4}, {0.1f})}, {wide})));
  check_refusal(Code::malformed_model, {"SOFTMAX", "output 0 of type int16, expected float32"}, [&] {
    read(one_op({kSoftmax, 9, options}, {floats({1, 4})}, {wide}));
  });
}

}  // namespace
}  // namespace edgeward
