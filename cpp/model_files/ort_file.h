// An .ort file (ONNX Runtime's own flatbuffer, identifier "ORTM") before the engine sees it.
// Every offset, index and size is proven; node inputs, edges and initializers fit together. Rules: docs/model-files.md.
#pragma once

#include "bytes/bytes.h"
#include "model_files/onnx_operators.h"

namespace edgeward {

// Throws Error(malformed_model | unsupported_model).
OnnxFacts check_ort(Bytes file);

}  // namespace edgeward
