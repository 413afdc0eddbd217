// ValueCounter: counts the values of a tensor that is no rows, block by block over wide vectors. What it has counted is
// taken as a Part. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "captures/part.h"

namespace edgeward {

// Finds bins between edges by the cell of a scale that a value lies in: of most cells, all values are of one bin.
class EdgeTable {
 public:
  // Nothing when some cell would hold more than one edge, or there are too few edges to be worth it.
  static std::optional<EdgeTable> of(const std::vector<float>& edges);

  // Adds finite values to `counts`, one for each bin.
  void count(std::span<const float> values, uint64_t* counts) const;

 private:
  struct Cell {
    uint32_t bin = 0;  // of the least value
    float edge = 0;    // from which on it is the next bin; infinity without one
  };

  BinScale scale_;
  int32_t first_cell_ = 0;
  std::vector<Cell> cells_;  // one below the first edge's and one above the last edge's too
};

class ValueCounter {
 public:
  ValueCounter() = default;
  // `edges` ascend; null for adaptive bins. Values that are `least` or `greatest` are clipped; with NaN for them, those
  // at the two ends of the edges.
  ValueCounter(const std::vector<float>* edges, float least, float greatest);

  // Adds values, and their moments to those of one inference.
  void add(std::span<const float> values, Moments& moments);
  void add_unchanged() { ++part_.unchanged_count; }
  // All that was counted since the last clear().
  const Part& part() const { return part_; }
  void clear();

 private:
  Part part_;
  float least_ = 0;
  float greatest_ = 0;
  std::optional<EdgeTable> table_;
};

}  // namespace edgeward
