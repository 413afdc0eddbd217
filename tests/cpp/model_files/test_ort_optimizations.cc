// Which saved optimizations check_ort passes: those whose nodes are the ones that their action works on.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model_files/ort_file.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

using namespace testing;

constexpr uint32_t kAbsent = UINT32_MAX;

FlatNode value_info(const std::string& name) {
  const FlatNode type = {scalar<int32_t>(0, 1)};
  return {string(0, name), table(2, {scalar<uint8_t>(1, 1), table(2, type)})};
}
FlatNode operation(uint32_t index, const std::string& type, const std::vector<std::string>& inputs,
                   const std::string& output, const std::string& domain = "") {
  return {string(2, domain),  scalar(4, index),
          string(5, type),    vector<int32_t>(11, std::vector<int32_t>(inputs.size(), 1)),
          strings(8, inputs), strings(9, {output})};
}

// What a record says. Two chains of nodes stand for it: x > DQ 0 > Flatten 1 > Q 2 > y, and x > Conv 3 > Relu 4 > z.
struct Saved {
  std::string optimizer = "QDQSelectorActionTransformer";
  std::string action = "drop";
  std::vector<uint32_t> nodes{0, 1, 2};
  int32_t inputs = 1;
  int32_t outputs = 1;
  uint8_t is_variadic = 0;
  int32_t variadic_inputs = 0;
  std::string domain = "";  // of the node that it is about
};

std::string file(const Saved& saved) {
  const FlatNode indices = {
      vector<uint32_t>(0, saved.nodes),      scalar(1, saved.inputs), scalar(2, saved.outputs),
      scalar<uint8_t>(3, saved.is_variadic), scalar<uint8_t>(4, 0),   scalar(5, saved.variadic_inputs)};
  const FlatNode record = {string(0, saved.action), table(1, indices)};
  const FlatNode optimizer = {string(0, saved.optimizer), tables(1, {record})};
  std::vector<FlatNode> infos;
  for (const char* name : {"x", "s", "y", "z", "w"}) infos.push_back(value_info(name));
  const FlatNode main = {
      tables(1, infos),
      tables(2, {operation(0, "DequantizeLinear", {"x", "s"}, "a"), operation(1, "Flatten", {"a"}, "b", saved.domain),
                 operation(2, "QuantizeLinear", {"b", "s"}, "y"), operation(3, "Conv", {"x", "s"}, "c"),
                 operation(4, "Relu", {"c"}, "z"), operation(5, "DequantizeLinear", {"x", "s"}, "w")}),
      scalar<uint32_t>(3, 6),
      strings(5, {"x", "s"}),
      strings(6, {"y", "z", "w"}),
      table(8, {tables(0, {optimizer})})};
  const FlatNode model = {tables(1, {{string(0, ""), scalar<int64_t>(1, 21)}}), table(7, main)};
  return FlatWriter::file("ORTM", {string(0, "6"), table(1, model), table(3, {})});
}

void passes(const Saved& saved) {
  const std::string bytes = file(saved);
  CHECK_NOTHROW(check_ort(view(bytes)));
}
void refused(const Saved& saved, const std::vector<std::string_view>& words, Code code = Code::malformed_model) {
  const std::string bytes = file(saved);
  check_refusal(code, words, [&] { check_ort(view(bytes)); });
}

}  // namespace

TEST_CASE("a saved optimization of the nodes of its action passes") {
  passes({});
  passes({.optimizer = "ConvActivationFusion", .action = "ConvAct", .nodes = {3, 4}, .inputs = 0});
  passes({.is_variadic = 1, .variadic_inputs = 1});
  passes({.nodes = {0, kAbsent, 1, 2}, .is_variadic = 1, .variadic_inputs = 2});
}

TEST_CASE("an action that nobody knows is unsupported") {
  refused({.action = "drip"}, {"\"drip\"", "QDQSelectorActionTransformer"}, Code::unsupported_model);
  refused({.optimizer = "Others"}, {"\"drop\" of \"Others\""}, Code::unsupported_model);
}

TEST_CASE("a saved optimization lists as many nodes as it says, and nodes that exist") {
  refused({.nodes = {}}, {"0 nodes"});
  refused({.nodes = {0, 1}}, {"2 nodes"});
  refused({.nodes = {0, 1, 2, 2}}, {"4 nodes"});
  refused({.inputs = 2}, {"3 nodes"});
  refused({.outputs = -1}, {"-1"});
  refused({.inputs = INT32_MAX, .is_variadic = 1, .variadic_inputs = INT32_MAX}, {"3 nodes"});
  refused({.inputs = 0, .is_variadic = 1, .variadic_inputs = 2}, {"0 and 2"});
  refused({.nodes = {0, 1, 6}}, {"node index 6"});
  refused({.nodes = {0, kAbsent, 2}}, {"no node that it is about"});
}

TEST_CASE("the nodes of a saved optimization are what its action works on") {
  refused({.nodes = {0, 4, 2}}, {"drop of Relu"});
  refused({.domain = "com.microsoft"}, {"drop of Flatten"});
  refused({.nodes = {kAbsent, 1, 2}}, {"0 nodes before"});
  refused({.nodes = {0, 1, kAbsent}}, {"0 nodes behind"});
  refused({.nodes = {3, 1, 2}}, {"expected DequantizeLinear"});
  refused({.nodes = {5, 1, 2}}, {"whose output Flatten reads"});  // it is no input of the node
  refused({.nodes = {0, 1, 4}}, {"expected QuantizeLinear"});
  refused({.optimizer = "ConvActivationFusion", .action = "ConvAct", .nodes = {3, 2}, .inputs = 0},
          {"expected Clip LeakyRelu Relu"});
}

}  // namespace edgeward
