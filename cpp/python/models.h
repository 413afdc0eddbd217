// The objects behind edgeward.Model and edgeward.Session, and whether a run keeps the interpreter lock.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"
#include "python/interpreter.h"

namespace edgeward {

namespace py = pybind11;

// Whether a run releases the interpreter lock. Taking it back costs a whole switch interval (5 ms) beside a busy Python
// thread, which is why short runs keep it.
enum class GilPolicy : uint8_t {
  automatic,
  keep,
  release
};

// Decides for one session or one model; any thread.
class GilPace {
 public:
  GilPolicy policy = GilPolicy::automatic;

  bool releases() const;
  // True when the next run should be measured, so that the decision follows the model.
  bool is_due();
  void note(int64_t run_ns) { last_run_ns_.store(run_ns, std::memory_order_relaxed); }

 private:
  static constexpr int64_t kLongRunNs = 1'000'000;
  static constexpr uint32_t kRunsBetweenMeasures = 64;
  std::atomic<int64_t> last_run_ns_{kLongRunNs};  // before the first measurement, a run counts as long
  std::atomic<uint32_t> runs_{0};
};

// The package that a model came in, which the device trusted.
struct Origin {
  std::string name;
  std::string version;
  std::string package_id;                // in hexadecimal digits
  std::map<std::string, Block> members;  // copies of small ones: a part of the payload would keep all of it
};

struct PyModel {
  std::unique_ptr<Model> core;
  int threads;
  bool has_strings = false;  // among the inputs and outputs of predict()
  GilPace gil;
  std::vector<py::object> input_names;  // interned
  std::vector<py::object> output_names;
  std::optional<Origin> origin;  // nothing for a model that nobody signed
};

struct PySession {
  std::shared_ptr<Session> core;
  GilPace gil;
  py::object inputs;  // the mappings as last returned; empty when they must be built again
  py::object outputs;
};

// Gives the session the strings in the arrays of `inputs`, before a run.
void set_session_strings(PySession& session);

// Opens a model in its engine, with the interpreter lock released.
std::unique_ptr<PyModel> model_of(Block file, const Opening& opening, std::vector<ExternalData> external = {});

// Adds Model, Session, their descriptions, and the functions that open a model.
void bind_models(py::module_& module);

// Adds predict and run to the classes as bare method descriptors, since a pybind11 method costs ten times as much a
// call.
void add_predict(py::handle model_class, py::handle session_class);

}  // namespace edgeward
