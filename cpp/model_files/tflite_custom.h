// Custom operators whose kernels the engines bring, for tflite_operators.h: their options, and what else the kernels
// rely on. A custom operator that is unknown here has no kernel in an engine, or one that reads no options.
// Follows the kernels and the XNNPACK delegate of ai-edge-litert 2.3. Rules: docs/model-files.md, section 3.
#pragma once

#include "model_files/tflite_check.h"

namespace edgeward::tflite_custom {

// Whether the operator has a rule here; none of its inputs may be absent then.
bool has_rule(std::string_view name);

// Throws Error(malformed_model | unsupported_model).
void check_custom(const TfliteCheck& check);

// Of a STABLEHLO_COMPOSITE, which a delegate runs by the name in its options where it knows that.
void check_composite(const TfliteCheck& check);

}  // namespace edgeward::tflite_custom
