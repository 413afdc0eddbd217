// The optimizations that an .ort may leave to the device on which it is loaded (files called .with_runtime_opt.ort): a
// row of actions, each on one node and those around it. The engine follows their indices, and trusts that each action
// is one for such nodes. Rules: docs/model-files.md, section 4.
#pragma once

#include <cstdint>
#include <vector>

#include "model_files/flatbuffer.h"

namespace edgeward {

// `positions` has, by node index, the place of the node among `nodes`, or UINT32_MAX.
// Throws Error(malformed_model | unsupported_model).
void check_ort_optimizations(const FlatTable& graph, const FlatTables& nodes, const std::vector<uint32_t>& positions);

}  // namespace edgeward
