#include "python/litert_interpreter.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>
#include <utility>

#include "bytes/bytes.h"
#include "engines/lacking_operator.h"
#include "engines/last_words.h"
#include "engines/library.h"
#include "error.h"
#include "model_files/tflite_file.h"
#include "python/arrays.h"
#include "python/interpreter.h"
#include "system/fork.h"
#include "system/resident.h"
#include "tensor/string_block.h"

namespace edgeward {
namespace {

// ---- From a Python exception to an Error.

std::string in_one_line(std::string words) {
  while (!words.empty() && std::isspace(static_cast<unsigned char>(words.back())) != 0) words.pop_back();
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words;
}

// Calls `function`, with the interpreter lock held. What it raises becomes an Error in the engine's words.
template <class Function>
auto asking(Code code, const char* doing, const Function& function) -> decltype(function()) {
  try {
    return function();
  } catch (py::error_already_set& error) {
    const std::string lines = py::str(error.value());
    const std::string words = in_one_line(lines);
    if (const std::string lacking = lacking_operator(lines); !lacking.empty()) {
      throw Error(Code::unsupported_model, "litert-interpreter: operator \"", lacking, "\": ", kLacksOperator, ": ",
                  words);
    }
    throw Error(error.matches(PyExc_MemoryError) ? Code::out_of_memory : code, "litert-interpreter: ", doing,
                ": expected success, got ", words.empty() ? "no reason" : words);
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    wait_for_the_end();  // the engine has given up the lock and cannot take it back
  }
}

// ---- What sessions share.

// A bytes object in memory of ours. The engine wants such an object, and keeps the address of its contents: no copy,
// and no reference. Its first reference is never given up, so that Python never frees the memory. With the interpreter
// lock held.
class BorrowedBytes {
 public:
  explicit BorrowedBytes(Bytes bytes)
      : block_(Block::secret(kBlockAlignment + bytes.size() + 1)),
        object_(reinterpret_cast<PyObject*>(block_.data() + kBlockAlignment - offsetof(PyBytesObject, ob_sval))) {
    static_assert(offsetof(PyBytesObject, ob_sval) <= kBlockAlignment);
    PyObject_InitVar(reinterpret_cast<PyVarObject*>(object_), &PyBytes_Type, static_cast<Py_ssize_t>(bytes.size()));
    // The block is zeroed: a zero follows the contents, as in every bytes object.
    if (!bytes.empty()) std::memcpy(block_.data() + kBlockAlignment, bytes.data(), bytes.size());
  }
  ~BorrowedBytes() {
    // Who else has a reference may read the memory, which then stays.
    if (Py_REFCNT(object_) != 1) leave_alone(block_);
  }
  BorrowedBytes(const BorrowedBytes&) = delete;
  BorrowedBytes& operator=(const BorrowedBytes&) = delete;

  py::object object() const { return py::reinterpret_borrow<py::object>(object_); }
  uint64_t resident_bytes() const { return edgeward::resident_bytes(block_.data(), block_.size_bytes()); }

 private:
  Block block_;
  PyObject* object_;
};

std::vector<TensorSpec> specs_of(const std::vector<TfliteTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const TfliteTensor& tensor : tensors) {
    specs.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.quantization});
  }
  return specs;
}

// The engine shows numpy no tensor of bfloat16, and takes no scalar of a packed type.
void require_dtypes(const std::vector<TfliteTensor>& tensors) {
  for (const TfliteTensor& tensor : tensors) {
    if (tensor.dtype != DType::bfloat16 && !(is_packed(tensor.dtype) && tensor.shape.rank() == 0)) continue;
    throw Error(Code::unsupported_model, "litert-interpreter: tensor \"", tensor.name,
                "\": expected a dtype that numpy shows, got ", name(tensor.dtype), " ", text(tensor.shape));
  }
}

// Constructed and deleted with the interpreter lock held.
struct Weights {
  Weights(Bytes bytes, TfliteFile read, int thread_count, EngineLog shown);

  TfliteFile facts;
  int threads;
  EngineLog log;
  std::vector<Signature> signatures;
  BorrowedBytes file;
  py::object interpreter_class;
};

// The library that the package's extension modules share; one without it is not heard.
void hear_package() {
  const py::object path = py::module_::import("ai_edge_litert").attr("__path__");
  const std::string directory = py::str(path[py::int_(0)]);
  try {
    hear(Library(directory + "/libpywrap_litert_common.so"));
  } catch (const Error&) {
  }
}

Weights::Weights(Bytes bytes, TfliteFile read, int thread_count, EngineLog shown)
    : facts(std::move(read)), threads(thread_count), log(shown), file(bytes) {
  for (const TfliteSignature& signature : facts.signatures) {
    require_dtypes(signature.inputs);
    require_dtypes(signature.outputs);
    signatures.push_back({signature.key, specs_of(signature.inputs), specs_of(signature.outputs)});
  }
  interpreter_class = asking(Code::engine_mismatch, "importing the package",
                             [] { return py::module_::import("ai_edge_litert.interpreter").attr("Interpreter"); });
  asking(Code::engine_mismatch, "importing the package", hear_package);
}

// ---- The engine's interpreter of one model. With the interpreter lock held.

// A tensor's memory. It stays where it is until the next resize or run; that of a scalar is a copy.
struct Region {
  py::object array;
  Shape shape;
  std::byte* data;
  size_t item_bytes;
};

class Interpreter {
 public:
  Interpreter(const Weights& weights, size_t subgraph_index);

  void resize(int32_t tensor, const Shape& shape) const;
  void allocate() const;
  // Gives up the interpreter lock meanwhile.
  void run() const {
    asking(Code::engine_failed, "running", [&] { invoke_(subgraph_); });
  }
  void reset_variables() const {
    asking(Code::engine_failed, "resetting the state", [&] { wrapper_.attr("ResetVariableTensors")(); });
  }
  Shape shape(int32_t tensor) const;
  void set_scalar(int32_t tensor, const TensorView& source) const {
    asking(Code::engine_failed, "setting an input", [&] {
      wrapper_.attr("SetTensor")(tensor, array_over(source.dtype, source.shape, source.data, py::none()), subgraph_);
    });
  }
  void set_strings(int32_t tensor, const TensorView& source) const;
  // A StringBlock of the shape that the tensor has.
  Block strings(int32_t tensor, const Shape& shape) const;
  Region region(int32_t tensor) const;
  bool has_delegate(const std::string& name) const;

 private:
  size_t subgraph_;
  EngineLog log_;
  py::object wrapper_;  // what the package's class stands on: without checks of its own
  py::object invoke_;   // its methods that each run calls
  py::object tensor_;
};

// The class takes preserved tensors for debugging, and warns of them. Python's filters are of the whole process: one
// that is put back afterwards would be put back by another thread too, or by none after a failure. This one stays, and
// is there once.
void ignore_debugging_warning() {
  py::module_::import("warnings")
      .attr("filterwarnings")("ignore", py::arg("message") = "Warning: Enabling `experimental_preserve_all_tensors`",
                              py::arg("module") = "ai_edge_litert\\.interpreter");
}

Interpreter::Interpreter(const Weights& weights, size_t subgraph_index) : subgraph_(subgraph_index), log_(weights.log) {
  const LastWords unasked(log_);  // the reasons come as exceptions
  asking(Code::unsupported_model, "opening the model", [&] {
    // A tensor that is zeroed before a run is zero until its own operator runs only when no other shares its memory.
    const auto& signatures = weights.facts.signatures;
    const bool has_partial = std::any_of(signatures.begin(), signatures.end(), [](const TfliteSignature& signature) {
      return !signature.partial_tensors.empty();
    });
    if (has_partial) ignore_debugging_warning();
    const py::object resolvers = py::module_::import("ai_edge_litert.interpreter").attr("OpResolverType");
    const char* resolver = weights.facts.may_delegate ? "AUTO" : "BUILTIN_WITHOUT_DEFAULT_DELEGATES";
    const py::object owner = weights.interpreter_class(
        py::arg("model_content") = weights.file.object(),
        py::arg("experimental_op_resolver_type") = resolvers.attr(resolver), py::arg("num_threads") = weights.threads,
        py::arg("experimental_preserve_all_tensors") = has_partial);
    wrapper_ = owner.attr("_interpreter");
    invoke_ = wrapper_.attr("Invoke");
    tensor_ = wrapper_.attr("tensor");
  });
}

void Interpreter::resize(int32_t tensor, const Shape& shape) const {
  std::vector<int32_t> dims;
  for (const int64_t dim : shape) {
    if (dim > INT32_MAX) throw Error(Code::bad_input, "input: expected dimensions below 2^31, got ", text(shape));
    dims.push_back(static_cast<int32_t>(dim));
  }
  asking(Code::engine_failed, "resizing an input", [&] {
    const py::array_t<int32_t> sizes(static_cast<py::ssize_t>(dims.size()), dims.data());
    wrapper_.attr("ResizeInputTensor")(tensor, sizes, false, subgraph_);
  });
}

void Interpreter::allocate() const {
  const LastWords unasked(log_);
  asking(Code::engine_failed, "allocating tensors", [&] {
    // For the first subgraph as the package's class does it, which reports why a delegate failed.
    if (subgraph_ == 0) {
      wrapper_.attr("AllocateTensors")();
    } else {
      wrapper_.attr("AllocateTensors")(subgraph_);
    }
  });
}

Shape Interpreter::shape(int32_t tensor) const {
  return asking(Code::engine_failed, "reading a shape", [&] {
    const py::array_t<int64_t> sizes(wrapper_.attr("TensorSize")(tensor, subgraph_));
    return Shape(std::span(sizes.data(), static_cast<size_t>(sizes.size())));
  });
}

void Interpreter::set_strings(int32_t tensor, const TensorView& source) const {
  const auto block = StringBlock::try_read({source.data, source.size_bytes});
  if (!block || element_count(source.shape) != block->count()) {
    throw Error(Code::engine_failed, "litert-interpreter: expected strings of shape ", text(source.shape));
  }
  asking(Code::engine_failed, "setting an input", [&] {
    if (source.shape.rank() == 0) {
      // Of an array of objects without dimensions it takes the address.
      const std::string_view value = (*block)[0];
      const py::dtype fixed("S" + std::to_string(value.size()));
      const py::array array(fixed, std::vector<py::ssize_t>(), std::vector<py::ssize_t>(), value.data(), py::none());
      wrapper_.attr("SetTensor")(tensor, array, subgraph_);
      return;
    }
    py::list values;
    for (size_t i = 0; i < block->count(); ++i) values.append(py::bytes((*block)[i].data(), (*block)[i].size()));
    const py::array array(py::dtype("O"), std::vector<py::ssize_t>(source.shape.begin(), source.shape.end()));
    array.attr("flat") = values;
    wrapper_.attr("SetTensor")(tensor, array, subgraph_);
  });
}

Block Interpreter::strings(int32_t tensor, const Shape& shape) const {
  std::vector<std::string> values;
  // It reads the count of the strings, which a tensor without any may not have.
  if (std::find(shape.begin(), shape.end(), 0) == shape.end()) {
    asking(Code::engine_failed, "reading strings", [&] {
      const py::array array = wrapper_.attr("GetTensor")(tensor, subgraph_);
      for (const py::handle value : array.attr("flat")) values.emplace_back(py::reinterpret_borrow<py::bytes>(value));
    });
  }
  size_t text_bytes = 0;
  for (const std::string& value : values) text_bytes += value.size();
  const auto size = string_block_bytes(values.size(), text_bytes);
  if (!size) throw Error(Code::out_of_memory, "litert-interpreter: expected fewer strings, got ", values.size());
  Block block = Block::uninitialized(*size);
  StringBlockWriter writer({block.data(), block.size_bytes()}, values.size());
  for (const std::string& value : values) {
    std::byte* data = writer.add(value.size());
    if (!value.empty()) std::memcpy(data, value.data(), value.size());
  }
  return block;
}

Region Interpreter::region(int32_t tensor) const {
  try {
    const py::array array = tensor_(py::none(), tensor, subgraph_);
    const std::vector<int64_t> dims(array.shape(), array.shape() + array.ndim());
    // numpy's own flags do not matter: the memory is the engine's, and all of it is written by others.
    auto* data = static_cast<std::byte*>(const_cast<void*>(array.data()));
    return {array, Shape(dims), data, static_cast<size_t>(array.itemsize())};
  } catch (py::error_already_set& error) {
    const Shape empty = shape(tensor);
    // It has no array for a tensor without elements that once had some.
    if (std::find(empty.begin(), empty.end(), 0) != empty.end()) return {py::none(), empty, nullptr, 0};
    throw Error(Code::engine_failed, "litert-interpreter: reading a tensor: expected memory, got ",
                in_one_line(py::str(error.value())));
  }
}

bool Interpreter::has_delegate(const std::string& name) const {
  return asking(Code::engine_failed, "reading the nodes", [&] {
    const auto count = wrapper_.attr("NumNodes")().cast<int>();
    for (int i = 0; i < count; ++i) {
      if (wrapper_.attr("NodeName")(i).cast<std::string>() == name) return true;
    }
    return false;
  });
}

using OwnedInterpreter = std::unique_ptr<Interpreter, DeleteLocked>;

// ---- A session.

// A binding: borrowed memory, or (after a run) memory of its own.
struct Bound {
  TensorView view;
  Block block;
};

const Bound& bound(Binding binding) { return *static_cast<const Bound*>(binding); }

class LitertInterpreterSession final : public EngineSession {
 public:
  LitertInterpreterSession(std::shared_ptr<const Weights> weights, size_t signature_index)
      : weights_(std::move(weights)), facts_(weights_->facts.signatures[signature_index]),
        interpreter_(make_interpreter()) {}

  void resize(std::span<const Shape> input_shapes) override;
  Shape output_shape(size_t index) const override { return output_shapes_[index]; }
  Binding bind(Side, size_t, const TensorView& view) override { return new Bound{view, {}}; }
  void release(Binding binding) noexcept override { delete static_cast<Bound*>(binding); }
  void run(std::span<const Binding> inputs, std::span<Binding> outputs) override;
  TensorView view(Binding binding, Block&) const override { return bound(binding).view; }
  void reset() override;

 private:
  OwnedInterpreter make_interpreter() const;
  void impose(std::span<const Shape> input_shapes);
  Shape planned_shape(const TfliteTensor& output) const;
  static void expect(const Region& region, const TfliteTensor& tensor, const Shape& shape);
  std::unique_ptr<Bound> taken(const TfliteTensor& output, const Region& region) const;
  std::unique_ptr<Bound> taken_strings(const TfliteTensor& output) const;

  std::shared_ptr<const Weights> weights_;
  const TfliteSignature& facts_;
  OwnedInterpreter interpreter_;
  std::vector<Shape> input_shapes_;
  std::vector<Shape> output_shapes_;
};

OwnedInterpreter LitertInterpreterSession::make_interpreter() const {
  const Locked locked;
  return OwnedInterpreter(new Interpreter(*weights_, facts_.subgraph_index));
}

void LitertInterpreterSession::resize(std::span<const Shape> input_shapes) {
  const Locked locked;
  impose(input_shapes);
  input_shapes_.assign(input_shapes.begin(), input_shapes.end());
  output_shapes_.clear();
  for (const TfliteTensor& output : facts_.outputs) output_shapes_.push_back(planned_shape(output));
}

void LitertInterpreterSession::impose(std::span<const Shape> input_shapes) {
  for (size_t i = 0; i < facts_.inputs.size(); ++i) {
    const int32_t tensor = facts_.inputs[i].tensor_index;
    if (!(interpreter_->shape(tensor) == input_shapes[i])) interpreter_->resize(tensor, input_shapes[i]);
  }
  interpreter_->allocate();
}

// The engine plans a graph up to the first node whose output's shape depends on values: a shape that it reports before
// a run may be the file's, which is a guess.
Shape LitertInterpreterSession::planned_shape(const TfliteTensor& output) const {
  if (facts_.open_operator.empty() || !(output.has_open_shape || output.shape.is_dynamic())) {
    return interpreter_->shape(output.tensor_index);
  }
  return output.shape;
}

// The engine's memory is as large as it says; we read and write as many bytes as dtype and shape say.
void LitertInterpreterSession::expect(const Region& region, const TfliteTensor& tensor, const Shape& shape) {
  const bool has_width =
      region.data == nullptr || is_packed(tensor.dtype) || region.item_bytes * 8 == bits(tensor.dtype);
  if (region.shape == shape && has_width) return;
  throw Error(Code::engine_failed, "tensor \"", tensor.name, "\": expected ", name(tensor.dtype), " ", text(shape),
              ", got ", text(region.shape), " of ", region.item_bytes, " bytes each");
}

void LitertInterpreterSession::run(std::span<const Binding> inputs, std::span<Binding> outputs) {
  const Locked locked;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TfliteTensor& input = facts_.inputs[i];
    const TensorView& source = bound(inputs[i]).view;
    if (source.dtype == DType::string) {
      interpreter_->set_strings(input.tensor_index, source);
      continue;
    }
    if (source.shape.rank() == 0) {
      interpreter_->set_scalar(input.tensor_index, source);
      continue;
    }
    const Region region = interpreter_->region(input.tensor_index);
    expect(region, input, input_shapes_[i]);
    if (region.data != nullptr) std::memcpy(region.data, source.data, source.size_bytes);
  }
  for (const int32_t tensor : facts_.partial_tensors) {
    const Region region = interpreter_->region(tensor);
    if (region.data != nullptr)
      std::memset(region.data, 0, static_cast<size_t>(region.array.attr("nbytes").cast<int64_t>()));
  }
  interpreter_->run();
  std::vector<std::unique_ptr<Bound>> taken_outputs(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TfliteTensor& output = facts_.outputs[i];
    if (output.dtype == DType::string) {
      taken_outputs[i] = taken_strings(output);
      continue;
    }
    const Region region = interpreter_->region(output.tensor_index);
    if (outputs[i] == nullptr) {
      taken_outputs[i] = taken(output, region);
      continue;
    }
    const TensorView& target = bound(outputs[i]).view;
    if (!(region.shape == target.shape)) {
      output_shapes_[i] = output.shape.is_dynamic() ? output.shape : Shape::unknown();
      throw OtherShapes(Code::engine_failed, "litert-interpreter: output \"", output.name, "\": expected ",
                        text(target.shape), ", got ", text(region.shape));
    }
    expect(region, output, target.shape);
    if (region.data != nullptr) std::memcpy(target.data, region.data, target.size_bytes);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == nullptr) outputs[i] = taken_outputs[i].release();
  }
}

// A copy: the next run frees or moves the tensor's memory.
std::unique_ptr<Bound> LitertInterpreterSession::taken(const TfliteTensor& output, const Region& region) const {
  expect(region, output, region.shape);
  const auto size = size_bytes(output.dtype, region.shape);
  if (!size)
    throw Error(Code::engine_failed, "output \"", output.name, "\": expected a size, got ", text(region.shape));
  auto copy = std::make_unique<Bound>();
  copy->block = Block::uninitialized(*size);
  copy->view = {output.dtype, region.shape, copy->block.data(), *size};
  if (region.data != nullptr) std::memcpy(copy->view.data, region.data, *size);
  return copy;
}

std::unique_ptr<Bound> LitertInterpreterSession::taken_strings(const TfliteTensor& output) const {
  auto copy = std::make_unique<Bound>();
  const Shape shape = interpreter_->shape(output.tensor_index);
  copy->block = interpreter_->strings(output.tensor_index, shape);
  copy->view = {output.dtype, shape, copy->block.data(), copy->block.size_bytes()};
  return copy;
}

void LitertInterpreterSession::reset() {
  if (!weights_->facts.is_stateful) return;
  if (weights_->facts.has_named_variables) {
    // The package has no function that clears them.
    interpreter_ = make_interpreter();
    const Locked locked;
    impose(input_shapes_);
    return;
  }
  const Locked locked;
  interpreter_->reset_variables();
}

// ---- The engine.

class LitertInterpreterEngine final : public Engine {
 public:
  LitertInterpreterEngine(std::shared_ptr<const Weights> weights, std::string version)
      : weights_(std::move(weights)), version_(std::move(version)) {}

  const std::vector<Signature>& signatures() const override { return weights_->signatures; }
  // The engine has memory of its own: whatever is bound is copied.
  MemoryRules memory_rules() const override { return {1, 0}; }
  bool is_stateful() const override { return weights_->facts.is_stateful; }
  bool leaves_unwritten() const override { return false; }  // its own tensors are zeroed
  EngineReport report() const override;
  bool shares_weights() const override { return false; }
  EngineMemory memory() const override { return {weights_->file.resident_bytes()}; }
  std::unique_ptr<EngineSession> make_session(size_t signature_index) const override {
    return std::make_unique<LitertInterpreterSession>(weights_, signature_index);
  }

 private:
  std::shared_ptr<const Weights> weights_;
  std::string version_;
};

EngineReport LitertInterpreterEngine::report() const {
  const Locked locked;
  const Interpreter interpreter(*weights_, 0);
  try {
    interpreter.allocate();
  } catch (const Error&) {
    // The file's shapes cannot be planned; those of a session may. The delegate has been asked before.
  }
  const bool is_delegated = interpreter.has_delegate("TfLiteXNNPackDelegate");
  return {kLitertInterpreter, version_, is_delegated ? "XNNPACK" : "none", weights_->facts.node_count, -1};
}

}  // namespace

std::unique_ptr<Engine> open_litert_interpreter(const std::string& version, Block file, int threads, EngineLog log) {
  const Bytes bytes(file.data(), file.size_bytes());
  TfliteFile facts = read_tflite(bytes);
  require_version("ai-edge-litert", version, {2, 2}, {2, 4});
  require_custom_operators(kLitertInterpreter, facts);
  const Locked locked;
  std::shared_ptr<const Weights> weights(new Weights(bytes, std::move(facts), threads, log), DeleteLocked());
  return std::make_unique<LitertInterpreterEngine>(std::move(weights), version);
}

}  // namespace edgeward
