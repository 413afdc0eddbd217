// An .onnx file (a protobuf ModelProto) before the engine sees it.
// Every field is bounded, every initializer holds its bytes, every node input exists before it is used.
// External data is refused: a model is one file. Rules: docs/model-files.md.
#pragma once

#include "bytes.h"

namespace edgeward {

// Throws Error(malformed_model | unsupported_model).
void check_onnx(Bytes file);

}  // namespace edgeward
