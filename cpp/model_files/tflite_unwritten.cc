#include "model_files/tflite_unwritten.h"

#include "model_files/tflite_code.h"
#include "model_files/tflite_operators.h"

namespace edgeward {

namespace code = tflite_code;

namespace {

// Writes as many rows as it detects.
bool writes_part(const TfliteOperator& operation) {
  return operation.code == code::kCustom && operation.custom_name == "TFLite_Detection_PostProcess";
}

bool keeps_output(const TfliteOperator& operation, std::span<const TfliteValue> tensors) {
  switch (operation.code) {
    case code::kDequantize: return tensors[static_cast<size_t>(operation.inputs[0])].is_constant;
    case code::kDensify: return true;
    case code::kCustom: return operation.custom_name == "NumericVerify";
    default: return false;
  }
}

}  // namespace

void TfliteUnwritten::add(const TfliteOperator& operation) {
  has_calls_ = has_calls_ || code::may_call(operation.code);
  for (uint32_t i = 0; i < operation.inputs.size() && spreading_operator_.empty(); ++i) {
    const auto writer = partial_.find(operation.inputs[i]);
    if (writer != partial_.end()) spreading_operator_ = writer->second;
  }
  const bool is_partial = writes_part(operation);
  const bool is_kept = keeps_output(operation, tensors_);
  if (!is_partial && !is_kept) return;
  for (uint32_t i = 0; i < operation.outputs.size(); ++i) {
    (is_partial ? partial_ : kept_)[operation.outputs[i]] = text(operation);
  }
}

std::vector<int32_t> TfliteUnwritten::partial_tensors() const {
  std::vector<int32_t> tensors;
  for (const auto& [tensor, writer] : partial_) tensors.push_back(tensor);
  return tensors;
}

std::string TfliteUnwritten::keeping_operator(int32_t tensor) const {
  const auto keeper = kept_.find(tensor);
  return keeper == kept_.end() ? std::string() : keeper->second;
}

}  // namespace edgeward
