#include "model_files/tflite_delegation.h"

#include <algorithm>
#include <iterator>

#include "model_files/tflite_code.h"

namespace edgeward {

namespace code = tflite_code;

namespace {

// Operators that XNNPACK runs on every tensor of floats and most of int8, in the order of their codes.
constexpr int32_t kDelegated[] = {code::kAdd,
                                  code::kAveragePool2d,
                                  code::kConcatenation,
                                  code::kConv2d,
                                  code::kDepthwiseConv2d,
                                  code::kFullyConnected,
                                  code::kLogistic,
                                  code::kMaxPool2d,
                                  code::kMul,
                                  code::kRelu,
                                  code::kRelu6,
                                  code::kReshape,
                                  code::kSoftmax,
                                  code::kTanh,
                                  code::kPad,
                                  code::kTranspose,
                                  code::kMean,
                                  code::kSub,
                                  code::kStridedSlice,
                                  code::kSplit,
                                  code::kSlice,
                                  code::kQuantize,
                                  code::kHardSwish};
static_assert(std::is_sorted(std::begin(kDelegated), std::end(kDelegated)));

// Of other types it assigns none.
bool may_assign(TfliteType type) {
  return type == TfliteType::float32 || type == TfliteType::float16 || type == TfliteType::int8 ||
         type == TfliteType::uint8;
}

}  // namespace

bool TfliteDelegation::is_subgraph_safe() const {
  return !has_others_ || std::includes(touched_.begin(), touched_.end(), assigned_.begin(), assigned_.end());
}

void TfliteDelegation::enter() {
  is_safe_ = is_safe();
  has_others_ = false;
  assigned_.clear();
  touched_.clear();
}

void TfliteDelegation::add(const TfliteOperator& operation, std::span<const TfliteValue> tensors) {
  if (operation.code == code::kCallOnce || operation.code == code::kVarHandle || operation.code == code::kReadVariable)
    return;
  if (operation.code == code::kAssignVariable) {
    const int32_t value = operation.inputs[1];
    if (may_assign(tensors[static_cast<size_t>(value)].type)) assigned_.insert(value);
    return;
  }
  has_others_ = true;
  if (!std::binary_search(std::begin(kDelegated), std::end(kDelegated), operation.code)) return;
  for (const auto& indices : {operation.inputs, operation.outputs}) {
    for (uint32_t i = 0; i < indices.size(); ++i) touched_.insert(indices[i]);
  }
}

}  // namespace edgeward
