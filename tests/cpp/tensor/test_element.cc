#include "tensor/element.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace edgeward {
namespace {

// What the bits of a binary float say, by the formula of IEEE 754 and not by shifting them into another float.
double value_of_bits(uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

bool is_same_number(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

template <class T>
TensorView view_of(DType dtype, std::vector<T>& elements) {
  return {dtype,
          {static_cast<int64_t>(elements.size())},
          reinterpret_cast<std::byte*>(elements.data()),
          elements.size() * sizeof(T)};
}

// The values that for_each_element gives, with each index checked to be the next.
std::vector<double> visited(const TensorView& view) {
  std::vector<double> values;
  for_each_element(view, [&](size_t index, double value) {
    CHECK(index == values.size());
    values.push_back(value);
  });
  return values;
}

template <class T>
void check_visit(DType dtype, std::vector<T> elements, const std::vector<double>& expected) {
  CAPTURE(name(dtype));
  CHECK(bits(dtype) == 8 * sizeof(T));
  CHECK(visited(view_of(dtype, elements)) == expected);
}

template <class T>
double least() {
  return static_cast<double>(std::numeric_limits<T>::lowest());
}
template <class T>
double most() {
  return static_cast<double>(std::numeric_limits<T>::max());
}
template <class T>
std::vector<T> ends() {
  return {std::numeric_limits<T>::lowest(), T{0}, T{1}, std::numeric_limits<T>::max()};
}

}  // namespace

TEST_CASE("every float16 is the number its bits say, signs of zeros and NaN included") {
  size_t wrong = 0;
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if (!is_same_number(float_of_half(half), value_of_bits(half, 5, 10))) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(float_of_half(0x3C00) == 1);
  CHECK(float_of_half(0xC000) == -2);
  CHECK(float_of_half(0x7BFF) == 65504);
  CHECK(float_of_half(0x0001) == 0x1p-24f);
}

TEST_CASE("every bfloat16 is the number its bits say, signs of zeros and NaN included") {
  size_t wrong = 0;
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto brain = static_cast<uint16_t>(bits);
    if (!is_same_number(float_of_brain(brain), value_of_bits(brain, 8, 7))) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(float_of_brain(0x3F80) == 1);
  CHECK(float_of_brain(0xC000) == -2);
  CHECK(float_of_brain(0x0001) == 0x1p-133f);
}

TEST_CASE("elements of each dtype are visited in order, as numbers") {
  check_visit<uint8_t>(DType::boolean, {1, 0, 1}, {1, 0, 1});
  check_visit<uint8_t>(DType::uint8, {0, 1, 255}, {0, 1, 255});
  check_visit<int8_t>(DType::int8, {-128, 0, 127}, {-128, 0, 127});
  check_visit(DType::int16, ends<int16_t>(), {least<int16_t>(), 0, 1, most<int16_t>()});
  check_visit(DType::uint16, ends<uint16_t>(), {0, 0, 1, most<uint16_t>()});
  check_visit(DType::int32, ends<int32_t>(), {least<int32_t>(), 0, 1, most<int32_t>()});
  check_visit(DType::uint32, ends<uint32_t>(), {0, 0, 1, most<uint32_t>()});
  check_visit(DType::int64, ends<int64_t>(), {-0x1p63, 0, 1, 0x1p63});
  check_visit(DType::uint64, ends<uint64_t>(), {0, 0, 1, 0x1p64});
  check_visit<uint16_t>(DType::float16, {0x3C00, 0xBC00, 0x0000}, {1, -1, 0});
  check_visit<uint16_t>(DType::bfloat16, {0x3F80, 0xBF80, 0x0000}, {1, -1, 0});
  check_visit<float>(DType::float32, {0.1F, -2.5F, 3e38F}, {0.1F, -2.5F, 3e38F});
  check_visit<double>(DType::float64, {0.1, -2.5, 1e300}, {0.1, -2.5, 1e300});
}

TEST_CASE("elements wider than a float's fraction come whole") {
  // 2^24 + 1 is the first whole number that a float has not.
  check_visit<int32_t>(DType::int32, {16777217, -16777217}, {16777217.0, -16777217.0});
  check_visit<uint32_t>(DType::uint32, {16777217, 0xFFFFFFFF}, {16777217.0, 4294967295.0});
  check_visit<int64_t>(DType::int64, {9007199254740991}, {9007199254740991.0});
  check_visit<double>(DType::float64, {1 + 0x1p-52}, {1 + 0x1p-52});
}

TEST_CASE("an empty tensor has no elements") {
  std::vector<float> nothing;
  CHECK(visited(view_of(DType::float32, nothing)).empty());
}

TEST_CASE("dtypes without a place on the line of numbers have no elements") {
  std::vector<uint8_t> memory(64, 1);
  size_t with = 0;
  size_t without = 0;
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    CAPTURE(name(dtype));
    bool has_elements = true;
    switch (dtype) {
      case DType::complex64:
      case DType::complex128:
      case DType::int2:
      case DType::int4:
      case DType::uint4:
      case DType::float8_e4m3fn:
      case DType::float8_e4m3fnuz:
      case DType::float8_e5m2:
      case DType::float8_e5m2fnuz:
      case DType::uint2:
      case DType::float8_e8m0fnu:
      case DType::string: has_elements = false; break;
      default: break;
    }
    bool is_asked = false;
    const TensorView view{dtype, {64}, reinterpret_cast<std::byte*>(memory.data()), memory.size()};
    with_elements(view, [&](const auto*, size_t count, const auto&) {
      is_asked = true;
      CHECK(count == memory.size() * 8 / bits(dtype));
    });
    CHECK(is_asked == has_elements);
    CHECK(visited(view).size() == (has_elements ? memory.size() * 8 / bits(dtype) : 0));
    ++(has_elements ? with : without);
  }
  CHECK(with == 13);
  CHECK(without == 12);
}

}  // namespace edgeward
