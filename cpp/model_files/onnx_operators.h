// What the nodes of an ONNX graph must look like for a kernel to be safe, and the element types they work on.
// Serves .onnx and .ort alike. An operator without a rule here passes. Rules: docs/model-files.md, section 5.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace edgeward {

// How an initializer of an element type is stored when it is not raw: which typed field, and how many of it per
// element.
struct OnnxElement {
  uint8_t bits;
  uint8_t store;  // 0 float_data, 1 int32_data, 2 int64_data, 3 double_data, 4 uint64_data
  uint8_t stored_per_element;
};
inline constexpr uint8_t kOnnxStringStore = 5;

// By the format's number of the type; nullopt for a number that is not an element type.
std::optional<OnnxElement> onnx_element(int64_t type);

// What a value of a graph is.
enum class OnnxKind : uint8_t {
  none,  // it is not said
  tensor,
  sequence,
  map,
  sparse_tensor,
  optional
};

// Throws Error(unsupported_model) unless an input or output, `named` 'input "x"', is a tensor. `inner` is what a
// sequence or an optional holds.
void require_tensor(const std::string& named, OnnxKind kind, OnnxKind inner);

// More than a device's memory holds: a corrupt dimension must not become an allocation that ends the process.
inline constexpr size_t kMaxOnnxRank = 32;
inline constexpr uint64_t kMaxOnnxElements = uint64_t{1} << 32;
inline constexpr uint64_t kMaxOnnxDeclaredBytes = uint64_t{2} << 30;

struct OnnxAttribute {
  std::string_view name;
  int64_t type = 0;
  float number = 0;
  int64_t integer = 0;
  std::string_view string;
  std::vector<int64_t> integers;
};

struct OnnxNode {
  size_t index = 0;
  std::string_view type;
  std::string_view domain;
  std::vector<std::string_view> inputs;  // empty: an optional input that is absent
  std::vector<std::string_view> outputs;
  std::vector<OnnxAttribute> attributes;
};

// "node 3 (Conv)".
std::string text(const OnnxNode& node);

// An initializer in a file beside the model that is too large to be a message of the format.
struct OnnxLargeTensor {
  std::string name;
  int64_t type;
  std::vector<int64_t> dims;
  std::string location;  // the file
  uint64_t offset;       // in it; its bytes are there
  uint64_t size_bytes;
};
inline constexpr uint64_t kMaxOnnxMessageBytes = (uint64_t{1} << 31) - 1;

// What an engine must know of a model that has passed its check.
struct OnnxFacts {
  std::vector<OnnxLargeTensor> large_tensors;
  std::string fatal_when_empty;  // an operator whose kernel ends the process when a tensor has no elements; or empty
  std::set<std::string> without_shape;  // the graph's inputs and outputs of which the file tells no shape
};

// Throws Error(malformed_model).
void check_node_rules(const OnnxNode& node);

// Whether the node's kernel ends or hangs the process when an input has no elements. `has_constant_weights` says of a
// convolution that no input of the model sizes its weights.
bool is_fatal_when_empty(const OnnxNode& node, bool has_constant_weights);

// The input of a convolution that holds its weights; nullopt for other nodes.
std::optional<size_t> weights_of(const OnnxNode& node);

}  // namespace edgeward
