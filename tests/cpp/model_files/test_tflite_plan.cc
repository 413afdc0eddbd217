// Which operators leave a shape open until a run. That these are the engine's rules is shown by
// tests/engines/test_litert_interpreter.py, which asks the engine.
#include "model_files/tflite_plan.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "rigs/flat_writer.h"
#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

constexpr int32_t kTopK = 48;
constexpr int32_t kTile = 69;
constexpr int32_t kShape = 77;
constexpr int32_t kFill = 94;
constexpr int32_t kUnique = 103;
constexpr int32_t kWhere = 109;
constexpr int32_t kBroadcastTo = 130;

const Value kSizes{TfliteType::int32, {2}};
const Value kSize{TfliteType::int32, {}};

struct Case {
  std::string name;
  FlatNode model;
  bool is_open;
};

std::vector<Case> cases() {
  const FlatNode reshape = {vector<int32_t>(0, {2, 3})};
  return {
      {"NEG", neg_model(), false},
      {"RESHAPE to a constant", one_op({kReshape}, {floats({6}), ints({2, 3})}, {floats({2, 3})}), false},
      {"RESHAPE by its options", one_op({kReshape, 17, reshape}, {floats({6})}, {floats({2, 3})}), false},
      {"RESHAPE to an input", one_op({kReshape}, {floats({6}), kSizes}, {floats({1, 6})}), true},
      {"TILE by a constant", one_op({kTile}, {floats({1, 3}), ints({2, 1})}, {floats({2, 3})}), false},
      {"TILE by an input", one_op({kTile}, {floats({1, 3}), kSizes}, {floats({1, 3})}), true},
      {"BROADCAST_TO", one_op({kBroadcastTo}, {floats({1, 3}), kSizes}, {floats({1, 3})}), true},
      {"FILL", one_op({kFill}, {kSizes, floats({})}, {floats({1, 1})}), true},
      {"WHERE", one_op({kWhere}, {{TfliteType::boolean, {8}}}, {{TfliteType::int64, {8, 1}}}), true},
      {"UNIQUE", one_op({kUnique, 80, {scalar<int8_t>(0, 2)}}, {kSizes}, {kSizes, kSizes}), true},
      {"TOPK_V2 with a constant", one_op({kTopK}, {floats({4}), ints({2}, {})}, {floats({2}), kSizes}), false},
      {"TOPK_V2 with an input", one_op({kTopK}, {floats({4}), kSize}, {floats({1}), {TfliteType::int32, {1}}}), true},
      {"TOPK_V2 of any number of rows",
       one_op({kTopK}, {{TfliteType::float32, {1, 4}, {}, {-1, 4}}, ints({2}, {})},
              {floats({1, 2}), {TfliteType::int32, {1, 2}}}),
       true},
      {"SLICE into a shape of the file", one_op({kSlice}, {floats({4, 4}), kSizes, kSizes}, {floats({2, 2})}), false},
      {"SLICE into any shape",
       one_op({kSlice}, {floats({4, 4}), kSizes, kSizes}, {{TfliteType::float32, {1, 1}, {}, {-1, -1}}}), true},
      {"SHAPE", one_op({kShape}, {floats({2, 3})}, {kSizes}), false},
  };
}

TEST_CASE("an output's shape is open when values give it that no kernel has before a run") {
  for (const Case& row : cases()) {
    CAPTURE(row.name);
    const TfliteSignature signature = read(row.model).signatures.at(0);
    CHECK(signature.open_operator.empty() == !row.is_open);
    if (row.is_open) CHECK(signature.open_operator.starts_with("subgraph 0, operator 0 ("));
    for (const TfliteTensor& output : signature.outputs) CHECK(output.has_open_shape == row.is_open);
  }
}

TEST_CASE("an open shape passes on, and what does not depend on it stays known") {
  // t1 = WHERE(t0), t2 = CAST(t1), t4 = NEG(t3)
  FlatNode model = one_op({kWhere}, {{TfliteType::boolean, {8}}}, {{TfliteType::int64, {8, 1}}});
  std::vector<FlatNode> buffers;
  auto& tensors = at(subgraph_of(model), schema::subgraph::tensors).nodes;
  tensors.push_back(tensor_node({TfliteType::int64, {8, 1}}, 2, buffers));
  tensors.push_back(tensor_node(floats({4}), 3, buffers));
  tensors.push_back(tensor_node(floats({4}), 4, buffers));
  at(model, schema::model::operator_codes)
      .nodes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, kNeg)});
  const auto neg = [](int32_t input, int32_t output) {
    return FlatNode{scalar<uint32_t>(schema::operation::opcode_index, 1),
                    vector<int32_t>(schema::operation::inputs, {input}),
                    vector<int32_t>(schema::operation::outputs, {output})};
  };
  auto& operators = at(subgraph_of(model), schema::subgraph::operators).nodes;
  operators.push_back(neg(1, 2));
  operators.push_back(neg(3, 4));
  set(subgraph_of(model), vector<int32_t>(schema::subgraph::inputs, {0, 3}));
  set(subgraph_of(model), vector<int32_t>(schema::subgraph::outputs, {1, 2, 4}));
  const TfliteSignature signature = read(model).signatures.at(0);
  CHECK(signature.open_operator == "subgraph 0, operator 0 (WHERE)");
  CHECK(signature.outputs.at(0).has_open_shape);
  CHECK(signature.outputs.at(1).has_open_shape);
  CHECK_FALSE(signature.outputs.at(2).has_open_shape);
}

}  // namespace
}  // namespace edgeward
