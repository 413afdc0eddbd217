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

}  // namespace edgeward
