// Sharing: whether the processes of this user map one copy of a model's weights, and where it is.
#pragma once

#include <string>

#include "system/memory.h"

namespace edgeward {

struct Sharing {
  std::string directory;   // of a WeightDirectory; empty: they do not
  std::string processor;   // for which weights are packed: what tells it from others
  int threads = 1;         // that digests may take
  std::string model = {};  // the digest of the model's bytes there; empty: it has none
};

// The bytes of the model at `path`, whose digest `sharing` gets if they can be shared: those of a .tflite and an .ort
// are mapped then. Throws as read_file does.
Block read_shared(const std::string& path, Sharing& sharing);

}  // namespace edgeward
