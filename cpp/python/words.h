// Words: a table that pairs each value of an enumeration with the word that Python uses for it.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "error.h"

namespace edgeward {

namespace py = pybind11;

template <class T>
using Word = std::pair<T, const char*>;

// Throws Error(bad_input) that begins with `what` for a word that is not in the table.
template <class T, size_t kCount>
T value_of(const Word<T> (&words)[kCount], const std::string& word, const char* what) {
  std::string known;
  for (const auto& [value, spelled] : words) {
    if (word == spelled) return value;
    known += (known.empty() ? "\"" : ", \"") + std::string(spelled) + "\"";
  }
  throw Error(Code::bad_input, what, ": expected ", known, ", got \"", word, "\"");
}

// The value must be in the table.
template <class T, size_t kCount>
const char* word_of(const Word<T> (&words)[kCount], T value) {
  return std::find_if(std::begin(words), std::end(words), [&](const auto& word) { return word.first == value; })
      ->second;
}

template <class T, size_t kCount>
py::tuple all_words(const Word<T> (&words)[kCount]) {
  py::tuple all(kCount);
  for (size_t i = 0; i < kCount; ++i) all[i] = words[i].second;
  return all;
}

}  // namespace edgeward
