#include "models/memory_budget.h"

#include <cstdio>
#include <string>

#include "error.h"
#include "models/account.h"

namespace edgeward {
namespace {

std::string mebibytes(uint64_t size_bytes) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(size_bytes) / (1 << 20));
  return text;
}

}  // namespace

void MemoryBudget::require(uint64_t further_bytes) const {
  if (most_bytes == 0) return;
  const uint64_t held_bytes = Account::all_bytes();
  if (held_bytes <= most_bytes && further_bytes <= most_bytes - held_bytes) return;
  const std::string further = further_bytes == 0 ? "" : " and at least " + mebibytes(further_bytes) + " to come";
  throw Error(Code::over_budget, "memory: expected at most ", mebibytes(most_bytes),
              " in the models of this process, got ", mebibytes(held_bytes), " held", further);
}

}  // namespace edgeward
