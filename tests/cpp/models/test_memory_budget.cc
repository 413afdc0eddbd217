#include "models/memory_budget.h"

#include <doctest/doctest.h>

#include <string>

#include "error.h"
#include "models/account.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

}  // namespace

TEST_CASE("a budget counts what is held and what is to come") {
  const auto account = Account::make();
  const uint64_t others_bytes = Account::all_bytes();
  account->add_arenas(3 * kMiB);
  const MemoryBudget budget{others_bytes + 5 * kMiB};
  CHECK_NOTHROW(budget.require(2 * kMiB));
  check_refusal(Code::over_budget, {"at most ", " MiB in the models", " held and at least 2.0 MiB to come"},
                [&] { budget.require(2 * kMiB + 1); });
  check_refusal(Code::over_budget, {}, [&] { budget.require(UINT64_MAX); });
  account->add_arenas(2 * kMiB);
  CHECK_NOTHROW(budget.require(0));
  account->add_arenas(1);
  check_refusal(Code::over_budget, {" MiB held"}, [&] { budget.require(0); });
}

TEST_CASE("without a budget nothing is refused") {
  const auto account = Account::make();
  account->add_arenas(INT64_MAX / 2);
  CHECK_NOTHROW(MemoryBudget{}.require(UINT64_MAX));
}

}  // namespace edgeward
