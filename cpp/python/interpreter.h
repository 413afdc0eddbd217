// What this room needs of the interpreter: releasing its lock, encoding a path for the system, and bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <unistd.h>

#include <string>

#include "bytes/bytes.h"

namespace edgeward {

namespace py = pybind11;

// Where a thread waits that cannot go on: when the interpreter has ended meanwhile (under a daemon thread's run),
// CPython unwinds the thread that takes the lock, and a destructor that is unwound ends the process.
[[noreturn]] inline void wait_for_the_end() {
  for (;;) pause();
}

// Releases the interpreter lock until the end of a scope.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      wait_for_the_end();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Takes the interpreter lock until the end of a scope, on a thread that has it or has not.
class Locked {
 public:
  Locked() {
    try {
      state_ = PyGILState_Ensure();
    } catch (...) {
      wait_for_the_end();
    }
  }
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  PyGILState_STATE state_;
};

// Deletes what owns Python objects, on any thread. After the interpreter has ended it is forgotten: the objects are
// gone.
struct DeleteLocked {
  template <class Owner>
  void operator()(Owner* owner) const noexcept {
    if (Py_IsInitialized() == 0) return;
    const Locked locked;
    delete owner;
  }
};

// A path (str) in the encoding of the file system.
inline std::string path_of(const py::object& path) {
  const auto encoded = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(path.ptr()));
  if (!encoded) throw py::error_already_set();
  return encoded.cast<std::string>();
}

inline py::bytes python_bytes(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace edgeward
