// libFuzzer: read_tflite throws nothing but Error, whatever the bytes, and neither does what makes its state reachable,
// which leaves the bytes as they were. How to build and run: docs/model-files.md, section 8.
#include <cstddef>
#include <cstdint>

#include "error.h"
#include "model_files/tflite_copy.h"
#include "model_files/tflite_file.h"

namespace {

void copy(edgeward::Bytes file, const edgeward::TfliteFile& facts) {
  const edgeward::TfliteCopy copy = edgeward::copy_with_state(file, facts);
  { const edgeward::TfliteMarksCleared cleared(copy.file, facts); }
  edgeward::read_tflite({copy.file.data(), copy.file.size_bytes()});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const edgeward::Bytes file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const edgeward::TfliteFile facts = edgeward::read_tflite(file);
    if (facts.is_stateful && facts.is_restorable) copy(file, facts);
  } catch (const edgeward::Error&) {
  }
  return 0;
}
