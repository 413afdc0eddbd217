#include "captures/bins.h"

#include <cmath>
#include <limits>

#include "captures/wide.h"

namespace edgeward {
namespace {

constexpr size_t kBlock = 2048;  // values: their bins stay in the nearest cache
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// How many edges each value is not below.
EDGEWARD_WIDE void bins_between(const float* values, size_t count, const std::vector<float>& edges, int32_t* bins) {
  size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    Floats x;
    Ints below = {};
    load(x, values + i);
    for (const float edge : edges) below -= x >= edge;
    store(below, bins + i);
  }
  for (; i < count; ++i)
    bins[i] = static_cast<int32_t>(std::upper_bound(edges.begin(), edges.end(), values[i]) - edges.begin());
}

EDGEWARD_WIDE void find_cells(const float* values, size_t count, BinScale scale, int32_t first_cell, int32_t* cells) {
  constexpr int32_t kFar = 1 << 29;  // beyond every span, and no sum overflows
  const int32_t shift = BinScale::kMaxFraction - scale.fraction;
  const int32_t offset = scale.offset();
  for (size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<int32_t>(values[i]);
    const int32_t beyond = ((bits & 0x7FFF'FFFF) >> shift) - offset;
    const int32_t distance = beyond < 0 ? 0 : beyond > kFar ? kFar : beyond;
    const int32_t sign = bits >> 31;  // 0 or -1
    cells[i] = ((distance ^ sign) - sign) - first_cell;
  }
}

int32_t exponent_of(float value) {
  return static_cast<int32_t>((std::bit_cast<uint32_t>(value) & 0x7FFF'FFFFu) >> BinScale::kMaxFraction);
}

}  // namespace

BinScale BinScale::of(float least, float greatest, int32_t fraction) {
  const int32_t top = std::max(exponent_of(least), exponent_of(greatest));
  BinScale scale{std::max(top - kOctaves + 1, 1), fraction};
  while (scale.cell(greatest) - scale.cell(least) >= kMaxSpan) --scale.fraction;
  return scale;
}

float BinScale::nearest(int32_t cell) const {
  if (cell == 0) return 0;
  const auto magnitude = static_cast<uint32_t>(std::abs(cell) + offset()) << (kMaxFraction - fraction);
  return std::bit_cast<float>(magnitude | (cell < 0 ? 0x8000'0000u : 0u));
}

float BinScale::least(int32_t cell) const {
  return cell > 0 ? nearest(cell) : std::nextafter(nearest(cell - 1), kInfinity);
}

void cells_of(std::span<const float> values, const BinScale& scale, int32_t first_cell, int32_t* cells) {
  find_cells(values.data(), values.size(), scale, first_cell, cells);
}

Bins::Bins(std::vector<float> edges) : is_adaptive_(false), edges_(std::move(edges)), counts_(edges_.size() + 1) {}

std::vector<float> Bins::all_edges() const {
  if (!is_adaptive_) return edges_;
  std::vector<float> edges;
  for (size_t i = 1; i < counts_.size(); ++i) edges.push_back(scale_.least(first_cell_ + static_cast<int32_t>(i)));
  return edges;
}

std::pair<float, float> Bins::ends() const {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  if (edges_.size() < 2) return {kNan, kNan};
  return {edges_.front(), std::nextafter(edges_.back(), -kInfinity)};
}

void Bins::widen(float least, float greatest, int32_t fraction) {
  if (!is_adaptive_ || (has_room(least) && has_room(greatest) && fraction >= scale_.fraction)) return;
  const bool has_any = least_ <= greatest_;
  if (has_any) {
    least = std::min(least, least_);
    greatest = std::max(greatest, greatest_);
    fraction = std::min(fraction, scale_.fraction);
  }
  const BinScale scale = BinScale::of(least, greatest, fraction);
  const int32_t first_cell = scale.cell(least);
  std::vector<uint64_t> counts(static_cast<size_t>(scale.cell(greatest) - first_cell) + 1);
  for (size_t i = 0; i < counts_.size(); ++i) {
    const float value = scale_.nearest(first_cell_ + static_cast<int32_t>(i));
    if (counts_[i] != 0) counts[static_cast<size_t>(scale.cell(value) - first_cell)] += counts_[i];
  }
  counts_ = std::move(counts);
  scale_ = scale;
  first_cell_ = first_cell;
  least_ = least;
  greatest_ = greatest;
}

void Bins::add(std::span<const float> values) {
  int32_t bins[kBlock];
  uint64_t* counts = counts_.data();
  for (; !values.empty(); values = values.subspan(std::min(kBlock, values.size()))) {
    const size_t count = std::min(kBlock, values.size());
    if (is_adaptive_) {
      cells_of(values.first(count), scale_, first_cell_, bins);
    } else {
      bins_between(values.data(), count, edges_, bins);
    }
    for (size_t i = 0; i < count; ++i) ++counts[static_cast<size_t>(bins[i])];
  }
}

void Bins::merge(const Bins& other) {
  if (!is_adaptive_) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    return;
  }
  if (other.counts_.empty()) return;
  widen(other.least_, other.greatest_, other.scale_.fraction);
  for (size_t i = 0; i < other.counts_.size(); ++i) {
    const float value = other.scale_.nearest(other.first_cell_ + static_cast<int32_t>(i));
    if (other.counts_[i] != 0) counts_[static_cast<size_t>(scale_.cell(value) - first_cell_)] += other.counts_[i];
  }
}

void Bins::clear() {
  if (!is_adaptive_) {
    std::fill(counts_.begin(), counts_.end(), 0);
    return;
  }
  counts_.clear();
  scale_ = {};
  least_ = 1;
  greatest_ = 0;
}

}  // namespace edgeward
