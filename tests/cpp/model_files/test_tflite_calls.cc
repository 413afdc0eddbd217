// Subgraphs that run subgraphs: how deep, how often, and not without end.
#include "model_files/tflite_calls.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "rigs/custom_model.h"

namespace edgeward {
namespace {

using namespace testing;

// A composite called `name` of [1, 4] in and out that `callee` stands for.
FlatNode composite(int32_t callee, const std::string& name = "odml.any",
                   const std::string& attributes = flexbuffer({})) {
  FlatNode model = one_op({206}, {floats({1, 4})}, {floats({1, 4})});
  set(operator_of(model), scalar<uint8_t>(schema::operation::builtin_options_2_type, 21));
  set(operator_of(model), table(schema::operation::builtin_options_2,
                                {string(0, name), scalar(1, callee), {2, FlatField::Kind::vector, 1, attributes}}));
  return model;
}

// Subgraph i calls every subgraph of `callees[i]`, one after the other; without any it is a NEG.
FlatNode calling(const std::vector<Ints>& callees) {
  FlatNode model = composite(0);
  at(model, schema::model::operator_codes)
      .nodes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, kNeg)});
  const FlatNode call = operator_of(model);
  std::vector<FlatNode> subgraphs;
  for (const Ints& row : callees) {
    FlatNode subgraph = subgraph_of(model);
    std::vector<FlatNode> operators;
    std::vector<FlatNode> tensors = {at(subgraph, schema::subgraph::tensors).nodes[0]};
    const size_t count = row.empty() ? 1 : row.size();
    for (size_t i = 0; i < count; ++i) {
      FlatNode operation = call;
      if (row.empty()) {
        operation = {scalar<uint32_t>(schema::operation::opcode_index, 1)};
      } else {
        set(at(operation, schema::operation::builtin_options_2).nodes[0], scalar(1, row[i]));
      }
      set(operation, vector<int32_t>(schema::operation::inputs, {0}));
      set(operation, vector<int32_t>(schema::operation::outputs, {static_cast<int32_t>(i) + 1}));
      operators.push_back(operation);
      std::vector<FlatNode> none;
      tensors.push_back(tensor_node(floats({1, 4}), i + 1, none));
    }
    set(subgraph, tables(schema::subgraph::tensors, tensors));
    set(subgraph, tables(schema::subgraph::operators, operators));
    set(subgraph, vector<int32_t>(schema::subgraph::outputs, {1}));
    subgraphs.push_back(subgraph);
  }
  set(model, tables(schema::model::subgraphs, subgraphs));
  return model;
}

// Each calls the next `times` times.
FlatNode chain(size_t length, int times) {
  std::vector<Ints> callees;
  for (size_t i = 0; i + 1 < length; ++i) callees.emplace_back(static_cast<size_t>(times), static_cast<int32_t>(i) + 1);
  callees.emplace_back();
  return calling(callees);
}

TEST_CASE("a composite may call any other subgraph") {
  CHECK_NOTHROW(read(calling({{1}, {}})));
  CHECK_NOTHROW(read(calling({{2}, {}, {1}})));
  CHECK_NOTHROW(read(calling({{1, 2, 1}, {2}, {}})));
}

TEST_CASE("subgraphs that run each other without end are refused") {
  const auto check = [](const std::vector<Ints>& callees, std::string_view words) {
    check_refusal(Code::malformed_model, {words}, [&] { read(calling(callees)); });
  };
  check({{0}}, "operator 0 (STABLEHLO_COMPOSITE): subgraph 0 calls itself");
  check({{1}, {2}, {1}}, "subgraph 0: it calls itself by way of others");
  check({{}, {2}, {1}}, "subgraph 1: it calls itself by way of others");
  check({{2}, {}}, "subgraph 2, but the model has 2");
  check({{-1}, {}}, "subgraph -1, but the model has 2");
}

TEST_CASE("calls nest as deep and are as many as an engine can prepare") {
  CHECK_NOTHROW(read(chain(kMaxCallDepth + 1, 1)));
  check_refusal(Code::unsupported_model, {"subgraph 0: calls nest deeper than 64"},
                [] { read(chain(kMaxCallDepth + 2, 1)); });
  CHECK_NOTHROW(read(chain(16, 2)));
  check_refusal(Code::unsupported_model, {"prepared more than 100000 times"}, [] { read(chain(17, 2)); });
}

TEST_CASE("a composite has options, and the interface of its subgraph") {
  const auto with_neg = [](FlatNode model) {
    at(model, schema::model::operator_codes)
        .nodes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, kNeg)});
    FlatNode callee = neg_model();
    set(operator_of(callee), scalar<uint32_t>(schema::operation::opcode_index, 1));
    at(model, schema::model::subgraphs).nodes.push_back(subgraph_of(callee));
    return model;
  };
  const FlatNode model = with_neg(composite(1));
  const auto options = [](FlatNode& edited) -> FlatNode& {
    return at(operator_of(edited), schema::operation::builtin_options_2).nodes[0];
  };
  check_edit(Code::malformed_model, {"no name"}, model, [&](FlatNode& edited) { remove(options(edited), 0); });
  check_edit(Code::malformed_model, {"no attributes"}, model, [&](FlatNode& edited) { remove(options(edited), 2); });
  check_edit(Code::malformed_model, {"options of type 0, expected 21"}, model, [&](FlatNode& edited) {
    remove(operator_of(edited), schema::operation::builtin_options_2);
    remove(operator_of(edited), schema::operation::builtin_options_2_type);
  });
  check_edit(Code::malformed_model, {"subgraph 1 has 2 inputs and 1 outputs, expected 1 and 1"}, model,
             [](FlatNode& edited) {
               set(at(edited, schema::model::subgraphs).nodes[1], vector<int32_t>(schema::subgraph::inputs, {0, 1}));
               set(at(at(edited, schema::model::subgraphs).nodes[1], schema::subgraph::operators).nodes[0],
                   vector<int32_t>(schema::operation::outputs, {}));
             });
  const std::string attention = "odml.scaled_dot_product_attention";
  check_refusal(Code::malformed_model, {"attributes: 2 bytes, expected at least 3"},
                [&] { read(with_neg(composite(1, attention, "ab"))); });
  check_refusal(Code::malformed_model, {"1 inputs, expected at least 3"},
                [&] { read(with_neg(composite(1, attention))); });
}

}  // namespace
}  // namespace edgeward
