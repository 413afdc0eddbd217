#include "captures/statistics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "captures/statistics_counter.h"
#include "captures/statistics_format.h"
#include "rigs/counted_input.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const std::vector<std::vector<float>> kEdges = std::vector<std::vector<float>>(7, {-1, 0, 1});

}  // namespace

TEST_CASE("statistics of a thousand devices are those of all their values") {
  std::mt19937_64 random(9);
  for (const auto& edges : {std::vector<std::vector<float>>{}, kEdges}) {
    CountedInput pooled(DType::float32, {-1, 3}, edges);
    Statistics merged = CountedInput(DType::float32, {-1, 3}, edges).counter().take();
    std::vector<std::vector<double>> all(3);
    for (int device = 0; device < 1000; ++device) {
      CountedInput counted(DType::float32, {-1, 3}, edges);
      // Each sees another part of the world.
      std::vector<float> values = normal(random, 3 * (5 + random() % 10), static_cast<float>(device % 7) - 3.0F, 0.5F);
      if (device % 10 == 0) values[device % 15] = kNan;
      for (auto* input : {&counted, &pooled}) {
        if (device % 50 == 1) input->counter().add_failure();
        input->add(values, {static_cast<int64_t>(values.size() / 3), 3});
      }
      for (size_t i = 0; i < values.size(); ++i) all[i % 3].push_back(values[i]);
      // As it comes from a device.
      merged.merge(statistics_from(bytes_of(counted.counter().take(), "")));
    }
    const Statistics whole = pooled.counter().take();
    CHECK(merged.run_count == 1000);
    CHECK(merged.error_count == 20);
    CHECK(merged.latency.counts() == whole.latency.counts());
    for (size_t column = 0; column < 3; ++column) check_by_definition(merged.tensors[0].parts[column], all[column]);
    for (size_t part = 0; part < whole.tensors[0].parts.size(); ++part)
      CHECK(merged.tensors[0].parts[part].bins.counts() == whole.tensors[0].parts[part].bins.counts());
  }
}

TEST_CASE("what counts something else is not merged, and nothing changes") {
  std::mt19937_64 random(1);
  CountedInput counted(DType::float32, {1, 3}, kEdges);
  counted.add(normal(random, 3), {1, 3});
  Statistics statistics = counted.counter().take();
  const auto before = bytes_of(statistics, "");
  const auto refuses = [&](const std::string& what, Statistics other) {
    check_refusal(Code::bad_input, {what}, [&] { statistics.merge(other); });
    CHECK(bytes_of(statistics, "") == before);
  };
  refuses("tensors", CountedInput(DType::int8, {1, 3}, kEdges).counter().take());
  refuses("bins", CountedInput(DType::float32, {1, 3}).counter().take());
  refuses("bins", CountedInput(DType::float32, {1, 4}).counter().take());
  auto others = kEdges;
  others[6] = {-1, 0, 2};
  refuses("bins", CountedInput(DType::float32, {1, 3}, others).counter().take());
  Statistics large = statistics;
  large.tensors[0].parts[1].unchanged_count = Statistics::kMaxCount;
  refuses("add up", large);
  CHECK(bytes_of(statistics_from(bytes_of(large, "")), "") == bytes_of(large, ""));
}

}  // namespace edgeward
