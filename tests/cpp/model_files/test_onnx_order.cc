// The order in which nodes are checked. Nodes are written field by field, as protobuf has them.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "error.h"
#include "model_files/onnx_order.h"

namespace edgeward {
namespace {

// A field with a name, node, attribute or graph of less than 128 bytes.
std::string text(int field, const std::string& bytes) {
  REQUIRE(bytes.size() < 128);
  return std::string{static_cast<char>(field << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}

std::string node(const std::vector<std::string>& inputs, const std::string& output, const std::string& graph = {}) {
  std::string bytes;
  for (const std::string& name : inputs) bytes += text(1, name);
  bytes += text(2, output);
  return graph.empty() ? bytes : bytes + text(5, text(6, graph));
}

std::vector<size_t> order(const std::vector<std::string>& nodes) {
  std::vector<Bytes> views;
  for (const std::string& bytes : nodes) {
    views.push_back(std::as_bytes(std::span<const char>(bytes.data(), bytes.size())));
  }
  return node_order(views);
}

using Order = std::vector<size_t>;

TEST_CASE("nodes in order stay as they are") {
  CHECK(order({}).empty());
  CHECK(order({node({"x"}, "a"), node({"x"}, "b"), node({"b", "a", ""}, "y")}) == Order{0, 1, 2});
}

TEST_CASE("a node comes behind those that it reads, and otherwise as it stands") {
  CHECK(order({node({"a"}, "y"), node({"x"}, "a")}) == Order{1, 0});
  CHECK(order({node({"c"}, "d"), node({"x"}, "a"), node({"b"}, "c"), node({"a", "a"}, "b")}) == Order{1, 3, 2, 0});
}

TEST_CASE("what a graph in an attribute reads counts, at any depth") {
  const std::string inner = text(1, node({"late"}, "z"));
  const std::string outer = text(1, node({"x"}, "y", inner));
  CHECK(order({node({"x"}, "a", inner), node({"x"}, "late")}) == Order{1, 0});
  CHECK(order({node({"x"}, "a", outer), node({"x"}, "late")}) == Order{1, 0});
  CHECK(order({node({"x"}, "a", text(12, text(1, "late"))), node({"x"}, "late")}) == Order{1, 0});
}

TEST_CASE("a name that a graph in an attribute has itself holds nothing up") {
  const std::string shadowing = text(1, node({"x"}, "b")) + text(1, node({"b"}, "z"));
  CHECK(order({node({"x"}, "a", shadowing), node({"a"}, "b")}) == Order{0, 1});
}

TEST_CASE("a cycle comes last, with what waits for it") {
  CHECK(order({node({"b"}, "a"), node({"a"}, "b"), node({"a"}, "y"), node({"x"}, "z")}) == Order{3, 0, 1, 2});
  CHECK(order({node({"a"}, "a")}) == Order{0});
}

TEST_CASE("every prefix of a node is read or refused") {
  const std::string whole = node({"late"}, "a", text(1, node({"x"}, "b")));
  for (size_t size = 0; size < whole.size(); ++size) {
    try {
      CHECK(order({whole.substr(0, size)}).size() == 1);
    } catch (const Error& error) {
      CHECK(error.code() == Code::malformed_model);
    }
  }
}

}  // namespace
}  // namespace edgeward
