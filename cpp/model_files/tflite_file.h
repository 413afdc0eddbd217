// A .tflite file before an engine sees it: every offset, index and size proven, and what it declares.
// Touches weight bytes only where a rule asks for constants (axes, permutations, shapes). Rules: docs/model-files.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "tensor/tensor.h"

namespace edgeward {

// An input or output of a signature. `shape` has -1 where the dimension is known only once shapes are given, or after a
// run; an output's is unknown where the file does not tell it.
struct TfliteTensor {
  std::string name;      // the signature's name for it, or one of ours
  int32_t tensor_index;  // within the signature's subgraph
  DType dtype;
  Shape shape;
  Quantization quantization;
  bool has_open_shape;  // an output's: it may depend on values
  bool is_variable;     // a run may write to it
};

struct TfliteSignature {
  std::string key;
  size_t subgraph_index;
  std::vector<TfliteTensor> inputs;      // in the order of the subgraph's inputs
  std::vector<TfliteTensor> outputs;     // in the order of the subgraph's outputs
  std::string open_operator;             // the first whose output's shape depends on values; empty when none does
  std::vector<int32_t> partial_tensors;  // of the subgraph, those that a run may leave bytes of unwritten
  // Variable tensors of the subgraph that are none of its inputs; their names are empty.
  std::vector<TfliteTensor> variables;
  // Subgraphs without inputs and outputs that assign first values to what operators hold by name.
  std::vector<int32_t> initializers;
};

// A byte or word of the file by which it says that a tensor is a variable, or that an operator changes one or has
// intermediate tensors.
struct TfliteMark {
  uint32_t position;
  uint32_t size_bytes;  // 1: the flag itself; 4: the length of a vector
};

struct TfliteFile {
  // At least one. A file without signatures has one over subgraph 0, kPlaceholderSignature, with tensor names as names;
  // a tensor without a name, or with another's, is "input_0" or "output_0" by its place.
  std::vector<TfliteSignature> signatures;
  // Where the names of inputs and outputs of that one lie, as flatbuffer strings, if an engine that goes by name would
  // mistake a tensor for another. Such an engine makes up names where there are none.
  std::vector<size_t> mistakable_names;
  int64_t node_count;  // operators of subgraph 0
  // A run may leave bytes of an output unwritten.
  bool leaves_unwritten;
  // The first operator that leaves bytes unwritten which another one reads: no memory of a caller's is there to be
  // zeroed. Empty when there is none.
  std::string spreading_operator;
  // Whether packed weights can be told apart by the buffers that they are packed from: tflite_packing.h.
  bool is_pack_told_by_buffers;
  uint64_t packing_bytes;  // what XNNPACK packs, at least: tflite_packing.h
  // Where weights lie that nothing reads once they are packed, in order and apart; none where there are subgraphs
  // beside the first, which may run later. Views of the file.
  std::vector<Bytes> only_packed;
  std::vector<std::string> custom_operators;  // the names of those that subgraphs use; one may stand there twice
  // The first tensor that is quantized otherwise than as a whole or by one dimension; empty when none is.
  std::string blockwise_tensor;
  bool may_delegate;         // false: XNNPACK could end the process, tflite_delegation.h
  bool has_loop;             // whether a run ends may depend on its inputs
  bool is_stateful;          // a run may depend on earlier ones
  bool has_named_variables;  // some of it is in what operators hold by name
  // Whether a signature has its initial state again once its `variables` have theirs, which is that of zeroes, and each
  // of its `initializers` is run. tflite_copy.h makes a file in which both can be reached.
  bool is_restorable;
  std::vector<TfliteMark> marks;
};

inline constexpr const char* kPlaceholderSignature = "<placeholder signature>";

// The most that all tensors without data may need together: a corrupt dimension must not become an allocation that ends
// the process.
inline constexpr uint64_t kMaxActivationBytes = uint64_t{2} << 30;

// The result copies what it needs, but for `only_packed`; `file` may go. Throws Error(malformed_model |
// unsupported_model).
TfliteFile read_tflite(Bytes file);

}  // namespace edgeward
