// The operator that TFLite's own messages say it lacks: custom, of TensorFlow (Flex), or built in since.
#pragma once

#include <string>

#include "model_files/tflite_file.h"

namespace edgeward {

inline constexpr const char* kLacksOperator = "expected one that the engine has, got one that it lacks";

// Its name, as `lines` of the engine give it; empty when they name none.
std::string lacking_operator(const std::string& lines);

// For an engine that plans a model only up to the first operator whose output's shape depends on values: what it lacks
// behind that one, it says in a run. Throws Error(unsupported_model) for a custom operator that no TFLite has.
void require_custom_operators(const char* engine, const TfliteFile& facts);

}  // namespace edgeward
