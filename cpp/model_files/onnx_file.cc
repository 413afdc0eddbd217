#include "model_files/onnx_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "bytes/utf8.h"
#include "error.h"
#include "model_files/onnx_operators.h"

namespace edgeward {
namespace {

// Deeper than any model nests its subgraphs and types, and shallow enough for our stack.
constexpr int kMaxDepth = 32;
constexpr uint64_t kMaxNodes = 1'000'000;

enum class Wire : uint8_t {
  varint = 0,
  fixed64 = 1,
  length = 2,
  fixed32 = 5
};

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw Error(Code::malformed_model, parts...);
}

// One field of a message. `bytes` is the content of a length-delimited field, `value` the bits of any other.
struct Field {
  uint32_t number;
  Wire wire;
  uint64_t value;
  Bytes bytes;
};

// Takes a message apart into its fields; every length is compared with what is left before it is believed.
class Fields {
 public:
  Fields(Bytes message, std::string_view name) : rest_(message), name_(name) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    const uint64_t number = tag >> 3;
    if (number == 0 || number >= (1u << 29)) refuse(name_, ": field number ", number);
    field.number = static_cast<uint32_t>(number);
    field.bytes = {};
    field.value = 0;
    switch (tag & 7) {
      case 0:
        field.wire = Wire::varint;
        field.value = varint();
        return true;
      case 1:
        field.wire = Wire::fixed64;
        std::memcpy(&field.value, take(8).data(), 8);
        return true;
      case 2:
        field.wire = Wire::length;
        field.bytes = take(varint());
        return true;
      case 5:
        field.wire = Wire::fixed32;
        std::memcpy(&field.value, take(4).data(), 4);
        return true;
      default: refuse(name_, ", field ", number, ": wire type ", tag & 7, ", expected 0, 1, 2 or 5");
    }
  }

  // How many elements a repeated number has; those of a fixed width are not looked at.
  static uint64_t count(const Field& field, std::string_view name, Wire wire) {
    if (wire != Wire::varint && field.wire == Wire::length) {
      const size_t width = wire == Wire::fixed32 ? 4 : 8;
      if (field.bytes.size() % width != 0)
        refuse(name, ", field ", field.number, ": ", field.bytes.size(), " bytes of ", width);
      return field.bytes.size() / width;
    }
    uint64_t count = 0;
    numbers(field, name, wire, [&](uint64_t) { ++count; });
    return count;
  }

  // The elements of a repeated number, which may come packed or one by one.
  template <class Take>
  static void numbers(const Field& field, std::string_view name, Wire wire, const Take& take) {
    if (field.wire == wire) return take(field.value);
    if (field.wire != Wire::length) refuse(name, ", field ", field.number, ": not a number");
    Fields packed(field.bytes, name);
    while (!packed.rest_.empty()) {
      uint64_t value = 0;
      if (wire == Wire::varint) {
        value = packed.varint();
      } else {
        const size_t width = wire == Wire::fixed32 ? 4 : 8;
        std::memcpy(&value, packed.take(width).data(), width);
      }
      take(value);
    }
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (rest_.empty()) refuse(name_, ": ends inside a number");
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_ = rest_.subspan(1);
      if (shift == 63 && byte > 1) refuse(name_, ": a number of more than 64 bits");
      value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) return value;
    }
    refuse(name_, ": a number of more than 10 bytes");
  }

  Bytes take(uint64_t size) {
    if (size > rest_.size()) refuse(name_, ": a field of ", size, " bytes, but ", rest_.size(), " are left");
    const Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  Bytes rest_;
  std::string_view name_;
};

void expect_wire(const Field& field, Wire wire, std::string_view name) {
  if (field.wire != wire) {
    refuse(name, ", field ", field.number, ": wire type ", int(field.wire), ", expected ", int(wire));
  }
}

std::string_view string(const Field& field, std::string_view name) {
  expect_wire(field, Wire::length, name);
  const std::string_view text(reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size());
  if (!is_utf8_name(text)) refuse(name, ", field ", field.number, ": not UTF-8");
  return text;
}

Bytes message(const Field& field, std::string_view name) {
  expect_wire(field, Wire::length, name);
  return field.bytes;
}

int64_t integer(const Field& field, std::string_view name) {
  expect_wire(field, Wire::varint, name);
  return static_cast<int64_t>(field.value);
}

// Names that a graph can refer to. An inner graph sees those of the graphs around it.
class Scope {
 public:
  explicit Scope(const Scope* outer) : outer_(outer) {}

  bool add(std::string_view name) { return names_.insert(name).second; }
  bool knows(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer_) {
      if (scope->names_.contains(name)) return true;
    }
    return false;
  }

 private:
  const Scope* outer_;
  std::unordered_set<std::string_view> names_;
};

// Where a tensor's data lies when it is not in the file.
struct Elsewhere {
  std::string_view location;
  uint64_t offset = 0;
  std::optional<uint64_t> size_bytes;  // none: to the end
};

class Checker {
 public:
  // With `external` null, whatever files the model names are taken to be there.
  explicit Checker(const std::vector<ExternalData>* external) : external_(external) {}

  // The names of the files outside that hold data.
  const std::set<std::string_view>& locations() const { return locations_; }

  void model(Bytes file) {
    if (file.empty()) refuse("file of 0 bytes is no ONNX model");
    std::optional<Bytes> graph;
    std::vector<Bytes> functions;
    bool has_ir_version = false;
    bool has_opset = false;
    Fields fields(file, "ModelProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: {
          const int64_t version = integer(field, "ModelProto");
          if (version < 1) refuse("ModelProto: ir_version ", version, ", expected at least 1");
          has_ir_version = true;
          break;
        }
        case 2:
        case 3:
        case 4:
        case 6: string(field, "ModelProto"); break;
        case 5: integer(field, "ModelProto"); break;
        case 7:
          if (graph) refuse("ModelProto: two graphs");
          graph = message(field, "ModelProto");
          break;
        case 8:
          has_opset = true;
          opset(message(field, "ModelProto"));
          break;
        case 14: entry(message(field, "ModelProto")); break;
        case 20: throw Error(Code::unsupported_model, "ModelProto: training information, expected an inference model");
        case 25: functions.push_back(message(field, "ModelProto")); break;
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
    Fields fields(bytes, "OperatorSetIdProto");
    Field field;
    while (fields.next(field)) {
      if (field.number == 1) domain = string(field, "OperatorSetIdProto");
      if (field.number == 2) version = integer(field, "OperatorSetIdProto");
    }
    if (version < 1 || version > INT32_MAX) refuse("operator set \"", domain, "\": version ", version);
  }

  void entry(Bytes bytes) {
    Fields fields(bytes, "StringStringEntryProto");
    Field field;
    while (fields.next(field)) {
      if (field.number <= 2) string(field, "StringStringEntryProto");
    }
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
    Fields fields(bytes, "GraphProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: nodes.push_back(message(field, "GraphProto")); break;
        case 2:
        case 10: string(field, "GraphProto"); break;
        case 5: {
          const Place place = outer == nullptr ? Place::anywhere : Place::inside;
          const std::string_view name = tensor(message(field, "GraphProto"), "initializer", place).name;
          if (name.empty()) refuse("an initializer without a name");
          if (!initializers.insert(name).second) refuse("initializer \"", name, "\" is there twice");
          break;
        }
        case 11: inputs.push_back(value_info(message(field, "GraphProto"), "input", depth, outer == nullptr)); break;
        case 12: outputs.push_back(value_info(message(field, "GraphProto"), "output", depth, outer == nullptr)); break;
        case 13: value_info(message(field, "GraphProto"), "value_info", depth, false); break;
        case 14: annotation(message(field, "GraphProto")); break;
        case 15: throw Error(Code::unsupported_model, "GraphProto: a sparse initializer, expected dense ones");
        case 16: entry(message(field, "GraphProto")); break;
        default: break;
      }
    }
    for (const std::string_view name : inputs) {
      if (name.empty()) refuse("a graph input without a name");
      if (!scope.add(name)) refuse("graph input \"", name, "\" is there twice");
    }
    for (const std::string_view name : initializers) scope.add(name);  // an input may have its default here
    if ((node_count_ += nodes.size()) > kMaxNodes) refuse("more than ", kMaxNodes, " nodes");
    for (size_t i = 0; i < nodes.size(); ++i) check_node(nodes[i], i, scope, depth);
    for (const std::string_view name : outputs) {
      if (name.empty()) refuse("a graph output without a name");
      if (!scope.knows(name)) refuse("graph output \"", name, "\" is produced by no node");
    }
  }

  void check_function(Bytes bytes) {
    Scope scope(nullptr);
    std::vector<Bytes> nodes;
    std::vector<std::string_view> outputs;
    Fields fields(bytes, "FunctionProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1:
        case 6:
        case 8:
        case 10:
        case 13: string(field, "FunctionProto"); break;
        case 4:
          if (!scope.add(string(field, "FunctionProto"))) refuse("FunctionProto: an input is there twice");
          break;
        case 5: outputs.push_back(string(field, "FunctionProto")); break;
        case 7: nodes.push_back(message(field, "FunctionProto")); break;
        case 9: opset(message(field, "FunctionProto")); break;
        case 11: attribute(message(field, "FunctionProto"), scope, 1); break;
        case 12: value_info(message(field, "FunctionProto"), "value_info", 1, false); break;
        case 14: entry(message(field, "FunctionProto")); break;
        default: break;
      }
    }
    if ((node_count_ += nodes.size()) > kMaxNodes) refuse("more than ", kMaxNodes, " nodes");
    for (size_t i = 0; i < nodes.size(); ++i) check_node(nodes[i], i, scope, 1);
    for (const std::string_view name : outputs) {
      if (!scope.knows(name)) refuse("function output \"", name, "\" is produced by no node");
    }
  }

  void check_node(Bytes bytes, size_t index, Scope& scope, int depth) {
    OnnxNode node;
    node.index = index;
    std::vector<Bytes> attributes;
    Fields fields(bytes, "NodeProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: node.inputs.push_back(string(field, "NodeProto")); break;
        case 2: node.outputs.push_back(string(field, "NodeProto")); break;
        case 3:
        case 6:
        case 8: string(field, "NodeProto"); break;
        case 4: node.type = string(field, "NodeProto"); break;
        case 5: attributes.push_back(message(field, "NodeProto")); break;
        case 7: node.domain = string(field, "NodeProto"); break;
        case 9: entry(message(field, "NodeProto")); break;
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
    for (const Bytes& bytes_of_one : attributes) {
      node.attributes.push_back(attribute(bytes_of_one, scope, depth));
      if (!names.insert(node.attributes.back().name).second) {
        refuse(text(node), ": attribute \"", node.attributes.back().name, "\" is there twice");
      }
    }
    check_node_rules(node);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i].empty() && !scope.add(node.outputs[i])) {
        refuse(text(node), ": output ", i, " is \"", node.outputs[i], "\", which is there before it");
      }
    }
  }

  OnnxAttribute attribute(Bytes bytes, const Scope& scope, int depth) {
    OnnxAttribute result;
    Fields fields(bytes, "AttributeProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1: result.name = string(field, "AttributeProto"); break;
        case 13:
        case 21: string(field, "AttributeProto"); break;
        case 2: {
          expect_wire(field, Wire::fixed32, "AttributeProto");
          const auto bits = static_cast<uint32_t>(field.value);
          std::memcpy(&result.number, &bits, 4);
          break;
        }
        case 3: result.integer = integer(field, "AttributeProto"); break;
        case 4: {
          const Bytes value = message(field, "AttributeProto");
          result.string = {reinterpret_cast<const char*>(value.data()), value.size()};
          break;
        }
        case 9: message(field, "AttributeProto"); break;
        case 5:
        case 10: tensor(message(field, "AttributeProto"), "attribute tensor", Place::inside); break;
        case 6:
        case 11: check_graph(message(field, "AttributeProto"), &scope, depth + 1); break;
        case 7: Fields::numbers(field, "AttributeProto", Wire::fixed32, [](uint64_t) {}); break;
        case 8:
          Fields::numbers(field, "AttributeProto", Wire::varint,
                          [&](uint64_t value) { result.integers.push_back(static_cast<int64_t>(value)); });
          break;
        case 14:
        case 15: type(message(field, "AttributeProto"), "attribute type", depth + 1, false); break;
        case 20: result.type = integer(field, "AttributeProto"); break;
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
    Fields fields(bytes, "TensorAnnotation");
    Field field;
    while (fields.next(field)) {
      if (field.number == 1) string(field, "TensorAnnotation");
      if (field.number == 2) entry(message(field, "TensorAnnotation"));
    }
  }

  struct Tensor {
    std::string_view name;
    int64_t type = 0;
    uint64_t elements = 1;
    std::vector<int64_t> dims;
  };

  // Where a tensor's data may lie.
  enum class Place : uint8_t {
    inside,
    anywhere
  };

  Tensor tensor(Bytes bytes, std::string_view what, Place place) {
    Tensor tensor;
    std::vector<Bytes> entries;
    bool is_elsewhere = false;
    std::optional<uint64_t> raw_bytes;
    uint64_t counts[5] = {};  // float_data, int32_data, int64_data, double_data, uint64_data
    uint64_t string_count = 0;
    Fields fields(bytes, "TensorProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1:
          Fields::numbers(field, "TensorProto", Wire::varint,
                          [&](uint64_t value) { tensor.dims.push_back(static_cast<int64_t>(value)); });
          break;
        case 2: tensor.type = integer(field, "TensorProto"); break;
        case 3: throw Error(Code::unsupported_model, what, " in segments, expected it whole");
        case 4: counts[0] += Fields::count(field, "TensorProto", Wire::fixed32); break;
        case 5: counts[1] += Fields::count(field, "TensorProto", Wire::varint); break;
        case 6:
          message(field, "TensorProto");
          ++string_count;
          break;
        case 7: counts[2] += Fields::count(field, "TensorProto", Wire::varint); break;
        case 8: tensor.name = string(field, "TensorProto"); break;
        case 9: raw_bytes = message(field, "TensorProto").size(); break;
        case 10: counts[3] += Fields::count(field, "TensorProto", Wire::fixed64); break;
        case 11: counts[4] += Fields::count(field, "TensorProto", Wire::varint); break;
        case 12: string(field, "TensorProto"); break;
        case 13: entries.push_back(message(field, "TensorProto")); break;
        case 14: is_elsewhere = integer(field, "TensorProto") != 0; break;
        case 16: entry(message(field, "TensorProto")); break;
        default: break;
      }
    }
    if (is_elsewhere || !entries.empty()) {
      if (place == Place::inside || !is_elsewhere) {
        throw Error(Code::unsupported_model, what, " \"", tensor.name,
                    "\": data in another file, expected it here: only the main graph's initializers may lie outside");
      }
      if (raw_bytes || string_count != 0 || std::any_of(counts, std::end(counts), [](uint64_t n) { return n != 0; }))
        refuse(what, " \"", tensor.name, "\": data here and in another file");
      raw_bytes = outside_bytes(tensor, elsewhere(entries, tensor.name));
    }
    check_tensor(tensor, what, raw_bytes, counts, string_count);
    return tensor;
  }

  static Elsewhere elsewhere(const std::vector<Bytes>& entries, std::string_view name) {
    Elsewhere found;
    const auto number = [&](std::string_view key, std::string_view text) {
      uint64_t value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size())
        refuse("initializer \"", name, "\": external ", key, ": expected a whole number, got \"", text, "\"");
      return value;
    };
    std::set<std::string_view> keys;
    for (const Bytes& bytes : entries) {
      std::string_view key;
      std::string_view value;
      Fields fields(bytes, "StringStringEntryProto");
      Field field;
      while (fields.next(field)) {
        if (field.number == 1) key = string(field, "StringStringEntryProto");
        if (field.number == 2) value = string(field, "StringStringEntryProto");
      }
      if (!keys.insert(key).second) refuse("initializer \"", name, "\": external ", key, " is there twice");
      if (key == "location") {
        found.location = value;
      } else if (key == "offset") {
        found.offset = number(key, value);
      } else if (key == "length") {
        found.size_bytes = number(key, value);
      } else if (key != "checksum") {
        refuse("initializer \"", name, "\": external data: expected location, offset, length or checksum, got \"", key,
               "\"");
      }
    }
    if (found.location.empty()) refuse("initializer \"", name, "\": external data without a location");
    return found;
  }

  // How many bytes the tensor has outside. They lie inside a file that was given along.
  uint64_t outside_bytes(const Tensor& tensor, const Elsewhere& elsewhere) {
    locations_.insert(elsewhere.location);
    const std::optional<OnnxElement> element = onnx_element(tensor.type);
    if (element && element->store == kOnnxStringStore)
      refuse("initializer \"", tensor.name, "\": strings in another file, expected them here");
    if (external_ == nullptr) return elsewhere.size_bytes.value_or(stored_bytes(tensor));
    const auto file = std::find_if(external_->begin(), external_->end(),
                                   [&](const ExternalData& one) { return one.name == elsewhere.location; });
    if (file == external_->end()) {
      throw Error(Code::unsupported_model, "initializer \"", tensor.name, "\": data in \"", elsewhere.location,
                  "\", expected it in the model's own file, or in another member of its package");
    }
    const uint64_t left = file->bytes.size_bytes() - std::min<uint64_t>(elsewhere.offset, file->bytes.size_bytes());
    const uint64_t size_bytes = elsewhere.size_bytes.value_or(left);
    if (size_bytes > left) {
      refuse("initializer \"", tensor.name, "\": ", size_bytes, " bytes at ", elsewhere.offset, " of \"",
             elsewhere.location, "\", which has ", file->bytes.size_bytes());
    }
    return size_bytes;
  }

  // The bytes that the tensor's elements take, as far as its dimensions and type make sense.
  static uint64_t stored_bytes(const Tensor& tensor) {
    const std::optional<OnnxElement> element = onnx_element(tensor.type);
    uint64_t elements = 1;
    for (const int64_t dim : tensor.dims) {
      const auto product = checked_multiply<uint64_t>(elements, static_cast<uint64_t>(std::max<int64_t>(dim, 0)));
      if (!product || *product > kMaxOnnxElements) return 0;  // check_tensor refuses it
      elements = *product;
    }
    return element ? (elements * element->bits + 7) / 8 : 0;
  }

  static void check_tensor(Tensor& tensor, std::string_view what, std::optional<uint64_t> raw_bytes,
                           const uint64_t* counts, uint64_t string_count) {
    const std::string named = std::string(what) + " \"" + std::string(tensor.name) + "\"";
    if (tensor.dims.size() > kMaxOnnxRank) {
      throw Error(Code::unsupported_model, named, ": rank ", tensor.dims.size(), ", expected at most ", kMaxOnnxRank);
    }
    bool is_empty = false;
    for (const int64_t dim : tensor.dims) {
      if (dim < 0) refuse(named, ": dimension ", dim, ", expected at least 0");
      is_empty = is_empty || dim == 0;
      const auto product =
          checked_multiply<uint64_t>(tensor.elements, static_cast<uint64_t>(std::max<int64_t>(dim, 1)));
      if (!product || *product > kMaxOnnxElements) refuse(named, ": more than ", kMaxOnnxElements, " elements");
      tensor.elements = *product;
    }
    if (is_empty) tensor.elements = 0;
    const std::optional<OnnxElement> element = onnx_element(tensor.type);
    if (!element) throw Error(Code::unsupported_model, named, ": element type ", tensor.type);
    uint64_t others = 0;
    for (int k = 0; k < 5; ++k) others += k == element->store ? 0 : counts[k];
    if (element->store == kOnnxStringStore ? others != 0 || raw_bytes : string_count != 0 || others != 0) {
      refuse(named, ": data in a field of another element type");
    }
    if (element->store == kOnnxStringStore) {
      if (string_count != tensor.elements) refuse(named, ": ", string_count, " strings, expected ", tensor.elements);
      return;
    }
    const uint64_t typed = counts[element->store];
    if (raw_bytes) {
      const uint64_t expected = (tensor.elements * element->bits + 7) / 8;
      if (typed != 0) refuse(named, ": raw_data beside ", typed, " typed elements");
      if (*raw_bytes != expected) refuse(named, ": ", *raw_bytes, " bytes of raw_data, expected ", expected);
      return;
    }
    // Elements below a byte share an int32 as they share a byte; a complex number takes two.
    const uint64_t expected =
        element->bits < 8 ? (tensor.elements * element->bits + 7) / 8 : tensor.elements * element->stored_per_element;
    if (typed != expected) refuse(named, ": ", typed, " elements, expected ", expected);
  }

  // Returns the name.
  std::string_view value_info(Bytes bytes, std::string_view what, int depth, bool must_be_tensor) {
    std::string_view name;
    std::optional<Bytes> of_type;
    Fields fields(bytes, "ValueInfoProto");
    Field field;
    while (fields.next(field)) {
      if (field.number == 1) name = string(field, "ValueInfoProto");
      if (field.number == 2) of_type = message(field, "ValueInfoProto");
      if (field.number == 3) string(field, "ValueInfoProto");
      if (field.number == 4) entry(message(field, "ValueInfoProto"));
    }
    const std::string named = std::string(what) + " \"" + std::string(name) + "\"";
    if (of_type) type(*of_type, named, depth + 1, must_be_tensor);
    if (!of_type && must_be_tensor) refuse(named, ": no type");
    return name;
  }

  void type(Bytes bytes, const std::string& named, int depth, bool must_be_tensor) {
    check_depth(depth);
    int tensor_count = 0;
    Fields fields(bytes, "TypeProto");
    Field field;
    while (fields.next(field)) {
      switch (field.number) {
        case 1:
          tensor_type(message(field, "TypeProto"), named, must_be_tensor);
          ++tensor_count;
          break;
        case 4:
        case 9: {
          Fields inner(message(field, "TypeProto"), "TypeProto");
          Field part;
          while (inner.next(part)) {
            if (part.number == 1) type(message(part, "TypeProto"), named, depth + 1, false);
          }
          break;
        }
        case 5: {
          Fields inner(message(field, "TypeProto"), "TypeProto");
          Field part;
          while (inner.next(part)) {
            if (part.number == 1) integer(part, "TypeProto");
            if (part.number == 2) type(message(part, "TypeProto"), named, depth + 1, false);
          }
          break;
        }
        case 6: string(field, "TypeProto"); break;
        case 8: tensor_type(message(field, "TypeProto"), named, false); break;
        default: break;
      }
    }
    if (must_be_tensor && tensor_count != 1) throw Error(Code::unsupported_model, named, ": not a tensor");
  }

  void tensor_type(Bytes bytes, const std::string& named, bool is_endpoint) {
    int64_t element_type = 0;
    std::optional<Bytes> shape;
    Fields fields(bytes, "TypeProto.Tensor");
    Field field;
    while (fields.next(field)) {
      if (field.number == 1) element_type = integer(field, "TypeProto.Tensor");
      if (field.number == 2) shape = message(field, "TypeProto.Tensor");
    }
    const std::optional<OnnxElement> element = onnx_element(element_type);
    if (element_type != 0 && !element) throw Error(Code::unsupported_model, named, ": element type ", element_type);
    if (is_endpoint && element_type == 0) refuse(named, ": no element type");
    if (is_endpoint && element->store == kOnnxStringStore) {
      throw Error(Code::unsupported_model, named, " has elements of type string, expected numbers or booleans");
    }
    if (shape) check_shape(*shape, named, element ? element->bits : 8, is_endpoint);
  }

  void check_shape(Bytes bytes, const std::string& named, uint64_t bits, bool is_endpoint) {
    uint64_t elements = 1;
    size_t rank = 0;
    Fields fields(bytes, "TensorShapeProto");
    Field field;
    while (fields.next(field)) {
      if (field.number != 1) continue;
      ++rank;
      Fields dimension(message(field, "TensorShapeProto"), "TensorShapeProto.Dimension");
      Field part;
      while (dimension.next(part)) {
        if (part.number == 2 || part.number == 3) string(part, "TensorShapeProto.Dimension");
        if (part.number != 1) continue;
        const int64_t dim = integer(part, "TensorShapeProto.Dimension");
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

  const std::vector<ExternalData>* external_;
  std::set<std::string_view> locations_;
  uint64_t node_count_ = 0;
  uint64_t declared_bytes_ = 0;
};

}  // namespace

void check_onnx(Bytes file, const std::vector<ExternalData>& external) { Checker(&external).model(file); }

std::vector<std::string> external_data_names(Bytes file) {
  Checker checker(nullptr);
  checker.model(file);
  return {checker.locations().begin(), checker.locations().end()};
}

}  // namespace edgeward
