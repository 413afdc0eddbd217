#include "captures/part.h"

#include <algorithm>

#include "tensor/element.h"

namespace edgeward {
namespace {

// The last dimension, when all others but the first are 1; 0 when the tensor is no rows, or their length is not known.
size_t row_elements_of(const Shape& shape) {
  if (shape.is_unknown()) return 0;
  if (shape.rank() == 0) return 1;
  const bool is_rows =
      shape.rank() < 3 || std::all_of(shape.begin() + 1, shape.end() - 1, [](int64_t dim) { return dim == 1; });
  return is_rows ? static_cast<size_t>(std::max<int64_t>(shape[shape.rank() - 1], 0)) : 0;
}

}  // namespace

std::string PartName::text() const {
  switch (kind) {
    case PartKind::values: return "";
    case PartKind::column: return std::to_string(index);
    case PartKind::mean: return "mean";
    case PartKind::deviation: return "deviation";
    case PartKind::least: return "least";
    case PartKind::largest: return "largest";
    case PartKind::channel: return "channel " + std::to_string(index);
    case PartKind::margin: return "margin";
    case PartKind::entropy: return "entropy";
  }
  return "";
}

void Part::merge(const Part& other) {
  bins.merge(other.bins);
  moments.merge(other.moments);
  nan_count += other.nan_count;
  infinite_count += other.infinite_count;
  clipped_count += other.clipped_count;
  unchanged_count += other.unchanged_count;
  pair_count += other.pair_count;
  step_squares += other.step_squares;
}

TensorParts::TensorParts(const TensorSpec& spec, bool is_output, bool has_columns) {
  if (!has_elements(spec.dtype)) {
    names_.push_back({PartKind::values, 0});
    return;
  }
  row_elements_ = row_elements_of(spec.shape);
  has_columns_ = has_columns && row_elements_ >= 1 && row_elements_ <= kMaxColumns;
  has_scores_ = is_output && row_elements_ >= 2 && row_elements_ <= kMaxClasses;
  if (row_elements_ == 0 && spec.shape.rank() >= 3) {
    const auto has_channels = [&](size_t axis) {
      return spec.shape[axis] >= 2 && spec.shape[axis] <= static_cast<int64_t>(kMaxChannels);
    };
    const size_t last = spec.shape.rank() - 1;
    is_channels_last_ = has_channels(last);
    const size_t axis = is_channels_last_ ? last : 1;
    if (has_channels(axis)) channels_ = static_cast<size_t>(spec.shape[axis]);
  }
  if (has_columns_) {
    for (uint32_t index = 0; index < row_elements_; ++index) names_.push_back({PartKind::column, index});
  } else {
    names_.push_back({PartKind::values, 0});
  }
  const size_t before = names_.size();
  if (row_elements_ != 1) {
    for (const PartKind kind : {PartKind::mean, PartKind::deviation, PartKind::least, PartKind::largest})
      names_.push_back({kind, 0});
  }
  for (uint32_t index = 0; index < channels_; ++index) names_.push_back({PartKind::channel, index});
  if (has_scores_) {
    for (const PartKind kind : {PartKind::margin, PartKind::entropy}) names_.push_back({kind, 0});
  }
  figure_count_ = names_.size() - before;
}

}  // namespace edgeward
