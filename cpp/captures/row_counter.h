// RowCounter: counts rows of numbers column by column, some rows at a time, all columns in one pass over wide vectors:
// between two runs of a model its memory leaves the nearest cache, and so it is fetched once for all of them. What it
// has counted is taken as Parts. One thread at a time.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "captures/part.h"
#include "captures/wide.h"

namespace edgeward {

class RowCounter {
 public:
  // A NaN that stands for no value: it is not counted at all.
  static constexpr float kAbsent = std::bit_cast<float>(0x7FC0'ABCDu);

  RowCounter() = default;
  // One column for each name. `edges` are those of each column, which ascend; nothing for adaptive bins in all columns.
  // Values that are `least` or `greatest` are clipped; with NaN for them, those at the two ends of a column's edges.
  RowCounter(std::vector<PartName> names, const std::vector<std::vector<float>>& edges, float least, float greatest);
  RowCounter(RowCounter&&) = default;
  RowCounter& operator=(RowCounter&&) = default;
  RowCounter(const RowCounter&) = delete;
  RowCounter& operator=(const RowCounter&) = delete;

  size_t width() const { return names_.size(); }
  // `row` holds width() floats, at least one, and up to the next multiple of kLanes any others. The moments of its
  // finite ones are added to `across`, unless it is null.
  void add(const float* row, Moments* across);
  // All that was counted since the last clear().
  std::vector<Part> parts();
  // From here on counts begin at zero; the last row stays the neighbour of the next. Right after parts() it allocates
  // nothing.
  void clear();

 private:
  static constexpr uint32_t kMaxWaiting = 16;

  // What wide vectors do not count, or have counted before the last spill().
  struct Rare {
    uint64_t nan_count = 0;
    uint64_t infinite_count = 0;
    uint64_t absent_count = 0;
    uint64_t unpaired_count = 0;  // rows with a row before, of which not both have a finite value
    uint64_t clipped_count = 0;
    uint64_t unchanged_count = 0;
  };

  void add_odd(const float* row, Moments* across);
  void add_value(size_t column, float value);
  void make_room(size_t column, float least, float most);
  // All or none of them, when memory runs out.
  void count_waiting();
  void prepare_counts(uint32_t row_count);
  void spill();
  float* row_at(size_t index) { return rows_.data() + index * padded_; }

  std::vector<PartName> names_;
  size_t padded_ = 0;  // width, in whole vectors
  bool is_adaptive_ = true;
  bool has_last_ = false;
  bool is_last_odd_ = false;  // it may have values that are not finite
  uint64_t row_count_ = 0;
  uint64_t pair_count_ = 0;       // rows that have a row before them
  uint32_t unspilled_count_ = 0;  // rows since the last spill()
  size_t unbegun_count_ = 0;      // columns without a finite value
  size_t edge_count_ = 0;         // of the column with the most
  std::vector<float> edges_;      // [edge][column]; NaN where a column has fewer
  std::vector<Bins> bins_;
  std::vector<uint64_t*> bin_counts_;  // of bins_
  std::vector<Rare> rare_;
  uint32_t waiting_count_ = 0;   // finite rows that are not counted yet; no column is then without a value
  std::vector<float> rows_;      // [row][column]: the last one that is counted, then those that wait
  std::vector<uint32_t> cells_;  // [row][column] of those that wait
  // By column, padded.
  std::vector<float> shift_, min_, max_, low_, high_, least_, most_;
  std::vector<double> sums_, squares_, steps_;
  std::vector<uint32_t> clipped_, unchanged_;
  std::vector<int32_t> cell_shift_, cell_offset_, first_cell_;
};

}  // namespace edgeward
