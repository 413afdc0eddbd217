#include "model_files/onnx_order.h"

#include <functional>
#include <numeric>
#include <queue>
#include <string_view>
#include <unordered_map>

#include "model_files/protobuf.h"

namespace edgeward {
namespace {

constexpr int kMaxDepth = 32;  // of graphs in attributes; the check of a graph refuses deeper ones

struct Names {
  std::vector<std::string_view> read;     // by the node and by the graphs in its attributes
  std::vector<std::string_view> written;  // by the node itself
};

void add_graph(Bytes bytes, int depth, Names& names);

void add_node(Bytes bytes, int depth, Names& names) {
  ProtobufFields fields(bytes, "NodeProto");
  ProtobufField field;
  while (fields.next(field)) {
    if (field.number == 1) names.read.push_back(field.text());
    if (field.number == 2 && depth == 0) names.written.push_back(field.text());
    if (field.number != 5) continue;
    ProtobufFields attribute(field.message(), "AttributeProto");
    ProtobufField part;
    while (attribute.next(part)) {
      if (part.number == 6 || part.number == 11) add_graph(part.message(), depth + 1, names);
    }
  }
}

// A name that the inner graph has itself is read from it; taken for one of outside, it can only order more strictly.
void add_graph(Bytes bytes, int depth, Names& names) {
  if (depth > kMaxDepth) return;
  ProtobufFields fields(bytes, "GraphProto");
  ProtobufField field;
  while (fields.next(field)) {
    if (field.number == 1) add_node(field.message(), depth, names);
    if (field.number != 12) continue;
    ProtobufFields output(field.message(), "ValueInfoProto");
    ProtobufField part;
    while (output.next(part)) {
      if (part.number == 1) names.read.push_back(part.text());
    }
  }
}

}  // namespace

std::vector<size_t> node_order(std::span<const Bytes> nodes) {
  std::vector<std::vector<std::string_view>> reads(nodes.size());
  std::unordered_map<std::string_view, size_t> producers;
  for (size_t i = 0; i < nodes.size(); ++i) {
    Names names;
    add_node(nodes[i], 0, names);
    for (const std::string_view name : names.written) producers.emplace(name, i);
    reads[i] = std::move(names.read);
  }
  std::vector<std::vector<size_t>> readers(nodes.size());
  std::vector<size_t> missing_counts(nodes.size());
  bool is_ordered = true;
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string_view name : reads[i]) {
      const auto producer = producers.find(name);
      if (name.empty() || producer == producers.end() || producer->second == i) continue;
      readers[producer->second].push_back(i);
      ++missing_counts[i];
      is_ordered = is_ordered && producer->second < i;
    }
  }
  std::vector<size_t> order(nodes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (is_ordered) return order;

  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (missing_counts[i] == 0) ready.push(i);
  }
  order.clear();
  while (!ready.empty()) {
    const size_t index = ready.top();
    ready.pop();
    order.push_back(index);
    for (const size_t reader : readers[index]) {
      if (--missing_counts[reader] == 0) ready.push(reader);
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (missing_counts[i] != 0) order.push_back(i);
  }
  return order;
}

}  // namespace edgeward
