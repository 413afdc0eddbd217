#include "model_files/tflite_packing.h"

#include <algorithm>

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

void TflitePacking::enter() {
  unpacked_.clear();
  weights_.clear();
  otherwise_read_.clear();
}

void TflitePacking::add(const TfliteOperator& operation, std::span<const TfliteValue> tensors) {
  note_uses(operation, tensors);
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

// Kernels of layers whose weights have another type than their input read no weights while the input is zero.
void TflitePacking::note_uses(const TfliteOperator& operation, std::span<const TfliteValue> tensors) {
  constexpr uint32_t kWeights = 1;
  const auto is_packed = [&](uint32_t input) {
    if (input != kWeights) return false;
    switch (operation.code) {
      case code::kConv2d:
      case code::kDepthwiseConv2d:
      case code::kFullyConnected: break;
      default: return false;
    }
    const TfliteValue& weights = tensors[static_cast<size_t>(operation.inputs[kWeights])];
    const TfliteValue& source = tensors[static_cast<size_t>(operation.inputs[0])];
    return (weights.type == TfliteType::float32 || weights.type == TfliteType::int8) && weights.type == source.type &&
           !weights.is_sparse;
  };
  for (uint32_t i = 0; i < operation.inputs.size(); ++i) {
    if (operation.inputs[i] >= 0) (is_packed(i) ? weights_ : otherwise_read_).insert(operation.inputs[i]);
  }
}

std::vector<Bytes> TflitePacking::only_packed(std::span<const TfliteValue> tensors,
                                              const FlatVector<int32_t>& outputs) const {
  std::vector<Bytes> packed;
  std::vector<Bytes> others;
  std::set<int32_t> read = otherwise_read_;
  for (uint32_t i = 0; i < outputs.size(); ++i) read.insert(outputs[i]);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].is_constant || tensors[i].data.empty()) continue;
    const auto tensor = static_cast<int32_t>(i);
    const bool is_only_packed = weights_.count(tensor) != 0 && read.count(tensor) == 0;
    (is_only_packed ? packed : others).push_back(tensors[i].data);
  }
  const auto end = [](Bytes bytes) { return bytes.data() + bytes.size(); };
  const auto begins_before = [](Bytes a, Bytes b) { return a.data() < b.data(); };
  std::sort(packed.begin(), packed.end(), begins_before);
  std::sort(others.begin(), others.end(), begins_before);
  std::vector<Bytes> apart;
  const std::byte* others_end = nullptr;  // of those that begin before the end of `bytes`
  auto other = others.begin();
  for (const Bytes bytes : packed) {
    for (; other != others.end() && other->data() < end(bytes); ++other) others_end = std::max(others_end, end(*other));
    if (others_end != nullptr && others_end > bytes.data()) continue;
    if (!apart.empty() && end(apart.back()) > bytes.data()) {
      const std::byte* begin = apart.back().data();
      apart.back() = {begin, static_cast<size_t>(std::max(end(apart.back()), end(bytes)) - begin)};
    } else {
      apart.push_back(bytes);
    }
  }
  return apart;
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
