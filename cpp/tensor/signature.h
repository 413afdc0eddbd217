// Signature: one way to run a model, as the tensors that go in and come out.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace edgeward {

struct Signature {
  std::string name;
  std::vector<TensorSpec> inputs;  // in the engine's order, which need not be the author's: bind by name
  std::vector<TensorSpec> outputs;
};

}  // namespace edgeward
