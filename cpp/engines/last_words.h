// LastWords: what an engine library writes to standard error while a call of ours is in it. An engine gives its reasons
// there, beside lines that nobody asked for; the process's standard error itself is left alone, so that other threads,
// forked children and other users of the library write to it as ever.
//
// hear() points the library's own variable `stderr` to a stream of ours. What comes in goes to the LastWords that lives
// on the writing thread, and to standard error when there is none. Decision: docs/decisions/0020.
#pragma once

#include <cstddef>
#include <string>

#include "engines/library.h"

namespace edgeward {

// Whether what an engine writes is also passed on to standard error.
enum class EngineLog : bool {
  quiet,
  shown
};

// From now on LastWords collects what `library` writes. Does nothing for a library that does not use `stderr`: it has
// no last words then. Any thread.
void hear(const Library& library);

// Made and destroyed on one thread, which it belongs to; may be nested. Throws nothing.
class LastWords {
 public:
  explicit LastWords(EngineLog log);
  ~LastWords();
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;

  // What was written since the beginning, at most the first kilobyte.
  std::string text() const;

 private:
  friend struct LastWordsStream;

  char bytes_[1024];
  size_t size_ = 0;
  EngineLog log_;
  LastWords* outer_;
};

// The lines of an engine in one, without those that only inform: ": first; second", or "" when nothing is left.
std::string as_reason(const std::string& lines);

}  // namespace edgeward
