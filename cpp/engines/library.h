// Library: one shared library opened at run time, by path, and never closed (engines keep threads and exit handlers).
// A symbol that is missing is an Error that names it; nothing is called through a null.
#pragma once

#include <compare>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bytes/bytes.h"

namespace edgeward {

class Library {
 public:
  // Throws Error(engine_missing) with the loader's message.
  explicit Library(std::string path);

  const std::string& path() const { return path_; }

  // The function `name`, whose type the caller states. Throws Error(engine_mismatch).
  template <class Function>
  Function symbol(const char* name) const {
    return reinterpret_cast<Function>(address(name));
  }

  // What tells its code from other code, in memory, where no later change of the file reaches: the build id that its
  // linker has given it, or else all code and constants.
  std::vector<Bytes> identity() const;

  // Null when the library does not have it.
  void* try_address(const char* name) const;

  // Makes the library alone use `target` for the variable or function `name` of another library, which is located at
  // `source`. False when it does not refer to it there.
  bool try_redirect(const char* name, const void* source, void* target) const;

 private:
  void* address(const char* name) const;

  std::string path_;
  void* handle_;
};

// The functions of the library at `path`: an Api, constructed from a Library at the first call and kept until the
// process ends. Any thread.
template <class Api>
const Api& opened(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, Api> apis;
  const std::lock_guard lock(mutex);
  const auto entry = apis.find(path);
  if (entry != apis.end()) return entry->second;
  return apis.try_emplace(path, Library(path)).first->second;
}

// "2.3.0" as numbers. What does not parse is 0.
struct Version {
  int major = 0;
  int minor = 0;
  auto operator<=>(const Version&) const = default;
};
Version parse_version(const std::string& text);

// Throws Error(engine_mismatch) unless first <= text < end.
void require_version(const std::string& package, const std::string& text, Version first, Version end);

}  // namespace edgeward
