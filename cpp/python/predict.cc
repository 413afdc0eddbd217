// Model.predict and Session.run, the two methods that a loop calls: one crossing from Python, and no allocation but the
// returned arrays. Everything here runs with the interpreter lock held, except the run itself when it is long.
#include <algorithm>
#include <chrono>

#include "error.h"
#include "python/arrays.h"
#include "python/errors.h"
#include "python/models.h"
#include "python/strings.h"

namespace edgeward {
namespace {

using py::detail::npy_api;
using py::detail::PyArray_Proxy;

// ---- From a Python object to the C++ one behind it.

template <class T>
T& self_of(PyObject* self) {
  auto* instance = reinterpret_cast<py::detail::instance*>(self);
  // The usual layout has one C++ base with its pointer first. A subclass with several bases is cast by pybind11.
  if (instance->simple_layout) return *static_cast<T*>(instance->simple_value_holder[0]);
  return py::cast<T&>(py::handle(self));
}

template <class Run>
void run_within(GilPace& pace, Run run) {
  const bool is_measured = pace.is_due();
  const auto run_and_note = [&] {
    if (!is_measured) return run();
    const auto start = std::chrono::steady_clock::now();
    run();
    pace.note((std::chrono::steady_clock::now() - start).count());
  };
  if (pace.releases()) {
    // The measurement excludes taking the lock back, which is not the model's time.
    const Unlocked released;
    run_and_note();
  } else {
    run_and_note();
  }
}

// ---- Arrays in.

// numpy's own descriptor object for each dtype: most arrays are recognised by one comparison.
PyObject* descriptor(DType dtype) {
  static PyObject* const* const table = [] {
    static PyObject* descriptors[kDTypeCount];
    for (size_t i = 0; i < kDTypeCount; ++i) descriptors[i] = array_dtype(static_cast<DType>(i)).release().ptr();
    return descriptors;
  }();
  return table[static_cast<size_t>(dtype)];
}

std::string shape_text(const PyArray_Proxy* array) {
  std::string line = "[";
  for (int axis = 0; axis < array->nd; ++axis) {
    if (axis > 0) line += ", ";
    line += std::to_string(array->dimensions[axis]);
  }
  return line + "]";
}

// Same elements under another descriptor object: int64 has two type numbers, bfloat16 may come from ml_dtypes.
bool is_same_dtype(PyObject* numpy_dtype, DType wanted) {
  const auto dtype = py::reinterpret_borrow<py::dtype>(numpy_dtype);
  const auto expected = py::reinterpret_borrow<py::dtype>(descriptor(wanted));
  if (dtype.itemsize() != expected.itemsize() || dtype.byteorder() == '>') return false;
  if (dtype.kind() == expected.kind()) return true;
  return !is_packed(wanted) && dtype.attr("name").cast<std::string>() == name(wanted);
}

[[noreturn]] void refuse(const char* side, const TensorSpec& spec, const std::string& got) {
  const Shape shape = storage_shape(spec.dtype, spec.shape);
  throw Error(Code::bad_input, side, " \"", spec.name, "\": expected ",
              is_packed(spec.dtype) ? std::string(name(spec.dtype)) + " packed into uint8 " + text(shape)
                                    : text(spec.dtype, shape),
              ", got ", got);
}

// Fills `view` from an array whose dtype and rank must be those of `spec`. The session compares shapes.
void read_array(PyObject* object, const char* side, const TensorSpec& spec, StridedView& view) {
  const auto* array = reinterpret_cast<const PyArray_Proxy*>(object);
  if (array->descr != descriptor(spec.dtype) && !is_same_dtype(array->descr, spec.dtype)) {
    refuse(side, spec, py::str(py::handle(array->descr)).cast<std::string>() + " " + shape_text(array));
  }
  const auto rank = static_cast<size_t>(array->nd);
  const bool is_admitted = is_packed(spec.dtype)     ? rank == 1
                           : spec.shape.is_unknown() ? rank <= Shape::kMaxRank
                                                     : rank == spec.shape.rank();
  if (!is_admitted) {
    refuse(side, spec, py::str(py::handle(array->descr)).cast<std::string>() + " " + shape_text(array));
  }
  view.data = reinterpret_cast<std::byte*>(array->data);
  view.element_bytes = (bits(spec.dtype) + 7) / 8;
  int64_t dims[Shape::kMaxRank];
  for (size_t axis = 0; axis < rank; ++axis) {
    dims[axis] = array->dimensions[axis];
    view.strides[axis] = array->strides[axis];
  }
  view.shape = Shape(std::span(dims, rank));
}

// True for numpy's own class. Its subclasses may say that elements have no value.
bool is_plain_array(PyObject* object) { return Py_TYPE(object) == npy_api::get().PyArray_Type_; }

void require_values(PyObject* object, const char* side, const TensorSpec& spec) {
  if (is_plain_array(object) || !py::hasattr(py::handle(object), "mask")) return;
  if (py::module_::import("numpy").attr("ma").attr("is_masked")(py::handle(object)).cast<bool>())
    refuse(side, spec, "a masked array, which has elements without a value");
}

// An array over the memory of another object: by the buffer protocol, __array_interface__ or DLPack.
py::object as_array(PyObject* object, const TensorSpec& spec) {
  const auto value = py::reinterpret_borrow<py::object>(object);
  const py::module_ numpy = py::module_::import("numpy");
  try {
    if (PyObject_CheckBuffer(object) != 0) return numpy.attr("asarray")(py::memoryview(value));
    // A class has these attributes for its instances; the class itself is no array.
    const bool is_class = PyType_Check(object) != 0;
    const auto has = [&](const char* protocol) { return !is_class && py::hasattr(value, protocol); };
    if (has("__array_interface__") || has("__array__")) return numpy.attr("asarray")(value);
    if (has("__dlpack__")) return numpy.attr("from_dlpack")(value);
  } catch (const py::error_already_set& error) {
    // An interrupt or a lack of memory is no property of the array.
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    std::string reason = py::str(error.value());
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    refuse("input", spec, std::string("a ") + Py_TYPE(object)->tp_name + " that numpy cannot read: " + reason);
  }
  const bool is_plain = PyLong_Check(object) || PyFloat_Check(object) || PyList_Check(object) || PyTuple_Check(object);
  refuse("input", spec,
         std::string("a ") + Py_TYPE(object)->tp_name + ", which is no array" +
             (is_plain ? " (numpy.asarray makes one)" : ""));
}

// ---- Arrays out.

py::object array_of(Lease lease) {
  const TensorView& view = lease->view;
  Shape packed;
  if (is_packed(view.dtype)) packed = storage_shape(view.dtype, view.shape);
  const Shape& shape = is_packed(view.dtype) ? packed : view.shape;
  const npy_api& numpy = npy_api::get();
  Py_intptr_t dims[Shape::kMaxRank];
  for (size_t axis = 0; axis < shape.rank(); ++axis) dims[axis] = static_cast<Py_intptr_t>(shape[axis]);
  PyObject* dtype = descriptor(view.dtype);
  Py_INCREF(dtype);  // the next call takes over a reference
  auto array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, dtype, static_cast<int>(shape.rank()), dims, nullptr, view.data,
      npy_api::NPY_ARRAY_WRITEABLE_ | npy_api::NPY_ARRAY_ALIGNED_ | npy_api::NPY_ARRAY_C_CONTIGUOUS_, nullptr));
  if (!array) throw py::error_already_set();
  PyObject* owner = PyCapsule_New(lease.get(), nullptr, [](PyObject* capsule) {
    GiveBack()(static_cast<OutputMemory*>(PyCapsule_GetPointer(capsule, nullptr)));
  });
  if (owner == nullptr) throw py::error_already_set();
  (void)lease.release();
  if (numpy.PyArray_SetBaseObject_(array.ptr(), owner) != 0) throw py::error_already_set();
  return array;
}

// ---- predict(self, *arrays, out=None, **arrays_by_name)

// Keeps alive until the end of the run: converted arrays, and copies of dicts, since Python code that runs meanwhile
// may change the caller's dict.
using Temporaries = std::vector<py::object>;

PyObject* own_copy(PyObject* mapping, Temporaries& temporaries) {
  temporaries.push_back(py::reinterpret_steal<py::object>(PyDict_Copy(mapping)));
  if (!temporaries.back()) throw py::error_already_set();
  return temporaries.back().ptr();
}

void take_input(Session& session, size_t index, PyObject* object, Temporaries& temporaries) {
  const TensorSpec& spec = session.signature().inputs[index];
  if (spec.dtype == DType::string) {
    Strings strings = strings_from(object, spec);
    return session.set_strings(index, strings.shape, std::move(strings.block));
  }
  if (!npy_api::get().PyArray_Check_(object)) {
    temporaries.push_back(as_array(object, spec));
    object = temporaries.back().ptr();
  }
  require_values(object, "input", spec);
  read_array(object, "input", spec, session.argument(index));
}

std::string names_text(const std::vector<py::object>& names) {
  std::string line;
  for (const py::object& known : names) line += (line.empty() ? "\"" : ", \"") + known.cast<std::string>() + "\"";
  return line;
}

size_t index_of(const std::vector<py::object>& names, PyObject* key, const char* side) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].ptr() == key) return i;
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (PyUnicode_Check(key) != 0 && PyUnicode_Compare(names[i].ptr(), key) == 0) return i;
  }
  throw Error(Code::bad_input, side, ": expected the names ", names_text(names), ", got ",
              py::repr(py::handle(key)).cast<std::string>());
}

class Arguments {
 public:
  Arguments(const PyModel& model, Session& session, Temporaries& temporaries)
      : model_(model), session_(session), temporaries_(temporaries), is_given_(model.input_names.size(), false) {}

  void add(size_t index, PyObject* value) {
    if (is_given_[index]) {
      throw Error(Code::bad_input, "input ", names_text({model_.input_names[index]}),
                  ": expected it once, got it twice");
    }
    is_given_[index] = true;
    take_input(session_, index, value, temporaries_);
  }
  void add(PyObject* key, PyObject* value) { add(index_of(model_.input_names, key, "input"), value); }
  void add_all(PyObject* caller_mapping) {
    PyObject* mapping = own_copy(caller_mapping, temporaries_);
    PyObject* key = nullptr;
    PyObject* value = nullptr;
    Py_ssize_t position = 0;
    while (PyDict_Next(mapping, &position, &key, &value) != 0) add(key, value);
  }
  void require_all() const {
    for (size_t i = 0; i < is_given_.size(); ++i) {
      if (!is_given_[i]) {
        throw Error(Code::bad_input, "input ", names_text({model_.input_names[i]}),
                    ": expected an array, got none (inputs are ", names_text(model_.input_names), ")");
      }
    }
  }

 private:
  const PyModel& model_;
  Session& session_;
  Temporaries& temporaries_;
  std::vector<bool> is_given_;
};

void read_target(const TensorSpec& spec, PyObject* object, StridedView& view) {
  if (spec.dtype == DType::string) {
    throw Error(Code::bad_input, "output \"", spec.name,
                "\": expected no out=, because strings are returned in a new array");
  }
  if (!npy_api::get().PyArray_Check_(object))
    refuse("output", spec, std::string("a ") + Py_TYPE(object)->tp_name + " as out=");
  if ((reinterpret_cast<const PyArray_Proxy*>(object)->flags & npy_api::NPY_ARRAY_WRITEABLE_) == 0) {
    refuse("output", spec, "a read-only array as out=");
  }
  require_values(object, "output", spec);
  read_array(object, "output", spec, view);
}

// `targets` holds, for each output, the caller's array or null. The session gets them only when all are valid.
void take_out(const PyModel& model, Session& session, PyObject* out, std::vector<PyObject*>& targets,
              Temporaries& temporaries) {
  if (PyDict_Check(out) != 0) {
    out = own_copy(out, temporaries);
    PyObject* key = nullptr;
    PyObject* value = nullptr;
    Py_ssize_t position = 0;
    while (PyDict_Next(out, &position, &key, &value) != 0) targets[index_of(model.output_names, key, "out=")] = value;
  } else if (targets.size() == 1) {
    targets[0] = out;
  } else {
    throw Error(Code::bad_input, "out=: expected a dict with the names ", names_text(model.output_names), ", got a ",
                Py_TYPE(out)->tp_name);
  }
  std::vector<StridedView> views(targets.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != nullptr) read_target(session.signature().outputs[i], targets[i], views[i]);
  }
  for (size_t i = 0; i < targets.size(); ++i) session.target(i) = views[i];
}

PyObject* predict_general(PyModel& self, PyObject* const* args, size_t count, PyObject* keywords) {
  Model::Loan session(*self.core);
  Temporaries temporaries;
  Arguments arguments(self, *session.operator->(), temporaries);
  PyObject* out = nullptr;
  if (count == 1 && PyDict_Check(args[0]) != 0) {
    arguments.add_all(args[0]);
  } else if (count > self.input_names.size()) {
    throw Error(Code::bad_input, "predict: expected at most ", self.input_names.size(), " arrays, got ", count);
  } else {
    for (size_t i = 0; i < count; ++i) arguments.add(i, args[i]);
  }
  const Py_ssize_t keyword_count = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < keyword_count; ++i) {
    PyObject* key = PyTuple_GET_ITEM(keywords, i);
    PyObject* value = args[count + static_cast<size_t>(i)];
    if (PyUnicode_CompareWithASCIIString(key, "out") == 0) {
      out = value == Py_None ? nullptr : value;
    } else {
      arguments.add(key, value);
    }
  }
  arguments.require_all();
  std::vector<PyObject*> targets(self.output_names.size(), nullptr);
  if (out != nullptr) take_out(self, *session.operator->(), out, targets, temporaries);
  run_within(self.gil, [&] { session->predict(); });

  const auto result_of = [&](size_t i) {
    if (targets[i] != nullptr) return py::reinterpret_borrow<py::object>(targets[i]);
    Lease lease = session->take(i);
    return lease->view.dtype == DType::string ? strings_array(lease->view) : array_of(std::move(lease));
  };
  if (targets.size() == 1) return result_of(0).release().ptr();
  py::dict results;
  for (size_t i = 0; i < targets.size(); ++i) results[self.output_names[i]] = result_of(i);
  return results.release().ptr();
}

PyObject* model_predict(PyObject* self_object, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  try {
    PyModel& self = self_of<PyModel>(self_object);
    const bool is_usual = count == 1 && keywords == nullptr && !self.has_strings && self.input_names.size() == 1 &&
                          self.output_names.size() == 1 && is_plain_array(args[0]);
    if (!is_usual) return predict_general(self, args, static_cast<size_t>(count), keywords);
    Model::Loan session(*self.core);
    read_array(args[0], "input", session->signature().inputs[0], session->argument(0));
    run_within(self.gil, [&] { session->predict(); });
    return array_of(session->take(0)).release().ptr();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

PyObject* session_run(PyObject* self_object, PyObject*) {
  try {
    PySession& self = self_of<PySession>(self_object);
    if (self.core->has_string_inputs()) set_session_strings(self);
    run_within(self.gil, [&] { self.core->run(); });
    if (self.core->has_engine_outputs()) self.outputs = py::object();
    Py_RETURN_NONE;
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

constexpr const char* kPredictText =
    "predict($self, /, *arrays, out=None, **arrays_by_name)\n--\n\n"
    "Run the model once and return its outputs: one array, or a dict by name when there are several.\n\n"
    "Inputs are given in order, by name, or as one dict. Anything with the buffer protocol, __array_interface__ or "
    "DLPack is\n"
    "taken; dtype and shape must be the model's (-1 takes any size), and nothing is cast. An input is used in "
    "place\n"
    "when it is C-contiguous and aligned as the engine wants (edgeward.empty gives such memory), else copied and "
    "counted in\n"
    "`copies`. `out` is an array, or a dict by name, to be written instead of fresh memory.\n"
    "Any thread. Raises BadInput, EngineFailed, OutOfMemory, Closed, Forked.";

constexpr const char* kRunText =
    "run($self, /)\n--\n\n"
    "Run the model once on the session's own memory: reads `inputs`, writes `outputs`, copies nothing.\n"
    "One thread at a time. Raises EngineFailed, Busy, Closed, Forked.";

PyMethodDef kPredict = {"predict", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(model_predict)),
                        METH_FASTCALL | METH_KEYWORDS, kPredictText};
PyMethodDef kRun = {"run", session_run, METH_NOARGS, kRunText};

void add_method(py::handle owner, PyMethodDef& method) {
  auto descriptor_object =
      py::reinterpret_steal<py::object>(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(owner.ptr()), &method));
  if (!descriptor_object) throw py::error_already_set();
  py::setattr(owner, method.ml_name, descriptor_object);
}

}  // namespace

bool GilPace::releases() const {
  if (policy != GilPolicy::automatic) return policy == GilPolicy::release;
  return last_run_ns_.load(std::memory_order_relaxed) >= kLongRunNs;
}

bool GilPace::is_due() {
  if (policy != GilPolicy::automatic) return false;
  // Not one atomic step, which would cost each run: when two threads lose a count, a measurement comes a little later.
  const uint32_t run = runs_.load(std::memory_order_relaxed);
  runs_.store(run + 1, std::memory_order_relaxed);
  return releases() || run % kRunsBetweenMeasures == 0;
}

void add_predict(py::handle model_class, py::handle session_class) {
  add_method(model_class, kPredict);
  add_method(session_class, kRun);
}

}  // namespace edgeward
