#include "captures/latency_histogram.h"

#include <bit>

namespace edgeward {
namespace {

constexpr unsigned kSubBits = 4;  // 16 buckets for each power of two

}  // namespace

size_t LatencyHistogram::bucket_of(uint64_t ns) {
  if (ns < 16) return ns;
  const unsigned exponent = 63 - static_cast<unsigned>(std::countl_zero(ns));  // 4 to 63
  const auto fraction = static_cast<size_t>(ns >> (exponent - kSubBits)) & 15;
  return (size_t{exponent} - kSubBits + 1) * 16 + fraction;
}

uint64_t LatencyHistogram::least_of(size_t bucket) {
  if (bucket < 16) return bucket;
  const size_t exponent = bucket / 16 + kSubBits - 1;
  return (uint64_t{16} + bucket % 16) << (exponent - kSubBits);
}

void LatencyHistogram::merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
}

}  // namespace edgeward
