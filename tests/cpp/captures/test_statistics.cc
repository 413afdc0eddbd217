#include "captures/statistics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "bytes/crc32c.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "tensor/element.h"

namespace edgeward {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Signature of_tensors(DType input, DType output) {
  return {"main", {{"x", input, {-1}, {}}}, {{"y", output, {-1}, {}}}};
}

template <class T>
TensorView view_of(DType dtype, std::vector<T>& elements, Shape shape) {
  return {dtype, shape, reinterpret_cast<std::byte*>(elements.data()), elements.size() * sizeof(T)};
}

template <class T>
TensorView view_of(DType dtype, std::vector<T>& elements) {
  return view_of(dtype, elements, {static_cast<int64_t>(elements.size())});
}

// One input, of which statistics are taken.
class Counted {
 public:
  explicit Counted(DType dtype, std::vector<double> edges = {})
      : statistics_(of_tensors(dtype, DType::float32), {std::move(edges), {}}), dtype_(dtype) {}
  template <class T>
  void add(std::vector<T> elements) {
    const TensorView input = view_of(dtype_, elements);
    const TensorView output{DType::float32, {0}, nullptr, 0};
    statistics_.add(std::span(&input, 1), std::span(&output, 1), 1000);
  }
  const TensorStatistics& input() const { return statistics_.tensors()[0].statistics; }
  Statistics& all() { return statistics_; }

 private:
  Statistics statistics_;
  DType dtype_;
};

// The same by the definitions, slowly, in long double.
void check_by_definition(const TensorStatistics& counted, const std::vector<double>& values) {
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite), [](double x) { return std::isfinite(x); });
  CHECK(counted.finite_count == finite.size());
  CHECK(counted.nan_count == std::count_if(values.begin(), values.end(), [](double x) { return std::isnan(x); }));
  CHECK(counted.infinite_count == std::count_if(values.begin(), values.end(), [](double x) { return std::isinf(x); }));
  std::vector<uint64_t> bins(counted.bins.size());
  for (const double value : finite) {
    size_t bin = 0;
    if (counted.edges.empty()) {
      bin = TensorStatistics::bin_of_bits(static_cast<float>(value));
    } else {
      while (bin < counted.edges.size() && value >= counted.edges[bin]) ++bin;
    }
    ++bins[bin];
  }
  CHECK(counted.bins == bins);
  if (finite.empty()) return;
  CHECK(counted.min == *std::min_element(finite.begin(), finite.end()));
  CHECK(counted.max == *std::max_element(finite.begin(), finite.end()));
  const auto count = static_cast<long double>(finite.size());
  const long double mean = std::accumulate(finite.begin(), finite.end(), 0.0L) / count;
  const long double squares = std::accumulate(finite.begin(), finite.end(), 0.0L,
                                              [&](long double sum, double x) { return sum + (x - mean) * (x - mean); });
  const auto largest = std::max(std::abs(counted.min), std::abs(counted.max));
  CHECK(std::abs(static_cast<double>(counted.mean - mean)) <= 1e-9 * largest);
  CHECK(counted.squares == doctest::Approx(static_cast<double>(squares)).epsilon(1e-9));
}

template <class T>
void check_dtype(DType dtype, const std::vector<T>& elements) {
  CAPTURE(name(dtype));
  std::vector<T> copy = elements;
  std::vector<double> values;
  for_each_element(view_of(dtype, copy), [&](size_t, double value) { values.push_back(value); });
  REQUIRE(values.size() == elements.size());
  for (const std::vector<double>& edges : {std::vector<double>{}, {-3.0, 0.0, 0.1, 100.0}}) {
    Counted counted(dtype, edges);
    counted.add(elements);
    check_by_definition(counted.input(), values);
  }
}

template <class T>
std::vector<T> some_integers() {
  std::vector<T> elements{0, 1, 2, 100, 101, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
  std::mt19937_64 random(5);
  while (elements.size() < 3000) elements.push_back(static_cast<T>(random()));
  return elements;
}

std::vector<float> normal(std::mt19937_64& random, size_t count, float mean = 0, float deviation = 1) {
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

std::vector<double> as_doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// Statistics with something in every field.
Statistics filled() {
  Statistics statistics(of_tensors(DType::float32, DType::float32), {{-1, 0, 1}, {}});
  std::mt19937_64 random(8);
  for (int run = 0; run < 5; ++run) {
    std::vector<float> x = normal(random, 40);
    x[3] = kNan;
    x[4] = kInfinity;
    std::vector<float> y = normal(random, 10);
    const TensorView input = view_of(DType::float32, x);
    const TensorView output = view_of(DType::float32, y);
    statistics.add(std::span(&input, 1), std::span(&output, 1), random() % 1'000'000);
  }
  statistics.add_failure();
  return statistics;
}

bool is_equal(const Statistics& a, const Statistics& b) { return a.bytes() == b.bytes(); }

}  // namespace

TEST_CASE("buckets of latency: each begins where the one before ends, and is at most a sixteenth wide") {
  CHECK(LatencyHistogram::bucket_of(0) == 0);
  CHECK(LatencyHistogram::bucket_of(UINT64_MAX) == LatencyHistogram::kBuckets - 1);
  for (size_t bucket = 1; bucket < LatencyHistogram::kBuckets; ++bucket) {
    const uint64_t least = LatencyHistogram::least_of(bucket);
    REQUIRE(LatencyHistogram::bucket_of(least) == bucket);
    REQUIRE(LatencyHistogram::bucket_of(least - 1) == bucket - 1);
    const uint64_t before = LatencyHistogram::least_of(bucket - 1);
    REQUIRE((least - before == 1 || least - before <= before / 16));
  }
}

TEST_CASE("bins of bits: each begins with the value nearest to zero") {
  for (size_t bin = 0; bin < TensorStatistics::kBitBins; ++bin) {
    const float least = TensorStatistics::least_of_bits(bin);
    if (std::isfinite(least)) REQUIRE(TensorStatistics::bin_of_bits(least) == bin);
  }
  CHECK(TensorStatistics::bin_of_bits(1.0F) == TensorStatistics::bin_of_bits(1.124F));
  CHECK(TensorStatistics::bin_of_bits(1.0F) != TensorStatistics::bin_of_bits(1.125F));
}

TEST_CASE("every dtype that has a place on a line of numbers is counted") {
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
  // Within what is looked at in one run: a quarter at a time.
  for (size_t quarter = 0; quarter < 4; ++quarter) {
    const auto begin = patterns.begin() + static_cast<std::ptrdiff_t>(quarter << 14);
    check_dtype(DType::float16, std::vector<uint16_t>(begin, begin + (1 << 14)));
  }
  std::mt19937_64 random(3);
  const std::vector<float> floats = normal(random, 5000);
  check_dtype(DType::float32, floats);
  check_dtype(DType::float64, std::vector<double>{1e38, -1e38, 0.1, std::nan(""), INFINITY, 3, -0.0});
  std::vector<uint16_t> brains;
  for (const float value : floats) brains.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  check_dtype(DType::bfloat16, brains);
}

TEST_CASE("what is larger than any float counts as infinite") {
  Counted counted(DType::float64);
  counted.add(std::vector<double>{1e39, -1e300, 2, 4});
  CHECK(counted.input().infinite_count == 2);
  CHECK(counted.input().finite_count == 2);
  CHECK(counted.input().mean == 3);
  CHECK(counted.input().max == 4);
}

TEST_CASE("dtypes without such a place are passed over, and so is a tensor of nothing") {
  for (const DType dtype : {DType::complex64, DType::complex128, DType::int4, DType::float8_e5m2}) {
    CAPTURE(name(dtype));
    Counted counted(dtype);
    counted.add(std::vector<uint8_t>(32, 1));
    CHECK(counted.all().run_count() == 1);
    CHECK(counted.input().finite_count == 0);
  }
  Counted empty(DType::float32);
  empty.add(std::vector<float>());
  CHECK(empty.input().finite_count == 0);
}

TEST_CASE("lengths around every block and lane") {
  std::mt19937_64 random(4);
  for (const size_t count : {1, 2, 15, 16, 17, 31, 33, 2047, 2048, 2049, 4096, 5000, 16'384}) {
    CAPTURE(count);
    const std::vector<float> values = normal(random, count, 3, 2);
    Counted counted(DType::float32, {0, 1, 5});
    counted.add(values);
    check_by_definition(counted.input(), as_doubles(values));
  }
}

TEST_CASE("a value that is no number is counted wherever it stands, and moves nothing else") {
  std::mt19937_64 random(6);
  for (const float special : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (size_t index = 0; index < 40; ++index) {
      std::vector<float> values = normal(random, 40);
      values[index] = special;
      Counted counted(DType::float32);
      counted.add(values);
      check_by_definition(counted.input(), as_doubles(values));
    }
  }
  Counted nothing_else(DType::float32);
  nothing_else.add(std::vector<float>(5000, kNan));
  CHECK(nothing_else.input().nan_count == 5000);
  CHECK(nothing_else.input().finite_count == 0);
}

TEST_CASE("moments hold where sums of floats would not") {
  std::mt19937_64 random(7);
  SUBCASE("far from zero") {
    std::vector<float> values = normal(random, 16'000, 1e6F, 1);
    Counted counted(DType::float32);
    counted.add(values);
    check_by_definition(counted.input(), as_doubles(values));
  }
  SUBCASE("a first value far from all others, in every block") {
    std::vector<float> values = normal(random, 16'000);
    for (size_t i = 0; i < values.size(); i += 16) values[i] = 1e6F;
    values[1] = -1e6F;
    Counted counted(DType::float32);
    counted.add(values);
    check_by_definition(counted.input(), as_doubles(values));
  }
  SUBCASE("the largest floats there are") {
    constexpr float kMost = std::numeric_limits<float>::max();
    Counted counted(DType::float32);
    counted.add(std::vector<float>{kMost, -kMost, kMost, kMost, 1});
    check_by_definition(counted.input(), {kMost, -kMost, kMost, kMost, 1});
  }
  SUBCASE("one value over and over has no variance") {
    Counted counted(DType::float32);
    for (int run = 0; run < 100; ++run) counted.add(std::vector<float>(100, 0.1F));
    CHECK(counted.input().mean == static_cast<double>(0.1F));
    CHECK(counted.input().squares == 0);
  }
}

TEST_CASE("an edge belongs to the bin that begins with it, also where no float is the edge") {
  Counted counted(DType::float32, {0.1, 0.5});
  // 0.1F lies above 0.1.
  counted.add(std::vector<float>{0.1F, std::nextafter(0.1F, 0.0F), 0.5F, std::nextafter(0.5F, 0.0F)});
  CHECK(counted.input().bins == std::vector<uint64_t>{1, 2, 1});
}

TEST_CASE("of a large tensor a part is looked at, and from run to run every part") {
  constexpr size_t kCount = 3 * kMaxElementsCounted - 5;
  std::vector<float> values(kCount);
  std::iota(values.begin(), values.end(), 1.0F);
  Counted counted(DType::float32);
  counted.add(values);
  CHECK(counted.input().finite_count <= kMaxElementsCounted);
  counted.add(values);
  counted.add(values);
  check_by_definition(counted.input(), as_doubles(values));
}

TEST_CASE("what is taken is all since the last time, and the turn of the elements goes on") {
  Statistics whole = filled();
  const auto before = whole.bytes();
  Statistics taken = whole.take();
  CHECK(taken.bytes() == before);
  CHECK(is_equal(whole, Statistics(of_tensors(DType::float32, DType::float32), {{-1, 0, 1}, {}})));
  taken.merge(whole.take());
  CHECK(taken.bytes() == before);

  constexpr size_t kCount = 3 * kMaxElementsCounted - 5;
  std::vector<float> values(kCount);
  std::iota(values.begin(), values.end(), 1.0F);
  Counted counted(DType::float32);
  Counted merged(DType::float32);
  for (int run = 0; run < 3; ++run) {
    counted.add(values);
    merged.all().merge(counted.all().take());
  }
  check_by_definition(merged.input(), as_doubles(values));
}

TEST_CASE("classes: the first of the greatest, for a row of scores among the outputs") {
  Statistics statistics({"main",
                         {{"x", DType::float32, {1, 3}, {}}},
                         {{"y", DType::float32, {1, 3}, {}}, {"square", DType::float32, {2, 2}, {}}}},
                        {});
  const auto add = [&](std::vector<float> scores) {
    std::vector<float> square(4, 1);
    const TensorView input = view_of(DType::float32, scores, {1, 3});
    const TensorView outputs[] = {input, view_of(DType::float32, square, {2, 2})};
    statistics.add(std::span(&input, 1), outputs, 1);
  };
  add({0, 2, 1});
  add({5, 2, 5});
  add({kNan, 2, 1});
  add({-kInfinity, -kInfinity, kNan});
  add({kNan, kNan, kNan});
  CHECK(statistics.tensors()[0].statistics.classes.empty());
  CHECK(statistics.tensors()[1].statistics.classes == std::vector<uint64_t>{2, 2, 0});
  CHECK(statistics.tensors()[2].statistics.classes.empty());
}

TEST_CASE("statistics of a thousand devices are those of all their values") {
  std::mt19937_64 random(9);
  Counted pooled(DType::float32, {-1, 0, 1});
  Counted merged(DType::float32, {-1, 0, 1});
  std::vector<double> all;
  for (int device = 0; device < 1000; ++device) {
    Counted counted(DType::float32, {-1, 0, 1});
    // Each sees another part of the world.
    std::vector<float> values = normal(random, 50 + random() % 100, static_cast<float>(device % 7) - 3.0F, 0.5F);
    if (device % 10 == 0) values[device % 50] = kNan;
    if (device % 50 == 1) counted.all().add_failure();
    if (device % 50 == 1) pooled.all().add_failure();
    counted.add(values);
    pooled.add(values);
    all.insert(all.end(), values.begin(), values.end());
    // As it comes from a device.
    merged.all().merge(Statistics::from_bytes(counted.all().bytes()));
  }
  check_by_definition(merged.input(), all);
  CHECK(merged.all().run_count() == 1000);
  CHECK(merged.all().error_count() == 20);
  CHECK(merged.all().latency().counts() == pooled.all().latency().counts());
  CHECK(merged.input().bins == pooled.input().bins);
}

TEST_CASE("in whatever order they are merged, counts are the same") {
  Statistics parts[3] = {filled(), filled(), filled()};
  parts[1].add_failure();
  Statistics forward = parts[0];
  forward.merge(parts[1]);
  forward.merge(parts[2]);
  Statistics backward = parts[2];
  backward.merge(parts[1]);
  backward.merge(parts[0]);
  CHECK(forward.error_count() == backward.error_count());
  for (size_t i = 0; i < forward.tensors().size(); ++i) {
    CHECK(forward.tensors()[i].statistics.bins == backward.tensors()[i].statistics.bins);
    CHECK(forward.tensors()[i].statistics.classes == backward.tensors()[i].statistics.classes);
    CHECK(forward.tensors()[i].statistics.mean == doctest::Approx(backward.tensors()[i].statistics.mean));
  }
}

TEST_CASE("what counts something else is not merged, and nothing changes") {
  Statistics statistics = filled();
  const auto before = statistics.bytes();
  check_refusal(Code::bad_input, {"tensors"},
                [&] { statistics.merge(Statistics(of_tensors(DType::int8, DType::float32), {})); });
  check_refusal(Code::bad_input, {"bins"}, [&] {
    statistics.merge(Statistics(of_tensors(DType::float32, DType::float32), {{-1, 0, 2}, {}}));
  });
  // Of the first tensor the same bins, of the second others.
  check_refusal(Code::bad_input, {"bins"}, [&] {
    statistics.merge(Statistics(of_tensors(DType::float32, DType::float32), {{-1, 0, 1}, {0, 1}}));
  });
  Statistics other(of_tensors(DType::float32, DType::float32), {{-1, 0, 1}, {0, 1}});
  std::vector<float> values{1, 2};
  const TensorView view = view_of(DType::float32, values);
  other.add(std::span(&view, 1), std::span(&view, 1), 1);
  check_refusal(Code::bad_input, {"bins"}, [&] { statistics.merge(other); });
  CHECK(statistics.bytes() == before);
}

TEST_CASE("bytes bring back what they were made of") {
  const Statistics statistics = filled();
  CHECK(is_equal(Statistics::from_bytes(statistics.bytes()), statistics));
  const Statistics nothing(of_tensors(DType::float64, DType::int64), {});
  CHECK(is_equal(Statistics::from_bytes(nothing.bytes()), nothing));
}

TEST_CASE("bytes that are cut short or changed are refused") {
  const Octets whole = filled().bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    const Octets cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_THROWS_AS((void)Statistics::from_bytes(cut), Error);
  }
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    Octets flipped = whole;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK_THROWS_AS((void)Statistics::from_bytes(flipped), Error);
  }
}

TEST_CASE("bytes whose CRC was mended are statistics or refused, and ask for no more memory than they may") {
  const Octets whole = filled().bytes();
  const size_t body = whole.size() - sizeof(uint32_t);
  size_t refused = 0;
  std::mt19937_64 random(10);
  for (size_t offset = 0; offset + 8 <= body; ++offset) {
    for (const uint64_t value : {UINT64_MAX, uint64_t{1} << 62, uint64_t{1} << 33, random()}) {
      Octets changed = whole;
      std::memcpy(changed.data() + offset, &value, sizeof(value));
      const uint32_t crc = crc32c(Bytes(changed).first(body));
      std::memcpy(changed.data() + body, &crc, sizeof(crc));
      try {
        Statistics taken = Statistics::from_bytes(changed);
        taken.merge(taken);
      } catch (const Error& error) {
        CHECK(error.code() == Code::malformed_capture);
        ++refused;
      }
    }
  }
  CHECK(refused > body);
}

}  // namespace edgeward
