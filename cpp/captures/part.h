// Part: what has bins of its own within a tensor: all its values, one column, or one figure of each inference. PartName
// says which, TensorParts which ones a tensor has. Bytes: docs/capture-format.md, section 4. Values; one thread at a
// time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "captures/bins.h"
#include "captures/moments.h"
#include "tensor/tensor.h"

namespace edgeward {

enum class PartKind : uint8_t {
  values,
  column,
  mean,
  deviation,
  least,
  largest,
  channel,
  margin,
  entropy
};
inline constexpr size_t kPartKindCount = 9;

struct PartName {
  PartKind kind = PartKind::values;
  uint32_t index = 0;  // of a column or a channel

  bool is_figure() const { return kind > PartKind::column; }
  // "" for values, "7" for a column, "mean", "channel 0".
  std::string text() const;
  friend bool operator==(const PartName&, const PartName&) = default;
};

struct Part {
  PartName name;
  Moments moments;  // of the finite values
  uint64_t nan_count = 0;
  uint64_t infinite_count = 0;
  // Values that are the least or the greatest of an integer dtype, or the first or the last of a reference.
  uint64_t clipped_count = 0;
  // Values with the same bits as in the row before; of `values`, inferences whose sample stayed the same.
  uint64_t unchanged_count = 0;
  // Of columns and figures: finite values whose neighbour before is finite, and the sum of their squared differences.
  uint64_t pair_count = 0;
  double step_squares = 0;
  Bins bins;

  // Both have the same name and edges.
  void merge(const Part& other);
};

// The parts of a tensor, by its spec alone.
class TensorParts {
 public:
  static constexpr uint64_t kMaxColumns = 256;
  static constexpr uint64_t kMaxClasses = 4096;
  static constexpr uint64_t kMaxChannels = 4;

  // `has_columns` false: one part holds all values, whatever the shape.
  TensorParts(const TensorSpec& spec, bool is_output, bool has_columns = true);

  // How many elements a row has; 0 for a tensor that is no rows.
  size_t row_elements() const { return row_elements_; }
  // Each row is counted by its columns.
  bool has_columns() const { return has_columns_; }
  // Each row is one of scores: it has a class, a margin and an entropy.
  bool has_scores() const { return has_scores_; }
  // Of a picture that has more than one; else 0.
  size_t channels() const { return channels_; }
  bool is_channels_last() const { return is_channels_last_; }
  // The columns, or `values`; the figures follow.
  const std::vector<PartName>& names() const { return names_; }
  size_t figure_count() const { return figure_count_; }

 private:
  size_t row_elements_ = 0;
  bool has_columns_ = false;
  bool has_scores_ = false;
  size_t channels_ = 0;
  bool is_channels_last_ = false;
  std::vector<PartName> names_;
  size_t figure_count_ = 0;
};

}  // namespace edgeward
