#include "captures/value_counter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>

#include "captures/wide.h"

namespace edgeward {
namespace {

constexpr size_t kBlock = 2048;  // values: they stay in the nearest cache
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What floats add up to, around `shift`.
struct BlockSums {
  double shift = 0;
  double sum = 0;
  double squares = 0;
  float min = 0;
  float max = 0;
  uint64_t clipped_count = 0;
  bool is_finite = false;
};

// Sums are doubles: the first value of a block, from which all others are seen, may lie far from them.
EDGEWARD_WIDE void add_sums(const float* values, size_t count, float low, float high, BlockSums& total) {
  const double shift = total.shift;
  double sum = 0;
  double squares = 0;
  float least = kInfinity;
  float most = -kInfinity;
  uint32_t clipped = 0;
  uint32_t special = 0;
#pragma omp simd reduction(+ : sum, squares, clipped) reduction(min : least) reduction(max : most) reduction(| : special)
  for (size_t i = 0; i < count; ++i) {
    const float value = values[i];
    const double from_shift = static_cast<double>(value) - shift;
    sum += from_shift;
    squares += from_shift * from_shift;
    least = value < least ? value : least;
    most = value > most ? value : most;
    clipped += (value == low ? 1u : 0u) | (value == high ? 1u : 0u);
    special |= (std::bit_cast<uint32_t>(value) & 0x7F80'0000u) == 0x7F80'0000u ? 1u : 0u;
  }
  total = {shift, sum, squares, least, most, clipped, special == 0};
}

BlockSums sums_of(std::span<const float> values, float low, float high) {
  // Some value of the block itself, near all of them: what is summed is then small.
  const double shift = std::isfinite(values[0]) ? values[0] : 0;
  BlockSums sums{shift};
  add_sums(values.data(), values.size(), low, high, sums);
  return sums;
}

Moments moments_of(const BlockSums& sums, size_t count) {
  const auto counted = static_cast<double>(count);
  const double from_shift = sums.sum / counted;
  return {count, sums.min, sums.max, sums.shift + from_shift,
          std::max(0.0, sums.squares - counted * from_shift * from_shift)};
}

// Of a block that has others among them: these are counted.
std::span<const float> finite_of(std::span<const float> values, float* finite, Part& part) {
  size_t count = 0;
  for (const float value : values) {
    if (std::isfinite(value)) {
      finite[count++] = value;
    } else {
      ++(std::isnan(value) ? part.nan_count : part.infinite_count);
    }
  }
  return {finite, count};
}

}  // namespace

std::optional<EdgeTable> EdgeTable::of(const std::vector<float>& edges) {
  constexpr size_t kMinEdges = 8;
  if (edges.size() < kMinEdges) return std::nullopt;
  EdgeTable table;
  table.scale_ = BinScale::of(edges.front(), edges.back(), BinScale::kMaxFraction);
  table.first_cell_ = table.scale_.cell(edges.front());
  table.cells_.resize(static_cast<size_t>(table.scale_.cell(edges.back()) - table.first_cell_) + 3, {0, kInfinity});
  for (const float edge : edges) {
    Cell& cell = table.cells_[static_cast<size_t>(table.scale_.cell(edge) - table.first_cell_) + 1];
    if (cell.edge != kInfinity) return std::nullopt;
    cell.edge = edge;
  }
  uint32_t bin = 0;
  for (Cell& cell : table.cells_) {
    cell.bin = bin;
    if (cell.edge != kInfinity) ++bin;
  }
  return table;
}

void EdgeTable::count(std::span<const float> values, uint64_t* counts) const {
  const auto last = static_cast<int32_t>(cells_.size()) - 1;
  int32_t cells[kBlock];
  for (; !values.empty(); values = values.subspan(std::min(kBlock, values.size()))) {
    const size_t count = std::min(kBlock, values.size());
    cells_of(values.first(count), scale_, first_cell_ - 1, cells);
    for (size_t i = 0; i < count; ++i) {
      const Cell& cell = cells_[static_cast<size_t>(std::clamp(cells[i], 0, last))];
      ++counts[cell.bin + (values[i] >= cell.edge ? 1 : 0)];
    }
  }
}

ValueCounter::ValueCounter(const std::vector<float>* edges, float least, float greatest)
    : least_(least), greatest_(greatest) {
  if (edges == nullptr) return;
  part_.bins = Bins(*edges);
  table_ = EdgeTable::of(*edges);
  if (std::isnan(least)) std::tie(least_, greatest_) = part_.bins.ends();
}

void ValueCounter::add(std::span<const float> values, Moments& moments) {
  float finite[kBlock];
  for (; !values.empty(); values = values.subspan(std::min(kBlock, values.size()))) {
    std::span<const float> block = values.first(std::min(kBlock, values.size()));
    BlockSums sums = sums_of(block, least_, greatest_);
    if (!sums.is_finite) {
      block = finite_of(block, finite, part_);
      if (block.empty()) continue;
      sums = sums_of(block, least_, greatest_);
    }
    const Moments of_block = moments_of(sums, block.size());
    if (table_) {
      table_->count(block, &part_.bins.count_at(0));
    } else {
      part_.bins.widen(of_block.min, of_block.max);
      part_.bins.add(block);
    }
    part_.moments.merge(of_block);
    moments.merge(of_block);
    part_.clipped_count += sums.clipped_count;
  }
}

void ValueCounter::clear() {
  Bins bins = std::move(part_.bins);
  bins.clear();
  part_ = {};
  part_.bins = std::move(bins);
}

}  // namespace edgeward
