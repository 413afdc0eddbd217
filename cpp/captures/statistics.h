// Statistics over every inference of one session: how many there were, their latencies, and the distribution of each
// tensor's elements. They merge: those of many sessions and devices give what all of their inferences would have given.
// Bytes: docs/capture-format.md, section 4. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "tensor/signature.h"
#include "tensor/tensor.h"

namespace edgeward {

// Of a tensor with more elements than this, every k-th is counted, where k is the least that keeps to the limit. The
// first of them moves on by one from run to run, so that each element has its turn.
inline constexpr size_t kMaxElementsCounted = 16'384;

// Counts of latencies in nanoseconds, after G. Tene's HdrHistogram: the width of a bucket is at most 1/16 of its lower
// bound.
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

// One input or output. Values are the stored ones, not scaled. NaN and infinities count in no bin and no moment; a
// value beyond the range of a float counts as infinite.
struct TensorStatistics {
  uint64_t finite_count = 0;
  uint64_t nan_count = 0;
  uint64_t infinite_count = 0;
  double min = 0;  // of the finite values; meaningless when there are none
  double max = 0;
  double mean = 0;
  double squares = 0;  // sum of squared distances from the mean
  // Ascending. Bin 0 holds values below edges[0], the last bin those from edges.back() on. Without edges, a bin is the
  // upper bits of the float nearest to the value: bin_of_bits().
  std::vector<double> edges;
  std::vector<uint64_t> bins;
  // How often each index of a row of scores was the largest; empty for a tensor that is no such row.
  std::vector<uint64_t> classes;

  static constexpr size_t kBitBins = size_t{1} << 12;  // sign, exponent and 3 bits of a float's fraction
  static size_t bin_of_bits(float value);
  // The value of a bin of bits that is nearest to zero.
  static float least_of_bits(size_t bin);

  bool has_bins_of(const TensorStatistics& other) const;
  // After Chan, Golub and LeVeque. Throws Error(bad_input) when the bins differ.
  void merge(const TensorStatistics& other);
};

class Statistics {
 public:
  // `edges` are those of each input, then of each output; none for a tensor without reference.
  Statistics(const Signature& signature, const std::vector<std::vector<double>>& edges);

  void add(std::span<const TensorView> inputs, std::span<const TensorView> outputs, uint64_t latency_ns);
  void add_failure() { ++error_count_; }
  // Throws Error(bad_input) when the tensors or their bins differ; nothing is merged then.
  void merge(const Statistics& other);
  // All that was counted since the last take(); what is counted from here on begins at zero.
  Statistics take();

  uint64_t run_count() const { return run_count_; }
  uint64_t error_count() const { return error_count_; }
  const LatencyHistogram& latency() const { return latency_; }
  struct Tensor {
    bool is_output;
    std::string name;
    DType dtype;
    TensorStatistics statistics;
    std::vector<float> float_edges;  // the least floats that are not below its edges
  };
  const std::vector<Tensor>& tensors() const { return tensors_; }

  std::vector<std::byte> bytes() const;
  // Throws Error(malformed_capture).
  static Statistics from_bytes(Bytes bytes);

 private:
  Statistics() = default;
  void add_tensor(Tensor& tensor, const TensorView& view);

  uint64_t run_count_ = 0;
  uint64_t turn_ = 0;  // runs ever: which elements of a large tensor are counted
  uint64_t error_count_ = 0;
  LatencyHistogram latency_;
  std::vector<Tensor> tensors_;
};

}  // namespace edgeward
