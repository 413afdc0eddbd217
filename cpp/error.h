// The closed list of ways the core can fail, and the exception that carries one of them.
// A message is one line: what, which, expected, got. The code survives every boundary; nobody parses the text.
#pragma once

#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace edgeward {

enum class Code : uint8_t {
  bad_input,          // a tensor, name, shape or option given by the caller does not fit the model
  malformed_model,    // the model's bytes break their own format
  unsupported_model,  // well formed, but outside what this engine or this core can run
  engine_missing,     // the engine's library could not be opened
  engine_mismatch,    // the library opened, but lacks a symbol or is outside the checked versions
  engine_failed,      // the engine itself reported an error
  out_of_memory,      // the system refused pages
  closed,             // use after close
  busy,               // a session entered by a second thread
  forked,             // use in a child process of the one that loaded the model
};

// The code as it is spelled in every language and in --json.
constexpr std::string_view code_name(Code code) {
  switch (code) {
    case Code::bad_input: return "bad_input";
    case Code::malformed_model: return "malformed_model";
    case Code::unsupported_model: return "unsupported_model";
    case Code::engine_missing: return "engine_missing";
    case Code::engine_mismatch: return "engine_mismatch";
    case Code::engine_failed: return "engine_failed";
    case Code::out_of_memory: return "out_of_memory";
    case Code::closed: return "closed";
    case Code::busy: return "busy";
    case Code::forked: return "forked";
  }
  return "unknown";
}

class Error : public std::exception {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  // The message is the parts written one after another: Error(code, "input \"", name, "\": ...").
  template <class... Parts>
  Error(Code code, const Parts&... parts) : code_(code) {
    std::ostringstream text;
    (text << ... << parts);
    message_ = text.str();
  }

  Code code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  Code code_;
  std::string message_;
};

}  // namespace edgeward
