// An .onnx file (a protobuf ModelProto) before the engine sees it.
// Every field is bounded, every initializer holds its bytes, every node input exists before it is used.
// External data must be in the files that the caller passes. Rules: docs/model-files.md.
#pragma once

#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "model_files/external_data.h"
#include "model_files/onnx_operators.h"

namespace edgeward {

// Throws Error(malformed_model | unsupported_model).
OnnxFacts check_onnx(Bytes file, const std::vector<ExternalData>& external);

// The names of the files that hold data of this one, each once, in order of name; everything else is checked as
// check_onnx does, and throws the same.
std::vector<std::string> external_data_names(Bytes file);

}  // namespace edgeward
