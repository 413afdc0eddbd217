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
  malformed_package,  // the package's bytes break the format, or are not the ones that were signed
  untrusted_package,  // no signature that the trust root asks for
  rollback_refused,   // an older release than this device may still run
  wrong_key,          // the content key cannot be had with this device's key
  wrong_target,       // sealed for another kind of machine, or for another device
  expired_package,    // past the day its publisher set
  malformed_root,     // the trust root's bytes break their format
  untrusted_root,     // a trust root without the signatures it needs
  expired_root,       // the trust root is past its day
  malformed_key,      // the bytes of a key or a key wrap break their format
  malformed_capture,  // the bytes of a segment break their format
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
    case Code::malformed_package: return "malformed_package";
    case Code::untrusted_package: return "untrusted_package";
    case Code::rollback_refused: return "rollback_refused";
    case Code::wrong_key: return "wrong_key";
    case Code::wrong_target: return "wrong_target";
    case Code::expired_package: return "expired_package";
    case Code::malformed_root: return "malformed_root";
    case Code::untrusted_root: return "untrusted_root";
    case Code::expired_root: return "expired_root";
    case Code::malformed_key: return "malformed_key";
    case Code::malformed_capture: return "malformed_capture";
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
