#include "model_files/onnx_operators.h"

#include <cmath>
#include <iterator>

#include "error.h"

namespace edgeward {
namespace {

class Check {
 public:
  explicit Check(const OnnxNode& node) : node_(node) {}

  void window() const {
    for (const std::string_view name : {"kernel_shape", "strides", "dilations"}) each(name, 1, kMaxWindow);
    each("pads", 0, kMaxPadding);
    each("output_padding", 0, kMaxPadding);
    integer("group", 1, INT32_MAX);
  }

  void each(std::string_view name, int64_t lowest, int64_t highest) const {
    const OnnxAttribute* attribute = find(name);
    if (attribute == nullptr) return;
    for (const int64_t value : attribute->integers) expect(name, value, lowest, highest);
  }

  void integer(std::string_view name, int64_t lowest, int64_t highest) const {
    const OnnxAttribute* attribute = find(name);
    if (attribute != nullptr) expect(name, attribute->integer, lowest, highest);
  }

 private:
  static constexpr int64_t kMaxWindow = 1 << 20;
  static constexpr int64_t kMaxPadding = 1024;  // per side; more only costs hours

  const OnnxAttribute* find(std::string_view name) const {
    for (const OnnxAttribute& attribute : node_.attributes) {
      if (attribute.name == name) return &attribute;
    }
    return nullptr;
  }

  void expect(std::string_view name, int64_t value, int64_t lowest, int64_t highest) const {
    if (value < lowest || value > highest) {
      throw Error(Code::malformed_model, text(node_), ": ", name, " ", value, ", expected ", lowest, " to ", highest);
    }
  }

  const OnnxNode& node_;
};

bool is_one_of(std::string_view type, std::initializer_list<std::string_view> types) {
  for (const std::string_view allowed : types) {
    if (type == allowed) return true;
  }
  return false;
}

}  // namespace

std::optional<OnnxElement> onnx_element(int64_t type) {
  constexpr OnnxElement kElements[] = {
      {0, 0, 0},                  // undefined
      {32, 0, 1},                 // float
      {8, 1, 1},                  // uint8
      {8, 1, 1},                  // int8
      {16, 1, 1},                 // uint16
      {16, 1, 1},                 // int16
      {32, 1, 1},                 // int32
      {64, 2, 1},                 // int64
      {64, kOnnxStringStore, 1},  // string
      {8, 1, 1},                  // bool
      {16, 1, 1},                 // float16
      {64, 3, 1},                 // double
      {32, 4, 1},                 // uint32
      {64, 4, 1},                 // uint64
      {64, 0, 2},                 // complex64
      {128, 3, 2},                // complex128
      {16, 1, 1},                 // bfloat16
      {8, 1, 1},                  // float8e4m3fn
      {8, 1, 1},                  // float8e4m3fnuz
      {8, 1, 1},                  // float8e5m2
      {8, 1, 1},                  // float8e5m2fnuz
      {4, 1, 1},                  // uint4
      {4, 1, 1},                  // int4
      {4, 1, 1},                  // float4e2m1
      {8, 1, 1},                  // float8e8m0
      {2, 1, 1},                  // uint2
      {2, 1, 1},                  // int2
  };
  if (type < 1 || static_cast<size_t>(type) >= std::size(kElements)) return std::nullopt;
  return kElements[type];
}

void require_tensor(const std::string& named, OnnxKind kind, OnnxKind inner) {
  constexpr std::string_view kNames[] = {"value", "tensor", "sequence", "map", "sparse tensor", "optional"};
  if (kind == OnnxKind::tensor) return;
  std::string got = "a " + std::string(kNames[static_cast<size_t>(kind)]);
  if (kind == OnnxKind::none) got += " of no type";
  if (kind == OnnxKind::sequence) got += " of " + std::string(kNames[static_cast<size_t>(inner)]) + "s";
  if (kind == OnnxKind::optional) got = "an optional " + std::string(kNames[static_cast<size_t>(inner)]);
  // What converters of classifiers add unless they are told not to.
  const bool is_zip_map = kind == OnnxKind::sequence && inner == OnnxKind::map;
  throw Error(Code::unsupported_model, named, ": expected a tensor, got ", got,
              is_zip_map ? " (convert with zipmap=False)" : "");
}

std::string text(const OnnxNode& node) {
  return "node " + std::to_string(node.index) + " (" + std::string(node.type) + ")";
}

void check_node_rules(const OnnxNode& node) {
  const Check check(node);
  if (is_one_of(node.type,
                {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv", "MaxPool", "AveragePool", "LpPool",
                 "MaxUnpool", "NhwcMaxPool", "NhwcFusedConv", "QLinearAveragePool", "DeformConv"})) {
    check.window();
  }
  if (is_one_of(node.type, {"DepthToSpace", "SpaceToDepth"})) check.integer("blocksize", 1, 32768);
  if (is_one_of(node.type, {"LRN"})) check.integer("size", 1, INT32_MAX);
}

std::optional<size_t> weights_of(const OnnxNode& node) {
  if (is_one_of(node.type, {"Conv", "ConvInteger", "FusedConv", "NhwcFusedConv", "DeformConv"})) return 1;
  if (is_one_of(node.type, {"QLinearConv"})) return 3;
  return std::nullopt;
}

bool is_fatal_when_empty(const OnnxNode& node, bool has_constant_weights) {
  if (is_one_of(node.type,
                {"ConvTranspose", "DynamicQuantizeLSTM", "GRU", "InstanceNormalization", "LSTM", "STFT", "Unique"})) {
    return true;
  }
  return weights_of(node) && !has_constant_weights;
}

}  // namespace edgeward
