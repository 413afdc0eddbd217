// libFuzzer: any file has an outline, as long as it is, which differs from it in nothing but zeroes and is the file
// when nothing is left out. How to build and run: docs/model-files.md, section 8.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "model_files/tflite_outline.h"

namespace {

// Room behind the bytes, in which a buffer of kLeftOutBytes can lie.
constexpr size_t kRoom = edgeward::kLeftOutBytes + 4096;

void check(const std::byte* content, size_t size_bytes, size_t file_bytes) {
  static const int number = memfd_create("model", MFD_CLOEXEC);
  if (number < 0 || ftruncate(number, 0) != 0 || ftruncate(number, static_cast<off_t>(file_bytes)) != 0 ||
      pwrite(number, content, size_bytes, 0) != static_cast<ssize_t>(size_bytes)) {
    std::abort();
  }
  const edgeward::File file("model", "/proc/self/fd/" + std::to_string(number), edgeward::File::Links::followed);
  const edgeward::Block outline = edgeward::read_tflite_outline(file);
  if (outline.size_bytes() != file_bytes) std::abort();
  if (!outline.is_sparse()) {
    if (std::memcmp(outline.data(), content, size_bytes) != 0) std::abort();
    return;
  }
  for (size_t i = 0; i < size_bytes; ++i) {
    if (outline.data()[i] != content[i] && outline.data()[i] != std::byte{0}) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* content = reinterpret_cast<const std::byte*>(data);
  check(content, size, size);
  check(content, size, size + kRoom);
  return 0;
}
