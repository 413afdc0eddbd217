#include "captures/statistics_format.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "bytes/crc32c.h"
#include "captures/statistics_counter.h"
#include "rigs/counted_input.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Statistics with something in every field.
Statistics filled() {
  StatisticsCounter counter({"main",
                             {{"x", DType::float32, {1, 3}, {}}, {"z", DType::float32, {1, 2, 2}, {}}},
                             {{"y", DType::float32, {1, 5}, {}}}},
                            {{{false, "x"}, std::vector<std::vector<float>>(7, {-1, 0, 1})}});
  std::mt19937_64 random(8);
  for (int run = 0; run < 9; ++run) {
    std::vector<float> x = normal(random, 3);
    if (run == 3) x[1] = kNan;
    std::vector<float> z = normal(random, 4, 100);
    if (run == 4) z[2] = kInfinity;
    std::vector<float> y = normal(random, 5);
    const TensorView inputs[] = {view_of(DType::float32, x, {1, 3}), view_of(DType::float32, z, {1, 2, 2})};
    const TensorView output = view_of(DType::float32, y, {1, 5});
    counter.add(inputs, std::span(&output, 1), random() % 1'000'000);
  }
  counter.add_failure();
  return counter.take();
}

void mend_crc(Octets& bytes) {
  const uint32_t crc = crc32c(Bytes(bytes).first(bytes.size() - sizeof(uint32_t)));
  std::memcpy(bytes.data() + bytes.size() - sizeof(crc), &crc, sizeof(crc));
}

template <class T>
void put(Octets& bytes, const T& value) {
  const Bytes raw = std::as_bytes(std::span(&value, 1));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

// As docs/capture-format.md has version 1: one tensor of 3 values below 1, in bins by the bits of a float or between
// edges.
Octets first_version(bool has_edges) {
  Octets bytes;
  for (const char c : std::string("EWSTAT01")) put(bytes, c);
  const auto count = [&](uint64_t number) { put(bytes, number); };
  count(3);
  count(1);
  count(LatencyHistogram::kBuckets);
  count(1);
  put(bytes, uint32_t{7});
  count(3);
  count(1);  // one tensor
  put(bytes, uint8_t{0});
  put(bytes, static_cast<uint8_t>(DType::float32));
  count(1);
  put(bytes, 'x');
  for (const uint64_t number : {3, 2, 1}) count(number);
  for (const double number : {-0.5, 0.75, 0.25, 1.0}) put(bytes, number);
  if (has_edges) {
    count(1);
    put(bytes, 0.1);
    count(2);
    count(2);
    put(bytes, uint32_t{0});
    count(1);
    put(bytes, uint32_t{1});
    count(2);
  } else {
    count(0);
    count(1 << 12);
    count(2);
    put(bytes, std::bit_cast<uint32_t>(0.75F) >> 20);
    count(2);
    put(bytes, std::bit_cast<uint32_t>(-0.5F) >> 20);
    count(1);
  }
  count(0);
  count(0);
  put(bytes, uint32_t{0});
  mend_crc(bytes);
  return bytes;
}

}  // namespace

TEST_CASE("bytes bring back what they were made of") {
  const Statistics statistics = filled();
  const std::string description = "{\"model\": \"\u00e9\"}";
  const auto bytes = bytes_of(statistics, description);
  const Statistics again = statistics_from(bytes);
  CHECK(again.description == description);
  CHECK(bytes_of(again, description) == bytes);
  CHECK(again.tensors[1].parts[0].infinite_count == 1);
  const Statistics nothing = CountedInput(DType::int64, {1, 3}).counter().take();
  CHECK(bytes_of(statistics_from(bytes_of(nothing, "")), "") == bytes_of(nothing, ""));
}

TEST_CASE("version 1 is read: edges as the least floats that are not below them, bits as a coarse scale") {
  const Part between = statistics_from(first_version(true)).tensors[0].parts[0];
  CHECK(between.bins.edges() == std::vector<float>{0.1F});
  CHECK(between.bins.counts() == std::vector<uint64_t>{1, 2});
  CHECK(between.nan_count == 2);
  Statistics bits = statistics_from(first_version(false));
  CHECK(bits.run_count == 3);
  const Part& part = bits.tensors[0].parts[0];
  CHECK(part.bins.scale().fraction == 3);
  CHECK(part.bins.counts().front() == 1);
  CHECK(part.bins.counts().back() == 2);
  CHECK(bytes_of(statistics_from(bytes_of(bits, "")), "") == bytes_of(bits, ""));
  Octets renamed = first_version(true);
  *std::find(renamed.begin(), renamed.end(), std::byte{'x'}) = std::byte{0xFF};
  mend_crc(renamed);
  check_refusal(Code::malformed_capture, {"UTF-8"}, [&] { (void)statistics_from(renamed); });
  bits.merge(statistics_from(first_version(false)));
  CHECK(bits.tensors[0].parts[0].bins.counts().back() == 4);
}

TEST_CASE("bytes that are cut short or changed are refused") {
  for (const Octets& whole : {bytes_of(filled(), "text"), first_version(true), first_version(false)}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      const Octets cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_THROWS_AS((void)statistics_from(cut), Error);
      if (size < sizeof(uint32_t)) continue;
      Octets mended = cut;
      mend_crc(mended);
      CHECK_THROWS_AS((void)statistics_from(mended), Error);
    }
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      Octets flipped = whole;
      flipped[bit / 8] ^= std::byte{1} << (bit % 8);
      CHECK_THROWS_AS((void)statistics_from(flipped), Error);
    }
  }
}

TEST_CASE("bytes whose CRC was mended are statistics or refused, and ask for no more memory than they may") {
  size_t refused = 0;
  size_t tried = 0;
  std::mt19937_64 random(10);
  for (const Octets& whole : {bytes_of(filled(), "text"), first_version(true), first_version(false)}) {
    for (size_t offset = 0; offset + 12 <= whole.size(); ++offset) {
      for (const uint64_t value : {UINT64_MAX, uint64_t{1} << 62, uint64_t{1} << 33, uint64_t{0}, random()}) {
        Octets changed = whole;
        std::memcpy(changed.data() + offset, &value, sizeof(value));
        mend_crc(changed);
        ++tried;
        try {
          Statistics taken = statistics_from(changed);
          CHECK(bytes_of(statistics_from(bytes_of(taken, "")), "") == bytes_of(taken, ""));
          taken.merge(taken);
        } catch (const Error& error) {
          CHECK((error.code() == Code::malformed_capture || error.code() == Code::bad_input));
          ++refused;
        }
      }
    }
  }
  CHECK(refused > tried / 2);
}

TEST_CASE("counts that do not belong together are refused, and so are those that no device can have") {
  const auto refuses = [](auto change) {
    Statistics statistics = filled();
    change(statistics.tensors[0].parts[0], statistics);
    CHECK_THROWS_AS((void)statistics_from(bytes_of(statistics, "")), Error);
  };
  refuses([](Part& part, Statistics&) { part.moments.count += 1; });
  refuses([](Part& part, Statistics&) { part.bins.count_at(0) += 1; });
  refuses([](Part& part, Statistics&) { part.moments.mean = part.moments.max + 1; });
  refuses([](Part& part, Statistics&) { part.moments.mean = std::nan(""); });
  refuses([](Part& part, Statistics&) { part.moments.squares = -1; });
  refuses([](Part& part, Statistics&) { part.moments.squares = 1e30; });
  refuses([](Part& part, Statistics&) { part.moments.max = kInfinity; });
  refuses([](Part& part, Statistics&) { part.step_squares = std::nan(""); });
  refuses([](Part& part, Statistics&) { part.unchanged_count = uint64_t{1} << 63; });
  refuses([](Part&, Statistics& statistics) { statistics.run_count = uint64_t{1} << 63; });
  refuses([](Part&, Statistics& statistics) { statistics.tensors[0].name = "\xff"; });
}

}  // namespace edgeward
