#include "model_files/onnx_file.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "error.h"
#include "model_files/onnx_operators.h"
#include "model_files/onnx_order.h"
#include "model_files/onnx_tensor.h"
#include "model_files/protobuf.h"

namespace edgeward {
namespace {

// Deeper than any model nests its subgraphs and types, and shallow enough for the stack.
constexpr int kMaxDepth = 32;
constexpr uint64_t kMaxNodes = 1'000'000;

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw Error(Code::malformed_model, parts...);
}

// An .onnx has no identifier. A file that does not begin with a field of a ModelProto is another kind of file, and the
// reader's words would be about a format that it never claimed.
void require_model_proto(Bytes file) {
  std::string reason = file.empty() ? "0 bytes" : "no field of a ModelProto";
  try {
    ProtobufFields fields(file, "ModelProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1:
        case 5:
          if (field.wire == ProtobufWire::varint) return;
          break;
        case 2:
        case 3:
        case 4:
        case 6:
        case 7:
        case 8:
        case 14:
        case 20:
        case 25:
        case 26:
          if (field.wire == ProtobufWire::length) return;
          break;
        default: continue;  // of a later version
      }
      break;
    }
  } catch (const Error& error) {
    reason = error.what();
  }
  refuse("model: expected a .tflite, .onnx or .ort file, got one that is none of these (read as .onnx: ", reason, ")");
}

// Names that a graph can refer to. An inner graph sees those of the graphs around it.
class Scope {
 public:
  explicit Scope(const Scope* outer) : outer_(outer) {}

  // False when the name is there already. A constant does not depend on the model's inputs.
  bool add(std::string_view name, bool is_constant = false) { return names_.emplace(name, is_constant).second; }
  bool knows(std::string_view name) const { return find(name) != nullptr; }
  bool has_constant(std::string_view name) const {
    const bool* is_constant = find(name);
    return is_constant != nullptr && *is_constant;
  }

 private:
  const bool* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer_) {
      const auto entry = scope->names_.find(name);
      if (entry != scope->names_.end()) return &entry->second;
    }
    return nullptr;
  }

  const Scope* outer_;
  std::unordered_map<std::string_view, bool> names_;  // whether each is constant
};

// Operators between the constants that a file has and the weights that a kernel gets.
bool passes_constants(std::string_view type) {
  for (const std::string_view passing :
       {"Cast", "Constant", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}) {
    if (type == passing) return true;
  }
  return false;
}

class Checker {
 public:
  // With `external` null, every file that the model names is assumed to exist.
  explicit Checker(const std::vector<ExternalData>* external) : tensors_(external) {}

  const OnnxFacts& facts() const { return facts_; }
  // The names of the files that hold external data.
  const std::set<std::string_view>& locations() const { return tensors_.locations(); }

  void model(Bytes file) {
    require_model_proto(file);
    std::optional<Bytes> graph;
    std::vector<Bytes> functions;
    bool has_ir_version = false;
    bool has_opset = false;
    ProtobufFields fields(file, "ModelProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: {
          const int64_t version = field.integer();
          if (version < 1) refuse("ModelProto: ir_version ", version, ", expected at least 1");
          has_ir_version = true;
          break;
        }
        case 2:
        case 3:
        case 4:
        case 6: field.text(); break;
        case 5: field.integer(); break;
        case 7:
          if (graph) refuse("ModelProto: two graphs");
          graph = field.message();
          break;
        case 8:
          has_opset = true;
          opset(field.message());
          break;
        case 14: check_onnx_entry(field.message()); break;
        case 20: throw Error(Code::unsupported_model, "ModelProto: training information, expected an inference model");
        case 25: functions.push_back(field.message()); break;
        default: break;
      }
    }
    if (!has_ir_version) refuse("ModelProto: no ir_version");
    if (!graph) refuse("ModelProto: no graph");
    if (!has_opset) refuse("ModelProto: no opset_import");
    for (const Bytes& function : functions) check_function(function);
    check_graph(*graph, nullptr, 1);
  }

 private:
  void opset(Bytes bytes) {
    std::string_view domain;
    int64_t version = 0;
    ProtobufFields fields(bytes, "OperatorSetIdProto");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number == 1) domain = field.text();
      if (field.number == 2) version = field.integer();
    }
    if (version < 1 || version > INT32_MAX) refuse("operator set \"", domain, "\": version ", version);
  }

  void note_if_large(const OnnxTensor& tensor) {
    if (tensor.outside_bytes <= kMaxOnnxMessageBytes) return;
    facts_.large_tensors.push_back({std::string(tensor.name), tensor.type, tensor.dims, std::string(tensor.location),
                                    tensor.offset, tensor.outside_bytes});
  }

  void check_depth(int depth) {
    if (depth > kMaxDepth) refuse("graphs and types nested deeper than ", kMaxDepth);
  }

  void check_graph(Bytes bytes, const Scope* outer, int depth) {
    check_depth(depth);
    Scope scope(outer);
    std::vector<std::string_view> inputs;
    std::vector<std::string_view> outputs;
    std::vector<Bytes> nodes;
    std::unordered_set<std::string_view> initializers;
    ProtobufFields fields(bytes, "GraphProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: nodes.push_back(field.message()); break;
        case 2:
        case 10: field.text(); break;
        case 5: {
          const auto allowed = outer == nullptr ? OnnxTensorPlace::anywhere : OnnxTensorPlace::inside;
          const OnnxTensor tensor = tensors_.read(field.message(), "initializer", allowed);
          if (tensor.name.empty()) refuse("an initializer without a name");
          if (!initializers.insert(tensor.name).second) refuse("initializer \"", tensor.name, "\" is there twice");
          note_if_large(tensor);
          break;
        }
        case 11: inputs.push_back(value_info(field.message(), "input", depth, outer == nullptr)); break;
        case 12: outputs.push_back(value_info(field.message(), "output", depth, outer == nullptr)); break;
        case 13: value_info(field.message(), "value_info", depth, false); break;
        case 14: annotation(field.message()); break;
        case 15: throw Error(Code::unsupported_model, "GraphProto: a sparse initializer, expected dense ones");
        case 16: check_onnx_entry(field.message()); break;
        default: break;
      }
    }
    for (const std::string_view name : inputs) {
      if (name.empty()) refuse("a graph input without a name");
      if (!scope.add(name)) refuse("graph input \"", name, "\" is there twice");
    }
    for (const std::string_view name : initializers) scope.add(name, true);  // an input may have its default here
    if ((node_count_ += nodes.size()) > kMaxNodes) refuse("more than ", kMaxNodes, " nodes");
    for (const size_t i : node_order(nodes)) check_node(nodes[i], i, scope, depth);
    for (const std::string_view name : outputs) {
      if (name.empty()) refuse("a graph output without a name");
      if (!scope.knows(name)) refuse("graph output \"", name, "\" is produced by no node");
    }
  }

  void check_function(Bytes bytes) {
    Scope scope(nullptr);
    std::vector<Bytes> nodes;
    std::vector<std::string_view> outputs;
    ProtobufFields fields(bytes, "FunctionProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1:
        case 6:
        case 8:
        case 10:
        case 13: field.text(); break;
        case 4:
          if (!scope.add(field.text())) refuse("FunctionProto: an input is there twice");
          break;
        case 5: outputs.push_back(field.text()); break;
        case 7: nodes.push_back(field.message()); break;
        case 9: opset(field.message()); break;
        case 11: attribute(field.message(), scope, 1); break;
        case 12: value_info(field.message(), "value_info", 1, false); break;
        case 14: check_onnx_entry(field.message()); break;
        default: break;
      }
    }
    if ((node_count_ += nodes.size()) > kMaxNodes) refuse("more than ", kMaxNodes, " nodes");
    for (const size_t i : node_order(nodes)) check_node(nodes[i], i, scope, 1);
    for (const std::string_view name : outputs) {
      if (!scope.knows(name)) refuse("function output \"", name, "\" is produced by no node");
    }
  }

  void check_node(Bytes bytes, size_t index, Scope& scope, int depth) {
    OnnxNode node;
    node.index = index;
    std::vector<Bytes> attributes;
    ProtobufFields fields(bytes, "NodeProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: node.inputs.push_back(field.text()); break;
        case 2: node.outputs.push_back(field.text()); break;
        case 3:
        case 6:
        case 8: field.text(); break;
        case 4: node.type = field.text(); break;
        case 5: attributes.push_back(field.message()); break;
        case 7: node.domain = field.text(); break;
        case 9: check_onnx_entry(field.message()); break;
        default: break;
      }
    }
    if (node.type.empty()) refuse("node ", index, ": no operator type");
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.inputs[i].empty() && !scope.knows(node.inputs[i])) {
        refuse(text(node), ": input ", i, " is \"", node.inputs[i], "\", which nothing before it produces");
      }
    }
    std::unordered_set<std::string_view> names;
    for (const Bytes& attribute_bytes : attributes) {
      node.attributes.push_back(attribute(attribute_bytes, scope, depth));
      if (!names.insert(node.attributes.back().name).second) {
        refuse(text(node), ": attribute \"", node.attributes.back().name, "\" is there twice");
      }
    }
    check_node_rules(node);
    const std::optional<size_t> weights = weights_of(node);
    const bool has_constant_weights =
        weights && *weights < node.inputs.size() && scope.has_constant(node.inputs[*weights]);
    if (is_fatal_when_empty(node, has_constant_weights)) facts_.fatal_when_empty = node.type;
    const bool is_constant =
        passes_constants(node.type) && std::all_of(node.inputs.begin(), node.inputs.end(), [&](std::string_view name) {
          return name.empty() || scope.has_constant(name);
        });
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i].empty() && !scope.add(node.outputs[i], is_constant)) {
        refuse(text(node), ": output ", i, " is \"", node.outputs[i], "\", which is there before it");
      }
    }
  }

  OnnxAttribute attribute(Bytes bytes, const Scope& scope, int depth) {
    OnnxAttribute result;
    ProtobufFields fields(bytes, "AttributeProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: result.name = field.text(); break;
        case 13:
        case 21: field.text(); break;
        case 2: result.number = field.float32(); break;
        case 3: result.integer = field.integer(); break;
        case 4: {
          const Bytes value = field.message();
          result.string = {reinterpret_cast<const char*>(value.data()), value.size()};
          break;
        }
        case 9: field.message(); break;
        case 5:
        case 10: tensors_.read(field.message(), "attribute tensor", OnnxTensorPlace::inside); break;
        case 6:
        case 11: check_graph(field.message(), &scope, depth + 1); break;
        case 7: field.numbers(ProtobufWire::fixed32, [](uint64_t) {}); break;
        case 8:
          field.numbers(ProtobufWire::varint,
                        [&](uint64_t value) { result.integers.push_back(static_cast<int64_t>(value)); });
          break;
        case 14:
        case 15: type(field.message(), "attribute type", depth + 1, {}); break;
        case 20: result.type = field.integer(); break;
        case 22:
        case 23:
          throw Error(Code::unsupported_model, "attribute \"", result.name,
                      "\": a sparse tensor, expected a dense one");
        default: break;
      }
    }
    if (result.name.empty()) refuse("AttributeProto: no name");
    if (result.type < 0 || result.type > 14)
      refuse("attribute \"", result.name, "\": type ", result.type, ", expected 0 to 14");
    return result;
  }

  void annotation(Bytes bytes) {
    ProtobufFields fields(bytes, "TensorAnnotation");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number == 1) field.text();
      if (field.number == 2) check_onnx_entry(field.message());
    }
  }

  // Returns the name.
  std::string_view value_info(Bytes bytes, std::string_view what, int depth, bool must_be_tensor) {
    std::string_view name;
    std::optional<Bytes> of_type;
    ProtobufFields fields(bytes, "ValueInfoProto");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number == 1) name = field.text();
      if (field.number == 2) of_type = field.message();
      if (field.number == 3) field.text();
      if (field.number == 4) check_onnx_entry(field.message());
    }
    const std::string named = std::string(what) + " \"" + std::string(name) + "\"";
    if (of_type) type(*of_type, named, depth + 1, must_be_tensor ? name : std::string_view());
    if (!of_type && must_be_tensor) refuse(named, ": no type");
    return name;
  }

  // `endpoint` is the name of the model's input or output that has the type; empty for another value's.
  OnnxKind type(Bytes bytes, const std::string& named, int depth, std::string_view endpoint) {
    const bool must_be_tensor = !endpoint.empty();
    check_depth(depth);
    OnnxKind kind = OnnxKind::none;
    OnnxKind inner = OnnxKind::none;
    ProtobufFields fields(bytes, "TypeProto");
    ProtobufField field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1:
          if (must_be_tensor && kind != OnnxKind::none) refuse(named, ": two types, expected one");
          tensor_type(field.message(), named, endpoint);
          kind = OnnxKind::tensor;
          break;
        case 4:
        case 9:
          kind = field.number == 4 ? OnnxKind::sequence : OnnxKind::optional;
          inner = inner_type(field.message(), 1, named, depth);
          break;
        case 5:
          kind = OnnxKind::map;
          inner_type(field.message(), 2, named, depth);
          break;
        case 6: field.text(); break;
        case 8:
          kind = OnnxKind::sparse_tensor;
          tensor_type(field.message(), named, {});
          break;
        default: break;
      }
    }
    if (must_be_tensor) require_tensor(named, kind, inner);
    return kind;
  }

  // The type in field `number` of a sequence, an optional or a map, whose field 1 is a number where that is another.
  OnnxKind inner_type(Bytes bytes, uint32_t number, const std::string& named, int depth) {
    OnnxKind kind = OnnxKind::none;
    ProtobufFields fields(bytes, "TypeProto");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number == number) {
        kind = type(field.message(), named, depth + 1, {});
      } else if (field.number == 1) {
        field.integer();
      }
    }
    return kind;
  }

  void tensor_type(Bytes bytes, const std::string& named, std::string_view endpoint) {
    const bool is_endpoint = !endpoint.empty();
    int64_t element_type = 0;
    std::optional<Bytes> shape;
    ProtobufFields fields(bytes, "TypeProto.Tensor");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number == 1) element_type = field.integer();
      if (field.number == 2) shape = field.message();
    }
    const std::optional<OnnxElement> element = onnx_element(element_type);
    if (element_type != 0 && !element) throw Error(Code::unsupported_model, named, ": element type ", element_type);
    if (is_endpoint && element_type == 0) refuse(named, ": no element type");
    if (shape) check_shape(*shape, named, element ? element->bits : 8, is_endpoint);
    if (is_endpoint && !shape) facts_.without_shape.emplace(endpoint);
  }

  void check_shape(Bytes bytes, const std::string& named, uint64_t bits, bool is_endpoint) {
    uint64_t elements = 1;
    size_t rank = 0;
    ProtobufFields fields(bytes, "TensorShapeProto");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number != 1) continue;
      ++rank;
      ProtobufFields dimension(field.message(), "TensorShapeProto.Dimension");
      ProtobufField part;
      while (dimension.next(part)) {
        if (part.number == 2 || part.number == 3) part.text();
        if (part.number != 1) continue;
        const int64_t dim = part.integer();
        if (dim < -1) refuse(named, ": dimension ", dim, ", expected at least 0");
        const auto product = checked_multiply<uint64_t>(elements, static_cast<uint64_t>(std::max<int64_t>(dim, 1)));
        if (!product || *product > kMaxOnnxElements) refuse(named, ": more than ", kMaxOnnxElements, " elements");
        elements = *product;
      }
    }
    const size_t limit = is_endpoint ? size_t{8} : kMaxOnnxRank;
    if (rank > limit) throw Error(Code::unsupported_model, named, ": rank ", rank, ", expected at most ", limit);
    declared_bytes_ += elements * bits / 8;
    if (declared_bytes_ > kMaxOnnxDeclaredBytes) {
      throw Error(Code::unsupported_model, named, ": with it, declared tensors need ", declared_bytes_,
                  " bytes, expected at most ", kMaxOnnxDeclaredBytes);
    }
  }

  OnnxTensorReader tensors_;
  OnnxFacts facts_;
  uint64_t node_count_ = 0;
  uint64_t declared_bytes_ = 0;
};

}  // namespace

OnnxFacts check_onnx(Bytes file, const std::vector<ExternalData>& external) {
  Checker checker(&external);
  checker.model(file);
  return checker.facts();
}

std::vector<std::string> external_data_names(Bytes file) {
  Checker checker(nullptr);
  checker.model(file);
  return {checker.locations().begin(), checker.locations().end()};
}

}  // namespace edgeward
