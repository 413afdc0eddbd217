// What a tensor is: DType, Shape, TensorSpec (what a model asks for), TensorView (memory that is borrowed, never
// owned). Values only; safe to copy and to read from any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace edgeward {

// Every element type an engine's tensor can have.
enum class DType : uint8_t {
  boolean,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  float32,
  float64,
  bfloat16,
  complex64,
  complex128,
  int2,
  int4,
  uint4,
  float8_e4m3fn,
  float8_e4m3fnuz,
  float8_e5m2,
  float8_e5m2fnuz,
  uint2,
  float8_e8m0fnu,
  string,  // a tensor of these is a StringBlock (tensor/string_block.h)
};
inline constexpr size_t kDTypeCount = 25;

struct DTypeFacts {
  std::string_view name;
  uint8_t bits;  // of an element; of a string, those of one of its bytes
};
extern const std::array<DTypeFacts, kDTypeCount> kDTypeFacts;  // in the order of DType

inline std::string_view name(DType dtype) { return kDTypeFacts[static_cast<size_t>(dtype)].name; }
inline size_t bits(DType dtype) { return kDTypeFacts[static_cast<size_t>(dtype)].bits; }

// Elements smaller than a byte are packed from the low bits up; such a tensor is shown as one row of uint8.
inline bool is_packed(DType dtype) { return bits(dtype) < 8; }

// Dimensions, outermost first. -1 is a dimension that is not known before a resize or a run. Where not even the number
// of dimensions is known, the whole shape is unknown, which is not the shape of a scalar.
class Shape {
 public:
  static constexpr size_t kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  // Throws Error(unsupported_model) past kMaxRank.
  explicit Shape(std::span<const int64_t> dims) {
    if (dims.size() > kMaxRank) refuse(dims.size());
    for (size_t axis = 0; axis < dims.size(); ++axis) dims_[axis] = dims[axis];
    rank_ = static_cast<uint8_t>(dims.size());
  }
  static Shape unknown();

  bool is_unknown() const { return is_unknown_; }
  // 0 when it is unknown.
  size_t rank() const { return rank_; }
  int64_t operator[](size_t axis) const { return dims_[axis]; }
  int64_t& operator[](size_t axis) { return dims_[axis]; }
  const int64_t* data() const { return dims_.data(); }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  bool is_dynamic() const;
  // True when `actual` is known, has this rank and agrees in every dimension that is not -1. An unknown one admits
  // each.
  bool admits(const Shape& actual) const;
  // A loop, because a library call takes longer than comparing a few dimensions.
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_ || a.is_unknown_ != b.is_unknown_) return false;
    for (size_t axis = 0; axis < a.rank_; ++axis)
      if (a.dims_[axis] != b.dims_[axis]) return false;
    return true;
  }

 private:
  [[noreturn]] static void refuse(size_t rank);

  std::array<int64_t, kMaxRank> dims_{};
  uint8_t rank_ = 0;
  bool is_unknown_ = false;
};

// "[1, 96, 96, 3]", "[-1, 10]" where a dimension is not known, or "unknown".
std::string text(const Shape& shape);
// "float32 [1, 10]", or "float32 of unknown shape".
std::string text(DType dtype, const Shape& shape);

// Elements of a tensor, or nothing when a dimension is negative or the product overflows.
std::optional<size_t> element_count(const Shape& shape);

// Bytes of a tensor, or nothing when there is no count of its elements, or they are strings, each of a size of its own.
std::optional<size_t> size_bytes(DType dtype, const Shape& shape);

// real = scale * (stored - zero_point). One pair for the whole tensor, or one per index along `axis`. Empty: none.
struct Quantization {
  std::vector<float> scales;
  std::vector<int64_t> zero_points;
  int32_t axis = 0;
};

struct TensorSpec {
  std::string name;
  DType dtype;
  Shape shape;
  Quantization quantization;
};

// Contiguous elements, borrowed; of strings, their StringBlock.
struct TensorView {
  DType dtype;
  Shape shape;
  std::byte* data;
  size_t size_bytes;
};

// The shape of the array that shows a tensor: its own, or one row of bytes where elements are packed.
Shape storage_shape(DType dtype, const Shape& shape);

// An array as its owner laid it out, borrowed. Strides are in bytes and may be negative or zero.
struct StridedView {
  std::byte* data;
  size_t element_bytes;
  Shape shape;
  std::array<int64_t, Shape::kMaxRank> strides;
};

inline bool is_contiguous(const StridedView& view) {
  auto expected = static_cast<int64_t>(view.element_bytes);
  for (size_t axis = view.shape.rank(); axis-- > 0;) {
    if (view.shape[axis] != 1 && view.strides[axis] != expected) {
      // Nobody follows the strides of no elements, and numpy's are those of other dimensions.
      return std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end();
    }
    expected *= view.shape[axis];
  }
  return true;
}

// Copies the elements of `source` to `target`, contiguous; `target` has room for all of them.
void gather(const StridedView& source, std::byte* target);

}  // namespace edgeward
