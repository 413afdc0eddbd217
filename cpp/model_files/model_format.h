// Which of the three formats a model file claims to be in, by its first bytes. Each format has its own check.
#pragma once

#include <string_view>

#include "bytes/bytes.h"

namespace edgeward {

enum class ModelFormat : uint8_t {
  tflite,
  ort,
  onnx
};

// An ONNX file has no magic number: any file that is in neither of the other formats is checked as one.
inline ModelFormat model_format(Bytes file) {
  constexpr size_t kIdentifierOffset = 4;
  const auto identifier = try_read<uint32_t>(file, kIdentifierOffset);
  if (identifier == 0x334C4654) return ModelFormat::tflite;  // "TFL3"
  if (identifier == 0x4D54524F) return ModelFormat::ort;     // "ORTM"
  return ModelFormat::onnx;
}

constexpr std::string_view name(ModelFormat format) {
  switch (format) {
    case ModelFormat::tflite: return "tflite";
    case ModelFormat::ort: return "ort";
    case ModelFormat::onnx: return "onnx";
  }
  return "unknown";
}

}  // namespace edgeward
