// LatencyHistogram: counts of latencies in nanoseconds, after G. Tene's HdrHistogram: the width of a bucket is at most
// 1/16 of its lower bound. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgeward {

class LatencyHistogram {
 public:
  static constexpr size_t kBuckets = 16 + 16 * 60;

  void add(uint64_t ns) { ++counts_[bucket_of(ns)]; }
  void merge(const LatencyHistogram& other);
  static size_t bucket_of(uint64_t ns);
  // The lower bound of a bucket.
  static uint64_t least_of(size_t bucket);
  const std::vector<uint64_t>& counts() const { return counts_; }
  std::vector<uint64_t>& counts() { return counts_; }

 private:
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(kBuckets);
};

}  // namespace edgeward
