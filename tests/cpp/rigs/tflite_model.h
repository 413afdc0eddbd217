// Models of one operator as the flatbuffers of .tflite files, to be edited before they are read.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "model_files/tflite_file.h"
#include "model_files/tflite_operators.h"
#include "model_files/tflite_schema.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"

namespace edgeward::testing {

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

inline Value floats(Ints shape) { return {TfliteType::float32, std::move(shape)}; }
inline Value int8s(Ints shape, std::vector<float> scales, int32_t axis = 0) {
  const size_t count = scales.size();
  return {TfliteType::int8, std::move(shape), {}, {}, std::move(scales), std::vector<int64_t>(count, 0), axis};
}
inline Value ints(const Ints& values, Ints shape) {
  return {TfliteType::int32, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size())};
}
inline Value ints(const Ints& values) { return ints(values, {static_cast<int32_t>(values.size())}); }
inline Value weights(Ints shape) {
  size_t count = 4;
  for (const int32_t dim : shape) count *= static_cast<size_t>(dim);
  return {TfliteType::float32, std::move(shape), std::string(count, '\0')};
}

struct Op {
  int32_t code;
  uint8_t options_type = 0;
  FlatNode options = {};
};

inline FlatNode tensor_node(const Value& value, size_t index, std::vector<FlatNode>& buffers) {
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
inline FlatNode one_op(const Op& op, const std::vector<Value>& inputs, const std::vector<Value>& outputs) {
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

inline std::string file(const FlatNode& model) { return FlatWriter::file("TFL3", model); }
inline TfliteFile read(const FlatNode& model) { return read_tflite(view(file(model))); }

inline constexpr int32_t kAdd = 0, kPool = 17, kConcat = 2, kConv = 3, kDepthwise = 4, kDense = 9, kReshape = 22,
                         kResize = 23, kSoftmax = 25, kPad = 34, kGather = 36, kTranspose = 39, kMean = 40,
                         kStridedSlice = 45, kSplit = 49, kSlice = 65, kNeg = 59, kEqual = 71, kPack = 83, kUnpack = 88,
                         kWhile = 119, kTransposeConv = 67, kMul = 18, kLogSoftmax = 50, kReverse = 105,
                         kReverseSequence = 112, kUnknown = 4000;

inline FlatNode window(int32_t stride, int8_t padding = 1) {
  return {scalar<int8_t>(0, padding), scalar<int32_t>(1, stride), scalar<int32_t>(2, stride)};
}
inline Op conv(int32_t stride = 1) { return {kConv, 1, window(stride)}; }
inline FlatNode conv_model(int32_t stride = 1) {
  return one_op(conv(stride), {floats({1, 4, 4, 2}), weights({3, 2, 2, 2}), weights({3})}, {floats({1, 3, 3, 3})});
}
inline FlatNode neg_model() { return one_op({kNeg}, {floats({1, 4})}, {floats({1, 4})}); }

inline FlatNode& subgraph_of(FlatNode& model) { return at(model, schema::model::subgraphs).nodes[0]; }
inline FlatNode& tensor_of(FlatNode& model, size_t index) {
  return at(subgraph_of(model), schema::subgraph::tensors).nodes[index];
}
inline FlatNode& operator_of(FlatNode& model) { return at(subgraph_of(model), schema::subgraph::operators).nodes[0]; }

// Adds a NEG of the only operator's first output, of `shape`, whose output is the last tensor and the graph's.
inline void add_neg(FlatNode& model, Ints shape) {
  at(model, schema::model::operator_codes)
      .nodes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, kNeg)});
  FlatNode& subgraph = subgraph_of(model);
  int32_t first = 0;
  std::memcpy(&first, at(subgraph, schema::subgraph::outputs).bytes.data(), sizeof(first));
  std::vector<FlatNode> none;
  std::vector<FlatNode>& tensors = at(subgraph, schema::subgraph::tensors).nodes;
  const auto last = static_cast<int32_t>(tensors.size());
  tensors.push_back(tensor_node(floats(std::move(shape)), tensors.size(), none));
  at(subgraph, schema::subgraph::operators)
      .nodes.push_back({scalar<uint32_t>(schema::operation::opcode_index, 1),
                        vector<int32_t>(schema::operation::inputs, {first}),
                        vector<int32_t>(schema::operation::outputs, {last})});
  set(subgraph, vector<int32_t>(schema::subgraph::outputs, {last}));
}

template <class Edit>
void check_edit(Code code, const std::vector<std::string_view>& words, FlatNode model, const Edit& edit) {
  REQUIRE_NOTHROW(read(model));
  edit(model);
  check_refusal(code, words, [&] { read(model); });
}

}  // namespace edgeward::testing
