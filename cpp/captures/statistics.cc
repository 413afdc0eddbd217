#include "captures/statistics.h"

#include <algorithm>

#include "error.h"

namespace edgeward {
namespace {

bool has_parts_of(const TensorStatistics& a, const TensorStatistics& b) {
  return std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                    [](const Part& x, const Part& y) { return x.name == y.name && x.bins.has_edges_of(y.bins); });
}

// Of all counts that are added: no part of a sum passes what the whole does not.
uint64_t most_of(const Statistics& statistics) {
  uint64_t most = std::max(statistics.run_count, statistics.error_count);
  const auto add = [&](const std::vector<uint64_t>& counts) {
    for (const uint64_t count : counts) most = std::max(most, count);
  };
  add(statistics.latency.counts());
  for (const TensorStatistics& tensor : statistics.tensors) {
    add(tensor.classes);
    for (const Part& part : tensor.parts) {
      most = std::max({most, part.moments.count, part.nan_count, part.infinite_count, part.clipped_count,
                       part.unchanged_count, part.pair_count});
    }
  }
  return most;
}

}  // namespace

void Statistics::merge(const Statistics& other) {
  const auto is_same = [](const TensorStatistics& a, const TensorStatistics& b) {
    return a.is_output == b.is_output && a.name == b.name && a.dtype == b.dtype;
  };
  if (!std::equal(tensors.begin(), tensors.end(), other.tensors.begin(), other.tensors.end(), is_same))
    throw Error(Code::bad_input, "statistics: expected those of the same tensors, got others");
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!has_parts_of(tensors[i], other.tensors[i]))
      throw Error(Code::bad_input, "statistics: expected the same bins of \"", tensors[i].name, "\", got others");
  }
  if (most_of(*this) + most_of(other) > kMaxCount)
    throw Error(Code::bad_input, "statistics: expected counts that add up to at most ", kMaxCount, ", got more");
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorStatistics& tensor = tensors[i];
    const TensorStatistics& added = other.tensors[i];
    for (size_t part = 0; part < tensor.parts.size(); ++part) tensor.parts[part].merge(added.parts[part]);
    if (tensor.classes.size() < added.classes.size()) tensor.classes.resize(added.classes.size());
    for (size_t index = 0; index < added.classes.size(); ++index) tensor.classes[index] += added.classes[index];
  }
  run_count += other.run_count;
  error_count += other.error_count;
  latency.merge(other.latency);
}

}  // namespace edgeward
