#include "model_files/tflite_plan.h"

#include <algorithm>

#include "model_files/tflite_code.h"
#include "model_files/tflite_operators.h"

namespace edgeward {

namespace code = tflite_code;

namespace {

constexpr uint64_t input(uint32_t index) { return uint64_t{1} << index; }
constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint64_t kNone = 0;

// How one kernel plans.
struct Rule {
  int32_t code;
  uint64_t shaping;  // bit per input: its values give the shape of an output
  uint64_t folding;  // bit per input: when all of them are known early, so are the values of the output; kNone: never
};

constexpr Rule kRules[] = {
    {2, kNone, kAll},                            // CONCATENATION
    {18, kNone, kAll},                           // MUL
    {22, input(1), kAll},                        // RESHAPE
    {23, input(1), kNone},                       // RESIZE_BILINEAR
    {34, input(1), kNone},                       // PAD
    {36, kNone, kAll},                           // GATHER
    {37, input(1) | input(2), kNone},            // BATCH_TO_SPACE_ND
    {38, input(1) | input(2), kNone},            // SPACE_TO_BATCH_ND
    {39, input(1), kNone},                       // TRANSPOSE
    {40, input(1), kNone},                       // MEAN
    {45, input(1) | input(2) | input(3), kAll},  // STRIDED_SLICE
    {48, input(1), kNone},                       // TOPK_V2
    {49, input(0), kNone},                       // SPLIT
    {56, input(1), kNone},                       // ARG_MAX
    {60, input(1), kNone},                       // PADV2
    {65, input(1) | input(2), kNone},            // SLICE
    {67, input(0), kNone},                       // TRANSPOSE_CONV
    {68, input(1), kNone},                       // SPARSE_TO_DENSE
    {69, input(1), kAll},                        // TILE
    {70, input(1), kNone},                       // EXPAND_DIMS
    {74, input(1), kNone},                       // SUM
    {79, input(1), kNone},                       // ARG_MIN
    {81, input(1), kAll},                        // REDUCE_PROD
    {82, input(1), kNone},                       // REDUCE_MAX
    {85, input(1), kNone},                       // ONE_HOT
    {89, input(1), kNone},                       // REDUCE_MIN
    {91, input(1), kNone},                       // REDUCE_ANY
    {94, input(0), kNone},                       // FILL
    {96, input(0) | input(1) | input(2), kAll},  // RANGE
    {97, input(1), kNone},                       // RESIZE_NEAREST_NEIGHBOR
    {100, input(1), kNone},                      // MIRROR_PAD
    {102, input(1) | input(2), kNone},           // SPLIT_V
    {109, input(0), kNone},                      // WHERE
    {120, input(2), kNone},                      // NON_MAX_SUPPRESSION_V4
    {121, input(2), kNone},                      // NON_MAX_SUPPRESSION_V5
    {122, input(2), kNone},                      // SCATTER_ND
    {125, input(0) | input(1), kNone},           // SEGMENT_SUM
    {130, input(1), kNone},                      // BROADCAST_TO
    {131, input(1), kNone},                      // RFFT2D
    {140, input(1), kNone},                      // REDUCE_ALL
    {141, input(0), kNone},                      // CONV_3D_TRANSPOSE
    {145, kNone, kAll},                          // BROADCAST_ARGS
    {146, input(0), kNone},                      // RANDOM_STANDARD_NORMAL
    {148, input(0), kNone},                      // RANDOM_UNIFORM
    {149, input(0) | input(1), kNone},           // MULTINOMIAL
    {153, input(1) | input(2), kNone},           // UNSORTED_SEGMENT_PROD
    {154, input(1) | input(2), kNone},           // UNSORTED_SEGMENT_MAX
    {155, input(1) | input(2), kNone},           // UNSORTED_SEGMENT_SUM
    {157, input(1) | input(2), kNone},           // UNSORTED_SEGMENT_MIN
    {203, input(1), kNone},                      // DILATE
};
static_assert(code::is_ordered(kRules));

}  // namespace

TflitePlanner::TflitePlanner(std::span<const TfliteValue> tensors, std::span<const TflitePlan> plans)
    : tensors_(tensors), plans_(plans) {
  plan_.is_open.resize(tensors.size());
  for (const TfliteValue& tensor : tensors) is_early_.push_back(tensor.is_constant);
}

// Inputs past the 64th count with the 64th; those that are absent are known.
bool TflitePlanner::is_early(const TfliteOperator& operation, uint64_t inputs) const {
  for (uint32_t i = 0; i < operation.inputs.size(); ++i) {
    const bool is_asked = (inputs & input(std::min(i, 63u))) != 0;
    if (is_asked && operation.inputs[i] >= 0 && !is_early_[static_cast<size_t>(operation.inputs[i])]) return false;
  }
  return true;
}

bool TflitePlanner::has_open_input(const TfliteOperator& operation) const {
  for (uint32_t i = 0; i < operation.inputs.size(); ++i) {
    if (operation.inputs[i] >= 0 && plan_.is_open[static_cast<size_t>(operation.inputs[i])]) return true;
  }
  return false;
}

// Whether a subgraph that the operator runs has an open shape.
bool TflitePlanner::calls_open(const TfliteOperator& operation) const {
  const auto is_open = [&](const FlatTable& options, uint32_t field) {
    const auto index = options ? options.scalar<int32_t>(field, 0) : 0;
    return index >= 0 && static_cast<size_t>(index) < plans_.size() &&
           !plans_[static_cast<size_t>(index)].open_operator.empty();
  };
  switch (operation.code) {
    case code::kIf:
    case code::kWhile: return is_open(operation.options, 0) || is_open(operation.options, 1);
    case code::kComposite: return is_open(operation.options_2, 1);
    default: return false;
  }
}

// Strings have no size before a run, so nothing behind them is planned.
bool TflitePlanner::makes_strings(const TfliteOperator& operation) const {
  for (uint32_t i = 0; i < operation.outputs.size(); ++i) {
    if (tensors_[static_cast<size_t>(operation.outputs[i])].type == TfliteType::string) return true;
  }
  return false;
}

bool TflitePlanner::leaves_open(const TfliteOperator& operation) const {
  if (operation.code == code::kUnique || calls_open(operation) || makes_strings(operation)) return true;
  const Rule* rule = code::find_rule(kRules, operation.code);
  if (rule == nullptr) return false;
  const auto has_open_dimension = [&](const FlatVector<int32_t>& indices) {
    return !indices.empty() && indices[0] >= 0 && tensors_[static_cast<size_t>(indices[0])].shape.is_dynamic();
  };
  switch (operation.code) {
    case code::kTopK:
      // It waits with a dimension that a caller sets, too.
      if (has_open_dimension(operation.inputs)) return true;
      break;
    case code::kSlice:
      // It believes an output's shape in the file.
      if (!has_open_dimension(operation.outputs) && !operation.outputs.empty() &&
          tensors_[static_cast<size_t>(operation.outputs[0])].has_shape) {
        return false;
      }
      break;
    default: break;
  }
  return !is_early(operation, rule->shaping);
}

void TflitePlanner::add(const TfliteOperator& operation) {
  const bool leaves = leaves_open(operation);
  if (leaves && plan_.open_operator.empty()) plan_.open_operator = text(operation);
  const bool is_open = leaves || has_open_input(operation);
  const Rule* rule = code::find_rule(kRules, operation.code);
  const bool is_folded = operation.code == code::kShape || operation.code == code::kRank ||
                         (rule != nullptr && rule->folding != kNone && is_early(operation, rule->folding));
  for (uint32_t i = 0; i < operation.outputs.size(); ++i) {
    const auto output = static_cast<size_t>(operation.outputs[i]);
    plan_.is_open[output] = is_open;
    // Behind the first open shape nothing is planned before a run, so nothing is computed there either.
    if (is_folded && plan_.open_operator.empty()) is_early_[output] = true;
  }
}

}  // namespace edgeward
