#include "captures/statistics_counter.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "captures/statistics_format.h"
#include "rigs/counted_input.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
void check_dtype(DType dtype, const std::vector<T>& elements) {
  CAPTURE(name(dtype));
  std::vector<T> copy = elements;
  std::vector<double> values;
  for_each_element(view_of(dtype, copy, {static_cast<int64_t>(copy.size())}),
                   [&](size_t, double value) { values.push_back(value); });
  REQUIRE(values.size() == elements.size());
  for (const std::vector<std::vector<float>>& edges : {std::vector<std::vector<float>>{}, {{-3, 0, 0.1F, 100}}}) {
    CountedInput counted(dtype, {-1}, edges);
    counted.add(elements);
    check_by_definition(counted.part(), values);
  }
}

template <class T>
std::vector<T> some_integers() {
  std::vector<T> elements{0, 1, 2, 100, 101, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
  std::mt19937_64 random(5);
  while (elements.size() < 3000) elements.push_back(static_cast<T>(random()));
  return elements;
}

const Part& figure(const std::vector<Part>& parts, const std::string& name) {
  const auto part =
      std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.name.text() == name; });
  REQUIRE(part != parts.end());
  return *part;
}

Statistics scored(const std::vector<std::vector<float>>& rows, Shape shape, DType dtype = DType::float32,
                  Quantization quantization = {}) {
  StatisticsCounter counter({"main", {}, {{"y", dtype, shape, std::move(quantization)}}}, {});
  for (std::vector<float> row : rows) {
    const TensorView view = view_of(DType::float32, row, shape);
    counter.add({}, std::span(&view, 1), 1);
  }
  return counter.take();
}

}  // namespace

TEST_CASE("every dtype that has a place on a line of numbers is counted, as the nearest float") {
  check_dtype(DType::boolean, std::vector<uint8_t>{0, 1, 1, 0, 1});
  check_dtype(DType::int8, some_integers<int8_t>());
  check_dtype(DType::uint8, some_integers<uint8_t>());
  check_dtype(DType::int16, some_integers<int16_t>());
  check_dtype(DType::uint16, some_integers<uint16_t>());
  check_dtype(DType::int32, some_integers<int32_t>());
  check_dtype(DType::uint32, some_integers<uint32_t>());
  check_dtype(DType::int64, some_integers<int64_t>());
  check_dtype(DType::uint64, some_integers<uint64_t>());
  std::vector<uint16_t> patterns(1 << 16);
  std::iota(patterns.begin(), patterns.end(), uint16_t{0});
  // Within what is looked at in one run: an eighth at a time.
  for (size_t eighth = 0; eighth < 8; ++eighth) {
    const auto begin = patterns.begin() + static_cast<std::ptrdiff_t>(eighth << 13);
    check_dtype(DType::float16, std::vector<uint16_t>(begin, begin + (1 << 13)));
  }
  std::mt19937_64 random(3);
  const std::vector<float> floats = normal(random, 5000);
  check_dtype(DType::float32, floats);
  check_dtype(DType::float64, std::vector<double>{1e38, -1e38, 0.1, std::nan(""), INFINITY, 3, -0.0, 1e39, -1e300});
  std::vector<uint16_t> brains;
  for (const float value : floats) brains.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  check_dtype(DType::bfloat16, brains);
}

TEST_CASE("dtypes without such a place are passed over, and so is a tensor of nothing") {
  for (const DType dtype : {DType::complex64, DType::complex128, DType::int4, DType::float8_e5m2}) {
    CAPTURE(name(dtype));
    CountedInput counted(dtype);
    counted.add(std::vector<uint8_t>(32, 1));
    CHECK(counted.counter().statistics().run_count == 1);
    CHECK(counted.part().moments.count == 0);
  }
  CountedInput empty(DType::float32, {-1});
  empty.add(std::vector<float>());
  for (const Part& part : empty.parts()) CHECK((part.moments.count == 0 && part.nan_count == 0));
}

TEST_CASE("inferences that wait are counted as if each had been counted at once, small and large in turn") {
  std::mt19937_64 random(11);
  for (const DType dtype : {DType::float32, DType::int8}) {
    for (const std::vector<std::vector<float>>& edges :
         {std::vector<std::vector<float>>{}, {8, {-1, 0, 1}}, {{-1, 0, 1}}}) {
      CountedInput waiting(dtype, {-1, 4}, edges);
      CountedInput prompt(dtype, {-1, 4}, edges);
      for (size_t run = 0; run < 75; ++run) {
        const size_t width = 4 * (run % 13 == 7 ? 2000 : run % 5 == 4 ? 0 : 1 + run % 3);
        const auto rows = static_cast<int64_t>(width / 4);
        std::vector<float> values = normal(random, width);
        if (run == 20) values[1] = kNan;
        if (dtype == DType::float32) {
          waiting.add(values, {rows, 4});
          prompt.add(values, {rows, 4});
        } else {
          const std::vector<int8_t> bytes(values.begin(), values.end());
          waiting.add(bytes, {rows, 4});
          prompt.add(bytes, {rows, 4});
        }
        static_cast<void>(prompt.parts());
      }
      CHECK(bytes_of(waiting.counter().take(), "") == bytes_of(prompt.counter().take(), ""));
    }
  }
}

TEST_CASE("columns are counted row by row, of a batch too") {
  CountedInput counted(DType::int8, {-1, 3});
  counted.add(std::vector<int8_t>{1, 2, 3, 4, 5, 6}, {2, 3});
  counted.add(std::vector<int8_t>{4, -128, 127}, {1, 3});
  const std::vector<Part> parts = counted.parts();
  check_by_definition(parts[0], {1, 4, 4});
  check_by_definition(parts[1], {2, 5, -128});
  CHECK(parts[0].unchanged_count == 1);
  CHECK(parts[1].clipped_count == 1);
  CHECK(parts[2].clipped_count == 1);
  // One figure an inference.
  check_by_definition(figure(parts, "mean"), {3.5, 1});
  check_by_definition(figure(parts, "least"), {1, -128});
  check_by_definition(figure(parts, "largest"), {6, 127});
  CHECK(figure(parts, "deviation").moments.max ==
        doctest::Approx(std::sqrt((124.0 * 124 + 3 * 3 + 127 * 127) / 3 - 1)).epsilon(0.1));
}

TEST_CASE("figures of values are those of each inference, of the finite ones") {
  CountedInput counted(DType::float32, {1, 2, 2});
  counted.add(std::vector<float>{1, 2, 3, kNan}, {1, 2, 2});
  counted.add(std::vector<float>{kNan, kInfinity, kNan, kNan}, {1, 2, 2});
  counted.add(std::vector<float>{5, 5, 5, 5}, {1, 2, 2});
  const std::vector<Part> parts = counted.parts();
  CHECK(parts[0].moments.count == 7);
  CHECK(parts[0].nan_count == 4);
  check_by_definition(figure(parts, "mean"), {2, std::nan(""), 5});
  check_by_definition(figure(parts, "largest"), {3, std::nan(""), 5});
  CHECK(figure(parts, "deviation").moments.min == 0);
  CHECK(figure(parts, "deviation").moments.max == doctest::Approx(std::sqrt(2.0 / 3)));
}

TEST_CASE("the channels of a picture have means of their own, last or second") {
  std::vector<float> last;
  std::vector<float> second(3 * 400);
  for (size_t pixel = 0; pixel < 400; ++pixel) {
    for (size_t channel = 0; channel < 3; ++channel) {
      last.push_back(static_cast<float>(channel));
      second[channel * 400 + pixel] = static_cast<float>(channel);
    }
  }
  CountedInput nhwc(DType::float32, {1, 20, 20, 3});
  nhwc.add(last, {1, 20, 20, 3});
  CountedInput nchw(DType::float32, {1, 3, 20, 20});
  nchw.add(second, {1, 3, 20, 20});
  for (const std::vector<Part>& parts : {nhwc.parts(), nchw.parts()}) {
    for (size_t channel = 0; channel < 3; ++channel) {
      const Part& part = figure(parts, "channel " + std::to_string(channel));
      CHECK(part.moments.count == 1);
      CHECK(part.moments.mean == static_cast<double>(channel));
    }
  }
}

TEST_CASE("a tensor that stays as it was is unchanged, and one that changes anywhere in its sample is not") {
  std::mt19937_64 random(4);
  CountedInput counted(DType::float32, {1, 20, 20, 3});
  std::vector<float> picture = normal(random, 1200);
  for (int run = 0; run < 3; ++run) counted.add(picture, {1, 20, 20, 3});
  CHECK(counted.part().unchanged_count == 2);
  picture = normal(random, 1200);
  counted.add(picture, {1, 20, 20, 3});
  CHECK(counted.part().unchanged_count == 2);
  CountedInput small(DType::uint8, {1, 5, 5, 5});
  std::vector<uint8_t> elements(125, 1);
  small.add(elements, {1, 5, 5, 5});
  for (size_t index = 0; index < elements.size(); ++index) {
    elements[index] = 2;
    small.add(elements, {1, 5, 5, 5});
  }
  CHECK(small.part().unchanged_count == 0);
}

TEST_CASE("of a large tensor a part is looked at, and from run to run every part") {
  constexpr size_t kCount = 3 * StatisticsCounter::kMaxElements - 5;
  std::vector<float> values(kCount);
  std::iota(values.begin(), values.end(), 1.0F);
  CountedInput counted(DType::float32, {-1});
  counted.add(values);
  CHECK(counted.part().moments.count <= StatisticsCounter::kMaxElements);
  Statistics merged = counted.counter().take();
  for (int run = 0; run < 2; ++run) {
    counted.add(values);
    merged.merge(counted.counter().take());
  }
  check_by_definition(merged.tensors[0].parts[0], {values.begin(), values.end()});
}

TEST_CASE("of a large batch some rows are looked at, and from run to run every row") {
  const size_t count = 3 * StatisticsCounter::kMaxElements / 4;  // of 4 elements each
  std::vector<float> values;
  for (size_t row = 0; row < count; ++row) {
    for (size_t column = 0; column < 4; ++column) values.push_back(static_cast<float>(row * 4 + column));
  }
  CountedInput counted(DType::float32, {-1, 4});
  const Shape shape{static_cast<int64_t>(count), 4};
  counted.add(values, shape);
  CHECK(counted.part().moments.count == count / 3);
  counted.add(values, shape);
  counted.add(values, shape);
  std::vector<double> first;
  for (size_t row = 0; row < count; ++row) first.push_back(static_cast<double>(row) * 4);
  check_by_definition(counted.part(), first);
}

TEST_CASE("rows of scores: class, margin and entropy, in the real numbers that they stand for") {
  const Statistics plain = scored({{0, 2, 1}, {5, 2, 5}, {kNan, 2, 1}, {kNan, kNan, kNan}}, {1, 3});
  const TensorStatistics& tensor = plain.tensors[0];
  CHECK(tensor.classes == std::vector<uint64_t>{1, 2, 0});
  check_by_definition(figure(tensor.parts, "margin"), {1, 0, 1, std::nan("")});
  CHECK(figure(tensor.parts, "entropy").nan_count == 2);
  CHECK(figure(tensor.parts, "entropy").moments.max <= std::log(3.0));
  // A batch has one figure: the mean of its rows.
  const Statistics batch = scored({{0, 2, 1, 0, 5, 1}}, {2, 3});
  check_by_definition(figure(batch.tensors[0].parts, "margin"), {2.5});
  CHECK(batch.tensors[0].classes == std::vector<uint64_t>{0, 2, 0});
  std::vector<int8_t> stored{-128, -28, 72};
  StatisticsCounter counter({"main", {}, {{"y", DType::int8, {1, 3}, {{0.01}, {-128}}}}}, {});
  const TensorView view = view_of(DType::int8, stored, {1, 3});
  counter.add({}, std::span(&view, 1), 1);
  const Statistics quantised = counter.take();
  CHECK(figure(quantised.tensors[0].parts, "margin").moments.mean == doctest::Approx(1));
  const double entropy = -std::log(1.0 / 3) / 3 - 2 * std::log(2.0 / 3) / 3;
  CHECK(figure(quantised.tensors[0].parts, "entropy").moments.mean == doctest::Approx(entropy).epsilon(1e-5));
  const Statistics many = scored({std::vector<float>(1000, 0.5F)}, {1, 1000});
  CHECK(many.tensors[0].classes[0] == 1);
  CHECK(figure(many.tensors[0].parts, "entropy").moments.mean == doctest::Approx(std::log(1000.0)).epsilon(1e-5));
}

TEST_CASE("figures of tensors with and without edges are counted side by side") {
  TensorEdges edges;
  edges[{false, "b"}] = std::vector<std::vector<float>>(7, {-1, 0, 1});
  StatisticsCounter counter({"main",
                             {{"a", DType::float32, {1, 2}, {}}, {"b", DType::float32, {1, 3}, {}}},
                             {{"c", DType::float32, {1, 2}, {}}}},
                            edges);
  std::vector<float> a{1, 3};
  std::vector<float> b{-5, 0.5F, 0};
  std::vector<float> c{10, 30};
  const TensorView inputs[] = {view_of(DType::float32, a, {1, 2}), view_of(DType::float32, b, {1, 3})};
  const TensorView output = view_of(DType::float32, c, {1, 2});
  counter.add(inputs, std::span(&output, 1), 1);
  const Statistics statistics = counter.take();
  check_by_definition(figure(statistics.tensors[0].parts, "mean"), {2});
  check_by_definition(figure(statistics.tensors[1].parts, "mean"), {-1.5});
  CHECK(figure(statistics.tensors[1].parts, "largest").bins.counts() == std::vector<uint64_t>{0, 0, 1, 0});
  check_by_definition(figure(statistics.tensors[2].parts, "least"), {10});
  check_by_definition(figure(statistics.tensors[2].parts, "margin"), {20});
  CHECK(figure(statistics.tensors[0].parts, "mean").bins.is_adaptive());
}

TEST_CASE("what is taken is all since the last time") {
  std::mt19937_64 random(5);
  CountedInput counted(DType::float32, {1, 8});
  for (int run = 0; run < 5; ++run) counted.add(normal(random, 8), {1, 8});
  counted.counter().add_failure();
  const auto before = bytes_of(counted.counter().statistics(), "");
  CHECK(bytes_of(counted.counter().take(), "") == before);
  const Statistics nothing = counted.counter().take();
  CHECK((nothing.run_count == 0 && nothing.error_count == 0 && nothing.tensors[0].parts[0].moments.count == 0));
  counted.add(normal(random, 8), {1, 8});
  CHECK(counted.counter().take().tensors[0].parts[0].moments.count == 1);
}

TEST_CASE("edges of one list count all values of a tensor, and edges of another number are refused") {
  CountedInput whole(DType::float32, {1, 4}, {{0, 1}});
  whole.add(std::vector<float>{-1, 0, 0.5F, 3}, {1, 4});
  CHECK(whole.part().name.kind == PartKind::values);
  CHECK(whole.part().bins.counts() == std::vector<uint64_t>{1, 2, 1});
  CHECK(whole.parts().size() == 5);
  CountedInput columns(DType::float32, {1, 2}, std::vector<std::vector<float>>(6, {0}));
  columns.add(std::vector<float>{-1, 1}, {1, 2});
  CHECK(columns.part(0).bins.counts() == std::vector<uint64_t>{1, 0});
  CHECK(columns.part(1).bins.counts() == std::vector<uint64_t>{0, 1});
  check_refusal(Code::bad_input, {"x", "6 parts", "2"}, [] { CountedInput(DType::float32, {1, 2}, {{0}, {0}}); });
  check_refusal(Code::bad_input, {"x", "ascend"}, [] { CountedInput(DType::float32, {1, 4}, {{1, 1}}); });
  check_refusal(Code::bad_input, {"x", "ascend"}, [] { CountedInput(DType::float32, {1, 4}, {{kNan, 1}}); });
}

}  // namespace edgeward
