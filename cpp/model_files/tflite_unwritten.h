// Which outputs of a subgraph a run leaves as they were: operators whose kernels write some bytes of them, or keep them
// in memory of their own. Fed with every operator, in order, once its indices are checked. Follows the kernels of
// TensorFlow Lite as ai-edge-litert 2.3 has them. Borrows the tensors. One thread. Rules: docs/model-files.md,
// section 3.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "model_files/tflite_check.h"

namespace edgeward {

class TfliteUnwritten {
 public:
  explicit TfliteUnwritten(std::span<const TfliteValue> tensors) : tensors_(tensors) {}

  void add(const TfliteOperator& operation);

  // True when some of the tensor's bytes may not be written.
  bool is_partial(int32_t tensor) const { return partial_.count(tensor) != 0; }
  std::vector<int32_t> partial_tensors() const;
  // True when a subgraph behind this one may run within it.
  bool has_calls() const { return has_calls_; }

  // The first operator whose unwritten bytes another one reads, as text() has it; empty when there is none.
  const std::string& spreading_operator() const { return spreading_operator_; }
  // The operator that computes the tensor once and writes nothing to memory that is bound to it; empty when there is
  // none.
  std::string keeping_operator(int32_t tensor) const;
  // Any operator of those that write some bytes of an output; empty when there is none.
  std::string partial_operator() const { return partial_.empty() ? std::string() : partial_.begin()->second; }

 private:
  std::span<const TfliteValue> tensors_;
  std::map<int32_t, std::string> partial_;  // from tensor to the operator that writes it
  std::map<int32_t, std::string> kept_;
  std::string spreading_operator_;
  bool has_calls_ = false;
};

}  // namespace edgeward
