#include "engines/tflite.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include "bytes/bytes.h"
#include "engines/element_type.h"
#include "engines/handle.h"
#include "engines/lacking_operator.h"
#include "engines/last_words.h"
#include "engines/library.h"
#include "error.h"
#include "model_files/tflite_code.h"
#include "model_files/tflite_file.h"
#include "system/resident.h"

namespace edgeward {
namespace {

// ---- The ABI of 2.14, as far as it is called: C structs of its documented C API, and C++ functions by mangled name.

using Status = int;  // 0: ok

constexpr Status kGeneralError = 1;          // after any other failure of a default delegate, the graph runs without it
constexpr int kArenaMemory = 2;              // TfLiteAllocationType: planned when tensors are allocated
constexpr int kDynamicMemory = 4;            // allocated during a run
constexpr int64_t kAllowDynamicTensors = 1;  // TfLiteDelegateFlags
constexpr int kMaxElementType = 17;          // TfLiteType: tensors of later numbers are refused

struct IntArray {
  int size;
  int values[1];  // size of them
};

struct EngineTensor {  // TfLiteTensor
  int type;
  std::byte* data;
  const IntArray* dims;
  float scale;
  int32_t zero_point;
  int allocation_type;
  size_t size_bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  bool is_data_stale;
  bool is_variable;
  int quantization_type;
  void* quantization;
  void* sparsity;
  const IntArray* dims_signature;
};

struct EngineNode {  // TfLiteNode, up to the last member that is read
  const IntArray* tensors[4];
  void* data[2];
  const void* custom_data;
  int custom_size_bytes;
  const void* delegate;
};

struct Registration {  // TfLiteRegistration, likewise
  void* functions[5];
  int32_t builtin_code;
  const char* custom_name;
};

struct EngineContext {  // TfLiteContext, likewise
  size_t tensor_count;
  void* execution_plan;
  EngineTensor* tensors;
  Handle subgraph;
};

struct Delegate {  // TfLiteDelegate
  void* data;
  Status (*prepare)(EngineContext*, Delegate*);
  void* buffer_functions[3];
  int64_t flags;
  void* opaque_builder;
};

struct CustomAllocation {  // TfLiteCustomAllocation
  void* data;
  size_t size_bytes;
};

// tflite::ErrorReporter: its virtual table has two entries for the destructor, then this one. Collects the engine's
// messages in one line.
class ErrorReporter {
 public:
  virtual ~ErrorReporter() = default;
  virtual int report(const char* format, va_list arguments) {
    const size_t start = std::min(length_, sizeof(text_) - 1);
    const int written = std::vsnprintf(text_ + start, sizeof(text_) - start, format, arguments);
    if (written > 0) length_ = std::min(start + static_cast<size_t>(written), sizeof(text_) - 1);
    std::replace(text_ + start, text_ + length_, '\n', ' ');
    return 0;
  }
  // The messages since the last call.
  std::string take() {
    std::string said(text_, length_);
    length_ = 0;
    return said.empty() ? "no reason given" : said;
  }

 private:
  char text_[512];
  size_t length_ = 0;
};

#if defined(__LP64__)
static_assert(offsetof(EngineTensor, data) == 8 && offsetof(EngineTensor, size_bytes) == 40 &&
              offsetof(EngineTensor, is_variable) == 77 && sizeof(EngineTensor) == 112);
static_assert(offsetof(EngineNode, delegate) == 64 && offsetof(Registration, custom_name) == 48);
static_assert(offsetof(EngineContext, tensors) == 16 && offsetof(Delegate, flags) == 40 && sizeof(Delegate) == 56);
#define EDGEWARD_MANGLED_SIZE "m"   // size_t
#define EDGEWARD_MANGLED_INT64 "l"  // int64_t
#else
#define EDGEWARD_MANGLED_SIZE "j"
#define EDGEWARD_MANGLED_INT64 "x"
#endif

// Stands for a std::unique_ptr that is returned by value: the ABI passes the caller's memory by a hidden pointer.
struct NoDelete {
  void operator()(void*) const {}
};
using ReturnedPointer = std::unique_ptr<void, NoDelete>;
static_assert(sizeof(ReturnedPointer) == sizeof(void*));

// Memory for an object of the library; those of 2.14.0 on x86-64 take 216 and 208 bytes.
struct alignas(std::max_align_t) Storage {
  std::byte bytes[1024];
};

struct Api {
  explicit Api(const Library& library);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  void (*make_operators)(void*);
  ReturnedPointer (*make_model)(const char*, size_t, ErrorReporter*);
  void (*end_model)(Handle);
  void (*make_builder)(void*, Handle, const void*, const void*);
  Status (*set_threads)(void*, int);
  Status (*build)(void*, Handle*);
  void (*end_builder)(Handle);
  void (*end_interpreter)(Handle);
  Status (*add_delegate)(Handle, Delegate*);
  Status (*apply_default_delegates)(Handle);
  Status (*execution_plan)(EngineContext*, IntArray**);
  Status (*node)(EngineContext*, int, EngineNode**, Registration**);
  bool (*is_unresolved)(const Registration*);
  Status (*resize_input)(Handle, int, const std::vector<int>&);
  Status (*allocate_tensors)(Handle);
  Status (*set_custom_allocation)(Handle, int, const CustomAllocation*, int64_t);
  Status (*reset_variables)(Handle);
  Status (*invoke)(Handle);
  const void* const* subgraph_vtable;

  Storage operators;  // the kernels by name, with the default delegate; created once per library
};

Api::Api(const Library& library) {
  const auto bind = [&](auto& function, const char* name) {
    function = library.symbol<std::remove_reference_t<decltype(function)>>(name);
  };
  hear(library);
  bind(make_operators, "_ZN6tflite3ops7builtin17BuiltinOpResolverC1Ev");
  bind(make_model,
       "_ZN6tflite4impl15FlatBufferModel15BuildFromBufferEPKc" EDGEWARD_MANGLED_SIZE "PNS_13ErrorReporterE");
  bind(end_model, "_ZN6tflite4impl15FlatBufferModelD1Ev");
  bind(make_builder,
       "_ZN6tflite4impl18InterpreterBuilderC1ERKNS0_15FlatBufferModelERKNS_10OpResolverEPKNS_18InterpreterOptionsE");
  bind(set_threads, "_ZN6tflite4impl18InterpreterBuilder13SetNumThreadsEi");
  bind(build, "_ZN6tflite4impl18InterpreterBuilderclEPSt10unique_ptrINS0_11InterpreterESt14default_deleteIS3_EE");
  bind(end_builder, "_ZN6tflite4impl18InterpreterBuilderD1Ev");
  bind(end_interpreter, "_ZN6tflite4impl11InterpreterD1Ev");
  bind(add_delegate, "_ZN6tflite4impl11Interpreter23ModifyGraphWithDelegateEP14TfLiteDelegate");
  bind(apply_default_delegates, "_ZN6tflite4impl11Interpreter26ApplyLazyDelegateProvidersEv");
  bind(execution_plan, "_ZN6tflite8Subgraph16GetExecutionPlanEP13TfLiteContextPP14TfLiteIntArray");
  bind(node, "_ZN6tflite8Subgraph22GetNodeAndRegistrationEP13TfLiteContextiPP10TfLiteNodePP18TfLiteRegistration");
  bind(is_unresolved, "_ZN6tflite20IsUnresolvedCustomOpERK18TfLiteRegistration");
  bind(resize_input, "_ZN6tflite8Subgraph17ResizeInputTensorEiRKSt6vectorIiSaIiEE");
  bind(allocate_tensors, "_ZN6tflite8Subgraph15AllocateTensorsEv");
  bind(set_custom_allocation,
       "_ZN6tflite8Subgraph28SetCustomAllocationForTensorEiRK22TfLiteCustomAllocation" EDGEWARD_MANGLED_INT64);
  bind(reset_variables, "_ZN6tflite8Subgraph20ResetVariableTensorsEv");
  // Not Interpreter::Invoke, which flushes denormals to zero: the official Python API calls the subgraph's.
  bind(invoke, "_ZN6tflite8Subgraph6InvokeEv");
  bind(subgraph_vtable, "_ZTVN6tflite8SubgraphE");
  make_operators(&operators);
}

// ---- What sessions share.

struct Weights {
  Weights(const Api& functions, Block bytes, std::vector<TfliteSignature> written, int thread_count, EngineLog shown);

  const Api& api;
  Block file;
  int threads;
  EngineLog log;
  std::vector<TfliteSignature> facts;
  std::vector<Signature> signatures;
};

Signature signature_of(const TfliteSignature& facts) {
  Signature signature{facts.key, {}, {}};
  const auto fill = [](const std::vector<TfliteTensor>& from, std::vector<TensorSpec>& to) {
    for (const TfliteTensor& tensor : from) {
      const int type = element_type(tensor.dtype);
      if (type == 0 || type > kMaxElementType || tensor.dtype == DType::string) {
        throw Error(Code::unsupported_model, "tensor \"", tensor.name,
                    "\": expected a dtype that tflite-runtime has, got ", name(tensor.dtype));
      }
      to.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.quantization});
    }
  };
  fill(facts.inputs, signature.inputs);
  fill(facts.outputs, signature.outputs);
  return signature;
}

Weights::Weights(const Api& functions, Block bytes, std::vector<TfliteSignature> written, int thread_count,
                 EngineLog shown)
    : api(functions), file(std::move(bytes)), threads(thread_count), log(shown), facts(std::move(written)) {
  for (const TfliteSignature& signature : facts) signatures.push_back(signature_of(signature));
}

// ---- The library's interpreter of one model: every subgraph of it, with the kernels' own state and memory.

class Interpreter {
 public:
  // Throws Error(unsupported_model) in the engine's words.
  explicit Interpreter(const Weights& weights);
  Interpreter(const Interpreter&) = delete;  // the engine keeps the addresses of members
  Interpreter& operator=(const Interpreter&) = delete;

  // XNNPACK for float models on most CPUs, none for the others, as in the official Python API. Returns false, with the
  // engine's message kept for check(), when the graph cannot be prepared at all.
  bool try_apply_default_delegates();

  // One per subgraph, in the file's order; the addresses do not change.
  const std::vector<EngineContext*>& contexts() const { return contexts_; }

  void check(Status status, Code code, std::string_view doing) {
    if (status != 0) fail(status, code, doing);
  }

  // Calls visit(node, registration) for each node that a run of the subgraph executes, in order.
  template <class Visit>
  void for_each_node(EngineContext& context, const Visit& visit) {
    constexpr std::string_view kDoing = "reading the nodes";
    IntArray* plan = nullptr;
    check(api_.execution_plan(&context, &plan), Code::engine_failed, kDoing);
    for (int i = 0; i < plan->size; ++i) {
      EngineNode* node = nullptr;
      Registration* registration = nullptr;
      check(api_.node(&context, plan->values[i], &node, &registration), Code::engine_failed, kDoing);
      visit(*node, *registration);
    }
  }

 private:
  static Status note_context(EngineContext* context, Delegate* delegate);
  [[noreturn]] void fail(Status status, Code code, std::string_view doing);

  struct End {
    void (*end)(Handle);
    void operator()(Handle handle) const {
      end(handle);
      ::operator delete(handle);
    }
  };
  using Object = std::unique_ptr<void, End>;

  const Api& api_;
  EngineLog log_;
  ErrorReporter errors_;
  // A delegate that takes no node. Its prepare() is the documented way to see each subgraph's context.
  Delegate observer_{};
  std::vector<EngineContext*> contexts_;
  Object model_;
  Object interpreter_;  // destroyed before the model and the observer
};

Interpreter::Interpreter(const Weights& weights)
    : api_(weights.api), log_(weights.log), model_(nullptr, End{api_.end_model}),
      interpreter_(nullptr, End{api_.end_interpreter}) {
  const auto* file = reinterpret_cast<const char*>(weights.file.data());
  model_.reset(api_.make_model(file, weights.file.size_bytes(), &errors_).release());
  if (model_ == nullptr) fail(kGeneralError, Code::unsupported_model, "reading the model");

  Storage storage;
  api_.make_builder(&storage, model_.get(), &api_.operators, nullptr);
  const Owned builder(&storage, api_.end_builder);
  check(api_.set_threads(builder.get(), weights.threads), Code::engine_failed, "setting the thread count");
  Handle interpreter = nullptr;
  const Status status = api_.build(builder.get(), &interpreter);
  interpreter_.reset(interpreter);
  check(status, Code::unsupported_model, "building the graph");

  observer_.data = this;
  observer_.prepare = note_context;
  observer_.flags = kAllowDynamicTensors;
  check(api_.add_delegate(interpreter_.get(), &observer_), Code::engine_failed, "finding the subgraphs");
  if (contexts_.empty()) throw Error(Code::engine_mismatch, "tflite: expected a subgraph, got none");
  for (const EngineContext* context : contexts_) {
    // The first word of an object with virtual functions points past the table's offset and type information.
    const void* const* vtable = *static_cast<const void* const* const*>(context->subgraph);
    if (vtable == api_.subgraph_vtable + 2) continue;
    throw Error(Code::engine_mismatch, "tflite: expected contexts as in 2.14, got one that holds no subgraph");
  }
}

Status Interpreter::note_context(EngineContext* context, Delegate* delegate) {
  auto& contexts = static_cast<Interpreter*>(delegate->data)->contexts_;
  // The engine undoes delegates and prepares them again when an input's shape changes.
  if (std::find(contexts.begin(), contexts.end(), context) != contexts.end()) return 0;
  try {
    contexts.push_back(context);
  } catch (const std::bad_alloc&) {
    return kGeneralError;
  }
  return 0;
}

void Interpreter::fail(Status status, Code code, std::string_view doing) {
  throw Error(code, "tflite: ", doing, ": expected success, got status ", status, " (", errors_.take(), ")");
}

bool Interpreter::try_apply_default_delegates() {
  const LastWords unasked(log_);  // the library announces a delegate, and gives its reasons to errors_
  if (api_.apply_default_delegates(interpreter_.get()) == kGeneralError) return false;
  errors_.take();  // a delegate that declines is no error
  return true;
}

// ---- A session.

// A binding: borrowed memory, or (after a run) memory of its own.
struct Bound {
  TensorView view;
  Block block;
};

const Bound& bound(Binding binding) { return *static_cast<const Bound*>(binding); }

enum class Placement : uint8_t {
  in_place,   // the engine reads or writes the bound memory itself
  copied,     // the tensor's memory cannot be replaced: it is a constant, a variable, bound already, or empty
  by_engine,  // an output whose shape is known only after a run
};

struct Slot {
  explicit Slot(const TfliteTensor& tensor) : facts(&tensor) {}

  const TfliteTensor* facts;
  Placement placement = Placement::in_place;
  Shape shape;
  size_t size_bytes = 0;
  std::byte* placed = nullptr;  // the memory that was set for the tensor; null while it is the engine's
};

class TfliteSession final : public EngineSession {
 public:
  TfliteSession(std::shared_ptr<const Weights> weights, size_t signature_index, bool has_variable_handles,
                std::unique_ptr<Interpreter> interpreter);

  void resize(std::span<const Shape> input_shapes) override;
  Shape output_shape(size_t index) const override { return outputs_[index].shape; }
  Binding bind(Side side, size_t index, const TensorView& view) override;
  void release(Binding binding) noexcept override { delete static_cast<Bound*>(binding); }
  void run(std::span<const Binding> inputs, std::span<Binding> outputs) override;
  TensorView view(Binding binding, Block&) const override { return bound(binding).view; }
  void reset() override;

 private:
  // Valid until the next call that resizes, allocates or invokes.
  EngineTensor& tensor(const Slot& slot) { return context_->tensors[slot.facts->tensor_index]; }
  void adopt(std::unique_ptr<Interpreter> interpreter);
  void allocate();
  void resize_input(const Slot& slot, const Shape& shape);
  void settle_input(size_t index);
  void settle_output(size_t index);
  void measure(Slot& slot, const EngineTensor& tensor) const;
  bool set_memory(Slot& slot, std::byte* data);
  void copy_from_engine(const Slot& slot, const Bound& target);
  std::unique_ptr<Bound> take_from_engine(const Slot& slot);

  std::shared_ptr<const Weights> weights_;
  size_t subgraph_index_;
  bool has_variable_handles_;
  std::unique_ptr<Interpreter> interpreter_;
  EngineContext* context_;  // of the signature's subgraph
  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;
  std::vector<Shape> input_shapes_;
  bool is_fresh_ = true;   // nothing was resized, allocated or set in this interpreter
  bool is_ready_ = false;  // tensors are allocated for input_shapes_
};

TfliteSession::TfliteSession(std::shared_ptr<const Weights> weights, size_t signature_index, bool has_variable_handles,
                             std::unique_ptr<Interpreter> interpreter)
    : weights_(std::move(weights)), subgraph_index_(weights_->facts[signature_index].subgraph_index),
      has_variable_handles_(has_variable_handles) {
  const TfliteSignature& facts = weights_->facts[signature_index];
  for (const TfliteTensor& input : facts.inputs) inputs_.emplace_back(input);
  for (const TfliteTensor& output : facts.outputs) outputs_.emplace_back(output);
  adopt(std::move(interpreter));
}

void TfliteSession::adopt(std::unique_ptr<Interpreter> interpreter) {
  interpreter_ = std::move(interpreter);
  if (subgraph_index_ >= interpreter_->contexts().size()) {
    throw Error(Code::engine_failed, "tflite: expected more than ", subgraph_index_, " subgraphs, got ",
                interpreter_->contexts().size());
  }
  context_ = interpreter_->contexts()[subgraph_index_];
  for (const auto* slots : {&inputs_, &outputs_}) {
    for (const Slot& slot : *slots) {
      if (static_cast<size_t>(slot.facts->tensor_index) < context_->tensor_count) continue;
      throw Error(Code::engine_failed, "tensor \"", slot.facts->name, "\": expected fewer than ",
                  context_->tensor_count, ", got ", slot.facts->tensor_index);
    }
  }
}

Shape shape_of(const EngineTensor& tensor, const TfliteTensor& facts) {
  if (tensor.dims == nullptr) {
    throw Error(Code::engine_failed, "tensor \"", facts.name, "\": expected a shape, got none");
  }
  const std::vector<int64_t> dims(tensor.dims->values, tensor.dims->values + tensor.dims->size);
  return Shape(dims);
}

// A tensor whose memory was set cannot return to the engine's memory, nor grow past what was set. Other shapes
// therefore start from a fresh interpreter, which costs about as much as the engine's own resizing of a delegated
// graph.
void TfliteSession::resize(std::span<const Shape> input_shapes) {
  is_ready_ = false;
  try {
    if (!is_fresh_) adopt(std::make_unique<Interpreter>(*weights_));
    is_fresh_ = false;
    for (size_t i = 0; i < inputs_.size(); ++i) resize_input(inputs_[i], input_shapes[i]);
    if (!interpreter_->try_apply_default_delegates()) {
      interpreter_->check(kGeneralError, Code::engine_failed, "applying the default delegate");
    }
    allocate();
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, "tflite: expected memory for the tensors of these shapes, got none");
  }
  for (size_t i = 0; i < inputs_.size(); ++i) settle_input(i);
  for (size_t i = 0; i < outputs_.size(); ++i) settle_output(i);
  input_shapes_.assign(input_shapes.begin(), input_shapes.end());
  is_ready_ = true;
}

void TfliteSession::allocate() {
  interpreter_->check(weights_->api.allocate_tensors(context_->subgraph), Code::engine_failed, "allocating tensors");
}

void TfliteSession::resize_input(const Slot& slot, const Shape& shape) {
  if (shape_of(tensor(slot), *slot.facts) == shape) return;
  std::vector<int> dims;
  for (const int64_t dim : shape) {
    if (dim > INT32_MAX) {
      throw Error(Code::bad_input, "input \"", slot.facts->name, "\": expected dimensions below 2^31, got ",
                  text(shape));
    }
    dims.push_back(static_cast<int>(dim));
  }
  interpreter_->check(weights_->api.resize_input(context_->subgraph, slot.facts->tensor_index, dims),
                      Code::engine_failed, "resizing an input");
}

// The engine reads or writes as many bytes as it says; the caller's memory has as many as dtype and shape say.
void TfliteSession::measure(Slot& slot, const EngineTensor& tensor) const {
  slot.placed = nullptr;
  slot.shape = shape_of(tensor, *slot.facts);
  slot.size_bytes = size_bytes(slot.facts->dtype, slot.shape).value_or(0);
  if (tensor.type == element_type(slot.facts->dtype) && tensor.size_bytes == slot.size_bytes) return;
  throw Error(Code::engine_failed, "tensor \"", slot.facts->name, "\": expected ", name(slot.facts->dtype), " ",
              text(slot.shape), " of ", slot.size_bytes, " bytes, got type ", tensor.type, " of ", tensor.size_bytes,
              " bytes");
}

void TfliteSession::settle_input(size_t index) {
  Slot& slot = inputs_[index];
  const EngineTensor& placed = tensor(slot);
  measure(slot, placed);
  if (!placed.is_variable && slot.size_bytes != 0) {
    slot.placement = Placement::in_place;
    return;
  }
  slot.placement = Placement::copied;
  if (placed.data == nullptr && slot.size_bytes != 0) {
    throw Error(Code::engine_failed, "input \"", slot.facts->name, "\": expected memory of the engine's, got none");
  }
}

// True for a tensor whose node is not prepared, because its shape or that of an earlier one is known only after a run.
bool waits_for_values(const EngineTensor& tensor, const EngineContext& context) {
  const auto is_dynamic = [](const EngineTensor& other) { return other.allocation_type == kDynamicMemory; };
  if (is_dynamic(tensor)) return true;
  if (tensor.data != nullptr) return false;
  return tensor.size_bytes != 0 || std::any_of(context.tensors, context.tensors + context.tensor_count, is_dynamic);
}

void TfliteSession::settle_output(size_t index) {
  Slot& slot = outputs_[index];
  const EngineTensor& placed = tensor(slot);
  const auto is_same = [&](const Slot& other) { return other.facts->tensor_index == slot.facts->tensor_index; };
  const auto before = outputs_.begin() + static_cast<ptrdiff_t>(index);
  if (std::any_of(inputs_.begin(), inputs_.end(), is_same)) {
    measure(slot, placed);
    slot.placement = Placement::copied;
  } else if (const auto first = std::find_if(outputs_.begin(), before, is_same); first != before) {
    const TfliteTensor* facts = slot.facts;
    slot = *first;
    slot.facts = facts;
    if (slot.placement == Placement::in_place) slot.placement = Placement::copied;
  } else if (waits_for_values(placed, *context_)) {
    // The shape in the file is only a guess.
    slot.placement = Placement::by_engine;
    slot.shape = slot.facts->shape.is_dynamic() ? slot.facts->shape : Shape::unknown();
  } else {
    measure(slot, placed);
    const bool is_replaceable = placed.allocation_type == kArenaMemory && !placed.is_variable && slot.size_bytes != 0;
    slot.placement = is_replaceable ? Placement::in_place : Placement::copied;
  }
}

Binding TfliteSession::bind(Side side, size_t index, const TensorView& view) {
  const Slot& slot = (side == Side::input ? inputs_ : outputs_)[index];
  if (view.size_bytes != slot.size_bytes || slot.placement == Placement::by_engine) {
    throw Error(Code::engine_failed, "tensor \"", slot.facts->name, "\": expected memory of ", slot.size_bytes,
                " bytes, got ", view.size_bytes);
  }
  return new Bound{view, {}};
}

// True when allocate() must follow before a run, so that the engine checks the tensors.
bool TfliteSession::set_memory(Slot& slot, std::byte* data) {
  if (slot.placed == data) return false;
  const CustomAllocation memory{data, slot.size_bytes};
  interpreter_->check(weights_->api.set_custom_allocation(context_->subgraph, slot.facts->tensor_index, &memory, 0),
                      Code::engine_failed, "binding memory");
  slot.placed = data;
  return true;
}

void TfliteSession::run(std::span<const Binding> inputs, std::span<Binding> outputs) {
  if (!is_ready_) throw Error(Code::engine_failed, "tflite: expected shapes in force, got a resize that failed");
  bool is_moved = false;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].placement == Placement::in_place) is_moved |= set_memory(inputs_[i], bound(inputs[i]).view.data);
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].placement == Placement::by_engine) continue;
    if (outputs[i] == nullptr) {
      throw Error(Code::engine_failed, "output \"", outputs_[i].facts->name, "\": expected memory for ",
                  text(outputs_[i].shape), ", got none");
    }
    if (outputs_[i].placement == Placement::in_place) is_moved |= set_memory(outputs_[i], bound(outputs[i]).view.data);
  }
  if (is_moved) {
    is_ready_ = false;
    allocate();
    is_ready_ = true;
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].placement != Placement::copied || inputs_[i].size_bytes == 0) continue;
    std::memcpy(tensor(inputs_[i]).data, bound(inputs[i]).view.data, inputs_[i].size_bytes);
  }
  interpreter_->check(weights_->api.invoke(context_->subgraph), Code::engine_failed, "running");
  std::vector<std::unique_ptr<Bound>> taken;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].placement == Placement::by_engine) {
      taken.push_back(take_from_engine(outputs_[i]));
    } else {
      copy_from_engine(outputs_[i], bound(outputs[i]));
    }
  }
  auto next = taken.begin();
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].placement == Placement::by_engine) outputs[i] = (next++)->release();
  }
}

// Copies nothing when the engine has written to the target itself.
void TfliteSession::copy_from_engine(const Slot& slot, const Bound& target) {
  const EngineTensor& source = tensor(slot);
  if (source.size_bytes != slot.size_bytes || (source.data == nullptr && slot.size_bytes != 0)) {
    throw Error(Code::engine_failed, "output \"", slot.facts->name, "\": expected ", slot.size_bytes, " bytes, got ",
                source.data == nullptr ? 0 : source.size_bytes);
  }
  if (source.data == target.view.data || slot.size_bytes == 0) return;
  std::memcpy(target.view.data, source.data, slot.size_bytes);
}

// Returns a copy, because the next run frees or moves the tensor's memory.
std::unique_ptr<Bound> TfliteSession::take_from_engine(const Slot& slot) {
  const EngineTensor& source = tensor(slot);
  Slot actual = slot;
  measure(actual, source);
  if (source.data == nullptr && actual.size_bytes != 0) {
    throw Error(Code::engine_failed, "output \"", slot.facts->name, "\": expected data, got none");
  }
  auto taken = std::make_unique<Bound>();
  taken->block = Block::uninitialized(actual.size_bytes);
  taken->view = {slot.facts->dtype, actual.shape, taken->block.data(), actual.size_bytes};
  if (actual.size_bytes != 0) std::memcpy(taken->view.data, source.data, actual.size_bytes);
  return taken;
}

void TfliteSession::reset() {
  if (has_variable_handles_) {
    // The library exports no function that clears them.
    const std::vector<Shape> shapes = input_shapes_;
    resize(shapes);
    return;
  }
  // Variable tensors of other subgraphs need no reset: the operator that runs such a subgraph frees it after each run.
  interpreter_->check(weights_->api.reset_variables(context_->subgraph), Code::engine_failed, "resetting the state");
}

// ---- The engine.

class TfliteEngine final : public Engine {
 public:
  TfliteEngine(std::shared_ptr<const Weights> weights, const TfliteFile& facts, std::string version);

  const std::vector<Signature>& signatures() const override { return weights_->signatures; }
  MemoryRules memory_rules() const override { return {kBlockAlignment, kBlockSlack}; }
  bool is_stateful() const override { return is_stateful_; }
  bool leaves_unwritten() const override { return leaves_unwritten_; }
  EngineReport report() const override { return report_; }
  bool shares_weights() const override { return false; }
  EngineMemory memory() const override { return {resident_bytes(weights_->file.data(), weights_->file.size_bytes())}; }
  std::unique_ptr<EngineSession> make_session(size_t signature_index) const override;

 private:
  std::unique_ptr<Interpreter> take_interpreter() const;

  std::shared_ptr<const Weights> weights_;
  bool is_stateful_;
  bool leaves_unwritten_;
  bool has_variable_handles_ = false;
  EngineReport report_;
  mutable std::mutex mutex_;                    // guards what follows
  mutable std::unique_ptr<Interpreter> spare_;  // built to inspect the model, and taken by the first session
};

TfliteEngine::TfliteEngine(std::shared_ptr<const Weights> weights, const TfliteFile& facts, std::string version)
    : weights_(std::move(weights)), is_stateful_(facts.is_stateful),
      leaves_unwritten_(facts.leaves_unwritten), report_{"tflite", std::move(version), "none", facts.node_count, -1},
      spare_(std::make_unique<Interpreter>(*weights_)) {
  for (EngineContext* context : spare_->contexts()) {
    spare_->for_each_node(*context, [&](const EngineNode&, const Registration& registration) {
      has_variable_handles_ |= registration.builtin_code == tflite_code::kVarHandle;
      if (!weights_->api.is_unresolved(&registration)) return;
      throw Error(Code::unsupported_model, "tflite: expected operators that it has, got \"", registration.custom_name,
                  "\"");
    });
  }
  if (!spare_->try_apply_default_delegates()) {
    // That holds for the file's shapes; a session may succeed with others.
    spare_.reset();
    return;
  }
  report_.fallback_count = 0;
  spare_->for_each_node(*spare_->contexts()[0], [&](const EngineNode& node, const Registration& registration) {
    if (node.delegate == nullptr) {
      ++report_.fallback_count;
    } else if (registration.custom_name != nullptr) {
      const std::string_view kernel = registration.custom_name;
      report_.delegate = kernel == "TfLiteXNNPackDelegate" ? "XNNPACK" : kernel;
    }
  });
}

std::unique_ptr<Interpreter> TfliteEngine::take_interpreter() const {
  {
    const std::lock_guard lock(mutex_);
    if (spare_ != nullptr) return std::move(spare_);
  }
  return std::make_unique<Interpreter>(*weights_);
}

std::unique_ptr<EngineSession> TfliteEngine::make_session(size_t signature_index) const {
  return std::make_unique<TfliteSession>(weights_, signature_index, has_variable_handles_, take_interpreter());
}

}  // namespace

std::unique_ptr<Engine> open_tflite(const std::string& library_path, const std::string& version, Block file,
                                    int threads, EngineLog log) {
  const TfliteFile facts = read_tflite({file.data(), file.size_bytes()});
  require_version("tflite-runtime", version, {2, 14}, {2, 15});
  if (!facts.spreading_operator.empty()) {
    throw Error(Code::unsupported_model, "tflite: ", facts.spreading_operator,
                ": expected outputs that no other operator reads, because it leaves bytes of them unwritten");
  }
  // It passes over what its schema lacks, and computes with scales that are not there.
  if (!facts.blockwise_tensor.empty()) {
    throw Error(Code::unsupported_model, "tflite: ", facts.blockwise_tensor,
                ": expected one scale, or one for each channel, got blockwise quantization");
  }
  require_custom_operators("tflite", facts);
  const Api& api = opened<Api>(library_path);
  auto weights = std::make_shared<const Weights>(api, std::move(file), facts.signatures, threads, log);
  return std::make_unique<TfliteEngine>(std::move(weights), facts, version);
}

}  // namespace edgeward
