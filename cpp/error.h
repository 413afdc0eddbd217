// The closed list of the core's error codes, and the exception that carries one of them.
// A message is one line: what, which, expected, got. Programs use the code, which every language spells alike; nobody
// parses the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace edgeward {

// The one list: each code is spelled here, and its class in edgeward.errors. clang-format keeps its columns.
// clang-format off
#define EDGEWARD_CODES(X) \
  X(bad_input)         /* a tensor, name, shape or option given by the caller does not fit the model */ \
  X(malformed_model)   /* the model's bytes break their own format */ \
  X(unsupported_model) /* well formed, but outside what this engine or this core can run */ \
  X(engine_missing)    /* the engine's library could not be opened */ \
  X(engine_mismatch)   /* the library opened, but lacks a symbol or is outside the checked versions */ \
  X(engine_failed)     /* the engine itself reported an error */ \
  X(out_of_memory)     /* the system refused pages */ \
  X(over_budget)       /* a model needs more memory than the caller's budget leaves */ \
  X(closed)            /* use after close */ \
  X(busy)              /* a session entered by a second thread */ \
  X(forked)            /* use in a child process of the one that loaded the model */ \
  X(malformed_package) /* the package's bytes break the format, or are not the ones that were signed */ \
  X(untrusted_package) /* no signature that the trust root asks for */ \
  X(rollback_refused)  /* an older release than this device may still run */ \
  X(wrong_key)         /* the content key cannot be had with this device's key */ \
  X(wrong_target)      /* sealed for another kind of machine, or for another device */ \
  X(expired_package)   /* past the day its publisher set */ \
  X(malformed_root)    /* the trust root's bytes break their format */ \
  X(untrusted_root)    /* a trust root without the signatures it needs */ \
  X(expired_root)      /* the trust root is past its day */ \
  X(malformed_key)     /* the bytes of a key or a key wrap break their format */ \
  X(signer_failed)     /* a token or command that signs gave no signature of its key */ \
  X(malformed_capture) /* the bytes of a segment break their format */
// clang-format on

enum class Code : uint8_t {
#define EDGEWARD_CODE(name) name,
  EDGEWARD_CODES(EDGEWARD_CODE)
#undef EDGEWARD_CODE
};

// By the value of the code: as it is spelled in every language and in --json.
inline constexpr std::string_view kCodeNames[] = {
#define EDGEWARD_CODE(name) #name,
    EDGEWARD_CODES(EDGEWARD_CODE)
#undef EDGEWARD_CODE
};

constexpr std::string_view code_name(Code code) { return kCodeNames[static_cast<size_t>(code)]; }

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
