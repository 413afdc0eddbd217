// The sparsity parameters of a constant in a .tflite: which elements of the dense tensor the file stores. The engines
// unpack such a constant by these numbers without a check of their own. Rules: docs/model-files.md, section 2.
#pragma once

#include <cstdint>
#include <string>

#include "model_files/flatbuffer.h"
#include "tensor/tensor.h"

namespace edgeward {

// How many elements the file stores for a tensor of shape `dense`, whose dimensions are all known.
// Throws Error(malformed_model), in the name of `what`, when unpacking would leave the dense tensor or an index list.
uint64_t stored_elements(const FlatTable& sparsity, const Shape& dense, const std::string& what);

}  // namespace edgeward
