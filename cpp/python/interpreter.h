// What this room needs of the interpreter: releasing its lock, encoding a path for the system, and bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <unistd.h>

#include <string>

#include "bytes/bytes.h"

namespace edgeward {

namespace py = pybind11;

// Releases the interpreter lock until the end of a scope. When the interpreter has ended meanwhile (under a daemon
// thread's run), CPython unwinds the thread that takes the lock, and a destructor that is unwound ends the process:
// such a thread waits here for the end of the process instead.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) pause();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// A path (str) in the encoding of the file system.
inline std::string path_of(const py::object& path) {
  const auto encoded = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(path.ptr()));
  if (!encoded) throw py::error_already_set();
  return encoded.cast<std::string>();
}

inline py::bytes python_bytes(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace edgeward
