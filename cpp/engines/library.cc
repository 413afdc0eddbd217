#include "engines/library.h"

#include <dlfcn.h>

#include <cstdio>

#include "error.h"

namespace edgeward {

Library::Library(std::string path) : path_(std::move(path)) {
  // Lazy: tflite-runtime's library also refers to symbols of Python, none of which the functions called here need.
  handle_ = dlopen(path_.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle_ == nullptr) throw Error(Code::engine_missing, "engine library \"", path_, "\": ", dlerror());
}

void* Library::try_address(const char* name) const { return dlsym(handle_, name); }

void* Library::address(const char* name) const {
  void* symbol = try_address(name);
  if (symbol == nullptr) {
    throw Error(Code::engine_mismatch, "engine library \"", path_, "\": expected the symbol ", name, ", got none");
  }
  return symbol;
}

Version parse_version(const std::string& text) {
  Version version;
  (void)std::sscanf(text.c_str(), "%9d.%9d", &version.major, &version.minor);
  return version;
}

void require_version(const std::string& package, const std::string& text, Version first, Version end) {
  const Version version = parse_version(text);
  if (version >= first && version < end) return;
  throw Error(Code::engine_mismatch, package, ": expected a version from ", first.major, ".", first.minor,
              " and below ", end.major, ".", end.minor, ", got ", text);
}

}  // namespace edgeward
