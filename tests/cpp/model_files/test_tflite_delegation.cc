// When XNNPACK would take an ASSIGN_VARIABLE whose value it does not have.
#include "model_files/tflite_delegation.h"

#include <doctest/doctest.h>

#include <vector>

namespace edgeward {
namespace {

using Indices = std::vector<int32_t>;

constexpr int32_t kAdd = 0, kReverse = 105, kRead = 143, kAssign = 144;
constexpr int32_t kHandle = 0, kX = 1, kY = 2, kCount = 3;

FlatVector<int32_t> view(const Indices& indices) {
  return {reinterpret_cast<const std::byte*>(indices.data()), static_cast<uint32_t>(indices.size())};
}

struct Step {
  int32_t code;
  Indices inputs;
  Indices outputs;
};

bool is_safe(const std::vector<std::vector<Step>>& subgraphs) {
  std::vector<TfliteValue> tensors(4);
  for (TfliteValue& tensor : tensors) tensor.type = TfliteType::float32;
  tensors[kCount].type = TfliteType::int32;
  TfliteDelegation delegation;
  for (const std::vector<Step>& steps : subgraphs) {
    delegation.enter();
    for (const Step& step : steps) {
      TfliteOperator operation{};
      operation.code = step.code;
      operation.inputs = view(step.inputs);
      operation.outputs = view(step.outputs);
      delegation.add(operation, tensors);
    }
  }
  return delegation.is_safe();
}

const Step kAssignsX = {kAssign, {kHandle, kX}, {}};

}  // namespace

TEST_CASE("a value that a delegated operator reads or writes may be assigned") {
  CHECK(is_safe({{{kAdd, {kX, kX}, {kY}}, kAssignsX}}));
  CHECK(is_safe({{kAssignsX, {kAdd, {kX, kX}, {kY}}}}));
  CHECK(is_safe({{{kAdd, {kY, kY}, {kX}}, kAssignsX}}));
}

TEST_CASE("one that nothing else uses, or only kernels of the engine, may not") {
  CHECK_FALSE(is_safe({{{kAdd, {kY, kY}, {kY}}, kAssignsX}}));
  CHECK_FALSE(is_safe({{{kAdd, {kY, kY}, {kY}}, {kReverse, {kY}, {kX}}, kAssignsX}}));
  CHECK_FALSE(is_safe({{{kAdd, {kY, kY}, {kY}}, kAssignsX}, {{kAdd, {kX, kX}, {kY}}}}));
}

TEST_CASE("where there is nothing to delegate, or a type that is not, all may be assigned") {
  CHECK(is_safe({{{kRead, {kHandle}, {kY}}, kAssignsX}}));
  CHECK(is_safe({{{kAdd, {kY, kY}, {kY}}, {kAssign, {kHandle, kCount}, {}}}}));
}

}  // namespace edgeward
