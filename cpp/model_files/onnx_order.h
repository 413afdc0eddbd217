// The order in which the nodes of an .onnx graph can run. The standard asks for nodes in that order; onnxruntime sorts
// them, and converters rely on it: one to float16 writes the casts of a graph's inputs behind everything else.
// One thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "bytes/bytes.h"

namespace edgeward {

// The indices of `nodes`, the encoded NodeProtos of one graph: each behind those that produce what it, or a graph in
// its attributes, reads, else as the file has them. Nodes of a cycle, and those that wait for one, come last. Throws
// Error(malformed_model) for what is no NodeProto.
std::vector<size_t> node_order(std::span<const Bytes> nodes);

}  // namespace edgeward
