// Bins: how many values lie where. Either between edges that somebody laid, or on a scale that adapts to the values.
// Both merge by addition: in whatever order, the counts are those of all values. One thread at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace edgeward {

// The scale of bins without edges: cells as wide as 2^-fraction of the power of two that they lie in, the same on both
// sides of zero, and one for everything that is smaller than the least of 31 powers of two. A lower fraction and a
// higher power of two only join cells.
struct BinScale {
  static constexpr int32_t kOctaves = 31;
  static constexpr int32_t kMinFraction = 4;  // fits kMaxSpan whatever the values are
  static constexpr int32_t kMaxFraction = 23;
  static constexpr int32_t kMaxSpan = 1024;  // cells from that of the least value to that of the greatest

  int32_t low = 1;  // biased exponent of the least power of two
  int32_t fraction = kMaxFraction;

  // The finest scale, no finer than `fraction`, on which the cells of such values span no more than kMaxSpan.
  static BinScale of(float least, float greatest, int32_t fraction);

  int32_t offset() const { return (low << fraction) - 1; }
  // The cell of a finite value: 0 in the middle, negative for negative ones.
  int32_t cell(float value) const {
    const auto bits = std::bit_cast<uint32_t>(value);
    const auto magnitude = static_cast<int32_t>((bits & 0x7FFF'FFFFu) >> (kMaxFraction - fraction));
    const int32_t distance = std::max(magnitude - offset(), 0);
    return (bits >> 31) != 0 ? -distance : distance;
  }
  // The value of a cell that is nearest to zero.
  float nearest(int32_t cell) const;
  // The least value of a cell.
  float least(int32_t cell) const;

  friend bool operator==(const BinScale&, const BinScale&) = default;
};

// The cells of finite values on `scale`, counted from `first_cell`. One that is further than any scale's span may be
// given as another that is as far.
void cells_of(std::span<const float> values, const BinScale& scale, int32_t first_cell, int32_t* cells);

class Bins {
 public:
  // Adaptive.
  Bins() = default;
  // Bin 0 holds values below edges[0], the last those from edges.back() on; without any, one bin holds all. `edges`
  // ascend.
  explicit Bins(std::vector<float> edges);

  bool is_adaptive() const { return is_adaptive_; }
  // Those that were laid.
  const std::vector<float>& edges() const { return edges_; }
  // Those between the cells of adaptive bins, or those that were laid.
  std::vector<float> all_edges() const;
  // One more than all_edges(); empty for adaptive bins that hold nothing.
  const std::vector<uint64_t>& counts() const { return counts_; }

  // The first edge and the greatest float below the last one; NaN without two edges that were laid.
  std::pair<float, float> ends() const;

  // Of adaptive bins: the scale, the cell that counts()[0] belongs to, and the extent of what they hold.
  const BinScale& scale() const { return scale_; }
  int32_t first_cell() const { return first_cell_; }
  float least() const { return least_; }
  float greatest() const { return greatest_; }
  bool has_room(float value) const { return value >= least_ && value <= greatest_; }

  // Adaptive bins then have room for finite values from `least` to `greatest`, no finer than `fraction`.
  void widen(float least, float greatest, int32_t fraction = BinScale::kMaxFraction);
  // Finite values; adaptive bins must have room for them.
  void add(std::span<const float> values);
  uint64_t& count_at(size_t index) { return counts_[index]; }
  bool has_edges_of(const Bins& other) const { return is_adaptive_ == other.is_adaptive_ && edges_ == other.edges_; }
  // `other` has the same edges, or is adaptive as these are.
  void merge(const Bins& other);
  // Back to holding nothing.
  void clear();

 private:
  bool is_adaptive_ = true;
  std::vector<float> edges_;
  std::vector<uint64_t> counts_;
  BinScale scale_;
  int32_t first_cell_ = 0;
  float least_ = 1;  // above greatest_: there is nothing
  float greatest_ = 0;
};

}  // namespace edgeward
