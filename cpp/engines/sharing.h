// Sharing: whether the processes of this user map one copy of a model's weights, and where it is.
#pragma once

#include <memory>
#include <string>

#include "system/file.h"
#include "system/memory.h"

namespace edgeward {

struct Sharing {
  std::string directory;   // of a WeightDirectory; empty: they do not
  std::string processor;   // for which weights are packed: what tells it from others
  int threads = 1;         // that digests may take
  std::string model = {};  // the digest of the model's bytes there; empty: it has none
  // An .onnx with this digest, which is read where its .ort is not kept.
  std::shared_ptr<const File> unread = nullptr;
};

// The bytes of the model at `path`. If they can be shared, `sharing` gets their digest; then those of a .tflite and an
// .ort are mapped, and of an .onnx there is the head alone, and the file in `sharing`. Throws as read_file does.
Block read_shared(const std::string& path, Sharing& sharing);

}  // namespace edgeward
