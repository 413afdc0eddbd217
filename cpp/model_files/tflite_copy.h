// A copy of a .tflite that shows its state to an engine that only knows inputs and signatures: variable tensors are
// inputs of their subgraph, and subgraphs that assign first values have signatures. What is new stands behind the
// flatbuffer, whose bytes stay where they are but for the offsets that lead to it; what the file has there follows.
#pragma once

#include <cstdint>
#include <vector>

#include "bytes/bytes.h"
#include "model_files/tflite_file.h"
#include "system/memory.h"

namespace edgeward {

struct TfliteCopy {
  Block file;
  // In the subgraphs of `facts`' signatures, `variables` follow the inputs. Behind the signatures of `facts`, in this
  // order, stands one for each of these subgraphs.
  std::vector<int32_t> initializers;
};

// `facts` are those of `file` and say that it is restorable. The copy is checked like any file, and kept like a secret,
// since it may be one. Throws Error(malformed_model) for a file whose parts overlap, and Error(out_of_memory).
TfliteCopy copy_with_state(Bytes file, const TfliteFile& facts);

// Clears the marks of `facts` in `file` for as long as it lives, so that an engine reads a file without variables and
// intermediates. Throws Error(malformed_model) when they are part of something else. One thread.
class TfliteMarksCleared {
 public:
  TfliteMarksCleared(const Block& file, const TfliteFile& facts);
  ~TfliteMarksCleared();
  TfliteMarksCleared(const TfliteMarksCleared&) = delete;
  TfliteMarksCleared& operator=(const TfliteMarksCleared&) = delete;

 private:
  void restore() noexcept;

  std::byte* file_;
  const std::vector<TfliteMark>& marks_;
  std::vector<uint32_t> contents_;
};

}  // namespace edgeward
