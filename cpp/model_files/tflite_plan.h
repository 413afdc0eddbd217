// Which shapes of a subgraph an engine knows before it runs it. An engine plans a graph in order: a kernel whose
// output's shape is given by values (a k, a size, a list of axes) has them early when they are constants of the file,
// or when kernels before it could compute them from shapes alone. Where it has not, the rest of the graph is planned
// while it runs. Follows the kernels of TensorFlow Lite as ai-edge-litert 2.3 has them. Values only; one thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model_files/tflite_check.h"

namespace edgeward {

struct TflitePlan {
  std::vector<bool> is_open;  // by tensor: its shape may depend on values
  std::string open_operator;  // the first that leaves a shape open, as text() has it; empty when none does
};

class TflitePlanner {
 public:
  // `plans` are those of the model's subgraphs, of which those that this one runs are complete. All are borrowed.
  TflitePlanner(std::span<const TfliteValue> tensors, std::span<const TflitePlan> plans);

  // To be called for each operator, in order. Its indices and options must have been checked.
  void add(const TfliteOperator& operation);

  TflitePlan plan() && { return std::move(plan_); }

 private:
  bool is_early(const TfliteOperator& operation, uint64_t inputs) const;
  bool leaves_open(const TfliteOperator& operation) const;
  bool calls_open(const TfliteOperator& operation) const;
  bool makes_strings(const TfliteOperator& operation) const;
  bool has_open_input(const TfliteOperator& operation) const;

  std::span<const TfliteValue> tensors_;
  std::span<const TflitePlan> plans_;
  TflitePlan plan_;
  std::vector<bool> is_early_;  // by tensor: kernels have its values before a run
};

}  // namespace edgeward
