#include "captures/latency_histogram.h"

#include <doctest/doctest.h>

namespace edgeward {

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

TEST_CASE("histograms of latency merge by addition") {
  LatencyHistogram a;
  LatencyHistogram b;
  a.add(5);
  b.add(5);
  b.add(1'000'000);
  a.merge(b);
  CHECK(a.counts()[5] == 2);
  CHECK(a.counts()[LatencyHistogram::bucket_of(1'000'000)] == 1);
}

}  // namespace edgeward
