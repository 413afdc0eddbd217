// Operators that run another subgraph, for tflite_operators.h.
// Each check throws Error(malformed_model | unsupported_model).
#pragma once

#include "model_files/tflite_check.h"

namespace edgeward::tflite_control_flow {

void call_if(const TfliteCheck& check);
void call_while(const TfliteCheck& check);
void call_once(const TfliteCheck& check);
void call_composite(const TfliteCheck& check);

}  // namespace edgeward::tflite_control_flow
