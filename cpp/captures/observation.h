// Observation: what one inference was, as the session that ran it saw it. Views: it owns nothing, and is passed by
// reference along the path of each call.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/signature.h"
#include "tensor/tensor.h"

namespace edgeward {

struct Observation {
  std::span<const TensorView> outputs;  // all of the signature's, in its order; none when the run failed
  std::span<const TensorSpec> specs;    // of the outputs: quantised values are compared as the reals they stand for
  uint64_t monotonic_ns = 0;            // when the run began
  bool has_failed = false;
  std::span<const TensorView> inputs = {};  // all of the signature's, in its order
  uint64_t latency_ns = 0;
};

}  // namespace edgeward
