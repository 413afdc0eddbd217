#include "model_files/tflite_packing.h"

#include "model_files/tflite_code.h"
#include "model_files/tflite_schema.h"

namespace edgeward {

namespace code = tflite_code;

namespace {

template <class T>
void append(std::string& text, const T& value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void append(std::string& text, const FlatVector<T>& values) {
  append(text, values.size());
  if (!values.empty()) text.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

void append_numbers(std::string& text, const TfliteValue& value) {
  append(text, value.type);
  append(text, value.scales);
  append(text, value.zero_points);
  append(text, value.quantized_dimension);
}

void append_options(std::string& text, const TfliteOperator& operation) {
  append(text, operation.options_type);
  if (operation.options_type == 0) return;
  const std::string_view fields =
      tflite_schema::kLayouts[tflite_schema::kFirstOptions + operation.options_type - 1].fields;
  for (uint32_t field = 0; field < fields.size(); ++field) {
    if (fields[field] == '4') {
      append(text, operation.options.scalar<int32_t>(field, 0));
    } else {
      append(text, operation.options.scalar<int8_t>(field, 0));
    }
  }
}

// Whether append_numbers() has all that quantizes such weights: blocks of packed elements have scales elsewhere.
bool is_described(TfliteType type) {
  return type == TfliteType::float32 || type == TfliteType::float16 || type == TfliteType::int8 ||
         type == TfliteType::uint8;
}

// 0 for what XNNPACK may leave to other kernels, as it does floats by quantized weights in some versions.
uint64_t packed_bytes(const TfliteValue& input, const TfliteValue& weights) {
  const bool is_float = input.type == TfliteType::float32 && weights.type == TfliteType::float32;
  const bool is_int8 = input.type == TfliteType::int8 && weights.type == TfliteType::int8;
  if (!is_float && !is_int8) return 0;
  return element_count(weights.shape).value_or(0) * (is_float ? sizeof(float) : sizeof(int8_t));
}

}  // namespace

const std::byte* TflitePacking::constant(int32_t tensor, std::span<const TfliteValue> tensors) const {
  if (tensor < 0) return nullptr;
  const TfliteValue& value = tensors[static_cast<size_t>(tensor)];
  if (value.is_constant) return value.data.data();
  const auto unpacked = unpacked_.find(tensor);
  return unpacked == unpacked_.end() ? nullptr : unpacked->second;
}

void TflitePacking::add(const TfliteOperator& operation, std::span<const TfliteValue> tensors) {
  const FlatVector<int32_t>& inputs = operation.inputs;
  switch (operation.code) {
    case code::kDequantize:
    case code::kDensify:
      if (const std::byte* source = constant(inputs[0], tensors)) unpacked_[operation.outputs[0]] = source;
      return;
    case code::kBatchMatmul: add_weights(operation, inputs[0], tensors); [[fallthrough]];
    case code::kConv2d:
    case code::kDepthwiseConv2d:
    case code::kFullyConnected:
    case code::kTransposeConv: return add_weights(operation, inputs[1], tensors);
    default: return;
  }
}

void TflitePacking::add_weights(const TfliteOperator& operation, int32_t weights,
                                std::span<const TfliteValue> tensors) {
  const std::byte* bytes = constant(weights, tensors);
  if (bytes == nullptr) return;
  const auto [entry, is_new] = descriptions_.try_emplace(bytes);
  std::string text = description(operation, tensors);
  if (is_new) {
    entry->second = std::move(text);
    packing_bytes_ +=
        packed_bytes(tensors[static_cast<size_t>(operation.inputs[0])], tensors[static_cast<size_t>(weights)]);
  } else if (entry->second != text || !is_described(tensors[static_cast<size_t>(weights)].type)) {
    is_told_by_buffers_ = false;
  }
}

std::string TflitePacking::description(const TfliteOperator& operation, std::span<const TfliteValue> tensors) const {
  std::string description;
  append(description, operation.code);
  append_options(description, operation);
  for (uint32_t i = 0; i < operation.inputs.size(); ++i) {
    const int32_t input = operation.inputs[i];
    append(description, input < 0);
    if (input < 0) continue;
    const TfliteValue& value = tensors[static_cast<size_t>(input)];
    append_numbers(description, value);
    const std::byte* bytes = constant(input, tensors);
    append(description, bytes);
    if (bytes == nullptr) continue;  // activations: their shape does not go into a pack
    append(description, value.shape.rank());
    for (const int64_t dim : value.shape) append(description, dim);
  }
  for (uint32_t i = 0; i < operation.outputs.size(); ++i)
    append_numbers(description, tensors[static_cast<size_t>(operation.outputs[i])]);
  return description;
}

}  // namespace edgeward
