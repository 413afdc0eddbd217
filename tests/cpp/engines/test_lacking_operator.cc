// The operator in TFLite's messages about one that it lacks.
#include "engines/lacking_operator.h"

#include <doctest/doctest.h>

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

}  // namespace edgeward
