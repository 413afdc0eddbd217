#include "system/fork.h"

#include <doctest/doctest.h>

#include "rigs/child.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

bool is_refused_as_forked(const ForkMark& mark) {
  try {
    mark.require_same_process("model");
    return false;
  } catch (const Error& error) {
    return error.code() == Code::forked && std::string(error.what()).starts_with("model: ");
  }
}

}  // namespace

TEST_CASE("a mark is at home where it was made") {
  const ForkMark mark;
  CHECK_FALSE(mark.is_foreign());
  CHECK_NOTHROW(mark.require_same_process("model"));
}

TEST_CASE("a mark made before a fork is foreign in the child, and stays at home in the parent") {
  const ForkMark mark;
  CHECK(outcome_in_child([&] { return mark.is_foreign() && is_refused_as_forked(mark); }) == "");
  CHECK_FALSE(mark.is_foreign());
}

TEST_CASE("a mark made in a child is at home there, and foreign in the child's child") {
  CHECK(outcome_in_child([] {
          const ForkMark mark;
          if (mark.is_foreign()) return false;
          const pid_t grandchild = fork();
          if (grandchild == 0) _exit(mark.is_foreign() ? 0 : 1);
          int status = 0;
          return waitpid(grandchild, &status, 0) == grandchild && WIFEXITED(status) && WEXITSTATUS(status) == 0;
        }) == "");
}

TEST_CASE("a mark made in the parent after a fork is at home") {
  const ForkMark before;
  CHECK(outcome_in_child([] { return true; }) == "");
  const ForkMark after;
  CHECK_FALSE(before.is_foreign());
  CHECK_FALSE(after.is_foreign());
}

}  // namespace edgeward
