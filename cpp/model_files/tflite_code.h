// TFLite's numbers of builtin operators, as far as rules ask for one by name, and tables of rules in their order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace edgeward::tflite_code {

// BuiltinOperator of the schema.
enum : int32_t {
  kAdd = 0,
  kAveragePool2d = 1,
  kConcatenation = 2,
  kConv2d = 3,
  kDepthwiseConv2d = 4,
  kDequantize = 6,
  kFullyConnected = 9,
  kLogistic = 14,
  kMaxPool2d = 17,
  kMul = 18,
  kRelu = 19,
  kRelu6 = 21,
  kReshape = 22,
  kSoftmax = 25,
  kTanh = 28,
  kCall = 31,
  kCustom = 32,  // of operators that go by a name
  kPad = 34,
  kTranspose = 39,
  kMean = 40,
  kSub = 41,
  kStridedSlice = 45,
  kTopK = 48,
  kSplit = 49,
  kSlice = 65,
  kTransposeConv = 67,
  kShape = 77,
  kUnique = 103,
  kRank = 110,
  kQuantize = 114,
  kHardSwish = 117,
  kIf = 118,
  kWhile = 119,
  kDensify = 124,
  kBatchMatmul = 126,
  kCallOnce = 129,
  kVarHandle = 142,
  kReadVariable = 143,
  kAssignVariable = 144,
  kFirstStablehlo = 162,
  kComposite = 206,
};

// Whether such an operator may run another subgraph, CALL_ONCE left out. Some of StableHLO's do.
constexpr bool may_call(int32_t code) {
  return code == kCall || code == kIf || code == kWhile || code >= kFirstStablehlo;
}

// Whether the codes of `rules` ascend, and none is there twice.
template <class Rule, size_t kCount>
constexpr bool is_ordered(const Rule (&rules)[kCount]) {
  return std::adjacent_find(std::begin(rules), std::end(rules),
                            [](const Rule& a, const Rule& b) { return a.code >= b.code; }) == std::end(rules);
}

// Null when there is none. `rules` are ordered.
template <class Rule, size_t kCount>
constexpr const Rule* find_rule(const Rule (&rules)[kCount], int32_t code) {
  const auto* rule = std::lower_bound(std::begin(rules), std::end(rules), code,
                                      [](const Rule& row, int32_t wanted) { return row.code < wanted; });
  return rule != std::end(rules) && rule->code == code ? rule : nullptr;
}

}  // namespace edgeward::tflite_code
