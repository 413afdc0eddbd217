// What read_tflite says of operators that leave memory of an output as it was.
#include "model_files/tflite_unwritten.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "rigs/custom_model.h"

namespace edgeward {
namespace {

using namespace testing;

constexpr int32_t kDequantize = 6, kIf = 118;

FlatNode unknown_custom() { return custom("Unheard", {}, {floats({1, 4})}, {floats({1, 4})}); }
FlatNode verifier() { return custom("NumericVerify", {}, {int8s({1, 4}, {0.5f}), floats({1, 4})}, {floats({1, 4})}); }

// An IF of which both branches are the detector's subgraph.
FlatNode branch() {
  Value condition{TfliteType::boolean, {1}};
  FlatNode model = one_op({kIf, 92, {scalar<int32_t>(0, 1), scalar<int32_t>(1, 1)}},
                          {condition, floats({1, 6, 4}), floats({1, 6, 4}), floats({6, 4})},
                          {floats({1, 2, 4}), floats({1, 2}), floats({1, 2}), floats({1})});
  FlatNode callee = detector();
  FlatNode& subgraph = subgraph_of(callee);
  set(operator_of(callee), scalar<uint32_t>(schema::operation::opcode_index, 1));
  at(model, schema::model::operator_codes).nodes.push_back(at(callee, schema::model::operator_codes).nodes[0]);
  at(model, schema::model::subgraphs).nodes.push_back(subgraph);
  return model;
}

TEST_CASE("a detector's rows past its count stay unwritten") {
  CHECK(read(detector()).leaves_unwritten);
  CHECK_FALSE(read(unknown_custom()).leaves_unwritten);
  CHECK_FALSE(read(neg_model()).leaves_unwritten);
  CHECK_FALSE(read(conv_model()).leaves_unwritten);
}

TEST_CASE("unwritten bytes that another operator reads are named by who leaves them") {
  FlatNode model = detector();
  CHECK(read(model).spreading_operator.empty());
  add_neg(model, {1, 2, 4});
  const TfliteFile file = read(model);
  CHECK(file.spreading_operator == "subgraph 0, operator 0 (CUSTOM TFLite_Detection_PostProcess)");
  CHECK_FALSE(file.leaves_unwritten);
  FlatNode harmless = unknown_custom();
  add_neg(harmless, {1, 4});
  CHECK(read(harmless).spreading_operator.empty());
}

TEST_CASE("unwritten bytes within a branch are refused") {
  check_refusal(Code::unsupported_model,
                {"subgraph 1, operator 0 (CUSTOM TFLite_Detection_PostProcess)", "another one runs"},
                [] { read(branch()); });
}

TEST_CASE("an output of the model that is computed once is refused") {
  const std::string_view expected = "expected an output of the model that each run writes";
  Value stored = int8s({1, 4}, {0.5f});
  CHECK_NOTHROW(read(one_op({kDequantize}, {stored}, {floats({1, 4})})));
  stored.data = std::string(4, '\1');
  FlatNode model = one_op({kDequantize}, {stored}, {floats({1, 4})});
  check_refusal(Code::unsupported_model, {"operator 0 (DEQUANTIZE)", expected}, [&] { read(model); });
  check_refusal(Code::unsupported_model, {"operator 0 (CUSTOM NumericVerify)", expected}, [] { read(verifier()); });
  add_neg(model, {1, 4});
  CHECK_NOTHROW(read(model));  // the output is another operator's
}

}  // namespace
}  // namespace edgeward
