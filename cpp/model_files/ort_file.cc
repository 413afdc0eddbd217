#include "model_files/ort_file.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "error.h"
#include "model_files/flatbuffer.h"
#include "model_files/onnx_operators.h"
#include "model_files/ort_optimizations.h"
#include "model_files/ort_schema.h"

namespace edgeward {
namespace {

using namespace ort_schema;

// The engine allocates one entry per node index, and optimizers leave holes between indices.
constexpr uint32_t kMaxNodeIndex = 1'000'000;

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw Error(Code::malformed_model, parts...);
}

struct EdgeEnd {
  uint32_t node_index;
  int32_t source_argument;
  int32_t target_argument;
};
static_assert(sizeof(EdgeEnd) == 12);

// Names an inner graph can take from the graphs around it.
using Names = std::unordered_map<std::string_view, uint32_t>;
constexpr uint32_t kNotANode = UINT32_MAX;

struct Scope {
  const Scope* outer;
  Names producers;  // name to index of the node in the graph's list, or kNotANode
  std::unordered_set<std::string_view> constants;

  bool knows(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
      if (scope->producers.contains(name)) return true;
    }
    return false;
  }
  bool has_constant(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
      if (scope->producers.contains(name)) return scope->constants.contains(name);
    }
    return false;
  }
};

class Checker {
 public:
  const OnnxFacts& facts() const { return facts_; }

  void file(Bytes file) {
    const FlatTable root = read_flatbuffer(file, kSchema).root;
    if (root.string(session::ort_version).empty()) refuse("session: no ort_version");
    const FlatTable the_model = root.table(session::model);
    if (!the_model) refuse("session: no model");
    const FlatTables opsets = the_model.tables(model::opset_import);
    if (opsets.empty()) refuse("model: no opset_import");
    for (uint32_t i = 0; i < opsets.size(); ++i) {
      const auto version = opsets[i].scalar<int64_t>(opset::version, 0);
      if (version < 1 || version > INT32_MAX)
        refuse("operator set \"", opsets[i].string(opset::domain), "\": version ", version);
    }
    if (!root.table(session::kernel_type_str_resolver)) {
      throw Error(Code::unsupported_model,
                  "session: no kernel_type_str_resolver, expected ORT format version 5 or later");
    }
    const FlatTable main = the_model.table(model::graph);
    if (!main) refuse("model: no graph");
    check_graph(main, nullptr);
  }

 private:
  // Graphs nest no deeper than their flatbuffer, which is bounded.
  void check_graph(const FlatTable& graph, const Scope* outer) {
    if (!graph.tables(graph::sparse_initializers).empty()) {
      throw Error(Code::unsupported_model, "graph: a sparse initializer, expected dense ones");
    }
    Scope scope{outer, {}, {}};
    std::unordered_map<std::string_view, FlatTable> infos;
    const FlatTables arguments = graph.tables(graph::node_args);
    for (uint32_t i = 0; i < arguments.size(); ++i) {
      const std::string_view name = arguments[i].string(value_info::name);
      if (!infos.emplace(name, arguments[i]).second) refuse("node argument \"", name, "\" is there twice");
      check_type(arguments[i].table(value_info::type), name);
    }
    for (uint32_t i = 0; i < graph.string_count(graph::inputs); ++i) {
      const std::string_view name = graph.string_at(graph::inputs, i);
      if (name.empty()) refuse("a graph input without a name");
      if (!scope.producers.emplace(name, kNotANode).second) refuse("graph input \"", name, "\" is there twice");
      if (outer == nullptr) check_endpoint(infos, "input", name);
    }
    const FlatTables initializers = graph.tables(graph::initializers);
    std::unordered_map<std::string_view, uint32_t> seen;
    for (uint32_t i = 0; i < initializers.size(); ++i) {
      const std::string_view name = initializers[i].string(tensor::name);
      if (name.empty()) refuse("initializer ", i, ": no name");
      if (!seen.emplace(name, i).second) refuse("initializer \"", name, "\" is there twice");
      check_tensor(initializers[i], "initializer");
      // An input may have its default here.
      if (scope.producers.emplace(name, kNotANode).second) scope.constants.insert(name);
    }
    check_nodes(graph, scope);
    for (uint32_t i = 0; i < graph.string_count(graph::outputs); ++i) {
      const std::string_view name = graph.string_at(graph::outputs, i);
      if (!scope.knows(name)) refuse("graph output \"", name, "\" is produced by no node");
      if (outer == nullptr) check_endpoint(infos, "output", name);
    }
  }

  void check_nodes(const FlatTable& graph, Scope& scope) {
    const FlatTables nodes = graph.tables(graph::nodes);
    const auto max_node_index = graph.scalar<uint32_t>(graph::max_node_index, 0);
    if (max_node_index > kMaxNodeIndex || max_node_index < nodes.size()) {
      refuse("graph: max_node_index ", max_node_index, " for ", nodes.size(), " nodes");
    }
    std::vector<uint32_t> positions(max_node_index, kNotANode);  // node index to position in the list
    for (uint32_t i = 0; i < nodes.size(); ++i) {
      const auto index = nodes[i].scalar<uint32_t>(node::index, 0);
      if (index >= max_node_index || positions[index] != kNotANode) {
        refuse("node ", i, ": index ", index, ", expected a new one below ", max_node_index);
      }
      positions[index] = i;
      for (uint32_t k = 0; k < nodes[i].string_count(node::outputs); ++k) {
        const std::string_view name = nodes[i].string_at(node::outputs, k);
        if (!name.empty() && !scope.producers.emplace(name, i).second) {
          refuse("node ", i, ": output \"", name, "\" is produced twice");
        }
      }
    }
    for (uint32_t i = 0; i < nodes.size(); ++i) check_node(i, nodes[i], scope);
    check_order(nodes, scope.producers);
    check_edges(graph, nodes, positions);
    check_ort_optimizations(graph, nodes, positions);
  }

  void check_node(uint32_t position, const FlatTable& table, const Scope& scope) {
    OnnxNode node;
    node.index = position;
    node.type = table.string(node::op_type);
    node.domain = table.string(node::domain);
    if (node.type.empty()) refuse("node ", position, ": no operator type");
    if (table.scalar<int32_t>(node::type, 0) != 0) {
      throw Error(Code::unsupported_model, text(node), ": a fused node, expected an operator");
    }
    for (const uint32_t field : {node::inputs, node::implicit_inputs}) {
      for (uint32_t i = 0; i < table.string_count(field); ++i) {
        const std::string_view name = table.string_at(field, i);
        if (!name.empty() && !scope.knows(name))
          refuse(text(node), ": input ", i, " is \"", name, "\", which nothing produces");
        if (field == node::inputs) node.inputs.push_back(name);
      }
    }
    for (uint32_t i = 0; i < table.string_count(node::outputs); ++i)
      node.outputs.push_back(table.string_at(node::outputs, i));
    const auto counts = table.vector<int32_t>(node::input_arg_counts);
    int64_t sum = 0;
    for (uint32_t i = 0; i < counts.size(); ++i) {
      if (counts[i] < 0) refuse(text(node), ": input_arg_counts has an element ", counts[i]);
      sum += counts[i];
    }
    if (sum != static_cast<int64_t>(node.inputs.size())) {
      refuse(text(node), ": input_arg_counts sum to ", sum, " for ", node.inputs.size(), " inputs");
    }
    const FlatTables attributes = table.tables(node::attributes);
    for (uint32_t i = 0; i < attributes.size(); ++i)
      node.attributes.push_back(check_attribute(text(node), attributes[i], scope));
    check_node_rules(node);
    const std::optional<size_t> weights = weights_of(node);
    const bool has_constant_weights =
        weights && *weights < node.inputs.size() && scope.has_constant(node.inputs[*weights]);
    if (is_fatal_when_empty(node, has_constant_weights)) facts_.fatal_when_empty = node.type;
  }

  OnnxAttribute check_attribute(const std::string& where, const FlatTable& table, const Scope& scope) {
    OnnxAttribute result;
    result.name = table.string(attribute::name);
    result.type = table.scalar<int32_t>(attribute::type, 0);
    result.integer = table.scalar<int64_t>(attribute::i, 0);
    result.number = table.scalar<float>(attribute::f, 0);
    result.string = table.string(attribute::s);
    const auto ints = table.vector<int64_t>(attribute::ints);
    for (uint32_t i = 0; i < ints.size(); ++i) result.integers.push_back(ints[i]);
    if (result.name.empty()) refuse(where, ": an attribute without a name");
    // By type, the field that the engine reads without asking whether it is there; 0: it has a default.
    constexpr uint32_t kRead[] = {0,
                                  0,
                                  0,
                                  attribute::s,
                                  attribute::t,
                                  attribute::g,
                                  attribute::floats,
                                  attribute::ints,
                                  attribute::strings,
                                  attribute::tensors,
                                  attribute::graphs};
    if (result.type < 1 || static_cast<size_t>(result.type) >= std::size(kRead)) {
      refuse(where, ": attribute \"", result.name, "\" of type ", result.type, ", expected 1 to ",
             std::size(kRead) - 1);
    }
    const uint32_t read = kRead[result.type];
    if (read != 0 && !table.has(read))
      refuse(where, ": attribute \"", result.name, "\" has no value of its type ", result.type);
    if (const FlatTable value = table.table(attribute::t)) check_tensor(value, "attribute tensor");
    const FlatTables tensors = table.tables(attribute::tensors);
    for (uint32_t i = 0; i < tensors.size(); ++i) check_tensor(tensors[i], "attribute tensor");
    if (const FlatTable value = table.table(attribute::g)) check_graph(value, &scope);
    const FlatTables graphs = table.tables(attribute::graphs);
    for (uint32_t i = 0; i < graphs.size(); ++i) check_graph(graphs[i], &scope);
    return result;
  }

  // Requires that no node depends on itself. Nodes are listed by index, so their order has to be computed.
  static void check_order(const FlatTables& nodes, const Names& producers) {
    std::vector<uint32_t> waiting(nodes.size(), 0);
    std::vector<std::vector<uint32_t>> followers(nodes.size());
    const auto wait = [&](uint32_t position, uint32_t field) {
      for (uint32_t i = 0; i < nodes[position].string_count(field); ++i) {
        const auto producer = producers.find(nodes[position].string_at(field, i));
        if (producer == producers.end() || producer->second == kNotANode) continue;
        followers[producer->second].push_back(position);
        ++waiting[position];
      }
    };
    for (uint32_t i = 0; i < nodes.size(); ++i) {
      wait(i, node::inputs);
      wait(i, node::implicit_inputs);
    }
    std::vector<uint32_t> ready;
    for (uint32_t i = 0; i < nodes.size(); ++i) {
      if (waiting[i] == 0) ready.push_back(i);
    }
    size_t done = 0;
    while (!ready.empty()) {
      const uint32_t next = ready.back();
      ready.pop_back();
      ++done;
      for (const uint32_t follower : followers[next]) {
        if (--waiting[follower] == 0) ready.push_back(follower);
      }
    }
    if (done != nodes.size()) refuse("graph: ", nodes.size() - done, " nodes wait for each other");
  }

  // An edge joins an output of one node with the input of another that has the same name.
  static void check_edges(const FlatTable& graph, const FlatTables& nodes, const std::vector<uint32_t>& positions) {
    const FlatTables edges = graph.tables(graph::node_edges);
    const auto position = [&](uint32_t index) {
      if (index >= positions.size() || positions[index] == kNotANode)
        refuse("edge: node index ", index, ", which no node has");
      return positions[index];
    };
    std::vector<bool> seen(nodes.size(), false);
    for (uint32_t i = 0; i < edges.size(); ++i) {
      const uint32_t at = position(edges[i].scalar<uint32_t>(node_edge::node_index, 0));
      if (seen[at]) refuse("edges of node ", at, " are there twice");
      seen[at] = true;
      for (const uint32_t field : {node_edge::input_edges, node_edge::output_edges}) {
        const auto ends = edges[i].vector<EdgeEnd>(field);
        for (uint32_t k = 0; k < ends.size(); ++k) {
          const uint32_t other = position(ends[k].node_index);
          const bool is_input = field == node_edge::input_edges;
          check_edge(nodes[is_input ? other : at], nodes[is_input ? at : other], ends[k]);
        }
      }
    }
  }

  static void check_edge(const FlatTable& source, const FlatTable& target, const EdgeEnd& end) {
    const auto from = static_cast<uint32_t>(end.source_argument);
    const auto to = static_cast<uint32_t>(end.target_argument);
    const uint32_t explicit_count = target.string_count(node::inputs);
    if (end.source_argument < 0 || from >= source.string_count(node::outputs)) {
      refuse("edge from output ", end.source_argument, " of a node with ", source.string_count(node::outputs),
             " outputs");
    }
    if (end.target_argument < 0 || to >= explicit_count + target.string_count(node::implicit_inputs)) {
      refuse("edge to input ", end.target_argument, " of a node with ", explicit_count, " inputs");
    }
    const std::string_view name = to < explicit_count ? target.string_at(node::inputs, to)
                                                      : target.string_at(node::implicit_inputs, to - explicit_count);
    if (name != source.string_at(node::outputs, from)) {
      refuse("edge from \"", source.string_at(node::outputs, from), "\" to \"", name, "\"");
    }
  }

  static void check_tensor(const FlatTable& table, std::string_view what) {
    const std::string named = std::string(what) + " \"" + std::string(table.string(tensor::name)) + "\"";
    if (table.scalar<int64_t>(tensor::external_data_offset, -1) >= 0) {
      throw Error(Code::unsupported_model, named, ": data in another file, expected one file");
    }
    const auto type = table.scalar<int32_t>(tensor::data_type, 0);
    const std::optional<OnnxElement> element = onnx_element(type);
    if (!element) throw Error(Code::unsupported_model, named, ": element type ", type);
    const auto dims = table.vector<int64_t>(tensor::dims);
    if (dims.size() > kMaxOnnxRank)
      throw Error(Code::unsupported_model, named, ": rank ", dims.size(), ", expected at most ", kMaxOnnxRank);
    uint64_t elements = 1;
    bool is_empty = false;
    for (uint32_t i = 0; i < dims.size(); ++i) {
      if (dims[i] < 0) refuse(named, ": dimension ", dims[i], ", expected at least 0");
      is_empty = is_empty || dims[i] == 0;
      const auto product = checked_multiply<uint64_t>(elements, static_cast<uint64_t>(std::max<int64_t>(dims[i], 1)));
      if (!product || *product > kMaxOnnxElements) refuse(named, ": more than ", kMaxOnnxElements, " elements");
      elements = *product;
    }
    if (is_empty) elements = 0;
    const uint32_t raw_bytes = table.vector<uint8_t>(tensor::raw_data).size();
    if (element->store == kOnnxStringStore) {
      if (table.string_count(tensor::string_data) != elements) {
        refuse(named, ": ", table.string_count(tensor::string_data), " strings, expected ", elements);
      }
      return;
    }
    const uint64_t expected = (elements * element->bits + 7) / 8;
    if (raw_bytes != expected) refuse(named, ": ", raw_bytes, " bytes of raw_data, expected ", expected);
    if (!table.has(tensor::raw_data)) refuse(named, ": no raw_data");
  }

  void check_endpoint(const std::unordered_map<std::string_view, FlatTable>& infos, std::string_view what,
                      std::string_view name) {
    const auto info = infos.find(name);
    if (info == infos.end()) refuse(what, " \"", name, "\": no node argument describes it");
    const FlatTable type = info->second.table(value_info::type);
    if (!type) refuse(what, " \"", name, "\": no type");
    const FlatTable value = type.table(type_info::value);
    const OnnxKind kind = kind_of(type);
    require_tensor(std::string(what) + " \"" + std::string(name) + "\"", kind,
                   kind == OnnxKind::sequence ? kind_of(value.table(0)) : OnnxKind::none);
    const auto element_type = value.scalar<int32_t>(tensor_type::elem_type, 0);
    const std::optional<OnnxElement> element = onnx_element(element_type);
    if (!element) refuse(what, " \"", name, "\": element type ", element_type);
    if (!value.has(tensor_type::shape)) facts_.without_shape.emplace(name);
    constexpr uint32_t kMaxRank = 8;
    if (value.table(tensor_type::shape).tables(0).size() > kMaxRank) {
      throw Error(Code::unsupported_model, what, " \"", name, "\": rank ",
                  value.table(tensor_type::shape).tables(0).size(), ", expected at most ", kMaxRank);
    }
  }

  static OnnxKind kind_of(const FlatTable& type) {
    constexpr OnnxKind kKinds[] = {OnnxKind::none, OnnxKind::tensor, OnnxKind::sequence, OnnxKind::map};
    return kKinds[std::min<size_t>(type.scalar<uint8_t>(type_info::value_type, 0), std::size(kKinds) - 1)];
  }

  void check_type(const FlatTable& type, std::string_view name) {
    if (!type) return;
    const FlatTable value = type.table(type_info::value);
    switch (type.scalar<uint8_t>(type_info::value_type, 0)) {
      case 1: return check_tensor_type(value, name);
      case 2:
        if (!value.has(0)) refuse("node argument \"", name, "\": a sequence of nothing");
        return check_type(value.table(0), name);
      case 3:
        if (!value.has(1)) refuse("node argument \"", name, "\": a map to nothing");
        return check_type(value.table(1), name);
      default: refuse("node argument \"", name, "\": a type without a value");
    }
  }

  void check_tensor_type(const FlatTable& type, std::string_view name) {
    const auto element_type = type.scalar<int32_t>(tensor_type::elem_type, 0);
    const std::optional<OnnxElement> element = onnx_element(element_type);
    if (!element && element_type != 0)
      throw Error(Code::unsupported_model, "node argument \"", name, "\": element type ", element_type);
    const FlatTable shape = type.table(tensor_type::shape);
    const FlatTables dims = shape.tables(0);
    uint64_t elements = 1;
    for (uint32_t i = 0; i < dims.size(); ++i) {
      const FlatTable value = dims[i].table(dimension::value);
      if (!value) refuse("node argument \"", name, "\": dimension ", i, " has no value");
      constexpr int8_t kKnown = 1;
      const auto kind = value.scalar<int8_t>(dimension_value::dim_type, 0);
      if (kind < 0 || kind > 2)
        refuse("node argument \"", name, "\": dimension ", i, " of kind ", int{kind}, ", expected 0 to 2");
      if (kind == 2 && !value.has(dimension_value::dim_param))
        refuse("node argument \"", name, "\": dimension ", i, " has no parameter");
      const auto dim = value.scalar<int64_t>(dimension_value::dim_value, 0);
      if (kind != kKnown) continue;
      if (dim < -1) refuse("node argument \"", name, "\": dimension ", dim, ", expected at least 0");
      const auto product = checked_multiply<uint64_t>(elements, static_cast<uint64_t>(std::max<int64_t>(dim, 1)));
      if (!product || *product > kMaxOnnxElements)
        refuse("node argument \"", name, "\": more than ", kMaxOnnxElements, " elements");
      elements = *product;
    }
    declared_bytes_ += elements * (element ? element->bits : 8) / 8;
    if (declared_bytes_ > kMaxOnnxDeclaredBytes) {
      throw Error(Code::unsupported_model, "node argument \"", name, "\": with it, declared tensors need ",
                  declared_bytes_, " bytes, expected at most ", kMaxOnnxDeclaredBytes);
    }
  }

  OnnxFacts facts_;
  uint64_t declared_bytes_ = 0;
};

}  // namespace

OnnxFacts check_ort(Bytes file) {
  Checker checker;
  checker.file(file);
  return checker.facts();
}

}  // namespace edgeward
