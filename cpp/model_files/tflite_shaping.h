// Operators that move, repeat, pick or count elements without computing with them, for tflite_operators.h.
// Each check throws Error(malformed_model | unsupported_model).
#pragma once

#include "model_files/tflite_check.h"

namespace edgeward::tflite_shaping {

void gather_nd(const TfliteCheck& check);
void scatter_nd(const TfliteCheck& check);
void sparse_to_dense(const TfliteCheck& check);
void concatenation(const TfliteCheck& check);
void reshape(const TfliteCheck& check);
void squeeze(const TfliteCheck& check);
void expand_dims(const TfliteCheck& check);
void pad(const TfliteCheck& check);
void mirror_pad(const TfliteCheck& check);
void transpose(const TfliteCheck& check);
void split(const TfliteCheck& check);
void split_v(const TfliteCheck& check);
void pack(const TfliteCheck& check);
void unpack(const TfliteCheck& check);
void strided_slice(const TfliteCheck& check);
void slice(const TfliteCheck& check);
void gather(const TfliteCheck& check);
void stablehlo_gather(const TfliteCheck& check);
void depth_to_space(const TfliteCheck& check);
void space_to_depth(const TfliteCheck& check);
void blocks_nd(const TfliteCheck& check);
void tile(const TfliteCheck& check);
void fill(const TfliteCheck& check);
void broadcast_to(const TfliteCheck& check);
void top_k(const TfliteCheck& check);
void one_hot(const TfliteCheck& check);
void reverse(const TfliteCheck& check);
void reverse_sequence(const TfliteCheck& check);
void broadcast_args(const TfliteCheck& check);
void densify(const TfliteCheck& check);
void matrix_set_diag(const TfliteCheck& check);
// Numbers drawn at random, in a shape that is an input.
void random(const TfliteCheck& check);
void multinomial(const TfliteCheck& check);

}  // namespace edgeward::tflite_shaping
