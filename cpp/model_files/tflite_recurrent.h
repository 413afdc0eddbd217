// Operators that keep state in variable tensors, for tflite_operators.h: weights, biases and states of the shapes and
// types that the kernels index them by. Each check throws Error(malformed_model | unsupported_model).
#pragma once

#include "model_files/tflite_check.h"

namespace edgeward::tflite_recurrent {

void svdf(const TfliteCheck& check);
void rnn(const TfliteCheck& check);
void sequence_rnn(const TfliteCheck& check);
void bidirectional_rnn(const TfliteCheck& check);
// Both kernels of LSTM.
void lstm(const TfliteCheck& check);
void sequence_lstm(const TfliteCheck& check);
void bidirectional_lstm(const TfliteCheck& check);

}  // namespace edgeward::tflite_recurrent
