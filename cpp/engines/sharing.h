// Sharing: whether the processes of this user map one copy of a model's packed weights, and where it is.
#pragma once

#include <string>

namespace edgeward {

struct Sharing {
  std::string directory;  // of a WeightDirectory; empty: they do not
  std::string processor;  // for which weights are packed: what tells it from others
};

}  // namespace edgeward
