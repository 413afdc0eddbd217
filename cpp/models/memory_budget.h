// MemoryBudget: the most that all models of this process may hold together. A model that would exceed it is refused,
// before the kernel ends the process for want of memory: docs/decisions/0026.
#pragma once

#include <cstdint>

namespace edgeward {

struct MemoryBudget {
  uint64_t most_bytes = 0;  // 0: there is none

  // Throws Error(over_budget) when the open models and `further_bytes` exceed it; the message has these numbers.
  void require(uint64_t further_bytes) const;
};

}  // namespace edgeward
