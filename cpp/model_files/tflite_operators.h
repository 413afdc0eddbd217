// What an operator of a .tflite file must look like before a kernel may run it: arity, options, types, shapes,
// constants. The kernels of the engines divide by, index with and allocate from these values. An operator that has no
// row in the table passes with the checks that hold for all. Rules: docs/model-files.md, section 3.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model_files/tflite_check.h"

namespace edgeward {

// "subgraph 0, operator 3 (CONV_2D)"; an operator that has no row is named by its code.
std::string text(const TfliteOperator& operation);

// True when input `index` of the operator may be -1.
bool is_optional_input(const TfliteOperator& operation, uint32_t index);

// Indices in `operation` must have been checked. Gives an output the type that its kernel gives it. Throws
// Error(malformed_model | unsupported_model).
void check_operator(const TfliteOperator& operation, std::span<TfliteValue> tensors,
                    std::span<const TfliteInterface> subgraphs);

}  // namespace edgeward
