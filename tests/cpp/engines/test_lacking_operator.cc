// The operator in TFLite's messages about one that it lacks.
#include "engines/lacking_operator.h"

#include <doctest/doctest.h>

#include "error.h"

namespace edgeward {

TEST_CASE("the operator is named however the engine says that it lacks it") {
  CHECK(lacking_operator("Encountered unresolved custom op: Fft 2.d.\nSee instructions: x\n") == "Fft 2.d");
  CHECK(lacking_operator(
            "Make sure you apply/link the Flex delegate before inference.\nNode number 0 (FlexErf) failed") ==
        "FlexErf");
  CHECK(lacking_operator("Didn't find op for builtin opcode 'NEG' version '99'.") == "NEG");
}

TEST_CASE("other messages name none") {
  CHECK(lacking_operator("").empty());
  CHECK(lacking_operator("Node number 0 (ADD) failed to prepare.").empty());
}

TEST_CASE("a message that is cut off gives what there is") {
  CHECK(lacking_operator("Encountered unresolved custom op: Fft") == "Fft");
  CHECK(lacking_operator("Make sure you apply/link the Flex delegate").empty());
}

TEST_CASE("a custom operator that no TFLite has is refused where an engine would say so in a run") {
  TfliteFile facts{};
  facts.signatures.resize(2);
  facts.custom_operators = {"Mfcc", "FlexErf"};
  CHECK_NOTHROW(require_custom_operators("litert-interpreter", facts));
  facts.signatures[1].open_operator = "subgraph 1, operator 0 (WHERE)";
  CHECK_THROWS_WITH_AS(
      require_custom_operators("litert-interpreter", facts),
      "litert-interpreter: operator \"FlexErf\": expected one that the engine has, got one that it lacks", Error);
  facts.custom_operators.pop_back();
  CHECK_NOTHROW(require_custom_operators("litert-interpreter", facts));
}

}  // namespace edgeward
