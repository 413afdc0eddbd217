// ExternalData: a file that an .onnx keeps tensors in, under the name by which the model knows it. Its bytes
// are in memory: no engine opens a path that a model names.
#pragma once

#include <string>
#include <vector>

#include "system/memory.h"

namespace edgeward {

struct ExternalData {
  std::string name;
  Block bytes;
};

// The files of these names in the folder of the model file. Throws Error(malformed_model) for a name that leads out of
// it, Error(unsupported_model) for a path below it, std::filesystem::filesystem_error when the system refuses,
// Error(bad_input) for what is no regular file, Error(out_of_memory).
std::vector<ExternalData> read_external_data(const std::string& model_path, const std::vector<std::string>& names);

}  // namespace edgeward
