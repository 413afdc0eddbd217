// Which subgraphs of a .tflite file run which, by IF, WHILE, CALL_ONCE and STABLEHLO_COMPOSITE: engines prepare a
// subgraph wherever it is called, and those within it, by recursion. Fed with every operator, once it is checked. One
// thread. Rules: docs/model-files.md, section 3.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "model_files/tflite_check.h"

namespace edgeward {

// Deep enough for any model, and for the stack of any thread.
inline constexpr uint32_t kMaxCallDepth = 64;
// How often subgraphs are prepared in all, counted wherever they are called.
inline constexpr uint64_t kMaxPreparedSubgraphs = 100'000;

class TfliteCalls {
 public:
  explicit TfliteCalls(size_t subgraph_count) : subgraph_count_(subgraph_count) {}

  void add(const TfliteOperator& operation);

  // Throws Error(malformed_model) when subgraphs run each other without end, Error(unsupported_model) beyond the
  // limits.
  void check() const;

  // Whether there is an operator whose end depends on values.
  bool has_loop() const { return has_loop_; }

 private:
  size_t subgraph_count_;
  std::vector<std::pair<size_t, size_t>> calls_;  // caller, callee
  bool has_loop_ = false;
};

}  // namespace edgeward
