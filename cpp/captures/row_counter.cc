#include "captures/row_counter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
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
};

// The moments of the row itself, whatever the columns.
EDGEWARD_INLINE void add_across(const Lanes& lanes, size_t width, Moments& across) {
  Floats least, most;
  Doubles first, sums = {}, squares = {};
  for (size_t lane = 0; lane < kWidth; ++lane) least[lane] = lanes.row[0];
  for (size_t lane = 0; lane < kWidth / 2; ++lane) first[lane] = static_cast<double>(lanes.row[0]);
  most = least;
  for (size_t i = 0; i < lanes.count; i += kWidth) {
    Floats x;
    load(x, lanes.row + i);
    select(least, x < least, x, least);
    select(most, x > most, x, most);
  }
  for (size_t i = 0; i < lanes.count; i += kWidth / 2) {
    Doubles x;
    load_doubles(x, lanes.row + i);
    x -= first;
    sums += x;
    squares += x * x;
  }
  Moments moments{width, least[0], most[0], 0, 0};
  for (size_t lane = 0; lane < kWidth; ++lane) {
    moments.min = std::min(moments.min, least[lane]);
    moments.max = std::max(moments.max, most[lane]);
  }
  double sum = 0;
  for (size_t lane = 0; lane < kWidth / 2; ++lane) {
    sum += sums[lane];
    moments.squares += squares[lane];
  }
  const double mean = sum / static_cast<double>(width);
  moments.mean = first[0] + mean;
  moments.squares = std::max(moments.squares - sum * mean, 0.0);
  across.merge(moments);
}

// Sums of values and of steps from the row before.
EDGEWARD_INLINE void add_sums(const Lanes& lanes) {
  for (size_t i = 0; i < lanes.count; i += kWidth / 2) {
    Doubles x, shift, sums, squares;
    load_doubles(x, lanes.row + i);
    load_doubles(shift, lanes.shift + i);
    load(sums, lanes.sums + i);
    load(squares, lanes.squares + i);
    const Doubles distance = x - shift;
    sums += distance;
    squares += distance * distance;
    store(sums, lanes.sums + i);
    store(squares, lanes.squares + i);
    if (lanes.last == nullptr) continue;
    Doubles last, steps;
    load_doubles(last, lanes.last + i);
    load(steps, lanes.steps + i);
    const Doubles step = x - last;
    // No step from what is no number: its exponent is all ones.
    constexpr int64_t kExponent = 0x7FF0'0000'0000'0000;
    const Longs is_number = (reinterpret_cast<Longs>(last) & kExponent) != kExponent;
    const auto pair = reinterpret_cast<Doubles>(reinterpret_cast<Longs>(step) & is_number);
    steps += pair * pair;
    store(steps, lanes.steps + i);
  }
}

EDGEWARD_INLINE void add_extents(const Floats& x, const Lanes& lanes, size_t i) {
  Floats min, max, low, high;
  Ints clipped;
  load(min, lanes.min + i);
  load(max, lanes.max + i);
  load(low, lanes.low + i);
  load(high, lanes.high + i);
  load(clipped, lanes.clipped + i);
  select(min, x < min, x, min);
  select(max, x > max, x, max);
  clipped -= (x == low) | (x == high);
  store(min, lanes.min + i);
  store(max, lanes.max + i);
  store(clipped, lanes.clipped + i);
  if (lanes.last == nullptr) return;
  Floats last;
  Ints unchanged;
  load(last, lanes.last + i);
  load(unchanged, lanes.unchanged + i);
  unchanged -= reinterpret_cast<Ints>(x) == reinterpret_cast<Ints>(last);
  store(unchanged, lanes.unchanged + i);
}

// How many edges each value is not below.
EDGEWARD_INLINE void find_bins(const Floats& x, const Lanes& lanes, size_t i) {
  Ints bins = {};
  for (size_t edge = 0; edge < lanes.edge_count; ++edge) {
    Floats edges;
    load(edges, lanes.edges + edge * lanes.count + i);
    bins -= x >= edges;
  }
  store(bins, lanes.cells + i);
}

// As BinScale::cell(), each column on its own scale.
EDGEWARD_INLINE void find_cells(const Floats& x, const Lanes& lanes, size_t i) {
  Ints shift, offset, first;
  load(shift, lanes.cell_shift + i);
  load(offset, lanes.cell_offset + i);
  load(first, lanes.first_cell + i);
  const auto bits = reinterpret_cast<Ints>(x);
  const Ints beyond = ((bits & 0x7FFF'FFFF) >> shift) - offset;
  const Ints distance = beyond & (beyond > 0);
  const Ints sign = bits >> 31;
  const Ints cells = ((distance ^ sign) - sign) - first;
  store(cells, lanes.cells + i);
}

EDGEWARD_WIDE void add_row(const Lanes& lanes, size_t width, Moments* across, RowOutcome& outcome) {
  Floats x;
  Ints special = {}, lacks_room = {};
  for (size_t i = 0; i < lanes.count; i += kWidth) {
    Ints mask;
    load(x, lanes.row + i);
    mark_special(mask, x);
    special |= mask;
  }
  outcome.is_finite = !has_any(special);
  if (!outcome.is_finite) return;
  add_sums(lanes);
  for (size_t i = 0; i < lanes.count; i += kWidth) {
    load(x, lanes.row + i);
    add_extents(x, lanes, i);
    if (lanes.room_min == nullptr) {
      find_bins(x, lanes, i);
      continue;
    }
    Floats room_min, room_max;
    load(room_min, lanes.room_min + i);
    load(room_max, lanes.room_max + i);
    lacks_room |= (x < room_min) | (x > room_max);
    find_cells(x, lanes, i);
  }
  outcome.has_room = !has_any(lacks_room);
  if (across != nullptr) add_across(lanes, width, *across);
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
    if (std::isnan(least)) std::tie(low_[column], high_[column]) = bins_[column].ends();
  }
}

void RowCounter::add(float* row, Moments* across) {
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
            width(), across, outcome);
  }
  if (!outcome.is_finite) {
    add_odd(row, across);
  } else if (outcome.has_room) {
    for (size_t column = 0; column < width(); ++column) ++bin_counts_[column][cells_[column]];
  } else {
    for (size_t column = 0; column < width(); ++column) add_value(column, row[column]);
  }
  if (outcome.is_finite && is_last_odd_) {
    for (size_t column = 0; column < width(); ++column) rare_[column].unpaired_count += !std::isfinite(last_[column]);
  }
  std::copy_n(row, padded_, last_.data());
  has_last_ = true;
  is_last_odd_ = !outcome.is_finite;
}

// A row with a value that is not finite, or that is the first of its column.
void RowCounter::add_odd(const float* row, Moments* across) {
  for (size_t i = 0; i < width(); ++i) {
    const float x = row[i];
    const bool has_pair = has_last_ && std::isfinite(x) && std::isfinite(last_[i]);
    if (has_last_ && !has_pair) ++rare_[i].unpaired_count;
    if (std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(kAbsent)) {
      ++rare_[i].absent_count;
      continue;
    }
    if (has_last_ && std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(last_[i])) ++unchanged_[i];
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
    if (across != nullptr) across->merge({1, x, x, x, 0});
  }
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
    const uint64_t finite_count = row_count_ - rare.nan_count - rare.infinite_count - rare.absent_count;
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
