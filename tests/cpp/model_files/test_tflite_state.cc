// Which state a file has, whether it can be restored, and what is asked of variables by name.
#include "model_files/tflite_state.h"

#include <doctest/doctest.h>

#include <string>

#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

constexpr uint32_t kCallOnce = 0, kHandle = 1, kRead = 2, kAssign = 3;

FlatNode operation(uint32_t code, const Ints& inputs, const Ints& outputs, uint8_t options_type = 0,
                   FlatNode options = {}) {
  FlatNode node = {scalar<uint32_t>(schema::operation::opcode_index, code),
                   vector<int32_t>(schema::operation::inputs, inputs),
                   vector<int32_t>(schema::operation::outputs, outputs)};
  if (options_type == 0) return node;
  node.push_back(scalar(schema::operation::builtin_options_type, options_type));
  node.push_back(table(schema::operation::builtin_options, std::move(options)));
  return node;
}

FlatNode handle(const std::string& name, int32_t tensor) {
  return operation(kHandle, {}, {tensor}, 111, {string(0, ""), string(1, name)});
}

// x is assigned to the variable "v", of which `read` elements were read before; subgraph 1 assigns its first values.
struct Variables {
  Ints read = {4};
  std::string assigned = "v";  // the variable to which x is assigned
  std::string first = "v";     // the one that has first values
  bool is_late = false;        // x is assigned before first values are
  bool is_called = true;       // subgraph 1 is, before v is read; otherwise behind that
};

FlatNode model_of(const Variables& variables) {
  std::vector<FlatNode> buffers = {{}};
  const Value resource = {TfliteType::resource, {}};
  std::vector<FlatNode> tensors;
  for (const Value& value : {floats({4}), resource, resource, floats(variables.read)})
    tensors.push_back(tensor_node(value, tensors.size(), buffers));
  std::vector<FlatNode> operators = {handle("v", 1), handle(variables.assigned, 2), operation(kRead, {1}, {3}),
                                     operation(kAssign, {2, 0}, {})};
  if (variables.is_late) std::swap(operators[2], operators[3]);
  operators.insert(variables.is_late     ? operators.end() - 1
                   : variables.is_called ? operators.begin()
                                         : operators.end(),
                   operation(kCallOnce, {}, {}, 103, {scalar<int32_t>(0, 1)}));
  std::vector<FlatNode> first;
  for (const Value& value : {resource, weights({4})}) first.push_back(tensor_node(value, first.size(), buffers));
  const FlatNode main = {tables(schema::subgraph::tensors, tensors), vector<int32_t>(schema::subgraph::inputs, {0}),
                         vector<int32_t>(schema::subgraph::outputs, {3}),
                         tables(schema::subgraph::operators, operators)};
  const FlatNode initializer = {
      tables(schema::subgraph::tensors, first), vector<int32_t>(schema::subgraph::inputs, {}),
      vector<int32_t>(schema::subgraph::outputs, {}),
      tables(schema::subgraph::operators, {handle(variables.first, 0), operation(kAssign, {0, 1}, {})})};
  const auto map = [](const char* name, uint32_t tensor) {
    return FlatNode{string(schema::tensor_map::name, name), scalar(schema::tensor_map::tensor_index, tensor)};
  };
  std::vector<FlatNode> codes;
  for (const int32_t code : {129, 142, 143, 144})
    codes.push_back({scalar<int32_t>(schema::operator_code::builtin_code, code)});
  return {scalar<uint32_t>(schema::model::version, 3), tables(schema::model::operator_codes, codes),
          tables(schema::model::subgraphs, {main, initializer}), tables(schema::model::buffers, buffers),
          tables(schema::model::signature_defs,
                 {{tables(schema::signature::inputs, {map("x", 0)}), tables(schema::signature::outputs, {map("y", 3)}),
                   string(schema::signature::signature_key, "main")}})};
}

TEST_CASE("variables that are assigned first values can be restored by assigning them again") {
  const TfliteFile facts = read(model_of({}));
  CHECK(facts.is_stateful);
  CHECK(facts.has_named_variables);
  CHECK(facts.is_restorable);
  CHECK(facts.signatures[0].initializers == Ints{1});
}

TEST_CASE("a variable without first values, or with late ones, cannot") {
  Variables other;
  other.assigned = "w";
  CHECK(read(model_of(other)).is_stateful);
  CHECK_FALSE(read(model_of(other)).is_restorable);
  Variables late;
  late.is_late = true;
  CHECK_FALSE(read(model_of(late)).is_restorable);
}

TEST_CASE("a variable that nothing assigns before is not read") {
  const std::vector<std::string_view> words = {"READ_VARIABLE", "got one without a first value"};
  Variables other;
  other.first = "w";
  check_refusal(Code::unsupported_model, words, [&] { read(model_of(other)); });
  Variables behind;
  behind.is_called = false;
  check_refusal(Code::unsupported_model, words, [&] { read(model_of(behind)); });
  other.is_late = true;  // but x is
  CHECK_NOTHROW(read(model_of(other)));
}

TEST_CASE("a variable is read as no more elements than are assigned to it") {
  for (const Ints& read_as : {Ints{5}, Ints{1000}, Ints{2, 3}}) {
    Variables variables;
    variables.read = read_as;
    check_refusal(Code::malformed_model, {"READ_VARIABLE", "expected at most the 4 elements", "ASSIGN_VARIABLE"},
                  [&] { read(model_of(variables)); });
  }
  Variables fewer;
  fewer.read = {2};
  CHECK_NOTHROW(read(model_of(fewer)));
}

TEST_CASE("a variable is known by a handle that an operator gives") {
  FlatNode model = model_of({});
  std::vector<FlatNode>& operators = at(subgraph_of(model), schema::subgraph::operators).nodes;
  operators.erase(operators.begin() + 1);  // of "v"
  std::vector<FlatNode>& buffers = at(model, schema::model::buffers).nodes;
  tensor_of(model, 1) = tensor_node(ints({0}), 1, buffers);
  check_refusal(Code::unsupported_model, {"READ_VARIABLE", "a handle that VAR_HANDLE gives"}, [&] { read(model); });
}

}  // namespace
}  // namespace edgeward
