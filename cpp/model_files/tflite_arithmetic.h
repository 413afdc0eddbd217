// Operators that compute element by element, or along an axis, for tflite_operators.h: inputs of one type, shapes that
// broadcast, scales that the kernels can express. Each check throws Error(malformed_model | unsupported_model).
#pragma once

#include "model_files/tflite_check.h"

namespace edgeward::tflite_arithmetic {

void unary(const TfliteCheck& check);
// The same, where the kernel sets the output's type.
void unary_setting(const TfliteCheck& check);
// The elements' type changes, their place does not.
void converting(const TfliteCheck& check);
// Two inputs of one type that broadcast; with a fused activation.
void binary(const TfliteCheck& check);
void sum(const TfliteCheck& check);
void product(const TfliteCheck& check);
void squared_difference(const TfliteCheck& check);
// The same without an activation.
void binary_plain(const TfliteCheck& check);
// The same, where the kernel sets the output's type.
void binary_setting(const TfliteCheck& check);
void quotient(const TfliteCheck& check);
// Booleans out.
void predicate(const TfliteCheck& check);
void comparison(const TfliteCheck& check);
// Only the type of the first input is required of the output.
void like_first(const TfliteCheck& check);
void prelu(const TfliteCheck& check);
void select(const TfliteCheck& check);
// SELECT of old converters, whose condition does not broadcast.
void select_old(const TfliteCheck& check);
void leaky_relu(const TfliteCheck& check);
void cumsum(const TfliteCheck& check);
void reduce(const TfliteCheck& check);
void sum_or_product(const TfliteCheck& check);
void arg_extreme(const TfliteCheck& check);
void softmax(const TfliteCheck& check);
void log_softmax(const TfliteCheck& check);
void response_normalization(const TfliteCheck& check);
void rfft_2d(const TfliteCheck& check);

}  // namespace edgeward::tflite_arithmetic
