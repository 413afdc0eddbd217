#include "captures/row_counter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "bytes/bytes.h"
#include "captures/wide.h"

namespace edgeward {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Arrays with a number for each column, whole vectors of them. No two overlap.
struct Lanes {
  size_t count;
  const float* row;
  const float* last;  // null before the first row
  const float *shift, *low, *high;
  float *min, *max;
  double *sums, *squares, *steps;
  uint32_t *clipped, *unchanged;
  // Of bins between edges.
  size_t edge_count;
  const float* edges;
  // Of adaptive bins; null for others.
  const float *room_min, *room_max;
  const int32_t *cell_shift, *cell_offset, *first_cell;
  uint32_t* cells;
};

// What became of a row: nothing, when a value is not finite; all but the bins, when a value has no room in them.
struct RowOutcome {
  bool is_finite = false;
  bool has_room = true;
  Moments moments;
};

// The moments of the row itself, whatever the columns.
inline __attribute__((always_inline)) void add_across(const float* row, size_t count, size_t width, Moments& moments) {
  const double first = row[0];
  double sum = 0;
  double squares = 0;
  float least = row[0];
  float most = row[0];
#pragma omp simd reduction(+ : sum, squares) reduction(min : least) reduction(max : most)
  for (size_t i = 0; i < count; ++i) {
    const float x = row[i];
    const double distance = static_cast<double>(x) - first;
    sum += distance;
    squares += distance * distance;
    least = x < least ? x : least;
    most = x > most ? x : most;
  }
  const double mean = sum / static_cast<double>(width);
  moments = {width, least, most, first + mean, std::max(squares - sum * mean, 0.0)};
}

// How many edges each value is not below.
inline __attribute__((always_inline)) void find_bins(const Lanes& lanes, const float* __restrict row, size_t count) {
  uint32_t* __restrict cells = lanes.cells;
  for (size_t i = 0; i < count; i += kLanes) {
    uint32_t bins[kLanes] = {};
    for (size_t edge = 0; edge < lanes.edge_count; ++edge) {
      const float* __restrict edges = lanes.edges + edge * count + i;
      for (size_t lane = 0; lane < kLanes; ++lane) bins[lane] += row[i + lane] >= edges[lane] ? 1u : 0u;
    }
    std::copy(std::begin(bins), std::end(bins), cells + i);
  }
}

// As BinScale::cell(), each column on its own scale. Returns whether every value has room.
inline __attribute__((always_inline)) bool find_cells(const Lanes& lanes, const float* __restrict row, size_t count) {
  const float* __restrict room_min = lanes.room_min;
  const float* __restrict room_max = lanes.room_max;
  const int32_t* __restrict shift = lanes.cell_shift;
  const int32_t* __restrict offset = lanes.cell_offset;
  const int32_t* __restrict first = lanes.first_cell;
  uint32_t* __restrict cells = lanes.cells;
  uint32_t lacks_room = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<int32_t>(row[i]);
    const int32_t beyond = ((bits & 0x7FFF'FFFF) >> shift[i]) - offset[i];
    const int32_t distance = beyond > 0 ? beyond : 0;
    const int32_t sign = bits >> 31;
    cells[i] = static_cast<uint32_t>(((distance ^ sign) - sign) - first[i]);
    lacks_room |= (row[i] < room_min[i] ? 1u : 0u) | (row[i] > room_max[i] ? 1u : 0u);
  }
  return lacks_room == 0;
}

inline __attribute__((always_inline)) void add_steps(const Lanes& lanes, const float* __restrict row, size_t count) {
  const float* __restrict last = lanes.last;
  double* __restrict steps = lanes.steps;
  uint32_t* __restrict unchanged = lanes.unchanged;
  for (size_t i = 0; i < count; ++i) {
    const float before = is_special(last[i]) ? row[i] : last[i];  // no step from what is no number
    const double step = static_cast<double>(row[i]) - static_cast<double>(before);
    steps[i] += step * step;
    unchanged[i] += std::bit_cast<uint32_t>(row[i]) == std::bit_cast<uint32_t>(last[i]) ? 1u : 0u;
  }
}

inline __attribute__((always_inline)) void add_columns(const Lanes& lanes, const float* __restrict row, size_t count) {
  const float* __restrict shift = lanes.shift;
  double* __restrict sums = lanes.sums;
  double* __restrict squares = lanes.squares;
  for (size_t i = 0; i < count; ++i) {
    const double distance = static_cast<double>(row[i]) - static_cast<double>(shift[i]);
    sums[i] += distance;
    squares[i] += distance * distance;
  }
  float* __restrict min = lanes.min;
  float* __restrict max = lanes.max;
  const float* __restrict low = lanes.low;
  const float* __restrict high = lanes.high;
  uint32_t* __restrict clipped = lanes.clipped;
  for (size_t i = 0; i < count; ++i) {
    min[i] = row[i] < min[i] ? row[i] : min[i];
    max[i] = row[i] > max[i] ? row[i] : max[i];
    clipped[i] += (row[i] == low[i] ? 1u : 0u) | (row[i] == high[i] ? 1u : 0u);
  }
}

EDGEWARD_WIDE void add_row(const Lanes& lanes, size_t width, RowOutcome& outcome) {
  const size_t count = lanes.count / kLanes * kLanes;  // for the compiler: whole vectors
  const float* __restrict row = lanes.row;
  uint32_t any_special = 0;
  for (size_t i = 0; i < count; ++i) any_special |= is_special(row[i]) ? 1u : 0u;
  outcome.is_finite = any_special == 0;
  if (!outcome.is_finite) return;
  add_columns(lanes, row, count);
  if (lanes.last != nullptr) add_steps(lanes, row, count);
  if (lanes.room_min != nullptr) {
    outcome.has_room = find_cells(lanes, row, count);
  } else {
    find_bins(lanes, row, count);
  }
  add_across(row, count, width, outcome.moments);
}

}  // namespace

RowCounter::RowCounter(std::vector<PartName> names, const std::vector<std::vector<float>>& edges, float least,
                       float greatest)
    : names_(std::move(names)), padded_(round_up(names_.size(), kLanes)), is_adaptive_(edges.empty()),
      unbegun_count_(names_.size()), bins_(names_.size()), bin_counts_(names_.size()), rare_(names_.size()),
      shift_(padded_), min_(padded_, kInfinity), max_(padded_, -kInfinity), last_(padded_), low_(padded_, least),
      high_(padded_, greatest), room_min_(padded_, -kInfinity), room_max_(padded_, kInfinity), sums_(padded_),
      squares_(padded_), steps_(padded_), clipped_(padded_), unchanged_(padded_), cells_(padded_), cell_shift_(padded_),
      cell_offset_(padded_), first_cell_(padded_) {
  for (const auto& laid : edges) edge_count_ = std::max(edge_count_, laid.size());
  edges_.assign(edge_count_ * padded_, kNan);
  for (size_t column = 0; column < edges.size(); ++column) {
    const std::vector<float>& laid = edges[column];
    for (size_t edge = 0; edge < laid.size(); ++edge) edges_[edge * padded_ + column] = laid[edge];
    bins_[column] = Bins(laid);
    bin_counts_[column] = &bins_[column].count_at(0);
    if (std::isnan(least) && laid.size() >= 2) {
      low_[column] = laid.front();
      high_[column] = std::nextafter(laid.back(), -kInfinity);
    }
  }
}

Moments RowCounter::add(float* row) {
  std::fill(row + width(), row + padded_, row[0]);
  pair_count_ += has_last_ ? 1 : 0;
  ++row_count_;
  if (++unspilled_count_ == std::numeric_limits<uint32_t>::max()) spill();
  RowOutcome outcome;
  if (unbegun_count_ == 0) {
    add_row({padded_,
             row,
             has_last_ ? last_.data() : nullptr,
             shift_.data(),
             low_.data(),
             high_.data(),
             min_.data(),
             max_.data(),
             sums_.data(),
             squares_.data(),
             steps_.data(),
             clipped_.data(),
             unchanged_.data(),
             edge_count_,
             edges_.data(),
             is_adaptive_ ? room_min_.data() : nullptr,
             room_max_.data(),
             cell_shift_.data(),
             cell_offset_.data(),
             first_cell_.data(),
             cells_.data()},
            width(), outcome);
  }
  if (!outcome.is_finite) {
    outcome.moments = add_odd(row);
  } else if (outcome.has_room) {
    for (size_t column = 0; column < width(); ++column) ++bin_counts_[column][cells_[column]];
  } else {
    for (size_t column = 0; column < width(); ++column) add_value(column, row[column]);
  }
  std::copy_n(row, padded_, last_.data());
  has_last_ = true;
  return outcome.moments;
}

// A row with a value that is not finite, or that is the first of its column.
Moments RowCounter::add_odd(const float* row) {
  Moments moments;
  for (size_t i = 0; i < width(); ++i) {
    const float x = row[i];
    const bool has_pair = has_last_ && std::isfinite(x) && std::isfinite(last_[i]);
    if (has_last_ && std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(last_[i])) ++unchanged_[i];
    if (has_last_ && !has_pair) ++rare_[i].unpaired_count;
    if (!std::isfinite(x)) {
      ++(std::isnan(x) ? rare_[i].nan_count : rare_[i].infinite_count);
      continue;
    }
    if (min_[i] > max_[i]) {
      shift_[i] = x;  // near all of them: what is summed is then small
      --unbegun_count_;
    }
    const double distance = static_cast<double>(x) - static_cast<double>(shift_[i]);
    const double step = has_pair ? static_cast<double>(x) - static_cast<double>(last_[i]) : 0.0;
    sums_[i] += distance;
    squares_[i] += distance * distance;
    steps_[i] += step * step;
    min_[i] = std::min(min_[i], x);
    max_[i] = std::max(max_[i], x);
    clipped_[i] += x == low_[i] || x == high_[i] ? 1 : 0;
    add_value(i, x);
    moments.merge({1, x, x, x, 0});
  }
  return moments;
}

void RowCounter::add_value(size_t column, float value) {
  if (is_adaptive_ && !bins_[column].has_room(value)) make_room(column, value);
  bins_[column].add({&value, 1});
}

void RowCounter::make_room(size_t column, float value) {
  Bins& bins = bins_[column];
  bins.widen(value, value);
  bin_counts_[column] = &bins.count_at(0);
  room_min_[column] = bins.least();
  room_max_[column] = bins.greatest();
  cell_shift_[column] = BinScale::kMaxFraction - bins.scale().fraction;
  cell_offset_[column] = bins.scale().offset();
  first_cell_[column] = bins.first_cell();
}

// Before counts of 32 bits may overflow.
void RowCounter::spill() {
  for (size_t i = 0; i < width(); ++i) {
    rare_[i].clipped_count += std::exchange(clipped_[i], 0);
    rare_[i].unchanged_count += std::exchange(unchanged_[i], 0);
  }
  unspilled_count_ = 0;
}

std::vector<Part> RowCounter::parts() const {
  std::vector<Part> parts;
  for (size_t i = 0; i < width(); ++i) {
    const Rare& rare = rare_[i];
    Part part;
    part.name = names_[i];
    part.nan_count = rare.nan_count;
    part.infinite_count = rare.infinite_count;
    part.clipped_count = rare.clipped_count + clipped_[i];
    part.unchanged_count = rare.unchanged_count + unchanged_[i];
    part.pair_count = pair_count_ - rare.unpaired_count;
    part.step_squares = steps_[i];
    part.bins = bins_[i];
    const uint64_t finite_count = row_count_ - rare.nan_count - rare.infinite_count;
    if (finite_count > 0) {
      const double mean = sums_[i] / static_cast<double>(finite_count);
      part.moments = {finite_count, min_[i], max_[i], static_cast<double>(shift_[i]) + mean,
                      std::max(squares_[i] - sums_[i] * mean, 0.0)};
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

void RowCounter::clear() {
  const auto reset = [](auto& columns, auto value) { std::fill(columns.begin(), columns.end(), value); };
  for (Bins& bins : bins_) bins.clear();
  reset(rare_, Rare());
  for (auto* counts : {&clipped_, &unchanged_}) reset(*counts, 0u);
  for (auto* totals : {&sums_, &squares_, &steps_}) reset(*totals, 0.0);
  reset(min_, kInfinity);
  reset(max_, -kInfinity);
  row_count_ = 0;
  pair_count_ = 0;
  unspilled_count_ = 0;
  unbegun_count_ = width();
}

}  // namespace edgeward
