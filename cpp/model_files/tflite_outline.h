// The outline of a .tflite: the file without the contents of its large weights, for what can be said of a model that
// does not run: which operators it has, what it takes and gives. Takes as much memory as the rest of the file.
#pragma once

#include "system/file.h"
#include "system/memory.h"

namespace edgeward {

// Weights are left out from this size on.
inline constexpr uint64_t kLeftOutBytes = uint64_t{1} << 20;

// Reads `file` but for buffers of kLeftOutBytes or more that only tensors of numbers have which no rule and no kernel
// reads before a run: floats, and integers of at most 8 bits. The block is as long as the file, and sparse when
// something was left out. Proves nothing: what is not laid out as a flatbuffer is read whole, for read_tflite to
// refuse. Throws as File::read_at does, Error(out_of_memory).
Block read_tflite_outline(const File& file);

}  // namespace edgeward
