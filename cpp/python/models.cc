// Cold methods are plain pybind11; predict.cc has the two that a loop calls.
#include "python/models.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "error.h"
#include "model_files/external_data.h"
#include "model_files/model_format.h"
#include "model_files/onnx_file.h"
#include "model_files/tflite_outline.h"
#include "python/arrays.h"
#include "python/litert_interpreter.h"
#include "python/strings.h"
#include "python/values.h"
#include "python/words.h"
#include "system/file.h"

namespace edgeward {
namespace {

// ---- Views of a session's memory.

// Keeps alive, for an array over session memory, that memory and the session with its model.
struct ViewOwner {
  std::shared_ptr<const void> keeper;
  std::shared_ptr<Session> session;
};

py::object view_of(const Session::Own& own, const std::shared_ptr<Session>& session) {
  if (own.view.dtype == DType::string) return strings_array(own.view);
  const py::capsule owner(new ViewOwner{own.keeper, session}, [](void* held) { delete static_cast<ViewOwner*>(held); });
  return array_over(own.view.dtype, own.view.shape, own.view.data, owner);
}

// A read-only view of the arrays, in which a wrong name is told the right ones.
py::object read_only(const py::dict& arrays) {
  const py::object named = py::module_::import("edgeward.named_arrays").attr("NamedArrays")(arrays);
  return py::module_::import("types").attr("MappingProxyType")(named);
}

py::object session_inputs(PySession& self) {
  if (self.inputs) return self.inputs;
  py::dict views;
  const auto& specs = self.core->signature().inputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    const Session::Own own = self.core->own_input(i);
    views[py::str(specs[i].name)] =
        specs[i].dtype == DType::string ? empty_strings_array(own.view.shape) : view_of(own, self.core);
  }
  self.inputs = read_only(views);
  return self.inputs;
}

py::object session_outputs(PySession& self) {
  if (self.outputs) return self.outputs;
  py::dict views;
  const auto& specs = self.core->signature().outputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    const Session::Own own = self.core->own_output(i);
    if (own.keeper != nullptr) views[py::str(specs[i].name)] = view_of(own, self.core);
  }
  self.outputs = read_only(views);
  return self.outputs;
}

// ---- Models and sessions.

Block copy_of(const py::buffer& buffer) {
  const py::buffer_info info = buffer.request();
  const auto bytes = static_cast<size_t>(info.size) * static_cast<size_t>(info.itemsize);
  Block block = Block::uninitialized(bytes);
  if (PyBuffer_ToContiguous(block.data(), info.view(), static_cast<py::ssize_t>(bytes), 'C') != 0)
    throw py::error_already_set();
  return block;
}

// Null for bytes.
std::shared_ptr<const File> file_of(const py::object& source) {
  if (py::isinstance<File>(source)) return source.cast<std::shared_ptr<File>>();
  if (!py::isinstance<py::str>(source)) return nullptr;
  const std::string path = path_of(source);
  const Unlocked released;
  return std::make_shared<const File>("model file", path, File::Links::followed);
}

Block read_source(const py::object& source, const std::shared_ptr<const File>& file, int threads) {
  if (file == nullptr) return copy_of(py::reinterpret_borrow<py::buffer>(source));
  const Unlocked released;
  return read_file(*file, threads);
}

Block read_shared_source(const py::object& path, Sharing& sharing) {
  const std::string name = path_of(path);
  const Unlocked released;
  return read_shared(name, sharing);
}

Opening make_opening(const std::string& engine, const std::string& library, const std::string& version, int threads,
                     bool shows_log, uint64_t budget_bytes, bool reports_first, const Sharing* sharing) {
  if (threads < 1) throw Error(Code::bad_input, "threads: expected at least 1, got ", threads);
  const EngineLog log = shows_log ? EngineLog::shown : EngineLog::quiet;
  return {{engine, library, version, log, sharing == nullptr ? Sharing() : *sharing},
          threads,
          {budget_bytes},
          reports_first};
}

std::unique_ptr<Model> opened(const Opening& opening, Block file, std::vector<ExternalData> external) {
  if (opening.library.name != kLitertInterpreter) {
    return std::make_unique<Model>(opening, std::move(file), std::move(external));
  }
  return std::make_unique<Model>(opening, std::move(file), std::move(external),
                                 [](const Opening& wanted, Block bytes, const std::vector<ExternalData>&) {
                                   return open_litert_interpreter(wanted.library.version, std::move(bytes),
                                                                  wanted.threads, wanted.library.log);
                                 });
}

std::unique_ptr<PyModel> make_model(const py::object& source, Opening opening,
                                    const std::map<std::string, py::object>& files) {
  std::vector<ExternalData> external;
  for (const auto& [name, content] : files)
    external.push_back({name, read_source(content, file_of(content), opening.threads)});
  Sharing& sharing = opening.library.sharing;
  const bool may_share = opening.library.name == "litert" || opening.library.name == "onnx";
  const bool is_shared = may_share && !sharing.directory.empty();
  const std::shared_ptr<const File> model = is_shared ? nullptr : file_of(source);
  if (model != nullptr) opening.source = WeightSource::of(model);
  Block file = is_shared ? read_shared_source(source, sharing) : read_source(source, model, opening.threads);
  const Bytes content{file.data(), file.size_bytes()};
  if (sharing.unread == nullptr && py::isinstance<py::str>(source) && model_format(content) == ModelFormat::onnx) {
    const std::string path = path_of(source);
    const Unlocked released;
    external = read_external_data(path, external_data_names(content));
  }
  return model_of(std::move(file), opening, std::move(external));
}

std::unique_ptr<PyModel> make_outline(const File& file, const Opening& opening) {
  Block outline;
  {
    const Unlocked released;
    outline = read_tflite_outline(file);
  }
  return model_of(std::move(outline), opening);
}

py::bytes head_of(const File& file, size_t size_bytes) {
  std::string head(std::min<uint64_t>(size_bytes, file.size_bytes()), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(head)));
  return head;
}

std::unique_ptr<PySession> make_session(const PyModel& model, const std::optional<std::string>& signature) {
  const auto& signatures = model.core->signatures();
  std::string known;
  for (size_t i = 0; i < signatures.size(); ++i) {
    known += (i == 0 ? "\"" : ", \"") + signatures[i].name + "\"";
    if (signature && signatures[i].name != *signature) continue;
    auto session = std::make_unique<PySession>();
    session->gil.policy = model.gil.policy;
    const Unlocked released;
    session->core = model.core->make_session(i);
    return session;
  }
  throw Error(Code::bad_input, "signature: expected one of ", known, ", got \"", *signature, "\"");
}

void resize(PySession& self, const py::dict& wanted) {
  const auto& specs = self.core->signature().inputs;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < specs.size(); ++i) shapes.push_back(self.core->input_shape(i));
  for (const auto& [key, shape] : wanted) {
    const std::string wanted_name = py::str(key);
    const auto spec =
        std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& other) { return other.name == wanted_name; });
    if (spec == specs.end())
      throw Error(Code::bad_input, "resize: expected names of inputs, got \"", wanted_name, "\"");
    shapes[static_cast<size_t>(spec - specs.begin())] =
        shape_from(py::reinterpret_borrow<py::object>(shape), "input \"" + wanted_name + "\"");
  }
  self.core->resize(shapes);
  self.inputs = py::object();
  self.outputs = py::object();
}

void close_session(PySession& self) {
  self.inputs = py::object();
  self.outputs = py::object();
  const Unlocked released;
  self.core->close();
}

// Ends a with block. A forked child that leaves one has nothing of its own to close.
template <class Close>
void leave(Close close) {
  try {
    close();
  } catch (const Error& error) {
    if (error.code() != Code::forked) throw;
  }
}

double time_bare_runs(PySession& self, size_t count) {
  const Unlocked released;
  const auto start = std::chrono::steady_clock::now();
  self.core->run_bare(count);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// ---- Values.

MemoryReport memory_of(const PyModel& model) {
  const Unlocked released;
  return model.core->memory();
}

py::dict signatures_of(const PyModel& model) {
  py::dict signatures;
  for (const Signature& signature : model.core->signatures()) signatures[py::str(signature.name)] = py::cast(signature);
  return signatures;
}

constexpr Word<GilPolicy> kGilPolicies[] = {
    {GilPolicy::automatic, "auto"}, {GilPolicy::keep, "keep"}, {GilPolicy::release, "release"}};

template <class T>
std::string gil(const T& self) {
  return word_of(kGilPolicies, self.gil.policy);
}

template <class T>
void set_gil(T& self, const std::string& word) {
  self.gil.policy = value_of(kGilPolicies, word, "gil");
}

constexpr const char* kGilText =
    "Whether a run releases the interpreter lock: \"auto\" (when it takes 1 ms or more), \"keep\", \"release\". May be "
    "set.";

std::optional<py::bytes> read_kept_member(const PyModel& self, const std::string& name) {
  if (!self.origin) return std::nullopt;
  const auto member = self.origin->members.find(name);
  if (member == self.origin->members.end()) return std::nullopt;
  return python_bytes({member->second.data(), member->second.size_bytes()});
}

// What the model's package says of it: as the core knows it, or as Python reads it out of the members kept.
void bind_origin(py::class_<PyModel>& model) {
  const auto fact = [](std::string Origin::*field) {
    return [field](const PyModel& self) { return self.origin ? std::optional((*self.origin).*field) : std::nullopt; };
  };
  const auto carried = [](const char* name) {
    return [name](const py::object& self) { return py::module_::import("edgeward.packages.carried").attr(name)(self); };
  };
  model.def_property_readonly("name", fact(&Origin::name), "Of its package; None for a model that nobody signed.")
      .def_property_readonly("version", fact(&Origin::version), "Of its package; None for a model that nobody signed.")
      .def_property_readonly("package_id", fact(&Origin::package_id),
                             "SHA-256 of what is signed, as 64 hex digits; None for a model that nobody signed.")
      .def_property_readonly("labels", carried("labels"),
                             "The names of the classes, as its package has them; None without.")
      .def_property_readonly("card", carried("card"), "The model card of its package, in Markdown; None without.")
      .def_property_readonly(
          "recipe", carried("recipe"),
          "How pictures and sounds become inputs, and which outputs are boxes, as its package says; None without. "
          "Raises MalformedPackage, for a recipe of a later version too.")
      .def(
          "predict_picture",
          [](const py::object& self, const py::object& picture) {
            return py::module_::import("edgeward.inputs.prediction").attr("predict_picture")(self, picture);
          },
          py::arg("picture"),
          "What predict gives for a picture: a path, the bytes of a file, or uint8 [height, width] or [height, width, "
          "3] in RGB.\n\nIt is prepared by the package's recipe, else scaled and cropped to the input. For a model of "
          "one input. Needs Pillow. Raises BadInput, OSError, and as predict.")
      .def(
          "predict_sound",
          [](const py::object& self, const py::object& sound) {
            return py::module_::import("edgeward.inputs.prediction").attr("predict_sound")(self, sound);
          },
          py::arg("sound"),
          "What predict gives for a sound: a path, the bytes of a .wav file, or floats [frame] or [frame, channel] at "
          "the recipe's rate.\n\nIt is prepared by the package's recipe. For a model of one input. Raises BadInput "
          "without a recipe of sound, OSError, and as predict.")
      .def(
          "predict_windows",
          [](const py::object& self, const py::object& sound) {
            return py::module_::import("edgeward.inputs.prediction").attr("predict_windows")(self, sound);
          },
          py::arg("sound"),
          "An iterator of what predict gives for each window of a sound, as predict_sound takes it: begin_s, end_s and "
          "answer.\n\nWindows are the recipe's step apart, the last one padded with silence; without a step there is "
          "one. The answers are computed as they are asked for. Raises as predict_sound.")
      .def("read_member", &read_kept_member, py::arg("name"),
           "The bytes of a small member of its package, such as \"labels.txt\"; None without.");
}

void bind_session(py::class_<PySession>& session) {
  session
      .def("__repr__", [](const PySession& self) { return "<Session " + signature_text(self.core->signature()) + ">"; })
      .def_property_readonly(
          "inputs", &session_inputs,
          "By name: arrays over the memory that the engine reads, of the model's dtypes and shapes. Fill them in "
          "place. They stay valid after close().")
      .def_property_readonly(
          "outputs", &session_outputs,
          "By name: arrays over the memory that the engine writes. An output whose shape depends on values is present "
          "after a run, as another array each time.")
      .def_property_readonly(
          "signature", [](const PySession& self) { return self.core->signature(); }, "The Signature that it runs.")
      .def_property_readonly(
          "copies", [](const PySession& self) { return self.core->copies(); }, "How many tensors were copied: none.")
      .def_property("gil", &gil<PySession>, &set_gil<PySession>, kGilText)
      .def("resize", &resize, py::arg("shapes"),
           "Set the shapes of dynamic inputs, by name: a tuple of ints for each. `inputs` and `outputs` then hold new "
           "arrays. Raises BadInput, and EngineFailed when the engine cannot plan them: shapes and arrays stay as they "
           "were.")
      .def(
          "reset", [](PySession& self) { self.core->reset(); },
          "Restore the initial state of a model that has state; nothing for another.")
      .def("time_bare_runs", &time_bare_runs, py::arg("count"),
           "Seconds that `count` calls of the engine take in a native loop, with nothing around each call.")
      .def("close", &close_session, "End the engine's session. Existing arrays stay readable; run() raises Closed.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](PySession& self, const py::args&) { leave([&] { close_session(self); }); });
}

void bind_model_and_session(py::module_& module) {
  py::class_<PyModel> model(
      module, "Model",
      "A model that is open and able to run. Any thread. Created by edgeward.load and load_unsigned.\n\n"
      "It may not be used in a forked child, and ends with close() or with the last reference to it.");
  py::class_<PySession> session(
      module, "Session",
      "One signature of a model with memory of its own, run in place. Created by Model.session.\n\n"
      "One thread at a time: a second one gets Busy. It may outlive the model. State is kept "
      "from one run to the next, until reset().");
  model
      .def("__repr__", [](const PyModel& self) { return "<Model " + signature_text(self.core->signatures()[0]) + ">"; })
      .def_property_readonly(
          "inputs", [](const PyModel& self) { return tuple_of(self.core->signatures()[0].inputs); },
          "A TensorSpec for each input of the first signature, in the order in which predict takes them.")
      .def_property_readonly(
          "outputs", [](const PyModel& self) { return tuple_of(self.core->signatures()[0].outputs); },
          "A TensorSpec for each output of the first signature.")
      .def_property_readonly("signatures", &signatures_of,
                             "Every way to call the model, by name; predict uses the first.")
      .def_property_readonly(
          "engine", [](const PyModel& self) { return self.core->report(); },
          "An EngineReport. The first call may run the model once to determine it.")
      .def_property_readonly(
          "threads", [](const PyModel& self) { return self.threads; }, "Threads that one run may use.")
      .def_property_readonly(
          "is_stateful", [](const PyModel& self) { return self.core->is_stateful(); },
          "Whether runs of a session depend on earlier ones. predict starts each call anew.")
      .def_property_readonly(
          "copies", [](const PyModel& self) { return self.core->copies(); },
          "How many inputs and outputs predict has copied, in all threads, since the model was loaded.")
      .def_property_readonly(
          "statistics",
          [](const PyModel& self) {
            const auto capture = self.core->capture();
            return capture == nullptr ? std::map<std::string, Statistics>() : capture->statistics();
          },
          "By signature, the Statistics of the runs that a Capture has seen; empty without a Capture.")
      .def(
          "drift",
          [](const py::object& self, const py::object& reference) {
            return py::module_::import("edgeward.model").attr("drift")(self, reference);
          },
          py::arg("reference"),
          "The Judgement of what it has counted so far by a package's `reference`. Raises BadInput when a Capture has "
          "counted nothing of it.")
      .def_property_readonly("memory", &memory_of,
                             "A MemoryReport: what the model holds now. Looks at each page: some 10 us for 64 MiB.")
      .def_property("gil", &gil<PyModel>, &set_gil<PyModel>, kGilText)
      .def("session", &make_session, py::arg("signature") = py::none(),
           "A Session of the caller's own, for the signature of this name or the first. Raises BadInput for a name "
           "that the "
           "model lacks, EngineFailed, OutOfMemory, Closed, Forked.")
      .def(
          "trim", [](PyModel& self) { self.core->trim(); }, py::call_guard<Unlocked>(),
          "End the sessions that predict keeps for its next calls, which give back their memory.")
      .def(
          "close", [](PyModel& self) { self.core->close(); }, py::call_guard<Unlocked>(),
          "Release the engine's memory; nothing when it is closed already. Existing sessions and arrays stay usable, "
          "predict and session() raise Closed.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](PyModel& self, const py::args&) { leave([&] { self.core->close(); }); });

  bind_session(session);
  bind_origin(model);
  add_predict(model, session);
  // Only the functions below and Model.session create them: no object exists without a model behind it.
  for (const py::handle type : {py::handle(model), py::handle(session)}) {
    reinterpret_cast<PyTypeObject*>(type.ptr())->tp_new = nullptr;
  }
}

void bind_opening(py::module_& module) {
  py::class_<Sharing>(module, "Sharing", "Where the processes of this user keep packed weights, or nowhere.")
      .def_static(
          "at",
          [](const py::object& directory, const std::string& processor, int threads) {
            return Sharing{path_of(directory), processor, threads};
          },
          py::arg("directory"), py::arg("processor"), py::arg("threads"),
          "A directory (str) that this user alone may enter, what tells the processor from others, and how many "
          "threads may compute digests.")
      .def_readonly("directory", &Sharing::directory)
      .def_readonly("processor", &Sharing::processor)
      .def_readonly("threads", &Sharing::threads);
  py::class_<File, std::shared_ptr<File>>(module, "ModelFile", "A model file, opened once and read as it is needed.")
      .def_static(
          "open",
          [](const py::object& path) {
            const std::string name = path_of(path);
            const Unlocked released;
            return std::make_shared<File>("model file", name, File::Links::followed);
          },
          py::arg("path"), "Raises OSError, BadInput when it is no regular file.")
      .def_property_readonly("size_bytes", &File::size_bytes, "When it was opened.")
      .def("head", &head_of, py::arg("size_bytes"), "The first bytes of it, as many as there are.");
  py::class_<Opening>(module, "Opening", "How a model is opened.")
      .def_property_readonly("engine", [](const Opening& opening) { return opening.library.name; })
      .def_readonly("threads", &Opening::threads);
  module.def("make_opening", &make_opening, py::arg("engine"), py::arg("library"), py::arg("version"),
             py::arg("threads"), py::arg("shows_log") = false, py::arg("budget_bytes") = 0,
             py::arg("reports_first") = false, py::arg("sharing") = py::none(),
             "An Opening in the engine whose library is located at `library`.\n\n"
             "With `shows_log` what the engine writes comes to standard error, beside the reasons of failures. "
             "`budget_bytes` is the most that all models of the process may hold, 0 for any. With `reports_first` the "
             "engine's report is made before the first session, which costs no compilation then. `sharing` is where "
             "other processes find the packed weights.");
  module.def("open_model", &make_model, py::arg("source"), py::arg("opening"), py::arg("external") = py::dict(),
             "A Model from a path (str), a ModelFile or bytes.\n\n"
             "`external` are the files that an .onnx keeps tensors in, by name, each a ModelFile or bytes.");
  module.def(
      "require_memory",
      [](uint64_t budget_bytes, uint64_t further_bytes) { MemoryBudget{budget_bytes}.require(further_bytes); },
      py::arg("budget_bytes"), py::arg("further_bytes"), py::call_guard<Unlocked>(),
      "Raises OverBudget when the models of this process and `further_bytes` exceed the budget.");
  module.def("open_outline", &make_outline, py::arg("file"), py::arg("opening"),
             "A Model of a .tflite without its large weights, to be described and not to be run.");
}

}  // namespace

std::unique_ptr<PyModel> model_of(Block file, const Opening& opening, std::vector<ExternalData> external) {
  auto model = std::make_unique<PyModel>();
  {
    const Unlocked released;
    model->core = opened(opening, std::move(file), std::move(external));
  }
  model->threads = opening.threads;
  const auto intern = [&](const std::vector<TensorSpec>& specs, std::vector<py::object>& names) {
    for (const TensorSpec& spec : specs) {
      model->has_strings |= spec.dtype == DType::string;
      names.push_back(py::reinterpret_steal<py::object>(PyUnicode_InternFromString(spec.name.c_str())));
    }
  };
  intern(model->core->signatures()[0].inputs, model->input_names);
  intern(model->core->signatures()[0].outputs, model->output_names);
  return model;
}

void set_session_strings(PySession& self) {
  if (!self.inputs) return;  // nobody has seen the arrays: the strings in force stay
  const auto& specs = self.core->signature().inputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].dtype != DType::string) continue;
    Strings strings = strings_from(py::object(self.inputs[py::str(specs[i].name)]), specs[i]);
    self.core->set_strings(i, strings.shape, std::move(strings.block));
  }
}

void bind_models(py::module_& module) {
  bind_values(module);
  bind_model_and_session(module);
  bind_opening(module);
  module.def(
      "model_format",
      [](const py::bytes& head) {
        const std::string_view bytes = head;
        return std::string(name(model_format(std::as_bytes(std::span(bytes.data(), bytes.size())))));
      },
      py::arg("head"), "\"tflite\", \"ort\" or \"onnx\", from the first 8 bytes of a file.");
}

}  // namespace edgeward
