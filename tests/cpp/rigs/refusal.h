// What a test expects of a call that fails: its code, and the words its message must have.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace edgeward {

// Runs `call`, which must throw Error(code) with one line that has every one of `words`.
template <class Call>
void check_refusal(Code code, const std::vector<std::string_view>& words, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(code_name(error.code()) == code_name(code));
    CHECK(message.find('\n') == std::string::npos);
    for (const std::string_view word : words) {
      CAPTURE(word);
      CHECK(message.find(word) != std::string::npos);
    }
    return;
  }
  FAIL_CHECK("expected Error(", code_name(code), "), got none");
}

}  // namespace edgeward
