// Whether a .tflite may be run with XNNPACK. It takes an ASSIGN_VARIABLE together with the operators around it, and
// ends the process when it runs none that reads or writes the value, since it has no memory for that then (seen with
// ai-edge-litert 2.2 and 2.3). Fed with every operator of a file, subgraph after subgraph, once its indices are
// checked. One thread.
#pragma once

#include <cstdint>
#include <set>
#include <span>

#include "model_files/tflite_check.h"

namespace edgeward {

class TfliteDelegation {
 public:
  // Begins the next subgraph.
  void enter();
  void add(const TfliteOperator& operation, std::span<const TfliteValue> tensors);

  // After the last operator: false when a value is assigned that no operator which XNNPACK runs reads or writes.
  bool is_safe() const { return is_safe_ && is_subgraph_safe(); }

 private:
  bool is_subgraph_safe() const;

  bool is_safe_ = true;  // of the subgraphs before this one
  bool has_others_ = false;
  std::set<int32_t> assigned_;
  std::set<int32_t> touched_;
};

}  // namespace edgeward
