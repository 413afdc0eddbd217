// Which of the three formats a model file is in, told by its first bytes. A claim only: each format has its own check.
#pragma once

#include <string_view>

#include "bytes/bytes.h"

namespace edgeward {

enum class ModelFormat : uint8_t {
  tflite,
  ort,
  onnx
};

// An ONNX file has no magic number: what is neither of the others is taken for one, and checked as one.
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
