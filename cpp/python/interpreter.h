// What the files of this room ask of the interpreter: its lock given up for a while, and a path as the system takes it.
#pragma once

#include <pybind11/pybind11.h>

#include <unistd.h>

#include <string>

namespace edgeward {

namespace py = pybind11;

// Gives the interpreter lock up until the end of a scope. When the interpreter has ended meanwhile (a daemon thread in
// a run), CPython unwinds the thread that asks for the lock, which no destructor survives: such a thread waits here for
// the end of the process instead.
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

// A path (str) as the system takes it.
inline std::string path_of(const py::object& path) {
  const auto encoded = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(path.ptr()));
  if (!encoded) throw py::error_already_set();
  return encoded.cast<std::string>();
}

}  // namespace edgeward
