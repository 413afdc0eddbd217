// libFuzzer: check_ort throws nothing but Error, whatever the bytes. How to build and run: docs/model-files.md,
// section 8.
#include <cstddef>
#include <cstdint>

#include "error.h"
#include "model_files/ort_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    edgeward::check_ort({reinterpret_cast<const std::byte*>(data), size});
  } catch (const edgeward::Error&) {
  }
  return 0;
}
