#include "engines/onnx.h"

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <type_traits>

#include "bytes/bytes.h"
#include "engines/handle.h"
#include "engines/library.h"
#include "engines/weight_directory.h"
#include "error.h"
#include "model_files/model_format.h"
#include "model_files/onnx_file.h"
#include "model_files/ort_file.h"
#include "system/file.h"
#include "system/resident.h"
#include "tensor/string_block.h"

namespace edgeward {
namespace {

// ---- The C ABI, as far as it is called: slots of a table that only ever grows.

using Status = void*;

constexpr uint32_t kApiVersion = 18;
constexpr int kLogWarning = 2;
constexpr int kLogFatal = 4;  // errors reach the caller as errors
constexpr int kAllOptimizations = 99;
constexpr int kDeviceAllocator = 0;
constexpr int kDefaultMemory = 0;

struct ApiBase {
  const void* const* (*get_api)(uint32_t);
  const char* (*version)();
};

template <size_t slot, class Function>
void take(const void* const* table, Function& function) {
  function = reinterpret_cast<Function>(const_cast<void*>(table[slot]));
}

struct Api {
  explicit Api(const Library& library);

  std::vector<Bytes> identity;  // the library's

  const char* (*error_message)(Status);
  void (*release_status)(Status);
  Status (*create_env)(int, const char*, Handle*);
  Status (*create_session)(Handle, const void*, size_t, Handle, Handle*);
  Status (*run)(Handle, Handle, const char* const*, const Handle*, size_t, const char* const*, size_t, Handle*);
  Status (*create_options)(Handle*);
  Status (*create_run_options)(Handle*);
  Status (*add_run_config)(Handle, const char*, const char*);
  Status (*set_severity)(Handle, int);
  Status (*set_optimization)(Handle, int);
  Status (*set_intra_threads)(Handle, int);
  Status (*set_inter_threads)(Handle, int);
  Status (*set_saved_path)(Handle, const char*);
  Status (*add_config)(Handle, const char*, const char*);
  Status (*add_large)(Handle, const char* const*, const Handle*, size_t);
  Status (*add_external)(Handle, const char* const*, char* const*, const size_t*, size_t);
  Status (*input_count)(Handle, size_t*);
  Status (*output_count)(Handle, size_t*);
  Status (*input_type)(Handle, size_t, Handle*);
  Status (*output_type)(Handle, size_t, Handle*);
  Status (*input_name)(Handle, size_t, Handle, char**);
  Status (*output_name)(Handle, size_t, Handle, char**);
  Status (*allocator)(Handle*);
  Status (*allocator_free)(Handle, void*);
  Status (*create_strings)(Handle, const int64_t*, size_t, int, Handle*);
  Status (*create_value)(Handle, void*, size_t, const int64_t*, size_t, int, Handle*);
  Status (*value_data)(Handle, void**);
  Status (*string_room)(Handle, size_t, size_t, char**);
  Status (*strings_bytes)(Handle, size_t*);
  Status (*strings_content)(Handle, void*, size_t, size_t*, size_t);
  Status (*value_shape)(Handle, Handle*);
  Status (*value_kind)(Handle, int*);
  Status (*tensor_info)(Handle, Handle*);
  Status (*element_type)(Handle, int*);
  Status (*rank)(Handle, size_t*);
  Status (*dims)(Handle, int64_t*, size_t);
  Status (*symbolic_dims)(Handle, const char**, size_t);
  Status (*cpu_memory)(int, int, Handle*);
  void (*release_session)(Handle);
  void (*release_value)(Handle);
  void (*release_type)(Handle);
  void (*release_shape)(Handle);
  void (*release_options)(Handle);

  // Created once per library, and kept with it.
  Handle env = nullptr;
  Handle memory = nullptr;
  Handle default_allocator = nullptr;
  Handle shrinking_run = nullptr;  // options of a run that gives back what it took between the operators

  // What a failure says. Releases it.
  std::string message(Status status) const {
    std::string message = std::string("onnx: ") + error_message(status);
    release_status(status);
    // The engine's text may have several lines; an error message has one.
    std::replace(message.begin(), message.end(), '\n', ' ');
    return message;
  }
  void check(Status status, Code code = Code::engine_failed) const {
    if (status != nullptr) throw Error(code, message(status));
  }
};

Api::Api(const Library& library) : identity(library.identity()) {
  const auto base_of = library.symbol<const ApiBase* (*)()>("OrtGetApiBase");
  const void* const* table = base_of()->get_api(kApiVersion);
  if (table == nullptr) {
    throw Error(Code::engine_mismatch, "engine library \"", library.path(), "\": expected API version ", kApiVersion,
                ", got a library that does not serve it (", base_of()->version(), ")");
  }
  take<2>(table, error_message);
  take<3>(table, create_env);
  take<8>(table, create_session);
  take<9>(table, run);
  take<10>(table, create_options);
  take<11>(table, set_saved_path);
  take<22>(table, set_severity);
  take<23>(table, set_optimization);
  take<24>(table, set_intra_threads);
  take<25>(table, set_inter_threads);
  take<30>(table, input_count);
  take<31>(table, output_count);
  take<33>(table, input_type);
  take<34>(table, output_type);
  take<36>(table, input_name);
  take<37>(table, output_name);
  take<39>(table, create_run_options);
  take<48>(table, create_strings);
  take<49>(table, create_value);
  take<51>(table, value_data);
  take<53>(table, strings_bytes);
  take<54>(table, strings_content);
  take<55>(table, tensor_info);
  take<56>(table, value_kind);
  take<60>(table, element_type);
  take<61>(table, rank);
  take<62>(table, dims);
  take<63>(table, symbolic_dims);
  take<65>(table, value_shape);
  take<69>(table, cpu_memory);
  take<76>(table, allocator_free);
  take<78>(table, allocator);
  take<93>(table, release_status);
  take<95>(table, release_session);
  take<96>(table, release_value);
  take<98>(table, release_type);
  take<99>(table, release_shape);
  take<100>(table, release_options);
  take<130>(table, add_config);
  take<165>(table, add_run_config);
  take<210>(table, add_large);
  take<252>(table, string_room);
  take<279>(table, add_external);
  check(create_env(kLogFatal, "edgeward", &env));
  check(cpu_memory(kDeviceAllocator, kDefaultMemory, &memory));
  check(allocator(&default_allocator));
  check(create_run_options(&shrinking_run));
  check(add_run_config(shrinking_run, "memory.enable_memory_arena_shrinkage", "cpu:0"));
}

struct ElementType {
  DType dtype;
  int number;  // ONNXTensorElementDataType: the standard's numbers, and from 24 on others
};
constexpr ElementType kElementTypes[] = {
    {DType::float32, 1},
    {DType::uint8, 2},
    {DType::int8, 3},
    {DType::uint16, 4},
    {DType::int16, 5},
    {DType::int32, 6},
    {DType::int64, 7},
    {DType::string, 8},
    {DType::boolean, 9},
    {DType::float16, 10},
    {DType::float64, 11},
    {DType::uint32, 12},
    {DType::uint64, 13},
    {DType::complex64, 14},
    {DType::complex128, 15},
    {DType::bfloat16, 16},
    {DType::float8_e4m3fn, 17},
    {DType::float8_e4m3fnuz, 18},
    {DType::float8_e5m2, 19},
    {DType::float8_e5m2fnuz, 20},
    {DType::uint4, 21},
    {DType::int4, 22},
    {DType::uint2, 24},
    {DType::int2, 25},
    {DType::float8_e8m0fnu, 26},
};
constexpr int64_t kFirstOtherNumber = 24;
constexpr int kFloat4e2m1 = 23;  // no operator of the CPU takes it

DType dtype_of(int number, const char* side, const std::string& name) {
  for (const ElementType& type : kElementTypes) {
    if (type.number == number) return type.dtype;
  }
  throw Error(Code::unsupported_model, side, " \"", name, "\": expected numbers, booleans or strings, got ",
              number == kFloat4e2m1 ? "float4_e2m1fn" : "element type " + std::to_string(number));
}

const char* kind_name(int kind) {
  switch (kind) {
    case 2: return "a sequence";
    case 3: return "a map";
    case 5: return "a sparse tensor";
    case 6: return "an optional value";
    default: return "another kind of value";
  }
}

int element_number(DType dtype) {
  for (const ElementType& type : kElementTypes) {
    if (type.dtype == dtype) return type.number;
  }
  throw Error(Code::unsupported_model, "onnx: expected a dtype it has, got ", name(dtype));
}

// ---- What sessions share.

// One tensor of the graph: its spec, and the model's names for its unknown dimensions ("" for a dimension without one).
struct GraphTensor {
  TensorSpec spec;
  std::vector<std::string> symbols;
};

struct Weights {
  // At `saved_path`, if it is not empty, the library writes an .ort of what it makes of the file.
  Weights(const Api& functions, OnnxFacts known, Block bytes, int threads, const std::vector<ExternalData>& external,
          EngineLog log, const std::string& saved_path = "");

  const Api& api;
  OnnxFacts facts;
  Block file;  // kept only for .ort
  Owned session;
  std::vector<GraphTensor> inputs;
  std::vector<GraphTensor> outputs;
  std::vector<const char*> input_names;
  std::vector<const char*> output_names;  // of those that the engine computes
  // Outputs that are also inputs. The engine would give the input's own memory for them.
  struct Copied {
    size_t input;
    size_t output;
  };
  std::vector<Copied> copied;
  std::vector<Signature> signatures;
};

void add_external_data(const Api& api, Handle options, const std::vector<ExternalData>& external) {
  std::vector<const char*> names;
  std::vector<char*> buffers;
  std::vector<size_t> sizes;
  for (const ExternalData& file : external) {
    names.push_back(file.name.c_str());
    buffers.push_back(reinterpret_cast<char*>(file.bytes.data()));
    sizes.push_back(file.bytes.size_bytes());
  }
  api.check(api.add_external(options, names.data(), buffers.data(), sizes.data(), sizes.size()));
}

// The library makes a message of each tensor in those files, and no message is this large: it takes them as values,
// which it copies while it makes the session. They last as long as what is returned.
std::deque<Owned> add_large_tensors(const Api& api, Handle options, const std::vector<OnnxLargeTensor>& tensors,
                                    const std::vector<ExternalData>& external) {
  std::deque<Owned> owners;
  std::vector<const char*> names;
  std::vector<Handle> values;
  for (const OnnxLargeTensor& tensor : tensors) {
    // The library's numbers are the format's, but for types below a byte that came late.
    if (tensor.type >= kFirstOtherNumber) continue;
    const auto file =
        std::find_if(external.begin(), external.end(), [&](const auto& data) { return data.name == tensor.location; });
    Handle value = nullptr;
    api.check(api.create_value(api.memory, file->bytes.data() + tensor.offset, tensor.size_bytes, tensor.dims.data(),
                               tensor.dims.size(), static_cast<int>(tensor.type), &value));
    owners.emplace_back(value, api.release_value);
    names.push_back(tensor.name.c_str());
    values.push_back(value);
  }
  if (!values.empty()) api.check(api.add_large(options, names.data(), values.data(), values.size()));
  return owners;
}

Handle make_session(const Api& api, Bytes file, const OnnxFacts& facts, int threads,
                    const std::vector<ExternalData>& external, EngineLog log, const std::string& saved_path) {
  Handle handle = nullptr;
  api.check(api.create_options(&handle));
  const Owned options(handle, api.release_options);
  if (log == EngineLog::shown) api.check(api.set_severity(options.get(), kLogWarning));
  api.check(api.set_optimization(options.get(), kAllOptimizations));
  api.check(api.set_intra_threads(options.get(), threads));
  api.check(api.set_inter_threads(options.get(), 1));
  // On a device, an idle core is worth more than the microseconds that spinning saves.
  api.check(api.add_config(options.get(), "session.intra_op.allow_spinning", "0"));
  api.check(api.add_config(options.get(), "session.inter_op.allow_spinning", "0"));
  if (model_format(file) == ModelFormat::ort) {
    api.check(api.add_config(options.get(), "session.use_ort_model_bytes_directly", "1"));
    api.check(api.add_config(options.get(), "session.use_ort_model_bytes_for_initializers", "1"));
  }
  if (!saved_path.empty()) {
    api.check(api.add_config(options.get(), "session.save_model_format", "ORT"));
    api.check(api.set_saved_path(options.get(), saved_path.c_str()));
  }
  if (!external.empty()) add_external_data(api, options.get(), external);
  const auto large_tensors = add_large_tensors(api, options.get(), facts.large_tensors, external);
  Handle session = nullptr;
  api.check(api.create_session(api.env, file.data(), file.size(), options.get(), &session), Code::unsupported_model);
  return session;
}

Shape shape_of(const Api& api, Handle info, const char* side, const std::string& name) {
  size_t rank = 0;
  api.check(api.rank(info, &rank));
  if (rank > Shape::kMaxRank) {
    throw Error(Code::unsupported_model, side, " \"", name, "\": expected at most ", Shape::kMaxRank,
                " dimensions, got ", rank);
  }
  std::vector<int64_t> dims(rank);
  api.check(api.dims(info, dims.data(), rank));
  return Shape(dims);
}

GraphTensor read_tensor(const Api& api, const OnnxFacts& facts, Handle type, const char* side,
                        const std::string& name) {
  Handle info = nullptr;  // owned by `type`
  api.check(api.tensor_info(type, &info));
  if (info == nullptr) {
    int kind = 0;
    api.check(api.value_kind(type, &kind));
    throw Error(Code::unsupported_model, side, " \"", name, "\": expected a tensor, got ", kind_name(kind));
  }
  int element = 0;
  api.check(api.element_type(info, &element));
  GraphTensor tensor{{name, dtype_of(element, side, name), shape_of(api, info, side, name), {}}, {}};
  // The engine tells of a shape that it does not know what it tells of a scalar's.
  if (tensor.spec.shape.rank() == 0 && facts.without_shape.count(name) != 0) tensor.spec.shape = Shape::unknown();
  std::vector<const char*> symbols(tensor.spec.shape.rank(), nullptr);
  api.check(api.symbolic_dims(info, symbols.data(), symbols.size()));
  // "?" is what exporters write for a dimension without a name.
  for (const char* symbol : symbols)
    tensor.symbols.emplace_back(symbol == nullptr || std::string_view(symbol) == "?" ? "" : symbol);
  return tensor;
}

std::vector<GraphTensor> read_tensors(const Api& api, const OnnxFacts& facts, Handle session, const char* side,
                                      decltype(Api::input_count) count_of, decltype(Api::input_name) name_of,
                                      decltype(Api::input_type) type_of) {
  std::vector<GraphTensor> tensors;
  size_t count = 0;
  api.check(count_of(session, &count));
  for (size_t i = 0; i < count; ++i) {
    char* allocated = nullptr;
    api.check(name_of(session, i, api.default_allocator, &allocated));
    const std::string name = allocated;
    api.check(api.allocator_free(api.default_allocator, allocated));
    Handle handle = nullptr;
    api.check(type_of(session, i, &handle));
    const Owned type(handle, api.release_type);
    tensors.push_back(read_tensor(api, facts, type.get(), side, name));
  }
  return tensors;
}

Weights::Weights(const Api& functions, OnnxFacts known, Block bytes, int threads,
                 const std::vector<ExternalData>& external, EngineLog log, const std::string& saved_path)
    : api(functions), facts(std::move(known)), file(std::move(bytes)),
      session(make_session(api, {file.data(), file.size_bytes()}, facts, threads, external, log, saved_path),
              api.release_session),
      inputs(read_tensors(api, facts, session.get(), "input", api.input_count, api.input_name, api.input_type)),
      outputs(read_tensors(api, facts, session.get(), "output", api.output_count, api.output_name, api.output_type)) {
  if (model_format({file.data(), file.size_bytes()}) == ModelFormat::onnx) {
    file = Block();
    // The library has parsed it into objects and copied those, and glibc keeps what was freed among what was not.
    malloc_trim(0);
  }
  Signature signature{"main", {}, {}};
  for (const GraphTensor& tensor : inputs) {
    input_names.push_back(tensor.spec.name.c_str());
    signature.inputs.push_back(tensor.spec);
  }
  // The engine gives an output that is listed twice twice, and has one name for both.
  std::set<std::string> seen;
  std::erase_if(outputs, [&](const GraphTensor& tensor) { return !seen.insert(tensor.spec.name).second; });
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorSpec& spec = outputs[i].spec;
    signature.outputs.push_back(spec);
    const auto input = std::find_if(inputs.begin(), inputs.end(),
                                    [&](const GraphTensor& tensor) { return tensor.spec.name == spec.name; });
    if (input == inputs.end()) {
      output_names.push_back(spec.name.c_str());
    } else if (spec.dtype == DType::string) {
      throw Error(Code::unsupported_model, "output \"", spec.name,
                  "\": expected strings of its own, got those of an input");
    } else {
      copied.push_back({static_cast<size_t>(input - inputs.begin()), i});
    }
  }
  if (outputs.empty()) throw Error(Code::unsupported_model, "model: expected an output, got none");
  signatures.push_back(std::move(signature));
}

// ---- A session: ONNX Runtime's own is shared, since it is safe for many threads; this adds the shapes in force.

class OnnxSession final : public EngineSession {
 public:
  explicit OnnxSession(std::shared_ptr<const Weights> weights)
      : weights_(std::move(weights)), output_shapes_(weights_->outputs.size()),
        is_declared_wrong_(weights_->outputs.size(), false), options_(weights_->api.shrinking_run) {}

  void resize(std::span<const Shape> input_shapes) override;
  Shape output_shape(size_t index) const override { return output_shapes_[index]; }
  Binding bind(Side side, size_t index, const TensorView& view) override;
  void release(Binding binding) noexcept override { weights_->api.release_value(binding); }
  void run(std::span<const Binding> inputs, std::span<Binding> outputs) override;
  TensorView view(Binding binding, Block& copy) const override;
  void reset() override {}

 private:
  Status try_run(std::span<const Binding> inputs, std::span<Binding> outputs) const;
  Status try_run_and_copy(std::span<const Binding> inputs, std::span<Binding> outputs) const;
  template <class TryOnce>
  Status end_first_run(Status status, const TryOnce& try_once);
  bool find_other_shapes(std::span<const Binding> inputs);
  void require_elements(size_t index, const Shape& shape) const;
  Shape value_shape(Binding binding) const;

  std::shared_ptr<const Weights> weights_;
  std::vector<Shape> output_shapes_;
  std::vector<bool> is_declared_wrong_;  // by output: a run gave another shape than the model declares
  // Of the next run. The first takes memory piece by piece, and tells the engine how the later ones lay out all they
  // need in one: what the first took would stay beside it.
  Handle options_;
};

void OnnxSession::require_elements(size_t index, const Shape& shape) const {
  if (weights_->facts.fatal_when_empty.empty() || std::find(shape.begin(), shape.end(), 0) == shape.end()) return;
  const TensorSpec& spec = weights_->inputs[index].spec;
  const bool is_declared = std::find(spec.shape.begin(), spec.shape.end(), 0) != spec.shape.end();
  throw Error(is_declared ? Code::unsupported_model : Code::bad_input, "input \"", spec.name,
              "\": expected every dimension at least 1, since ", weights_->facts.fatal_when_empty,
              " of this engine takes no tensor without elements, got ", text(shape));
}

void OnnxSession::resize(std::span<const Shape> input_shapes) {
  for (size_t i = 0; i < input_shapes.size(); ++i) require_elements(i, input_shapes[i]);
  // A dimension with the same name in an input and an output has the same value in both. It has none that is known when
  // inputs disagree about it: the engine runs them all the same.
  std::map<std::string, int64_t> known;
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    const std::vector<std::string>& symbols = weights_->inputs[i].symbols;
    for (size_t axis = 0; axis < symbols.size(); ++axis) {
      if (symbols[axis].empty()) continue;
      const auto [entry, is_first] = known.emplace(symbols[axis], input_shapes[i][axis]);
      if (!is_first && entry->second != input_shapes[i][axis]) entry->second = -1;
    }
  }
  for (size_t i = 0; i < output_shapes_.size(); ++i) {
    if (is_declared_wrong_[i]) continue;
    const GraphTensor& output = weights_->outputs[i];
    Shape shape = output.spec.shape;
    for (size_t axis = 0; axis < output.symbols.size(); ++axis) {
      const auto dim = known.find(output.symbols[axis]);
      if (shape[axis] < 0 && dim != known.end()) shape[axis] = dim->second;
    }
    output_shapes_[i] = shape;
  }
  for (const Weights::Copied& copied : weights_->copied) output_shapes_[copied.output] = input_shapes[copied.input];
}

// The engine keeps strings as objects of its own, so that it gets a copy.
Handle strings_value(const Api& api, const TensorView& view) {
  const auto strings = StringBlock::try_read({view.data, view.size_bytes});
  if (!strings || strings->count() != element_count(view.shape))
    throw Error(Code::engine_failed, "onnx: expected a block of the strings of ", text(view.shape), ", got another");
  Handle handle = nullptr;
  api.check(api.create_strings(api.default_allocator, view.shape.data(), view.shape.rank(),
                               element_number(DType::string), &handle));
  Owned value(handle, api.release_value);
  for (size_t i = 0; i < strings->count(); ++i) {
    const std::string_view string = (*strings)[i];
    char* room = nullptr;
    api.check(api.string_room(handle, i, string.size(), &room));
    if (!string.empty()) std::memcpy(room, string.data(), string.size());
  }
  return value.release();
}

Binding OnnxSession::bind(Side, size_t, const TensorView& view) {
  if (view.dtype == DType::string) return strings_value(weights_->api, view);
  Handle value = nullptr;
  weights_->api.check(weights_->api.create_value(weights_->api.memory, view.data, view.size_bytes, view.shape.data(),
                                                 view.shape.rank(), element_number(view.dtype), &value));
  return value;
}

Status OnnxSession::try_run(std::span<const Binding> inputs, std::span<Binding> outputs) const {
  const Weights& weights = *weights_;
  return weights.api.run(weights.session.get(), options_, weights.input_names.data(), inputs.data(), inputs.size(),
                         weights.output_names.data(), weights.output_names.size(), outputs.data());
}

Status OnnxSession::try_run_and_copy(std::span<const Binding> inputs, std::span<Binding> outputs) const {
  std::vector<bool> is_copied(outputs.size(), false);
  for (const Weights::Copied& copied : weights_->copied) is_copied[copied.output] = true;
  std::vector<Binding> computed;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!is_copied[i]) computed.push_back(outputs[i]);
  }
  Status status = computed.empty() ? nullptr : try_run(inputs, computed);
  if (status != nullptr) return status;
  for (size_t i = outputs.size(); i-- > 0;) {
    if (is_copied[i]) continue;
    outputs[i] = computed.back();
    computed.pop_back();
  }
  for (const Weights::Copied& copied : weights_->copied) {
    if (outputs[copied.output] == nullptr) continue;
    Block none;  // of strings, which are refused
    const TensorView source = view(inputs[copied.input], none);
    const TensorView target = view(outputs[copied.output], none);
    if (source.data != target.data) std::memmove(target.data, source.data, source.size_bytes);
  }
  return nullptr;
}

// What the engine gave back is still the allocator's. A failure may be that of an engine without an arena.
template <class TryOnce>
Status OnnxSession::end_first_run(Status status, const TryOnce& try_once) {
  options_ = nullptr;
  malloc_trim(0);
  if (status == nullptr) return nullptr;
  weights_->api.release_status(status);
  return try_once();
}

void OnnxSession::run(std::span<const Binding> inputs, std::span<Binding> outputs) {
  const auto try_once = [&] {
    return weights_->copied.empty() ? try_run(inputs, outputs) : try_run_and_copy(inputs, outputs);
  };
  Status status = try_once();
  if (options_ != nullptr) status = end_first_run(status, try_once);
  if (status == nullptr) return;
  const std::string message = weights_->api.message(status);
  if (find_other_shapes(inputs)) throw OtherShapes(Code::engine_failed, message);
  throw Error(Code::engine_failed, message);
}

// The engine refuses memory of another shape than an output gets. In memory of its own it runs, and tells.
bool OnnxSession::find_other_shapes(std::span<const Binding> inputs) {
  std::vector<Binding> outputs(output_shapes_.size(), nullptr);
  if (Status status = try_run_and_copy(inputs, outputs)) {
    weights_->api.release_status(status);
    return false;
  }
  std::deque<Owned> values;
  for (Binding output : outputs) values.emplace_back(output, weights_->api.release_value);
  bool has_other = false;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == nullptr) continue;
    Shape shape = value_shape(outputs[i]);
    if (output_shapes_[i].admits(shape)) continue;
    for (size_t axis = 0; axis < shape.rank(); ++axis) shape[axis] = -1;
    output_shapes_[i] = shape;
    is_declared_wrong_[i] = has_other = true;
  }
  return has_other;
}

Shape OnnxSession::value_shape(Binding binding) const {
  Handle handle = nullptr;
  weights_->api.check(weights_->api.value_shape(binding, &handle));
  const Owned info(handle, weights_->api.release_shape);
  return shape_of(weights_->api, info.get(), "output", "");
}

// Packs the strings of an engine's value.
Block block_of(const Api& api, Handle value, const Shape& shape) {
  const size_t count = element_count(shape).value_or(SIZE_MAX);
  size_t text_bytes = 0;
  api.check(api.strings_bytes(value, &text_bytes));
  const auto bytes = string_block_bytes(count, text_bytes);
  if (!bytes) {
    throw Error(Code::engine_failed, "onnx: expected an output whose strings fit 2^31 bytes, got ", text_bytes,
                " bytes in ", text(shape));
  }
  Block block = Block::uninitialized(*bytes);
  std::vector<size_t> begins(count);
  api.check(api.strings_content(value, block.data() + (*bytes - text_bytes), text_bytes, begins.data(), count));
  StringBlockWriter writer({block.data(), *bytes}, count);
  for (size_t i = 0; i < count; ++i) {
    const size_t end = i + 1 < count ? begins[i + 1] : text_bytes;
    (void)writer.add(end - begins[i]);  // the bytes are there already
  }
  return block;
}

TensorView OnnxSession::view(Binding binding, Block& copy) const {
  const Api& api = weights_->api;
  Handle handle = nullptr;
  api.check(api.value_shape(binding, &handle));
  const Owned info(handle, api.release_shape);
  int element = 0;
  api.check(api.element_type(info.get(), &element));
  TensorView view{dtype_of(element, "output", ""), shape_of(api, info.get(), "output", ""), nullptr, 0};
  if (view.dtype == DType::string) {
    copy = block_of(api, binding, view.shape);
    return {view.dtype, view.shape, copy.data(), copy.size_bytes()};
  }
  void* data = nullptr;
  api.check(api.value_data(binding, &data));
  const auto bytes = size_bytes(view.dtype, view.shape);
  if (!bytes) throw Error(Code::engine_failed, "onnx: expected an output of known size, got ", text(view.shape));
  view.data = static_cast<std::byte*>(data);
  view.size_bytes = *bytes;
  return view;
}

class OnnxEngine final : public Engine {
 public:
  OnnxEngine(std::shared_ptr<const Weights> weights, std::string version)
      : weights_(std::move(weights)), version_(std::move(version)) {}

  const std::vector<Signature>& signatures() const override { return weights_->signatures; }
  // Its kernels need no more than an element's alignment, read nothing outside the tensor, and take empty ones.
  MemoryRules memory_rules() const override { return {1, 0, 0}; }
  bool is_stateful() const override { return false; }
  bool leaves_unwritten() const override { return false; }
  EngineReport report() const override { return {"onnx", version_, "CPUExecutionProvider", -1, 0}; }
  bool shares_weights() const override { return true; }
  bool is_shared() const override { return weights_->file.is_mapped(); }
  bool is_file_mapped() const override { return weights_->file.is_mapped(); }
  bool keeps_arenas() const override { return true; }
  EngineMemory memory() const override { return {resident_bytes(weights_->file.data(), weights_->file.size_bytes())}; }
  std::unique_ptr<EngineSession> make_session(size_t) const override { return std::make_unique<OnnxSession>(weights_); }

 private:
  std::shared_ptr<const Weights> weights_;
  std::string version_;
};

// ---- An .onnx kept as the .ort that the library makes of it for this processor: docs/decisions/0027.

bool are_equal(const std::vector<GraphTensor>& a, const std::vector<GraphTensor>& b) {
  return std::ranges::equal(a, b, [](const GraphTensor& first, const GraphTensor& second) {
    return first.spec.name == second.spec.name && first.spec.dtype == second.spec.dtype &&
           first.spec.shape == second.spec.shape && first.symbols == second.symbols;
  });
}

// Whether who runs one cannot tell it from the other.
bool are_equal(const Weights& a, const Weights& b) {
  return are_equal(a.inputs, b.inputs) && are_equal(a.outputs, b.outputs) &&
         a.facts.fatal_when_empty == b.facts.fatal_when_empty && a.facts.without_shape == b.facts.without_shape;
}

std::shared_ptr<const Weights> open_ort(const Api& api, Block file, int threads, EngineLog log) {
  OnnxFacts facts = check_ort({file.data(), file.size_bytes()});
  return std::make_shared<const Weights>(api, std::move(facts), std::move(file), threads, std::vector<ExternalData>(),
                                         log);
}

// Null when there is none, and when the library does not take it.
std::shared_ptr<const Weights> try_open_kept(const Api& api, Block file, int threads, EngineLog log) {
  if (!file) return nullptr;
  try {
    return open_ort(api, std::move(file), threads, log);
  } catch (const Error&) {
    return nullptr;
  }
}

// The .onnx, or the .ort of it if that can be kept.
std::shared_ptr<const Weights> open_and_keep(const Api& api, const WeightDirectory& directory, const std::string& name,
                                             const Block& onnx, int threads, EngineLog log) {
  const Bytes bytes{onnx.data(), onnx.size_bytes()};
  const OnnxFacts facts = check_onnx(bytes, {});
  const auto open_onnx = [&](const std::string& saved_path) {
    return std::make_shared<const Weights>(api, facts, onnx.part(0, onnx.size_bytes()), threads,
                                           std::vector<ExternalData>(), log, saved_path);
  };
  const int number = memfd_create("model.ort", MFD_CLOEXEC);
  if (number < 0) return open_onnx("");
  const Descriptor saved(number, "model.ort");
  const std::string saved_path = "/proc/self/fd/" + std::to_string(number);
  std::shared_ptr<const Weights> own;
  try {
    own = open_onnx(saved_path);
  } catch (const Error&) {
    return open_onnx("");  // the library runs what it cannot write
  }
  try {
    const Block ort = read_file(saved_path, 1);
    if (!are_equal(*own, *open_ort(api, ort.part(0, ort.size_bytes()), threads, log))) return own;
    const auto kept =
        try_open_kept(api, directory.try_keep_prepared(name, Bytes{ort.data(), ort.size_bytes()}), threads, log);
    return kept == nullptr ? own : kept;
  } catch (const Error&) {
    return own;
  }
}

std::shared_ptr<const Weights> open_shared(const Api& api, int threads, EngineLog log, const std::string& version,
                                           const Sharing& sharing) {
  const auto directory = WeightDirectory::try_open(sharing.directory, sharing.threads);
  std::string name;
  if (directory != nullptr) {
    name = directory->name_of({sharing.model, api.identity,
                               "onnx " + version + "\n" + std::to_string(threads) + " threads\n" + sharing.processor});
    if (auto kept = try_open_kept(api, directory->try_map_prepared(name), threads, log)) return kept;
  }
  Block onnx = read_file(*sharing.unread, sharing.threads);
  const Bytes bytes{onnx.data(), onnx.size_bytes()};
  const auto external = read_external_data(sharing.unread->path(), external_data_names(bytes));
  const bool may_keep = directory != nullptr && external.empty() && directory->digest_of(bytes) == sharing.model;
  if (may_keep) return open_and_keep(api, *directory, name, onnx, threads, log);
  OnnxFacts facts = check_onnx(bytes, external);
  return std::make_shared<const Weights>(api, std::move(facts), std::move(onnx), threads, external, log);
}

}  // namespace

std::unique_ptr<Engine> open_onnx(const std::string& library_path, const std::string& version, Block file, int threads,
                                  std::vector<ExternalData> external, EngineLog log, const Sharing& sharing) {
  const Bytes bytes{file.data(), file.size_bytes()};
  const bool is_ort = model_format(bytes) == ModelFormat::ort;
  if (is_ort) external.clear();
  OnnxFacts facts;
  // An .onnx was checked when its .ort was kept, and the .ort is checked again.
  if (sharing.unread == nullptr) facts = is_ort ? check_ort(bytes) : check_onnx(bytes, external);
  require_version("onnxruntime", version, {1, 23}, {2, 0});
  // The library reads it once, when it is opened; the API's own switch would take effect too late.
  static const int switched_off = setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  if (switched_off != 0) throw Error(Code::out_of_memory, "onnx: expected memory for the environment, got none");
  const Api& api = opened<Api>(library_path);
  auto weights = sharing.unread != nullptr
                     ? open_shared(api, threads, log, version, sharing)
                     : std::make_shared<const Weights>(api, std::move(facts), std::move(file), threads, external, log);
  return std::make_unique<OnnxEngine>(std::move(weights), version);
}

}  // namespace edgeward
