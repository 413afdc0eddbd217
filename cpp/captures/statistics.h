// Statistics: what was counted of the inferences of one signature: how many there were, their latencies, and how the
// values of each tensor are distributed. They merge: those of many sessions and devices give what all of their
// inferences would have given. Bytes: statistics_format.h. One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "captures/latency_histogram.h"
#include "captures/part.h"
#include "tensor/tensor.h"

namespace edgeward {

// One input or output. Values are the stored ones, not scaled, each as the nearest float. NaN and infinities count in
// no bin and no moment; a value beyond the range of a float counts as infinite.
struct TensorStatistics {
  bool is_output = false;
  std::string name;
  DType dtype = DType::float32;
  std::vector<Part> parts;
  // How often each index of a row of scores was the largest; empty for a tensor that is no such row.
  std::vector<uint64_t> classes = {};
};

struct Statistics {
  // No count is larger, of what was merged neither: its bytes could not be read.
  static constexpr uint64_t kMaxCount = uint64_t{1} << 56;

  uint64_t run_count = 0;
  uint64_t error_count = 0;
  LatencyHistogram latency;
  std::vector<TensorStatistics> tensors;
  std::string description = {};  // what the writer of the bytes says of them; merge() leaves it

  // Throws Error(bad_input) when the tensors, their parts or their bins differ, and when a sum would pass kMaxCount;
  // nothing is merged then.
  void merge(const Statistics& other);
};

}  // namespace edgeward
