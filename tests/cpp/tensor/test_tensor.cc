#include "tensor/tensor.h"

#include <doctest/doctest.h>

#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "rigs/refusal.h"

namespace edgeward {

TEST_CASE("every dtype has a name of its own and a width that memory can have") {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    CAPTURE(name(dtype));
    names.insert(name(dtype));
    CHECK_FALSE(name(dtype).empty());
    CHECK(128 % bits(dtype) == 0);
    CHECK(is_packed(dtype) == (bits(dtype) < 8));
  }
  CHECK(names.size() == kDTypeCount);
}

TEST_CASE("a dtype's width is the one in its name") {
  struct Row {
    DType dtype;
    std::string_view name;
    size_t bits;
  };
  const Row rows[] = {{DType::boolean, "bool", 8},
                      {DType::int8, "int8", 8},
                      {DType::int16, "int16", 16},
                      {DType::int32, "int32", 32},
                      {DType::int64, "int64", 64},
                      {DType::uint8, "uint8", 8},
                      {DType::uint16, "uint16", 16},
                      {DType::uint32, "uint32", 32},
                      {DType::uint64, "uint64", 64},
                      {DType::float16, "float16", 16},
                      {DType::float32, "float32", 32},
                      {DType::float64, "float64", 64},
                      {DType::bfloat16, "bfloat16", 16},
                      {DType::complex64, "complex64", 64},
                      {DType::complex128, "complex128", 128},
                      {DType::int2, "int2", 2},
                      {DType::int4, "int4", 4},
                      {DType::uint4, "uint4", 4},
                      {DType::float8_e4m3fn, "float8_e4m3fn", 8},
                      {DType::float8_e4m3fnuz, "float8_e4m3fnuz", 8},
                      {DType::float8_e5m2, "float8_e5m2", 8},
                      {DType::float8_e5m2fnuz, "float8_e5m2fnuz", 8},
                      {DType::uint2, "uint2", 2},
                      {DType::float8_e8m0fnu, "float8_e8m0fnu", 8},
                      {DType::string, "string", 8}};
  CHECK(std::size(rows) == kDTypeCount);
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(name(row.dtype) == row.name);
    CHECK(bits(row.dtype) == row.bits);
  }
}

TEST_CASE("a shape has at most eight dimensions") {
  const std::vector<int64_t> dims(Shape::kMaxRank + 1, 1);
  CHECK(Shape(std::span(dims).first(Shape::kMaxRank)).rank() == Shape::kMaxRank);
  check_refusal(Code::unsupported_model, {"at most 8", "got 9"}, [&] { (void)Shape(dims); });
}

TEST_CASE("a shape is written as a list") {
  CHECK(text(Shape{}) == "[]");
  CHECK(text(Shape{3}) == "[3]");
  CHECK(text(Shape{-1, 96, 96, 3}) == "[-1, 96, 96, 3]");
  CHECK(text(DType::int8, Shape{-1, 3}) == "int8 [-1, 3]");
  CHECK(text(Shape::unknown()) == "unknown");
  CHECK(text(DType::int8, Shape::unknown()) == "int8 of unknown shape");
}

TEST_CASE("shapes are equal when rank and every dimension are") {
  CHECK(Shape{} == Shape{});
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK_FALSE(Shape{2, 3} == Shape{2, 4});
  CHECK_FALSE(Shape{2} == Shape{2, 1});
  CHECK_FALSE(Shape{} == Shape{0});
  CHECK(Shape::unknown() == Shape::unknown());
  CHECK_FALSE(Shape::unknown() == Shape{});
}

TEST_CASE("a wanted shape admits what agrees where it is known") {
  struct Row {
    Shape wanted, dims;
    bool is_admitted;
  };
  const Row rows[] = {{{}, {}, true},
                      {{2, 3}, {2, 3}, true},
                      {{-1, 3}, {7, 3}, true},
                      {{-1, -1}, {1, 9}, true},
                      {{2, 3}, {3, 2}, false},
                      {{-1, 3}, {7, 4}, false},
                      {{-1, 3}, {3}, false},
                      {{-1}, {}, false},
                      {{3}, {-1}, false},
                      {{2, 3}, {2, 3, 1}, false},
                      {Shape::unknown(), {}, true},
                      {Shape::unknown(), {2, 3}, true},
                      {Shape::unknown(), Shape::unknown(), false},
                      {{}, Shape::unknown(), false}};
  for (const Row& row : rows) {
    CAPTURE(text(row.wanted));
    CAPTURE(text(row.dims));
    CHECK(row.wanted.admits(row.dims) == row.is_admitted);
  }
  CHECK(Shape{2, -1}.is_dynamic());
  CHECK_FALSE(Shape{2, 0}.is_dynamic());
  CHECK_FALSE(Shape{}.is_dynamic());
  CHECK(Shape::unknown().is_dynamic());
  CHECK_FALSE(element_count(Shape::unknown()));
  CHECK_FALSE(size_bytes(DType::int8, Shape::unknown()));
}

TEST_CASE("a tensor's size is its elements', rounded up to whole bytes, or nothing") {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  struct Row {
    DType dtype;
    Shape shape;
    std::optional<size_t> bytes;
  };
  const Row rows[] = {{DType::float32, {}, 4},
                      {DType::float32, {2, 3}, 24},
                      {DType::float32, {2, 0}, 0},
                      {DType::complex128, {3}, 48},
                      {DType::int4, {2}, 1},
                      {DType::int4, {3}, 2},
                      {DType::int4, {3, 3}, 5},  // elements lie packed across rows
                      {DType::int2, {3}, 1},
                      {DType::int2, {5}, 2},
                      {DType::string, {3}, std::nullopt},  // each has a size of its own
                      {DType::uint8, {-1}, std::nullopt},
                      {DType::uint8, {-3, 0}, std::nullopt},
                      {DType::uint8, {kMost, 4}, std::nullopt},
                      {DType::uint8, {int64_t{1} << 32, int64_t{1} << 32}, std::nullopt},
                      {DType::int8, {kMost}, std::nullopt},  // its bits do not fit a size_t
                      {DType::int2, {kMost}, std::nullopt},
                      {DType::float64, {int64_t{1} << 57}, size_t{1} << 60}};
  for (const Row& row : rows) {
    CAPTURE(name(row.dtype));
    CAPTURE(text(row.shape));
    CHECK((size_bytes(row.dtype, row.shape) == row.bytes));
  }
}

TEST_CASE("packed elements are shown as one row of bytes, others as they are") {
  CHECK(storage_shape(DType::int4, {3, 3}) == Shape{5});
  CHECK(storage_shape(DType::int2, {}) == Shape{1});
  CHECK(storage_shape(DType::uint4, {-1, 3}) == Shape{-1});
  CHECK(storage_shape(DType::int8, {3, 3}) == Shape{3, 3});
}

TEST_CASE("contiguous means: elements touch, in row order; the stride of a single row does not count") {
  struct Row {
    Shape shape;
    std::array<int64_t, Shape::kMaxRank> strides;
    bool is_contiguous;
  };
  const Row rows[] = {{{}, {}, true},           {{3}, {4}, true},         {{3}, {8}, false},
                      {{3}, {-4}, false},       {{3}, {0}, false},        {{2, 3}, {12, 4}, true},
                      {{2, 3}, {4, 8}, false},  {{2, 3}, {16, 4}, false}, {{1, 3}, {999, 4}, true},
                      {{2, 1}, {4, 999}, true}, {{1, 1}, {0, 0}, true}};
  for (const Row& row : rows) {
    CAPTURE(text(row.shape));
    CAPTURE(row.strides[0]);
    CHECK(is_contiguous({nullptr, 4, row.shape, row.strides}) == row.is_contiguous);
  }
}

TEST_CASE("gathering an array of any strides puts its elements in row order") {
  std::vector<uint16_t> memory(256);
  std::iota(memory.begin(), memory.end(), uint16_t{0});
  auto* bytes = reinterpret_cast<std::byte*>(memory.data());
  for (uint32_t seed = 0; seed < 500; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    StridedView view{bytes + 2 * 128, 2, {}, {}};
    std::vector<int64_t> dims(random() % 5);
    for (int64_t& dim : dims) dim = random() % 4;
    view.shape = Shape(dims);
    // Steps of -7 to 7 elements, at most 3 times each on 4 axes: never further than 84 from the middle.
    for (size_t axis = 0; axis < dims.size(); ++axis)
      view.strides[axis] = 2 * (static_cast<int64_t>(random() % 15) - 7);

    std::vector<uint16_t> expected;
    std::vector<int64_t> index(dims.size(), 0);
    const size_t count = *size_bytes(DType::uint8, view.shape);
    for (size_t k = 0; k < count; ++k) {
      int64_t offset = 128;
      for (size_t axis = 0; axis < dims.size(); ++axis) offset += index[axis] * view.strides[axis] / 2;
      expected.push_back(memory[static_cast<size_t>(offset)]);
      for (size_t axis = dims.size(); axis-- > 0;) {
        if (++index[axis] < dims[axis]) break;
        index[axis] = 0;
      }
    }
    std::vector<uint16_t> got(count + 1, 0xFFFF);
    gather(view, reinterpret_cast<std::byte*>(got.data()));
    CHECK(got.back() == 0xFFFF);
    got.pop_back();
    CHECK(got == expected);
  }
}

}  // namespace edgeward
