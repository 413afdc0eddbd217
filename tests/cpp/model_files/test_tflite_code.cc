// Tables of rules in the order of operators' codes.
#include "model_files/tflite_code.h"

#include <doctest/doctest.h>

namespace edgeward {
namespace {

struct Rule {
  int32_t code;
};
constexpr Rule kRules[] = {{3}, {9}, {206}};
constexpr Rule kTwice[] = {{3}, {9}, {9}};
constexpr Rule kBackward[] = {{9}, {3}};

}  // namespace

TEST_CASE("a rule is found by its code, and a code without one has none") {
  for (const Rule& rule : kRules) CHECK(tflite_code::find_rule(kRules, rule.code) == &rule);
  for (const int32_t code : {-1, 0, 4, 10, 205, 207}) CHECK(tflite_code::find_rule(kRules, code) == nullptr);
}

TEST_CASE("codes that are there twice, or do not ascend, are no order") {
  CHECK(tflite_code::is_ordered(kRules));
  CHECK_FALSE(tflite_code::is_ordered(kTwice));
  CHECK_FALSE(tflite_code::is_ordered(kBackward));
}

TEST_CASE("CALL, IF, WHILE and what StableHLO has may run subgraphs") {
  for (const int32_t code : {tflite_code::kCall, tflite_code::kIf, tflite_code::kWhile, tflite_code::kComposite})
    CHECK(tflite_code::may_call(code));
  for (const int32_t code : {tflite_code::kAdd, tflite_code::kCallOnce, tflite_code::kAssignVariable})
    CHECK_FALSE(tflite_code::may_call(code));
}

}  // namespace edgeward
