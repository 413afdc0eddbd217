// What the Python-aware files share: the objects behind edgeward.Model and edgeward.Session, and error translation.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <unistd.h>

#include <atomic>
#include <memory>
#include <vector>

#include "models/model.h"

namespace edgeward {

namespace py = pybind11;

// Whether a run gives the interpreter lock to other threads. Taking it back costs a whole switch interval (5 ms) beside
// a busy Python thread, so that short runs keep it.
enum class GilPolicy : uint8_t {
  automatic,
  keep,
  release
};

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

// Decides for one session or one model; any thread.
class GilPace {
 public:
  GilPolicy policy = GilPolicy::automatic;

  bool releases() const;
  // True when the coming run should be measured, so that the decision follows the model.
  bool is_due();
  void note(int64_t run_ns) { last_run_ns_.store(run_ns, std::memory_order_relaxed); }

 private:
  static constexpr int64_t kLongRunNs = 1'000'000;
  static constexpr uint32_t kRunsBetweenMeasures = 64;
  std::atomic<int64_t> last_run_ns_{kLongRunNs};  // until one is measured, a run is taken for long
  std::atomic<uint32_t> runs_{0};
};

struct PyModel {
  std::unique_ptr<Model> core;
  int threads;
  GilPace gil;
  std::vector<py::object> input_names;  // interned
  std::vector<py::object> output_names;
};

struct PySession {
  std::shared_ptr<Session> core;
  GilPace gil;
  py::object inputs;  // the mappings as last shown; empty when they must be made anew
  py::object outputs;
};

// Sets the Python exception for the C++ one in flight. Call in a catch block.
void set_python_error();

// A path (str) as the system takes it.
std::string path_of(const py::object& path);

// A Model in the engine, the GIL given up meanwhile.
std::unique_ptr<PyModel> model_of(Block file, const EngineLibrary& library, int threads,
                                  std::vector<ExternalData> external = {});

// Adds what keys, trust roots and packages are to Python.
void bind_packages(py::module_& module);

// Adds what captures are to Python; statistics before models, which give them.
void bind_statistics(py::module_& module);
void bind_captures(py::module_& module);

// The array type that shows a dtype: numpy's own where it has one, else unsigned integers holding the bits.
py::dtype array_dtype(DType dtype);

// Adds predict and run to the classes as bare method descriptors: a pybind11 method costs 100 ns a call, these cost 10.
void add_hot_methods(py::handle model_class, py::handle session_class);

}  // namespace edgeward
