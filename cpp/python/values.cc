#include "python/values.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <string>

#include "engines/engine.h"
#include "error.h"
#include "models/account.h"

namespace edgeward {
namespace {

constexpr size_t kMaxNameBytes = 60;
constexpr size_t kMaxSideBytes = 70;
constexpr size_t kFewScales = 4;

DType dtype_named(const std::string& word) {
  for (size_t i = 0; i < kDTypeCount; ++i) {
    if (name(static_cast<DType>(i)) == word) return static_cast<DType>(i);
  }
  throw Error(Code::bad_input, "dtype: expected that of a model, got \"", word, "\"");
}

py::object shape_object(const Shape& shape) {
  if (shape.is_unknown()) return py::none();
  py::tuple dims(shape.rank());
  for (size_t axis = 0; axis < shape.rank(); ++axis) dims[axis] = shape[axis];
  return dims;
}

Shape shape_of(const py::object& dims) {
  return dims.is_none() ? Shape::unknown() : Shape(dims.cast<std::vector<int64_t>>());
}

py::object quantization_of(const TensorSpec& spec) {
  return spec.quantization.scales.empty() ? py::none() : py::cast(spec.quantization);
}

std::string quantization_text(const py::object& self) {
  const auto& quantization = self.cast<const Quantization&>();
  const auto shown_as = [](const auto& number) { return py::repr(py::cast(number)).template cast<std::string>(); };
  const std::string axis = "axis=" + std::to_string(quantization.axis) + ")";
  if (quantization.scales.size() <= kFewScales) {
    const py::tuple zero_points = self.attr("zero_points");
    return "Quantization(scales=" + std::string(py::repr(self.attr("scales"))) +
           ", zero_points=" + std::string(py::repr(zero_points)) + ", " + axis;
  }
  const auto [least, most] = std::minmax_element(quantization.scales.begin(), quantization.scales.end());
  return "Quantization(" + std::to_string(quantization.scales.size()) + " scales from " + shown_as(*least) + " to " +
         shown_as(*most) + ", " + axis;
}

std::string side_text(const std::vector<TensorSpec>& specs, const char* noun) {
  std::string line;
  for (const TensorSpec& spec : specs)
    line += (line.empty() ? "" : ", ") + shown(spec.name) + " " + text(spec.dtype, spec.shape);
  if (!specs.empty() && line.size() <= kMaxSideBytes) return line;
  return std::to_string(specs.size()) + " " + noun + (specs.size() == 1 ? "" : "s");
}

void bind_specs(py::module_& module) {
  py::class_<Quantization> quantization(
      module, "Quantization",
      "What integers stand for: real = scale * (stored - zero_point). Compares by value.\n\n"
      "One scale and zero point for the tensor, or one for each index along `axis`.");
  quantization
      .def_property_readonly(
          "scales", [](const Quantization& q) { return tuple_of(q.scales); },
          "A float for the tensor, or for each index along `axis`.")
      .def_property_readonly(
          "zero_points", [](const Quantization& q) { return tuple_of(q.zero_points); }, "An int for each of `scales`.")
      .def_readonly("axis", &Quantization::axis, "The dimension that the scales go along, where there are several.")
      .def("__repr__", &quantization_text);
  add_value_methods(quantization, {"scales", "zero_points", "axis"}, [](const py::tuple& state) {
    return Quantization{state[0].cast<std::vector<float>>(), state[1].cast<std::vector<int64_t>>(),
                        state[2].cast<int32_t>()};
  });

  py::class_<TensorSpec> spec_class(module, "TensorSpec", "One input or output of a model. Compares by value.");
  spec_class.def_readonly("name", &TensorSpec::name, "By which predict and sessions know it.")
      .def_property_readonly(
          "dtype", [](const TensorSpec& spec) { return std::string(name(spec.dtype)); },
          "For example \"float32\" or \"string\". Of one that numpy lacks, such as \"bfloat16\", arrays hold the bits.")
      .def_property_readonly(
          "shape", [](const TensorSpec& spec) { return shape_object(spec.shape); },
          "A tuple of sizes; -1: any size. None: not even the number of dimensions is known before a run.")
      .def_property_readonly("quantization", &quantization_of,
                             "A Quantization, or None where values are what they stand for.")
      .def("__repr__", [](const TensorSpec& spec) {
        return "TensorSpec(\"" + shown(spec.name) + "\", " + std::string(name(spec.dtype)) + ", " + text(spec.shape) +
               ")";
      });
  add_value_methods(spec_class, {"name", "dtype", "shape", "quantization"}, [](const py::tuple& state) {
    return TensorSpec{state[0].cast<std::string>(), dtype_named(state[1].cast<std::string>()), shape_of(state[2]),
                      state[3].is_none() ? Quantization() : state[3].cast<Quantization>()};
  });
}

}  // namespace

std::string shown(std::string_view name) {
  std::string line;
  for (const char letter : name) {
    const auto byte = static_cast<unsigned char>(letter);
    const bool is_start = byte < 0x80 || byte >= 0xC0;  // of a character in UTF-8
    if (line.size() >= kMaxNameBytes && is_start) return line + "...";
    line += byte < 0x20 || byte == 0x7F ? '?' : letter;
  }
  return line;
}

std::string signature_text(const Signature& signature) {
  return side_text(signature.inputs, "input") + " -> " + side_text(signature.outputs, "output");
}

void bind_values(py::module_& module) {
  bind_specs(module);

  py::class_<Signature> signature_class(module, "Signature", "One way to call a model. Compares by value.");
  signature_class.def_readonly("name", &Signature::name, "What Model.session takes.")
      .def_property_readonly(
          "inputs", [](const Signature& signature) { return tuple_of(signature.inputs); },
          "A TensorSpec for each input, in order.")
      .def_property_readonly(
          "outputs", [](const Signature& signature) { return tuple_of(signature.outputs); },
          "A TensorSpec for each output, in order.")
      .def("__repr__", [](const Signature& signature) {
        return "Signature(\"" + shown(signature.name) + "\", " + signature_text(signature) + ")";
      });
  add_value_methods(signature_class, {"name", "inputs", "outputs"}, [](const py::tuple& state) {
    return Signature{state[0].cast<std::string>(), state[1].cast<std::vector<TensorSpec>>(),
                     state[2].cast<std::vector<TensorSpec>>()};
  });

  py::class_<EngineReport> report_class(module, "EngineReport", "Which engine runs a model, and with which kernels.");
  report_class.def_readonly("name", &EngineReport::name, "\"litert\", \"litert-interpreter\", \"onnx\" or \"tflite\".")
      .def_readonly("version", &EngineReport::version, "Of the installed package.")
      .def_readonly("delegate", &EngineReport::delegate,
                    "What runs the nodes that are not left to reference kernels, such as \"XNNPACK\"; \"none\" or \"\" "
                    "without.")
      .def_readonly("node_count", &EngineReport::node_count,
                    "Nodes of the model; -1 when the engine does not report them.")
      .def_readonly("fallback_count", &EngineReport::fallback_count,
                    "Nodes left to reference kernels; -1 when the engine does not report them.")
      .def_readonly("shares_weights", &EngineReport::shares_weights,
                    "Whether sessions run on one copy of the weights as they are packed for the processor.")
      .def_readonly("is_shared", &EngineReport::is_shared,
                    "Whether that copy is in a file which other processes of this user map too.")
      .def("__repr__", [](const EngineReport& report) {
        return "EngineReport(\"" + report.name + "\", \"" + report.version + "\", delegate=\"" + report.delegate +
               "\", node_count=" + std::to_string(report.node_count) +
               ", fallback_count=" + std::to_string(report.fallback_count) + ")";
      });
  add_value_methods(
      report_class, {"name", "version", "delegate", "node_count", "fallback_count", "shares_weights", "is_shared"},
      [](const py::tuple& state) {
        return EngineReport{state[0].cast<std::string>(), state[1].cast<std::string>(), state[2].cast<std::string>(),
                            state[3].cast<int64_t>(),     state[4].cast<int64_t>(),     state[5].cast<bool>(),
                            state[6].cast<bool>()};
      });

  py::class_<MemoryReport> memory_class(module, "MemoryReport",
                                        "What a model holds in memory, in bytes that were resident when it was asked.");
  memory_class
      .def_readonly("file_bytes", &MemoryReport::file_bytes,
                    "Of the model file, as far as it is kept. ONNX Runtime has an .onnx in a form of its own.")
      .def_readonly("packed_bytes", &MemoryReport::packed_bytes,
                    "Weights as they are packed for the processor, which all sessions share. 0 before the second "
                    "session, and where each session packs for itself.")
      .def_readonly("arenas_bytes", &MemoryReport::arenas_bytes,
                    "What the engine took: its copies of weights, those that sessions packed for themselves, and the "
                    "tensors between operators.\n\n"
                    "Measured: what the process grew by while the model was opened, sessions were made, and each first "
                    "ran on inputs of its largest size, less the other kinds. What other threads allocated meanwhile "
                    "is in it.")
      .def_readonly("outputs_bytes", &MemoryReport::outputs_bytes,
                    "Memory of Edgeward's for inputs and outputs of numbers, with the arrays of results that the "
                    "program keeps; as allocated, whether or not it was touched.")
      .def_readonly("session_count", &MemoryReport::session_count, "Sessions that are open, idle ones included.")
      .def_property_readonly("total_bytes", &MemoryReport::total_bytes, "The sum of the bytes.")
      .def("__repr__", [](const MemoryReport& report) {
        return "MemoryReport(file_bytes=" + std::to_string(report.file_bytes) +
               ", packed_bytes=" + std::to_string(report.packed_bytes) +
               ", arenas_bytes=" + std::to_string(report.arenas_bytes) +
               ", outputs_bytes=" + std::to_string(report.outputs_bytes) +
               ", session_count=" + std::to_string(report.session_count) + ")";
      });
  add_value_methods(memory_class, {"file_bytes", "packed_bytes", "arenas_bytes", "outputs_bytes", "session_count"},
                    [](const py::tuple& state) {
                      return MemoryReport{state[0].cast<uint64_t>(), state[1].cast<uint64_t>(),
                                          state[2].cast<uint64_t>(), state[3].cast<uint64_t>(),
                                          state[4].cast<uint64_t>()};
                    });
}

}  // namespace edgeward
