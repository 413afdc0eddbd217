#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>

#include "bytes/bytes.h"
#include "error.h"

namespace edgeward {

const std::array<DTypeFacts, kDTypeCount> kDTypeFacts{{
    {"bool", 8},          {"int8", 8},
    {"int16", 16},        {"int32", 32},
    {"int64", 64},        {"uint8", 8},
    {"uint16", 16},       {"uint32", 32},
    {"uint64", 64},       {"float16", 16},
    {"float32", 32},      {"float64", 64},
    {"bfloat16", 16},     {"complex64", 64},
    {"complex128", 128},  {"int2", 2},
    {"int4", 4},          {"uint4", 4},
    {"float8_e4m3fn", 8}, {"float8_e4m3fnuz", 8},
    {"float8_e5m2", 8},   {"float8_e5m2fnuz", 8},
    {"uint2", 2},         {"float8_e8m0fnu", 8},
    {"string", 8},
}};

namespace {

// Copies the block whose outermost axis is `axis`; the innermost axis is one memcpy when its elements touch.
void gather_axis(const StridedView& source, size_t axis, size_t element_bytes, const std::byte* from, std::byte*& to) {
  if (axis == source.shape.rank()) {
    std::memcpy(to, from, element_bytes);
    to += element_bytes;
    return;
  }
  const auto count = static_cast<size_t>(source.shape[axis]);
  const int64_t stride = source.strides[axis];
  if (axis + 1 == source.shape.rank() && stride == static_cast<int64_t>(element_bytes)) {
    std::memcpy(to, from, count * element_bytes);
    to += count * element_bytes;
    return;
  }
  for (size_t i = 0; i < count; ++i)
    gather_axis(source, axis + 1, element_bytes, from + static_cast<int64_t>(i) * stride, to);
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}

void Shape::refuse(size_t rank) {
  throw Error(Code::unsupported_model, "shape: expected at most ", kMaxRank, " dimensions, got ", rank);
}

Shape Shape::unknown() {
  Shape shape;
  shape.is_unknown_ = true;
  return shape;
}

bool Shape::is_dynamic() const {
  return is_unknown_ || std::any_of(begin(), end(), [](int64_t dim) { return dim < 0; });
}

bool Shape::admits(const Shape& actual) const {
  if (is_unknown_ || actual.is_unknown_) return !actual.is_unknown_;
  return rank_ == actual.rank_ && std::equal(begin(), end(), actual.begin(),
                                             [](int64_t wanted, int64_t dim) { return wanted == dim || wanted < 0; });
}

std::string text(const Shape& shape) {
  if (shape.is_unknown()) return "unknown";
  std::string line = "[";
  for (size_t axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) line += ", ";
    line += std::to_string(shape[axis]);
  }
  return line + "]";
}

std::string text(DType dtype, const Shape& shape) {
  return std::string(name(dtype)) + (shape.is_unknown() ? " of unknown shape" : " " + text(shape));
}

std::optional<size_t> element_count(const Shape& shape) {
  if (shape.is_unknown()) return std::nullopt;
  size_t count = 1;
  for (int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    const auto product = checked_multiply(count, static_cast<size_t>(dim));
    if (!product) return std::nullopt;
    count = *product;
  }
  return count;
}

std::optional<size_t> size_bytes(DType dtype, const Shape& shape) {
  const auto count = element_count(shape);
  if (!count || dtype == DType::string) return std::nullopt;
  const auto size_bits = checked_multiply(*count, bits(dtype));
  if (!size_bits || *size_bits > SIZE_MAX - 7) return std::nullopt;
  return (*size_bits + 7) / 8;
}

Shape storage_shape(DType dtype, const Shape& shape) {
  if (!is_packed(dtype)) return shape;
  const auto packed_bytes = size_bytes(dtype, shape);
  return Shape{packed_bytes ? static_cast<int64_t>(*packed_bytes) : -1};
}

void gather(const StridedView& source, std::byte* target) {
  gather_axis(source, 0, source.element_bytes, source.data, target);
}

}  // namespace edgeward
