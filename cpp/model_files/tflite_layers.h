// Layers of a network: convolutions, pools, matrix products, lookups and images, for tflite_operators.h.
// Each check throws Error(malformed_model | unsupported_model).
#pragma once

#include "model_files/tflite_check.h"

namespace edgeward::tflite_layers {

void conv_2d(const TfliteCheck& check);
void depthwise_conv_2d(const TfliteCheck& check);
void transpose_conv(const TfliteCheck& check);
void conv_3d(const TfliteCheck& check);
void conv_3d_transpose(const TfliteCheck& check);
void pool_2d(const TfliteCheck& check);
void fully_connected(const TfliteCheck& check);
void batch_matmul(const TfliteCheck& check);
void embedding_lookup(const TfliteCheck& check);
void resize_image(const TfliteCheck& check);

}  // namespace edgeward::tflite_layers
