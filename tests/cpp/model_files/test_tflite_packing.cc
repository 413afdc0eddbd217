// What read_tflite says of weights that several operators read.
#include "model_files/tflite_packing.h"

#include <doctest/doctest.h>

#include <string>

#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

constexpr int32_t kDequantize = 6;

Value output(float scale) { return int8s({1, 3}, {scale}); }
Value constant(Value value) {
  size_t count = value.type == TfliteType::float32 ? 4 : 1;
  for (const int32_t dim : value.shape) count *= static_cast<size_t>(dim);
  value.data.assign(count, '\0');
  return value;
}

// x, weights, output; then the outputs of further operators that read the same x and weights.
FlatNode dense(const std::vector<Value>& outputs) {
  const Value kernel = constant(int8s({3, 4}, {0.5F}));
  FlatNode model = one_op({kDense, 8, {scalar<int8_t>(0, 0)}}, {int8s({1, 4}, {0.25F}), kernel}, {outputs[0]});
  FlatNode& subgraph = subgraph_of(model);
  Ints results = {2};
  for (size_t i = 1; i < outputs.size(); ++i) {
    std::vector<FlatNode> none;
    const auto index = static_cast<int32_t>(2 + i);
    results.push_back(index);
    at(subgraph, schema::subgraph::tensors).nodes.push_back(tensor_node(outputs[i], static_cast<size_t>(index), none));
    FlatNode another = operator_of(model);
    set(another, vector<int32_t>(schema::operation::outputs, {index}));
    at(subgraph, schema::subgraph::operators).nodes.push_back(another);
  }
  set(subgraph, vector<int32_t>(schema::subgraph::outputs, results));
  return model;
}

FlatNode& second_operator_of(FlatNode& model) { return at(subgraph_of(model), schema::subgraph::operators).nodes[1]; }

}  // namespace

TEST_CASE("weights of one operator are told by their buffers") {
  CHECK(read(dense({output(0.5F)})).is_pack_told_by_buffers);
  CHECK(read(conv_model()).is_pack_told_by_buffers);
  CHECK(read(neg_model()).is_pack_told_by_buffers);
}

TEST_CASE("so are those of operators that are alike, also in another subgraph") {
  CHECK(read(dense({output(0.5F), output(0.5F)})).is_pack_told_by_buffers);
  FlatNode model = dense({output(0.5F)});
  FlatNode other = subgraph_of(model);
  at(model, schema::model::subgraphs).nodes.push_back(other);
  CHECK(read(model).is_pack_told_by_buffers);
  std::vector<FlatNode> none;
  at(at(model, schema::model::subgraphs).nodes[1], schema::subgraph::tensors).nodes[2] =
      tensor_node(output(0.25F), 2, none);
  CHECK_FALSE(read(model).is_pack_told_by_buffers);
}

TEST_CASE("weights whose operators differ in a scale, an option or an input are not") {
  CHECK_FALSE(read(dense({output(0.5F), output(0.25F)})).is_pack_told_by_buffers);
  FlatNode relu = dense({output(0.5F), output(0.5F)});
  set(second_operator_of(relu), table(schema::operation::builtin_options, {scalar<int8_t>(0, 1)}));
  CHECK_FALSE(read(relu).is_pack_told_by_buffers);

  FlatNode biased = dense({output(0.5F), output(0.5F)});
  FlatNode& subgraph = subgraph_of(biased);
  std::vector<FlatNode>& buffers = at(biased, schema::model::buffers).nodes;
  Value bias{TfliteType::int32, {3}, std::string(12, '\0'), {}, {0.125F}, {0}};
  at(subgraph, schema::subgraph::tensors).nodes.push_back(tensor_node(bias, 4, buffers));
  set(second_operator_of(biased), vector<int32_t>(schema::operation::inputs, {0, 1, 4}));
  CHECK_FALSE(read(biased).is_pack_told_by_buffers);
}

TEST_CASE("weights that operators only pack are told, once") {
  const auto bytes_of = [](const FlatNode& model) {
    const std::vector<Bytes> weights = read(model).only_packed;
    REQUIRE(weights.size() <= 1);
    return weights.empty() ? size_t{0} : weights[0].size();
  };
  CHECK(bytes_of(dense({output(0.5F)})) == 12);
  CHECK(bytes_of(dense({output(0.5F), output(0.25F)})) == 12);
  CHECK(bytes_of(neg_model()) == 0);

  FlatNode is_output = dense({output(0.5F)});
  set(subgraph_of(is_output), vector<int32_t>(schema::subgraph::outputs, {2, 1}));
  CHECK(bytes_of(is_output) == 0);

  FlatNode is_input = dense({output(0.5F), output(0.5F)});
  set(second_operator_of(is_input), vector<int32_t>(schema::operation::inputs, {1, 1}));
  std::vector<FlatNode> none;
  at(subgraph_of(is_input), schema::subgraph::tensors).nodes[3] = tensor_node(int8s({3, 3}, {0.5F}), 3, none);
  CHECK(bytes_of(is_input) == 0);

  // Another tensor has the same buffer, and nothing tells who reads it.
  FlatNode is_shared = dense({output(0.5F)});
  std::vector<FlatNode>& tensors = at(subgraph_of(is_shared), schema::subgraph::tensors).nodes;
  tensors.push_back(tensors[1]);
  CHECK(bytes_of(is_shared) == 0);

  // A branch may run later than the first run.
  FlatNode has_branch = dense({output(0.5F)});
  FlatNode branch = subgraph_of(has_branch);
  at(has_branch, schema::model::subgraphs).nodes.push_back(branch);
  CHECK(bytes_of(has_branch) == 0);

  // The kernel of a float layer with int8 weights skips them while its input is zero.
  FlatNode is_hybrid = dense({output(0.5F)});
  at(subgraph_of(is_hybrid), schema::subgraph::tensors).nodes[0] = tensor_node(floats({1, 4}), 0, none);
  at(subgraph_of(is_hybrid), schema::subgraph::tensors).nodes[2] = tensor_node(floats({1, 3}), 2, none);
  CHECK(bytes_of(is_hybrid) == 0);
}

TEST_CASE("weights that are unpacked first are the same weights") {
  // Two operators read what one DEQUANTIZE makes of a constant; their outputs have other scales.
  const auto with_dequantize = [](float first_scale, float second_scale) {
    FlatNode model = dense({output(first_scale), output(second_scale)});
    FlatNode& subgraph = subgraph_of(model);
    std::vector<FlatNode> none;
    at(model, schema::model::operator_codes)
        .nodes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, kDequantize)});
    std::vector<FlatNode>& all = at(subgraph, schema::subgraph::tensors).nodes;
    all[0] = tensor_node(floats({1, 4}), 0, none);
    for (const size_t index : {size_t{2}, size_t{3}}) {
      Value result = floats({1, 3});
      result.scales = {index == 2 ? first_scale : second_scale};
      result.zero_points = {0};
      all[index] = tensor_node(result, index, none);
    }
    all.push_back(tensor_node(floats({3, 4}), 4, none));
    std::vector<FlatNode>& operators = at(subgraph, schema::subgraph::operators).nodes;
    for (FlatNode& operation : operators) set(operation, vector<int32_t>(schema::operation::inputs, {0, 4}));
    operators.insert(operators.begin(), {scalar<uint32_t>(schema::operation::opcode_index, 1),
                                         vector<int32_t>(schema::operation::inputs, {1}),
                                         vector<int32_t>(schema::operation::outputs, {4})});
    return read(model);
  };
  CHECK(with_dequantize(0.5F, 0.5F).is_pack_told_by_buffers);
  CHECK_FALSE(with_dequantize(0.5F, 0.25F).is_pack_told_by_buffers);
}

TEST_CASE("shared weights of elements that are packed in the file are not told by their buffers") {
  FlatNode model = dense({output(0.5F), output(0.5F)});
  std::vector<FlatNode> none;
  Value kernel = int8s({3, 4}, {0.5F});
  kernel.type = TfliteType::int4;
  FlatNode node = tensor_node(kernel, 1, none);
  node.push_back(scalar<uint32_t>(schema::tensor::buffer, 1));
  tensor_of(model, 1) = node;
  set(at(model, schema::model::buffers).nodes[1],
      FlatField{schema::buffer::data, FlatField::Kind::vector, 1, std::string(6, '\0')});
  CHECK_FALSE(read(model).is_pack_told_by_buffers);
}

}  // namespace edgeward
