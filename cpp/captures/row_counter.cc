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

// Arrays with a number for each column, whole vectors of them; `rows` and `cells` have one such array for each row. No
// two overlap.
struct Lanes {
  size_t count;
  const float* rows;  // the row before all others, and those that are counted
  size_t row_count;   // of the latter
  const float *shift, *low, *high;
  float *least, *most;  // of these rows alone
  double *sums, *squares, *steps;
  uint32_t *clipped, *unchanged;
  // Of bins between edges.
  size_t edge_count;
  const float* edges;
  // Of adaptive bins.
  const int32_t *cell_shift, *cell_offset, *first_cell;
  uint32_t* cells;
};

// Copies `width` floats of a row, and pads them with the first. Whether all are finite; then, unless it is null,
// `across` takes the moments of the row itself.
EDGEWARD_WIDE void screen_row(const float* row, size_t width, float* copy, Moments* across, bool& is_finite) {
  Floats least, most, first_float;
  Doubles first, sums[2] = {}, squares[2] = {};
  Ints special = {}, index;
  for (size_t lane = 0; lane < kWidth; ++lane) {
    first_float[lane] = row[0];
    index[lane] = static_cast<int32_t>(lane);
  }
  for (size_t lane = 0; lane < kWidth / 2; ++lane) first[lane] = static_cast<double>(row[0]);
  least = first_float;
  most = first_float;
  const size_t padded = round_up(width, kLanes);
  for (size_t i = 0; i < padded; i += kWidth) {
    Floats x;
    Ints mask;
    load(x, row + i);
    select(x, index < static_cast<int32_t>(width), x, first_float);
    index += static_cast<int32_t>(kWidth);
    store(x, copy + i);
    mark_special(mask, x);
    special |= mask;
    select(least, x < least, x, least);
    select(most, x > most, x, most);
  }
  is_finite = !has_any(special);
  if (!is_finite || across == nullptr) return;
  for (size_t i = 0; i < padded; i += kWidth) {
    for (size_t half = 0; half < 2; ++half) {
      Doubles x;
      load_doubles(x, copy + i + half * kWidth / 2);
      x -= first;
      sums[half] += x;
      squares[half] += x * x;
    }
  }
  sums[0] += sums[1];
  squares[0] += squares[1];
  Moments moments{width, least_of(least), greatest_of(most), 0, 0};
  double sum = 0;
  for (size_t lane = 0; lane < kWidth / 2; ++lane) {
    sum += sums[0][lane];
    moments.squares += squares[0][lane];
  }
  const double mean = sum / static_cast<double>(width);
  moments.mean = first[0] + mean;
  moments.squares = std::max(moments.squares - sum * mean, 0.0);
  across->merge(moments);
}

EDGEWARD_WIDE void find_extents(const Lanes& lanes) {
  for (size_t i = 0; i < lanes.count; i += kWidth) {
    Floats x, least, most;
    load(least, lanes.rows + lanes.count + i);
    most = least;
    for (size_t row = 2; row <= lanes.row_count; ++row) {
      load(x, lanes.rows + row * lanes.count + i);
      select(least, x < least, x, least);
      select(most, x > most, x, most);
    }
    store(least, lanes.least + i);
    store(most, lanes.most + i);
  }
}

// Sums of values and of steps from the row before; no step from what is no number. Two vectors at a time: a sum waits
// for the one before it.
EDGEWARD_INLINE void add_sums(const Lanes& lanes, size_t i) {
  constexpr size_t kHalf = kWidth / 2;
  Floats before, first;
  Ints is_special;
  load(before, lanes.rows + i);
  load(first, lanes.rows + lanes.count + i);
  mark_special(is_special, before);
  select(before, is_special, first, before);
  Doubles last[2], shift[2], sums[2], squares[2], steps[2];
  for (size_t half = 0; half < 2; ++half) {
    load_doubles(last[half], reinterpret_cast<const float*>(&before) + half * kHalf);
    load_doubles(shift[half], lanes.shift + i + half * kHalf);
    load(sums[half], lanes.sums + i + half * kHalf);
    load(squares[half], lanes.squares + i + half * kHalf);
    load(steps[half], lanes.steps + i + half * kHalf);
  }
  for (size_t row = 1; row <= lanes.row_count; ++row) {
    for (size_t half = 0; half < 2; ++half) {
      Doubles x;
      load_doubles(x, lanes.rows + row * lanes.count + i + half * kHalf);
      const Doubles distance = x - shift[half];
      const Doubles step = x - last[half];
      sums[half] += distance;
      squares[half] += distance * distance;
      steps[half] += step * step;
      last[half] = x;
    }
  }
  for (size_t half = 0; half < 2; ++half) {
    store(sums[half], lanes.sums + i + half * kHalf);
    store(squares[half], lanes.squares + i + half * kHalf);
    store(steps[half], lanes.steps + i + half * kHalf);
  }
}

EDGEWARD_INLINE void add_repeats(const Lanes& lanes, size_t i) {
  Floats x, last, low, high;
  Ints clipped, unchanged;
  load(last, lanes.rows + i);
  load(low, lanes.low + i);
  load(high, lanes.high + i);
  load(clipped, lanes.clipped + i);
  load(unchanged, lanes.unchanged + i);
  for (size_t row = 1; row <= lanes.row_count; ++row) {
    load(x, lanes.rows + row * lanes.count + i);
    clipped -= (x == low) | (x == high);
    unchanged -= reinterpret_cast<Ints>(x) == reinterpret_cast<Ints>(last);
    last = x;
  }
  store(clipped, lanes.clipped + i);
  store(unchanged, lanes.unchanged + i);
}

// How many edges each value is not below.
EDGEWARD_INLINE void find_bins(const Lanes& lanes, size_t i) {
  for (size_t row = 0; row < lanes.row_count; ++row) {
    Floats x;
    Ints bins = {};
    load(x, lanes.rows + (row + 1) * lanes.count + i);
    for (size_t edge = 0; edge < lanes.edge_count; ++edge) {
      Floats edges;
      load(edges, lanes.edges + edge * lanes.count + i);
      bins -= x >= edges;
    }
    store(bins, lanes.cells + row * lanes.count + i);
  }
}

// As BinScale::cell(), each column on its own scale.
EDGEWARD_INLINE void find_cells(const Lanes& lanes, size_t i) {
  Ints shift, offset, first;
  load(shift, lanes.cell_shift + i);
  load(offset, lanes.cell_offset + i);
  load(first, lanes.first_cell + i);
  for (size_t row = 0; row < lanes.row_count; ++row) {
    Ints bits;
    load(bits, lanes.rows + (row + 1) * lanes.count + i);
    const Ints beyond = ((bits & 0x7FFF'FFFF) >> shift) - offset;
    const Ints distance = beyond & (beyond > 0);
    const Ints sign = bits >> 31;
    const Ints cells = ((distance ^ sign) - sign) - first;
    store(cells, lanes.cells + row * lanes.count + i);
  }
}

EDGEWARD_WIDE void add_rows(const Lanes& lanes, bool is_adaptive) {
  for (size_t i = 0; i < lanes.count; i += kWidth) {
    add_sums(lanes, i);
    add_repeats(lanes, i);
    if (is_adaptive) {
      find_cells(lanes, i);
    } else {
      find_bins(lanes, i);
    }
  }
}

}  // namespace

RowCounter::RowCounter(std::vector<PartName> names, const std::vector<std::vector<float>>& edges, float least,
                       float greatest)
    : names_(std::move(names)), padded_(round_up(names_.size(), kLanes)), is_adaptive_(edges.empty()),
      unbegun_count_(names_.size()), bins_(names_.size()), bin_counts_(names_.size()), rare_(names_.size()),
      rows_((kMaxWaiting + 1) * padded_), cells_(kMaxWaiting * padded_), shift_(padded_), min_(padded_, kInfinity),
      max_(padded_, -kInfinity), low_(padded_, least), high_(padded_, greatest), least_(padded_), most_(padded_),
      sums_(padded_), squares_(padded_), steps_(padded_), clipped_(padded_), unchanged_(padded_), cell_shift_(padded_),
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

void RowCounter::add(const float* row, Moments* across) {
  if (waiting_count_ == kMaxWaiting) count_waiting();
  bool is_finite = false;
  screen_row(row, width(), row_at(waiting_count_ + 1), across, is_finite);
  if (is_finite && unbegun_count_ == 0) {
    ++waiting_count_;
    return;
  }
  if (waiting_count_ > 0) {
    count_waiting();
    screen_row(row, width(), row_at(1), nullptr, is_finite);
  }
  prepare_counts(1);
  add_odd(row_at(1), is_finite ? nullptr : across);
  std::copy_n(row_at(1), padded_, row_at(0));
  has_last_ = true;
  is_last_odd_ = !is_finite;
}

void RowCounter::count_waiting() {
  if (waiting_count_ == 0) return;
  const Lanes lanes{
      padded_,           rows_.data(), waiting_count_, shift_.data(),      low_.data(),         high_.data(),
      least_.data(),     most_.data(), sums_.data(),   squares_.data(),    steps_.data(),       clipped_.data(),
      unchanged_.data(), edge_count_,  edges_.data(),  cell_shift_.data(), cell_offset_.data(), first_cell_.data(),
      cells_.data()};
  find_extents(lanes);
  for (size_t i = 0; i < width(); ++i) {
    if (is_adaptive_ && !(bins_[i].has_room(least_[i]) && bins_[i].has_room(most_[i])))
      make_room(i, least_[i], most_[i]);
  }
  prepare_counts(waiting_count_);
  add_rows(lanes, is_adaptive_);
  for (size_t i = 0; i < width(); ++i) {
    min_[i] = std::min(min_[i], least_[i]);
    max_[i] = std::max(max_[i], most_[i]);
  }
  for (size_t row = 0; row < waiting_count_; ++row) {
    const uint32_t* cells = cells_.data() + row * padded_;
    for (size_t column = 0; column < width(); ++column) ++bin_counts_[column][cells[column]];
  }
  if (is_last_odd_) {
    for (size_t i = 0; i < width(); ++i) rare_[i].unpaired_count += !std::isfinite(row_at(0)[i]);
  }
  std::copy_n(row_at(waiting_count_), padded_, row_at(0));
  waiting_count_ = 0;
  is_last_odd_ = false;
}

// Of rows that are counted next.
void RowCounter::prepare_counts(uint32_t row_count) {
  pair_count_ += row_count - (has_last_ ? 0 : 1);
  row_count_ += row_count;
  if (unspilled_count_ > std::numeric_limits<uint32_t>::max() - row_count) spill();
  unspilled_count_ += row_count;
}

// A row with a value that is not finite, or that is the first of its column.
void RowCounter::add_odd(const float* row, Moments* across) {
  const float* last = row_at(0);
  for (size_t i = 0; i < width(); ++i) {
    const float x = row[i];
    const bool has_pair = has_last_ && std::isfinite(x) && std::isfinite(last[i]);
    if (has_last_ && !has_pair) ++rare_[i].unpaired_count;
    if (std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(kAbsent)) {
      ++rare_[i].absent_count;
      continue;
    }
    if (has_last_ && std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(last[i])) ++unchanged_[i];
    if (!std::isfinite(x)) {
      ++(std::isnan(x) ? rare_[i].nan_count : rare_[i].infinite_count);
      continue;
    }
    if (min_[i] > max_[i]) {
      shift_[i] = x;  // near all of them: what is summed is then small
      --unbegun_count_;
    }
    const double distance = static_cast<double>(x) - static_cast<double>(shift_[i]);
    const double step = has_pair ? static_cast<double>(x) - static_cast<double>(last[i]) : 0.0;
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
  if (is_adaptive_ && !bins_[column].has_room(value)) make_room(column, value, value);
  bins_[column].add({&value, 1});
}

void RowCounter::make_room(size_t column, float least, float most) {
  Bins& bins = bins_[column];
  bins.widen(least, most);
  bin_counts_[column] = &bins.count_at(0);
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

std::vector<Part> RowCounter::parts() {
  count_waiting();
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
  count_waiting();
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
