#include "model_files/tflite_delegation.h"

#include <algorithm>
#include <iterator>

namespace edgeward {
namespace {

constexpr int32_t kCallOnce = 129, kVarHandle = 142, kReadVariable = 143, kAssignVariable = 144;

// Operators that XNNPACK runs on every tensor of floats and most of int8, in the order of their codes.
constexpr int32_t kDelegated[] = {0,  1,  2,  3,  4,  9,  14, 17, 18, 19,  21, 22,
                                  25, 28, 34, 39, 40, 41, 45, 49, 65, 114, 117};

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
  if (operation.code == kCallOnce || operation.code == kVarHandle || operation.code == kReadVariable) return;
  if (operation.code == kAssignVariable) {
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
