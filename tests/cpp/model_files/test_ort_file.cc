// What check_ort passes and what it refuses.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model_files/ort_file.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

using namespace testing;

// Field ids of the format.
namespace session {
enum : uint32_t {
  version,
  model,
  state,
  resolver
};
}  // namespace session
namespace model {
enum : uint32_t {
  ir_version,
  opset_import,
  graph = 7
};
}  // namespace model
namespace graph {
enum : uint32_t {
  initializers,
  node_args,
  nodes,
  max_node_index,
  node_edges,
  inputs,
  outputs,
  sparse,
  optimizations
};
}  // namespace graph
namespace tensor {
enum : uint32_t {
  name,
  doc,
  dims,
  type,
  raw,
  strings,
  external_offset
};
}  // namespace tensor
namespace node {
enum : uint32_t {
  name,
  doc,
  domain,
  since,
  index,
  op_type,
  kind,
  provider,
  inputs,
  outputs,
  attributes,
  counts,
  implicit
};
}  // namespace node
namespace attribute {
enum : uint32_t {
  name,
  doc,
  type,
  f,
  i,
  s,
  t,
  g,
  floats,
  ints
};
}  // namespace attribute

struct Edge {
  uint32_t node;
  int32_t source;
  int32_t target;
};

FlatNode value_info(const std::string& name, const std::vector<int64_t>& dims, int32_t element = 1) {
  std::vector<FlatNode> shape;
  for (const int64_t dim : dims) shape.push_back({table(0, {scalar<int8_t>(0, 1), scalar<int64_t>(1, dim)})});
  const FlatNode type = {scalar<int32_t>(0, element), table(1, {tables(0, shape)})};
  return {string(0, name), table(2, {scalar<uint8_t>(1, 1), table(2, type)})};
}
FlatNode initializer(const std::string& name, const std::vector<int64_t>& dims, size_t size_bytes) {
  return {string(tensor::name, name), vector<int64_t>(tensor::dims, dims), scalar<int32_t>(tensor::type, 1),
          vector<uint8_t>(tensor::raw, std::vector<uint8_t>(size_bytes))};
}
FlatNode operation(uint32_t index, const std::string& type, std::vector<std::string> inputs,
                   std::vector<std::string> outputs) {
  return {scalar(node::index, index), string(node::op_type, type),
          vector<int32_t>(node::counts, std::vector<int32_t>(inputs.size(), 1)), strings(node::inputs, inputs),
          strings(node::outputs, outputs)};
}
FlatNode edges_of(uint32_t index, std::vector<Edge> inputs, std::vector<Edge> outputs) {
  return {scalar<uint32_t>(0, index), vector<Edge>(1, inputs), vector<Edge>(2, outputs)};
}

// y = -(x + w).
FlatNode sound() {
  const FlatNode main = {
      tables(graph::initializers, {initializer("w", {4}, 16)}),
      tables(graph::node_args, {value_info("x", {1, 4}), value_info("y", {1, 4}), value_info("a", {1, 4})}),
      tables(graph::nodes, {operation(0, "Add", {"x", "w"}, {"a"}), operation(1, "Neg", {"a"}, {"y"})}),
      scalar<uint32_t>(graph::max_node_index, 2),
      tables(graph::node_edges, {edges_of(0, {}, {{1, 0, 0}}), edges_of(1, {{0, 0, 0}}, {})}),
      strings(graph::inputs, {"x"}),
      strings(graph::outputs, {"y"})};
  return {string(session::version, "6"),
          table(session::model,
                {scalar<int64_t>(model::ir_version, 10),
                 tables(model::opset_import, {{string(0, ""), scalar<int64_t>(1, 21)}}), table(model::graph, main)}),
          table(session::resolver, {})};
}

std::string file(const FlatNode& root) { return FlatWriter::file("ORTM", root); }
void check(const FlatNode& root) { check_ort(view(file(root))); }
FlatNode& graph_of(FlatNode& root) { return at(at(root, session::model).nodes[0], model::graph).nodes[0]; }
FlatNode& node_of(FlatNode& root, size_t index) { return at(graph_of(root), graph::nodes).nodes[index]; }

template <class Edit>
void check_edit(Code code, const std::vector<std::string_view>& words, const Edit& edit) {
  FlatNode root = sound();
  edit(root);
  check_refusal(code, words, [&] { check(root); });
}

TEST_CASE("a sound model passes") { CHECK_NOTHROW(check(sound())); }

TEST_CASE("a file cut at any byte is refused") {
  const std::string bytes = file(sound());
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(check_ort(view(bytes.substr(0, size))), Error);
  }
}

TEST_CASE("bytes after the last table change nothing") {
  CHECK_NOTHROW(check_ort(view(file(sound()) + std::string(9, '\x33'))));
}

TEST_CASE("every flipped bit gives a file that is passed or refused") {
  const std::string bytes = file(sound());
  size_t refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    try {
      check_ort(view(damaged));
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > bytes.size() * 2);
}

TEST_CASE("the frame is whole") {
  check_refusal(Code::malformed_model, {"ORTM", "TFL3"}, [] { check_ort(view(FlatWriter::file("TFL3", sound()))); });
  check_edit(Code::malformed_model, {"no ort_version"}, [](FlatNode& root) { remove(root, session::version); });
  check_edit(Code::malformed_model, {"no model"}, [](FlatNode& root) { remove(root, session::model); });
  check_edit(Code::unsupported_model, {"no kernel_type_str_resolver"},
             [](FlatNode& root) { remove(root, session::resolver); });
  check_edit(Code::malformed_model, {"no opset_import"},
             [](FlatNode& root) { remove(at(root, session::model).nodes[0], model::opset_import); });
  check_edit(Code::malformed_model, {"no graph"},
             [](FlatNode& root) { remove(at(root, session::model).nodes[0], model::graph); });
}

TEST_CASE("nodes have indices of their own, below the bound") {
  check_edit(Code::malformed_model, {"node 1: index 0"},
             [](FlatNode& root) { set(node_of(root, 1), scalar<uint32_t>(node::index, 0)); });
  check_edit(Code::malformed_model, {"node 1: index 2"},
             [](FlatNode& root) { set(node_of(root, 1), scalar<uint32_t>(node::index, 2)); });
  for (const uint32_t bound : {1u, 0x7fffffffu}) {
    check_edit(Code::malformed_model, {"max_node_index"},
               [&](FlatNode& root) { set(graph_of(root), scalar<uint32_t>(graph::max_node_index, bound)); });
  }
}

TEST_CASE("names lead to something, in no circle") {
  check_edit(Code::malformed_model, {"node 0 (Add)", "input 1 is \"v\""}, [](FlatNode& root) {
    set(node_of(root, 0), strings(node::inputs, {"x", "v"}));
  });
  check_edit(Code::malformed_model, {"wait for each other"}, [](FlatNode& root) {
    set(node_of(root, 0), strings(node::inputs, {"x", "y"}));
    remove(graph_of(root), graph::node_edges);
  });
  check_edit(Code::malformed_model, {"output \"a\" is produced twice"},
             [](FlatNode& root) { set(node_of(root, 1), strings(node::outputs, {"a"})); });
  check_edit(Code::malformed_model, {"graph output \"z\""},
             [](FlatNode& root) { set(graph_of(root), strings(graph::outputs, {"z"})); });
  check_edit(Code::malformed_model, {"input \"q\"", "no node argument"}, [](FlatNode& root) {
    set(graph_of(root), strings(graph::inputs, {"x", "q"}));
  });
  check_edit(Code::malformed_model, {"input_arg_counts sum to 3 for 2 inputs"}, [](FlatNode& root) {
    set(node_of(root, 0), vector<int32_t>(node::counts, {1, 2}));
  });
}

TEST_CASE("edges join an output with the input of its name") {
  const auto with = [](std::vector<FlatNode> edges) {
    return [edges](FlatNode& root) { set(graph_of(root), tables(graph::node_edges, edges)); };
  };
  check_edit(Code::malformed_model, {"node index 7"}, with({edges_of(7, {}, {})}));
  check_edit(Code::malformed_model, {"node index 7"}, with({edges_of(0, {}, {{7, 0, 0}})}));
  check_edit(Code::malformed_model, {"edge from output 3"}, with({edges_of(0, {}, {{1, 3, 0}})}));
  check_edit(Code::malformed_model, {"edge to input 2"}, with({edges_of(0, {}, {{1, 0, 2}})}));
  check_edit(Code::malformed_model, {"edge to input -1"}, with({edges_of(0, {}, {{1, 0, -1}})}));
  check_edit(Code::malformed_model, {"edge from \"y\" to \"x\""}, with({edges_of(0, {{1, 0, 0}}, {})}));
  check_edit(Code::malformed_model, {"edges of node 0 are there twice"},
             with({edges_of(0, {}, {}), edges_of(0, {}, {})}));
}

TEST_CASE("an initializer has exactly its bytes") {
  const auto with = [](FlatNode tensor) {
    return [tensor](FlatNode& root) { set(graph_of(root), tables(graph::initializers, {tensor})); };
  };
  check_edit(Code::malformed_model, {"initializer \"w\": 12 bytes of raw_data, expected 16"},
             with(initializer("w", {4}, 12)));
  check_edit(Code::malformed_model, {"dimension -4"}, with(initializer("w", {-4}, 16)));
  check_edit(Code::malformed_model, {"more than"}, with(initializer("w", {int64_t{1} << 40, int64_t{1} << 40}, 16)));
  check_edit(Code::malformed_model, {"initializer 0: no name"}, with(initializer("", {4}, 16)));
  FlatNode elsewhere = initializer("w", {4}, 16);
  set(elsewhere, scalar<int64_t>(tensor::external_offset, 64));
  check_edit(Code::unsupported_model, {"initializer \"w\"", "another file"}, with(elsewhere));
}

TEST_CASE("an attribute has the value of its type") {
  const auto with = [](FlatNode attribute) {
    return [attribute](FlatNode& root) { set(node_of(root, 1), tables(node::attributes, {attribute})); };
  };
  FlatNode root = sound();
  with({string(attribute::name, "axes"), scalar<int32_t>(attribute::type, 7), vector<int64_t>(attribute::ints, {1})})(
      root);
  CHECK_NOTHROW(check(root));
  check_edit(Code::malformed_model, {"attribute \"axes\" has no value of its type 7"},
             with({string(attribute::name, "axes"), scalar<int32_t>(attribute::type, 7)}));
  check_edit(Code::malformed_model, {"attribute \"value\" has no value of its type 4"},
             with({string(attribute::name, "value"), scalar<int32_t>(attribute::type, 4)}));
  check_edit(Code::malformed_model, {"attribute \"value\" of type 99"},
             with({string(attribute::name, "value"), scalar<int32_t>(attribute::type, 99)}));
  check_edit(Code::malformed_model, {"without a name"}, with({scalar<int32_t>(attribute::type, 2)}));
}

TEST_CASE("inputs and outputs are tensors within rank and memory") {
  const auto with = [](const FlatNode& info) {
    return [info](FlatNode& root) { at(graph_of(root), graph::node_args).nodes[0] = info; };
  };
  const FlatNode tensor_of_float = {scalar<uint8_t>(1, 1), table(2, {scalar<int32_t>(0, 1)})};
  const FlatNode sequence = {table(0, tensor_of_float)};
  check_edit(Code::unsupported_model, {"input \"x\": expected a tensor, got a sequence of tensors"},
             with({string(0, "x"), table(2, {scalar<uint8_t>(1, 2), table(2, sequence)})}));
  check_edit(Code::unsupported_model, {"input \"x\"", "rank 9"}, with(value_info("x", std::vector<int64_t>(9, 1))));
  check_edit(Code::unsupported_model, {"declared tensors need"}, with(value_info("x", {1 << 15, 1 << 15})));
  check_edit(Code::malformed_model, {"node argument \"x\": dimension -7"}, with(value_info("x", {-7})));
  check_edit(Code::malformed_model, {"input \"x\": no type"}, with({string(0, "x")}));
}

}  // namespace
}  // namespace edgeward
