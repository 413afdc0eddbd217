#include "engines/litert.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "bytes/bytes.h"
#include "engines/compiled_pool.h"
#include "engines/element_type.h"
#include "engines/handle.h"
#include "engines/lacking_operator.h"
#include "engines/large_pages.h"
#include "engines/last_words.h"
#include "engines/library.h"
#include "engines/weight_cache.h"
#include "engines/weight_directory.h"
#include "engines/weight_pages.h"
#include "error.h"
#include "model_files/tflite_copy.h"
#include "model_files/tflite_file.h"
#include "system/growth.h"
#include "system/resident.h"

namespace edgeward {
namespace {

// ---- The C ABI, as far as it is called. LiteRT ships no headers in its wheel.

using Status = int;

struct Any {
  int type;  // 2: integer
  union {
    int64_t integer;
    const void* pointer;
  };
};
struct EnvironmentOption {
  int tag;
  Any value;
};
static_assert(sizeof(Any) == 16 && sizeof(EnvironmentOption) == 24);

struct Layout {
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
};
struct RankedTensorType {
  int element_type;
  Layout layout;
};
static_assert(sizeof(Layout) == 68 && offsetof(RankedTensorType, layout) == 4 && sizeof(RankedTensorType) == 72);
static_assert(Shape::kMaxRank <= 8, "a Shape must fit a Layout");

constexpr int kAutoRegisterAccelerators = 24;  // environment option: a mask of accelerators to look for
constexpr int kMinimumLogSeverity = 25;
constexpr int kCpu = 1;
constexpr int kLogNothing = 4;
constexpr int kLogInformation = 1;
constexpr int kLogErrors = 3;

// How the library reports errors: option "error_reporter_mode".
enum class Reporter : uint8_t {
  standard_error = 1,  // as it comes
  kept = 2             // for error_messages(), as long as there is a compiled model
};

struct ProfilerEvent {
  const char* tag;
  uint32_t kind;
  uint64_t start_us;
  uint64_t elapsed_us;
  uint64_t memory[6];
  uint64_t node_index;
  uint64_t metadata;
  int source;
};
#if defined(__LP64__)  // there is no LiteRT for others
static_assert(offsetof(ProfilerEvent, node_index) == 80 && sizeof(ProfilerEvent) == 104);
#endif
constexpr uint32_t kOperatorRun = 2;  // a node that a kernel of the engine's ran, not a delegate
constexpr uint32_t kMaxEventKind = 256;

struct Api {
  explicit Api(const Library& library);

  std::vector<Bytes> identity;  // the library's

  Status (*create_environment)(int, const EnvironmentOption*, Handle*);
  void (*destroy_environment)(Handle);
  Status (*create_model)(Handle, const void*, size_t, Handle*);
  void (*destroy_model)(Handle);
  Status (*create_options)(Handle*);
  void (*destroy_options)(Handle);
  Status (*set_accelerators)(Handle, int);
  Status (*create_opaque_options)(const char*, void*, void (*)(void*), Handle*);
  Status (*add_opaque_options)(Handle, Handle);
  Status (*create_compiled_model)(Handle, Handle, Handle, Handle*);
  void (*destroy_compiled_model)(Handle);
  Status (*run)(Handle, size_t, size_t, Handle*, size_t, Handle*);
  Status (*output_layouts)(Handle, size_t, size_t, Layout*, bool);
  Status (*resize_input)(Handle, size_t, size_t, const int*, size_t);
  Status (*create_buffer)(const RankedTensorType*, void*, size_t, void (*)(void*), Handle*);
  void (*destroy_buffer)(Handle);
  Status (*signature)(Handle, size_t, Handle*);
  Status (*signature_count)(Handle, size_t*);
  Status (*signature_key)(Handle, const char**);
  Status (*input_count)(Handle, size_t*);
  Status (*output_count)(Handle, size_t*);
  Status (*input_name)(Handle, size_t, const char**);
  Status (*output_name)(Handle, size_t, const char**);

  // Null in a library without it, whose failures then come without a reason.
  Status (*error_messages)(Handle, char**);
  Status (*clear_errors)(Handle);

  // Used by report() alone, which reports less where they are missing.
  Status (*profiler)(Handle, Handle*);
  Status (*start_profiler)(Handle);
  Status (*event_count)(Handle, int*);
  Status (*events)(Handle, int, ProfilerEvent*);
};

Api::Api(const Library& library) : identity(library.identity()) {
  const auto bind = [&](auto& function, const char* name) {
    function = library.symbol<std::remove_reference_t<decltype(function)>>(name);
  };
  // A library without it takes no environment as the first argument: it would read every argument shifted by one.
  (void)library.symbol<void*>("LiteRtCreateModelFromFd");
  hear(library);
  advise_large_pages(library);
  bind(create_environment, "LiteRtCreateEnvironment");
  bind(destroy_environment, "LiteRtDestroyEnvironment");
  bind(create_model, "LiteRtCreateModelFromBuffer");
  bind(destroy_model, "LiteRtDestroyModel");
  bind(create_options, "LiteRtCreateOptions");
  bind(destroy_options, "LiteRtDestroyOptions");
  bind(set_accelerators, "LiteRtSetOptionsHardwareAccelerators");
  bind(create_opaque_options, "LiteRtCreateOpaqueOptions");
  bind(add_opaque_options, "LiteRtAddOpaqueOptions");
  bind(create_compiled_model, "LiteRtCreateCompiledModel");
  bind(destroy_compiled_model, "LiteRtDestroyCompiledModel");
  bind(run, "LiteRtRunCompiledModel");
  bind(output_layouts, "LiteRtGetCompiledModelOutputTensorLayouts");
  bind(resize_input, "LiteRtCompiledModelResizeInputTensor");
  bind(create_buffer, "LiteRtCreateTensorBufferFromHostMemory");
  bind(destroy_buffer, "LiteRtDestroyTensorBuffer");
  bind(signature, "LiteRtGetModelSignature");
  bind(signature_count, "LiteRtGetNumModelSignatures");
  bind(signature_key, "LiteRtGetSignatureKey");
  bind(input_count, "LiteRtGetNumSignatureInputs");
  bind(output_count, "LiteRtGetNumSignatureOutputs");
  bind(input_name, "LiteRtGetSignatureInputName");
  bind(output_name, "LiteRtGetSignatureOutputName");
  const auto try_bind = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(library.try_address(name));
  };
  try_bind(error_messages, "LiteRtCompiledModelGetErrorMessages");
  try_bind(clear_errors, "LiteRtCompiledModelClearErrors");
  try_bind(profiler, "LiteRtCompiledModelGetProfiler");
  try_bind(start_profiler, "LiteRtStartProfiler");
  try_bind(event_count, "LiteRtGetNumProfilerEvents");
  try_bind(events, "LiteRtGetProfilerEvents");
}

std::string_view status_name(Status status) {
  switch (status) {
    case 1: return "invalid argument";
    case 2: return "out of memory";
    case 3: return "runtime failure";
    case 4: return "missing input tensor";
    case 5: return "unsupported";
    case 6: return "not found";
    case 8: return "wrong version";
    case 500: return "file error";
    case 501: return "invalid flatbuffer";
    case 504: return "compilation failed";
    case 1000: return "index out of bounds";
    default: return "unknown status";
  }
}

// `lines` are the library's own.
void check(Status status, const char* doing, const std::string& lines = "") {
  if (status == 0) return;
  constexpr Status kOutOfMemory = 2;
  constexpr Status kUnsupported = 5;
  if (const std::string lacking = lacking_operator(lines); !lacking.empty()) {
    throw Error(Code::unsupported_model, "litert: operator \"", lacking, "\": ", kLacksOperator, as_reason(lines));
  }
  const Code code = status == kOutOfMemory   ? Code::out_of_memory
                    : status == kUnsupported ? Code::unsupported_model
                                             : Code::engine_failed;
  throw Error(code, "litert: ", doing, ": expected success, got status ", status, " (", status_name(status), ")",
              as_reason(lines));
}

// ---- What sessions share.

// An output that is the same tensor as an input, or as an output before it.
struct Alias {
  size_t output;
  Side side;
  size_t index;
};

// Where one signature keeps what lasts from run to run, as far as sessions reach it.
struct State {
  std::vector<TfliteTensor> variables;  // inputs behind those of the signature
  std::vector<size_t> initializers;     // signatures to run
};

constexpr Version kFirstWithPack = {2, 3};  // the first that was tested

// The weights as they are packed for all sessions, once a second one needs them: docs/decisions/0022. Any thread.
class SharedPack {
 public:
  explicit SharedPack(bool is_possible) : is_possible_(is_possible) {}

  // False when every session packs for itself.
  bool is_possible() const { return is_possible_.load(std::memory_order_relaxed); }
  bool exists() const { return exists_.load(std::memory_order_acquire); }

  std::shared_ptr<const WeightCache> cache() const {
    const std::lock_guard lock(mutex_);
    return cache_;
  }
  // `pack` returns a cache, or null when there cannot be any. Other threads wait for the one that calls it.
  template <class Pack>
  void pack_once(Pack pack) {
    if (!is_possible() || exists()) return;
    const std::lock_guard lock(mutex_);
    if (!is_possible() || exists()) return;
    cache_ = pack();
    exists_ = cache_ != nullptr;
    is_possible_ = cache_ != nullptr;
  }
  // Before there is a session.
  void adopt(std::shared_ptr<const WeightCache> cache) {
    const std::lock_guard lock(mutex_);
    cache_ = std::move(cache);
    exists_ = true;
  }
  void give_up() {
    const std::lock_guard lock(mutex_);
    is_possible_ = false;
    exists_ = false;
    cache_.reset();
  }

 private:
  std::atomic<bool> is_possible_;
  std::atomic<bool> exists_{false};
  mutable std::mutex mutex_;
  std::shared_ptr<const WeightCache> cache_;
};

struct Weights {
  Weights(const Api& functions, Block bytes, const TfliteFile& facts, int thread_count, EngineLog shown,
          bool may_share);
  void read_signature(size_t index, const TfliteFile& facts);
  WeightPages::Lock lock_pages() const { return WeightPages::Lock(pages.get()); }
  // Whether another compiled model takes weights from the file, which may have others by then.
  bool needs_file() const { return pages != nullptr && pages->are_away() && !pack.exists(); }
  // Whether it has weights for itself that are shared since.
  bool is_outdated(const Compiled& compiled) const { return compiled.cache == nullptr && pack.exists(); }

  const Api& api;
  bool is_stateful;
  bool is_restorable;
  bool has_variable_inputs = false;
  TfliteCopy copy;  // the file; constants are read from it in place
  int threads;
  EngineLog log;
  int64_t node_count;
  bool leaves_unwritten;
  bool has_loop;
  bool may_delegate;
  uint64_t packing_bytes;  // what XNNPACK packs
  Owned environment;
  Owned model;
  std::vector<Signature> signatures;
  std::vector<std::vector<Alias>> output_aliases;  // by signature
  std::vector<State> states;  // of each signature; empty when there is none, or none can be reached
  mutable SharedPack pack;
  std::unique_ptr<WeightPages> pages;             // null when the file's pages stay
  mutable std::atomic<int64_t> arenas_bytes{0};   // of compiled models
  mutable std::atomic<bool> has_compiled{false};  // for a session: a second compiled model shares its weights
  // What sessions of each signature borrow; null where each has a compiled model of its own. Ends before the model.
  std::vector<std::unique_ptr<CompiledPool>> pools;
};

int severity(EngineLog log) { return log == EngineLog::shown ? kLogInformation : kLogNothing; }

// `severity` is the least that the library logs from now on, in all of the process.
Handle make_environment(const Api& api, int severity) {
  // The CPU only, explicitly: by default LiteRT looks for GPU and NPU libraries by bare name on the loader's path.
  const EnvironmentOption options[] = {{kAutoRegisterAccelerators, {2, {kCpu}}},
                                       {kMinimumLogSeverity, {2, {severity}}}};
  Handle environment = nullptr;
  check(api.create_environment(2, options, &environment), "creating the environment");
  return environment;
}

TfliteCopy adopt(Block file, const TfliteFile& facts) {
  if (!facts.is_stateful || !facts.is_restorable) return {std::move(file), {}};
  return copy_with_state({file.data(), file.size_bytes()}, facts);
}

// The library refuses to read variable tensors and intermediates, but compiles them from the same bytes, which are
// whole again when this returns, and are not written from then on.
Handle make_model(const Api& api, Handle environment, const Block& file, const TfliteFile& facts) {
  const TfliteMarksCleared cleared(file, facts);
  Handle model = nullptr;
  check(api.create_model(environment, file.data(), file.size_bytes(), &model), "reading the model");
  return model;
}

// The library returns null where the file has no name.
const char* checked(const char* text) { return text == nullptr ? "" : text; }

// One side of a signature in the order in which the library takes memory for it. The library lists a tensor that has
// two names twice by one of them; without signatures it keeps the file's order, and names may be equal.
std::vector<TfliteTensor> in_library_order(const std::vector<std::string>& names, const TfliteSignature& signature,
                                           const std::vector<TfliteTensor>& tensors) {
  const auto is_listed_once = [&](const TfliteTensor& tensor) {
    return std::count_if(tensors.begin(), tensors.end(),
                         [&](const auto& other) { return other.tensor_index == tensor.tensor_index; }) == 1;
  };
  // No name comes from the library for a tensor whose name is ours, unless it is listed twice.
  const auto is_known = [&](const std::string& name, const TfliteTensor& tensor) {
    return name.empty() || name == tensor.name || !is_listed_once(tensor);
  };
  if (signature.key == kPlaceholderSignature &&
      std::equal(names.begin(), names.end(), tensors.begin(), tensors.end(), is_known)) {
    return tensors;
  }
  std::vector<TfliteTensor> rest = tensors;
  std::vector<TfliteTensor> ordered;
  for (const std::string& name : names) {
    const auto named =
        std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.name == name; });
    const auto next =
        named == tensors.end() ? rest.end() : std::find_if(rest.begin(), rest.end(), [&](const auto& tensor) {
          return tensor.tensor_index == named->tensor_index;
        });
    if (next == rest.end()) {
      throw Error(Code::engine_failed, "litert: expected a tensor of the model's signature, got \"", name, "\"");
    }
    ordered.push_back(std::move(*next));
    rest.erase(next);
  }
  return ordered;
}

// The outputs that are other inputs or outputs too. The library binds memory to tensors: the last memory that is bound
// to a tensor is the one that the engine writes.
std::vector<Alias> aliases(const std::vector<TfliteTensor>& inputs, const std::vector<TfliteTensor>& outputs) {
  std::map<int32_t, std::pair<Side, size_t>> first;
  std::vector<Alias> aliases;
  for (size_t i = 0; i < inputs.size(); ++i) first.try_emplace(inputs[i].tensor_index, Side::input, i);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto [entry, is_new] = first.try_emplace(outputs[i].tensor_index, Side::output, i);
    if (!is_new) aliases.push_back({i, entry->second.first, entry->second.second});
  }
  return aliases;
}

std::vector<TensorSpec> specs(const std::vector<TfliteTensor>& tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const TfliteTensor& tensor : tensors) {
    specs.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.quantization});
  }
  return specs;
}

void Weights::read_signature(size_t index, const TfliteFile& facts) {
  Handle handle = nullptr;
  const char* key = nullptr;
  check(api.signature(model.get(), index, &handle), "reading a signature");
  check(api.signature_key(handle, &key), "reading a signature's key");
  const auto written = std::find_if(facts.signatures.begin(), facts.signatures.end(),
                                    [&](const TfliteSignature& signature) { return signature.key == checked(key); });
  if (written == facts.signatures.end()) {
    throw Error(Code::engine_failed, "litert: expected a signature of the file, got \"", checked(key), "\"");
  }
  const auto names = [&](auto count_of, auto name_of) {
    size_t count = 0;
    check(count_of(handle, &count), "counting a signature's tensors");
    std::vector<std::string> names(count);
    for (size_t i = 0; i < count; ++i) {
      const char* name = nullptr;
      check(name_of(handle, i, &name), "reading a tensor's name");
      names[i] = checked(name);
    }
    return names;
  };
  std::vector<std::string> input_names = names(api.input_count, api.input_name);
  if (input_names.size() < written->variables.size()) {
    throw Error(Code::engine_failed, "litert: expected at least ", written->variables.size(), " inputs, got ",
                input_names.size());
  }
  input_names.resize(input_names.size() - written->variables.size());  // they follow the inputs
  const auto inputs = in_library_order(input_names, *written, written->inputs);
  const auto outputs = in_library_order(names(api.output_count, api.output_name), *written, written->outputs);
  for (const TfliteTensor& output : outputs) {
    if (!output.is_variable) continue;
    throw Error(Code::unsupported_model, "litert: output \"", output.name,
                "\": expected a tensor that a run writes anew, got a variable");
  }
  for (const TfliteTensor& input : inputs) has_variable_inputs = has_variable_inputs || input.is_variable;
  signatures.push_back({written->key, specs(inputs), specs(outputs)});
  output_aliases.push_back(aliases(inputs, outputs));
  State& state = states.emplace_back(State{written->variables, {}});
  for (size_t i = 0; i < copy.initializers.size(); ++i) {
    if (std::count(written->initializers.begin(), written->initializers.end(), copy.initializers[i]) != 0)
      state.initializers.push_back(facts.signatures.size() + i);
  }
}

Weights::Weights(const Api& functions, Block bytes, const TfliteFile& facts, int thread_count, EngineLog shown,
                 bool may_share)
    : api(functions), is_stateful(facts.is_stateful), is_restorable(facts.is_restorable),
      copy(adopt(std::move(bytes), facts)), threads(thread_count), log(shown), node_count(facts.node_count),
      leaves_unwritten(facts.leaves_unwritten), has_loop(facts.has_loop), may_delegate(facts.may_delegate),
      packing_bytes(may_delegate && !copy.file.is_sparse() ? facts.packing_bytes : 0),
      environment(make_environment(api, severity(log)), api.destroy_environment),
      model(make_model(api, environment.get(), copy.file, facts), api.destroy_model),
      // The library asks the kernel to swap out what it has packed.
      pack(may_share && !copy.file.may_be_swapped()) {
  size_t count = 0;
  check(api.signature_count(model.get(), &count), "counting signatures");
  if (count != facts.signatures.size() + copy.initializers.size()) {
    throw Error(Code::engine_failed, "litert: expected ", facts.signatures.size() + copy.initializers.size(),
                " signatures, got ", count);
  }
  for (size_t i = 0; i < facts.signatures.size(); ++i) read_signature(i, facts);
}

// ---- A session.

enum class Profiling : uint8_t {
  off,
  on
};

class LitertSession final : public EngineSession {
 public:
  LitertSession(std::shared_ptr<const Weights> weights, size_t signature_index, Profiling profiling);

  ~LitertSession() override;

  void resize(std::span<const Shape> input_shapes) override;
  Shape output_shape(size_t index) const override { return output_shapes_[index]; }
  Binding bind(Side side, size_t index, const TensorView& view) override;
  void release(Binding binding) noexcept override;
  void run(std::span<const Binding> inputs, std::span<Binding> outputs) override;
  TensorView view(Binding, Block&) const override;
  void reset() override;
  bool is_outdated() const override {
    return !is_pooled_ && weights_->is_outdated(compiled_) && !weights_->is_stateful;
  }

  // Nodes that the engine's own kernels ran since the profiler was started; -1 when the library does not report them.
  void start_profiler();
  int64_t fallback_count() const;

 private:
  class Loan;  // of a compiled model, in compiled_, from the pool

  void leave_pool();
  void compile();
  void check_run(std::span<const Binding> inputs, std::span<Binding> outputs);
  void plan_again();
  std::vector<Shape> read_output_shapes();
  void prove_output_shapes();
  bool is_compiled_of_use() noexcept;
  const std::vector<Alias>& aliases() const { return weights_->output_aliases[signature_index_]; }
  void run_compiled(std::span<const Binding> inputs, std::span<Binding> outputs);
  Status run_with_aliases(std::span<const Binding> inputs, std::span<const Binding> outputs);
  Handle make_buffer(const TensorView& view) const;
  void make_variables();
  void clear_variables();
  Status run_signature(size_t index, std::span<const Binding> inputs, std::span<Binding> outputs);
  bool has_registered(std::span<const Binding> inputs) const;
  void register_and_run(std::span<const Binding> inputs, std::span<Binding> outputs);

  std::shared_ptr<const Weights> weights_;
  size_t signature_index_;
  Profiling profiling_;
  const State& state_;
  CompiledPool* pool_;  // null: the session has a compiled model of its own
  bool is_pooled_;      // it borrows one for each run, and has none between
  Compiled compiled_;
  std::vector<Shape> input_shapes_;
  std::vector<Shape> output_shapes_;
  bool is_proven_ = false;  // a run has left the output shapes as they were read before it
  std::mutex memory_mutex_;
  std::map<Binding, std::span<std::byte>> memory_;  // of every binding, where outputs have aliases
  bool has_run_ = false;                            // since the state was the initial one

  // Of a model with variables: their memory, and what a run takes, which is the caller's inputs and then these.
  std::vector<Block> variables_;
  std::vector<Owned> variable_bindings_;
  std::vector<Binding> all_inputs_;

  std::vector<Binding> registered_;  // inputs of the last run, which the library still has; empty when it may not
  std::vector<Handle> no_inputs_;    // as many nulls as a run takes inputs
};

// `text` is TOML without quotes around keys; an unknown key is ignored.
void add_options(const Api& api, Handle options, const char* kind, const std::string& text) {
  char* copy = strdup(text.c_str());
  if (copy == nullptr) throw Error(Code::out_of_memory, "litert: expected memory for options, got none");
  Handle opaque = nullptr;
  const Status status = api.create_opaque_options(kind, copy, std::free, &opaque);
  if (status != 0) std::free(copy);
  check(status, "creating options");
  check(api.add_opaque_options(options, opaque), "adding options");
}

[[noreturn]] void refuse_value_shapes(const std::string& what) {
  throw Error(Code::unsupported_model, "litert: ", what,
              ": expected a shape that depends on input shapes alone, got one "
              "that depends on values (such a model runs on engine=\"litert-interpreter\")");
}

struct Compilation {
  Profiling profiling;
  Reporter reporter;
  std::string cache_option;  // where the library looks for packed weights, and writes them if there are none; or empty
};

// The model compiled, or null and a status.
Status try_compile(const Weights& weights, const Compilation& compilation, Handle* compiled) {
  const Api& api = weights.api;
  Handle handle = nullptr;
  check(api.create_options(&handle), "creating options");
  const Owned options(handle, api.destroy_options);
  check(api.set_accelerators(options.get(), kCpu), "choosing the CPU");
  std::string kernels = "num_threads = " + std::to_string(weights.threads);
  if (!compilation.cache_option.empty()) kernels += "\n" + compilation.cache_option;
  // XNNPACK would pack the zeroes.
  if (weights.copy.file.is_sparse() || !weights.may_delegate) kernels += "\nkernel_mode = \"builtin\"";
  add_options(api, options.get(), "xnnpack", kernels);
  std::string text = "error_reporter_mode = " + std::to_string(static_cast<int>(compilation.reporter));
  if (compilation.profiling == Profiling::on) text += "\nenable_profiling = true";
  add_options(api, options.get(), "runtime_options_string", text);
  const LargePages packed;
  return api.create_compiled_model(weights.environment.get(), weights.model.get(), options.get(), compiled);
}

// Has the library pack the weights of a model into a cache; null when it does not. The compiled model that does so goes
// at once: it would go on writing to the cache when it plans anew, and ends the process when it cannot.
std::shared_ptr<const WeightCache> packed(const Weights& weights) {
  // What is packed is in memory once more until it is written.
  if (!WeightCache::has_room(2 * weights.copy.file.size_bytes())) return nullptr;
  std::unique_ptr<WeightCache> cache = WeightCache::try_make();
  if (cache == nullptr) return nullptr;
  {
    const LastWords unasked(weights.log);
    Handle compiled = nullptr;
    if (try_compile(weights, {Profiling::off, Reporter::kept, cache->option()}, &compiled) != 0) return nullptr;
    weights.api.destroy_compiled_model(compiled);
  }
  const bool is_sealed = weights.copy.file.is_secret() ? cache->try_seal_secret() : cache->try_seal();
  return is_sealed ? std::move(cache) : nullptr;
}

// The model compiled on the weights in `cache`, which must outlive it; null when the library does not take them.
Handle try_compile_packed(const Weights& weights, Profiling profiling, const WeightCache& cache) {
  const std::string option = cache.option();
  if (option.empty()) return nullptr;
  const LastWords unasked(weights.log);
  Handle compiled = nullptr;
  if (try_compile(weights, {profiling, Reporter::kept, option}, &compiled) != 0) return nullptr;
  if (!cache.try_keep_from_dumps()) weights.pack.give_up();
  return compiled;
}

// Finds or makes packed weights that other processes use too, for all sessions of the model.
void share(const Weights& weights, const std::string& version, const Sharing& sharing) {
  if (sharing.model.empty() || !weights.pack.is_possible() || weights.copy.file.is_secret()) return;
  const auto directory = WeightDirectory::try_open(sharing.directory, sharing.threads);
  if (directory == nullptr) return;
  const std::string name = directory->name_of(
      {sharing.model, weights.api.identity,
       "litert " + version + "\n" + std::to_string(weights.threads) + " threads\n" + sharing.processor});
  std::shared_ptr<const WeightCache> cache = directory->try_find(name);
  if (cache == nullptr) {
    const std::shared_ptr<const WeightCache> own = packed(weights);
    if (own == nullptr) return;
    cache = directory->try_keep(name, *own);
    if (cache == nullptr) cache = own;
  }
  weights.pack.adopt(std::move(cache));
}

// `cache` may be null.
Handle compile(const Weights& weights, Profiling profiling, const WeightCache* cache) {
  Handle compiled = cache == nullptr ? nullptr : try_compile_packed(weights, profiling, *cache);
  if (compiled != nullptr) return compiled;
  const Status status = [&] {
    const LastWords unasked(weights.log);
    return try_compile(weights, {profiling, Reporter::kept, ""}, &compiled);
  }();
  if (status == 0) return compiled;
  // What the library has kept is lost with the model that did not come to be.
  // Some reasons are logged alone.
  const Api& api = weights.api;
  const LastWords words(weights.log);
  const Owned logs_errors(make_environment(api, std::min(severity(weights.log), kLogErrors)), api.destroy_environment);
  const Status again = try_compile(weights, {profiling, Reporter::standard_error, ""}, &compiled);
  const Owned logs_as_before(make_environment(api, severity(weights.log)), api.destroy_environment);
  if (again == 0) return compiled;
  check(status, "compiling the model", words.text());
  return nullptr;
}

// From the second one on with the weights that all share.
Compiled compile_sharing(const Weights& weights, Profiling profiling) {
  Growth growth;
  if (profiling == Profiling::off && weights.has_compiled.exchange(true, std::memory_order_relaxed))
    weights.pack.pack_once([&] { return packed(weights); });
  std::shared_ptr<const WeightCache> cache = weights.pack.cache();
  Handle handle = compile(weights, profiling, cache.get());
  Compiled compiled(std::move(cache), Owned(handle, weights.api.destroy_compiled_model));
  compiled.arenas = Holding(weights.arenas_bytes);
  compiled.arenas.add(growth.bytes());
  return compiled;
}

// Asked with the pages locked, after what may have read them and before they are unlocked. If so, the pages are kept.
bool has_read_zeroes(const Weights& weights) {
  WeightPages* pages = weights.pages.get();
  if (pages == nullptr || pages->is_kept() || !pages->were_read()) return false;
  pages->keep();
  return true;
}

// For a session, with the pages locked. Without a pack, the library reads the weights again.
Compiled compile_for_session(const Weights& weights, Profiling profiling) {
  if (weights.pages == nullptr) return compile_sharing(weights, profiling);
  if (!weights.pack.exists()) weights.pages->restore();
  Compiled compiled = compile_sharing(weights, profiling);
  if (has_read_zeroes(weights)) compiled = compile_sharing(weights, profiling);
  compiled.is_checked = weights.pages->is_kept();
  return compiled;
}

// What the library has kept of errors since the last call.
std::string take_words(const Api& api, const Compiled& compiled) {
  char* kept = nullptr;
  if (api.error_messages == nullptr || api.clear_errors == nullptr) return "";
  if (api.error_messages(compiled.model.get(), &kept) != 0 || kept == nullptr) return "";
  const std::unique_ptr<char, void (*)(void*)> owner(kept, std::free);
  (void)api.clear_errors(compiled.model.get());
  return kept;
}

// With the pages locked; what is planned has to be checked.
void resize_inputs(const Weights& weights, size_t signature_index, Compiled& compiled, std::span<const Shape> shapes) {
  if (weights.pages != nullptr && !weights.pages->is_kept()) {
    compiled.is_checked = false;
    compiled.measured_run_count = 0;
  }
  const std::vector<TensorSpec>& specs = weights.signatures[signature_index].inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (!specs[i].shape.is_dynamic()) continue;
    int dims[Shape::kMaxRank];
    for (size_t axis = 0; axis < shapes[i].rank(); ++axis) {
      if (shapes[i][axis] > INT32_MAX) {
        throw Error(Code::bad_input, "input \"", specs[i].name, "\": expected dimensions below 2^31, got ",
                    text(shapes[i]));
      }
      dims[axis] = static_cast<int>(shapes[i][axis]);
    }
    const Status status = weights.api.resize_input(compiled.model.get(), signature_index, i, dims, shapes[i].rank());
    if (status != 0) {
      throw Error(Code::engine_failed, "litert: input \"", specs[i].name, "\": expected to resize to ", text(shapes[i]),
                  ", got status ", status, " (", status_name(status), ")",
                  as_reason(take_words(weights.api, compiled)));
    }
  }
}

// For a session, with the pages locked.
Compiled compile_for_shapes(const Weights& weights, Profiling profiling, size_t signature_index,
                            std::span<const Shape> shapes) {
  for (;;) {
    Compiled compiled = compile_for_session(weights, profiling);
    resize_inputs(weights, signature_index, compiled, shapes);
    if (!has_read_zeroes(weights)) return compiled;
  }
}

// Those that a session has first: 1 where the model leaves a dimension open.
std::vector<Shape> first_shapes(const std::vector<TensorSpec>& inputs) {
  std::vector<Shape> shapes;
  for (const TensorSpec& spec : inputs) {
    Shape& shape = shapes.emplace_back(spec.shape);
    for (size_t axis = 0; axis < shape.rank(); ++axis) shape[axis] = shape[axis] < 0 ? 1 : shape[axis];
  }
  return shapes;
}

// Borrowed compiled models have the first shapes. Null where a run leaves something for the next, or where the file is
// so small that compiled models take little.
std::unique_ptr<CompiledPool> make_pool(const Weights& weights, size_t signature_index) {
  const std::vector<TensorSpec>& inputs = weights.signatures[signature_index].inputs;
  const bool is_unknown =
      std::any_of(inputs.begin(), inputs.end(), [](const TensorSpec& spec) { return spec.shape.is_unknown(); });
  if (weights.is_stateful || is_unknown || weights.copy.file.size_bytes() < kMinPackedBytes) return nullptr;
  const auto make = [&weights, signature_index] {
    const auto lock = weights.lock_pages();
    Growth growth;
    Compiled compiled = compile_for_shapes(weights, Profiling::off, signature_index,
                                           first_shapes(weights.signatures[signature_index].inputs));
    compiled.arenas.add(growth.bytes());  // besides what compilation took
    return compiled;
  };
  const auto is_outdated = [&weights](const Compiled& compiled) { return weights.is_outdated(compiled); };
  const auto is_last_kept = [&weights] { return weights.needs_file(); };
  return std::make_unique<CompiledPool>(std::max(std::thread::hardware_concurrency(), 1U),
                                        CompiledPool::Rules{make, is_outdated, is_last_kept});
}

class LitertSession::Loan {
 public:
  explicit Loan(LitertSession& session) : session_(session), has_borrowed_(session.is_pooled_) {
    if (has_borrowed_) session_.compiled_ = session_.pool_->borrow();
  }
  ~Loan() {
    if (!has_borrowed_) return;
    const bool has_failed = std::uncaught_exceptions() != exception_count_;
    const bool is_of_use = !has_failed || session_.is_compiled_of_use();
    Compiled compiled(nullptr, Owned(nullptr, nullptr));
    compiled = std::move(session_.compiled_);
    if (is_of_use) {
      session_.pool_->give_back(std::move(compiled));
    } else {
      session_.pool_->give_nothing_back();
    }
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

 private:
  LitertSession& session_;
  const bool has_borrowed_;
  const int exception_count_ = has_borrowed_ ? std::uncaught_exceptions() : 0;
};

LitertSession::LitertSession(std::shared_ptr<const Weights> weights, size_t signature_index, Profiling profiling)
    : weights_(std::move(weights)), signature_index_(signature_index), profiling_(profiling),
      state_(weights_->states[signature_index]),
      pool_(profiling == Profiling::off ? weights_->pools[signature_index].get() : nullptr),
      is_pooled_(pool_ != nullptr && pool_->try_join()), compiled_(nullptr, Owned(nullptr, nullptr)) {
  if (is_pooled_) return;  // another session was made so
  compile();
  const Signature& signature = weights_->signatures[signature_index_];
  const auto is_dynamic = [](const TensorSpec& spec) { return spec.shape.is_dynamic(); };
  const auto is_open = [](const TensorSpec& spec) { return !spec.shape.is_unknown() && spec.shape.is_dynamic(); };
  const auto output = std::find_if(signature.outputs.begin(), signature.outputs.end(), is_open);
  if (output != signature.outputs.end() && std::none_of(signature.inputs.begin(), signature.inputs.end(), is_dynamic)) {
    refuse_value_shapes("output \"" + output->name + "\"");
  }
  make_variables();
}

LitertSession::~LitertSession() {
  if (is_pooled_) pool_->leave();
}

// For good: a session that changes its shapes would find other compiled models each time.
void LitertSession::leave_pool() {
  if (is_pooled_) {
    is_pooled_ = false;
    std::optional<Compiled> surplus = pool_->leave_with();
    if (surplus) {
      compiled_ = std::move(*surplus);
    } else {
      compile();
    }
  }
  pool_ = nullptr;
}

void LitertSession::compile() {
  const auto lock = weights_->lock_pages();
  registered_.clear();
  compiled_ = compile_for_session(*weights_, profiling_);
}

void LitertSession::make_variables() {
  for (const TfliteTensor& variable : state_.variables) {
    const Block& block = variables_.emplace_back(Block::uninitialized(*size_bytes(variable.dtype, variable.shape)));
    Handle buffer = make_buffer({variable.dtype, variable.shape, block.data(), block.size_bytes()});
    variable_bindings_.emplace_back(buffer, weights_->api.destroy_buffer);
  }
  clear_variables();
}

// As the engine's own reset does: it fills with a byte, which is the zero point for int8.
void LitertSession::clear_variables() {
  for (size_t i = 0; i < variables_.size(); ++i) {
    const TfliteTensor& variable = state_.variables[i];
    const std::vector<int64_t>& zero_points = variable.quantization.zero_points;
    const bool has_zero_point = variable.dtype == DType::int8 && zero_points.size() == 1;
    std::memset(variables_[i].data(), has_zero_point ? static_cast<int>(zero_points[0]) : 0,
                variables_[i].size_bytes());
  }
}

void LitertSession::start_profiler() {
  const Api& api = weights_->api;
  Handle profiler = nullptr;
  if (api.profiler == nullptr || api.start_profiler == nullptr) return;
  check(api.profiler(compiled_.model.get(), &profiler), "reaching the profiler");
  check(api.start_profiler(profiler), "starting the profiler");
}

int64_t LitertSession::fallback_count() const {
  const Api& api = weights_->api;
  Handle profiler = nullptr;
  int count = 0;
  if (api.profiler == nullptr || api.event_count == nullptr || api.events == nullptr) return -1;
  if (api.profiler(compiled_.model.get(), &profiler) != 0 || api.event_count(profiler, &count) != 0 || count < 1)
    return -1;
  // Twice the room: a library with larger events than these stays inside it, and is detected by their contents.
  std::vector<ProfilerEvent> events(static_cast<size_t>(count) * 2);
  if (api.events(profiler, count, events.data()) != 0) return -1;
  std::set<uint64_t> nodes;
  for (int i = 0; i < count; ++i) {
    const uint32_t kind = events[static_cast<size_t>(i)].kind;
    if (!std::has_single_bit(kind) || kind > kMaxEventKind) return -1;
    if (kind == kOperatorRun) nodes.insert(events[static_cast<size_t>(i)].node_index);
  }
  return static_cast<int64_t>(nodes.size());
}

void LitertSession::resize(std::span<const Shape> input_shapes) {
  const auto first = first_shapes(weights_->signatures[signature_index_].inputs);
  if (pool_ != nullptr && !std::equal(first.begin(), first.end(), input_shapes.begin(), input_shapes.end()))
    leave_pool();
  input_shapes_.assign(input_shapes.begin(), input_shapes.end());
  is_proven_ = false;
  registered_.clear();
  const Loan loan(*this);
  const auto lock = weights_->lock_pages();
  if (!is_pooled_) resize_inputs(*weights_, signature_index_, compiled_, input_shapes_);
  output_shapes_ = read_output_shapes();
  if (has_read_zeroes(*weights_)) plan_again();
  if (pool_ == nullptr || is_pooled_) return;
  pool_->join_with(std::move(compiled_));
  is_pooled_ = true;
}

std::vector<Shape> LitertSession::read_output_shapes() {
  const std::vector<TensorSpec>& specs = weights_->signatures[signature_index_].outputs;
  if (specs.empty()) return {};  // the library has no layouts to give, and says that something is invalid
  std::vector<Layout> layouts(specs.size());
  const Status status =
      weights_->api.output_layouts(compiled_.model.get(), signature_index_, layouts.size(), layouts.data(), true);
  if (status != 0) check(status, "reading output shapes", take_words(weights_->api, compiled_));
  std::vector<Shape> shapes;
  for (size_t i = 0; i < layouts.size(); ++i) {
    if (layouts[i].rank > Shape::kMaxRank) {
      throw Error(Code::unsupported_model, "output \"", specs[i].name, "\": expected at most ", Shape::kMaxRank,
                  " dimensions, got ", unsigned{layouts[i].rank});
    }
    std::vector<int64_t> dims(layouts[i].dimensions, layouts[i].dimensions + layouts[i].rank);
    shapes.emplace_back(dims);
  }
  return shapes;
}

// A file may not show that an output's shape depends on values. A run then reports success and writes nothing; the
// layouts change afterwards.
void LitertSession::prove_output_shapes() {
  std::vector<Layout> layouts(output_shapes_.size());
  is_proven_ = layouts.empty();
  if (is_proven_) return;
  const Status status =
      weights_->api.output_layouts(compiled_.model.get(), signature_index_, layouts.size(), layouts.data(), true);
  if (status != 0 || read_output_shapes() != output_shapes_) {
    refuse_value_shapes("output \"" + weights_->signatures[signature_index_].outputs[0].name + "\"");
  }
  is_proven_ = true;
}

// Whether a compiled model that failed serves other runs: only where another might not come to be, and as long as it is
// planned as it was.
bool LitertSession::is_compiled_of_use() noexcept {
  try {
    return weights_->needs_file() && read_output_shapes() == output_shapes_;
  } catch (...) {
    return false;
  }
}

Binding LitertSession::bind(Side side, size_t, const TensorView& view) {
  // It may get the address that a released one had, and is told from it by nothing else.
  if (side == Side::input) registered_.clear();
  Handle buffer = make_buffer(view);
  if (!aliases().empty()) {
    const std::lock_guard lock(memory_mutex_);
    memory_[buffer] = {view.data, view.size_bytes};
  }
  return buffer;
}

Handle LitertSession::make_buffer(const TensorView& view) const {
  RankedTensorType type{};
  type.element_type = element_type(view.dtype);
  if (type.element_type == 0)
    throw Error(Code::unsupported_model, "litert: expected a dtype it has, got ", name(view.dtype));
  type.layout.rank = static_cast<unsigned>(view.shape.rank());
  for (size_t axis = 0; axis < view.shape.rank(); ++axis)
    type.layout.dimensions[axis] = static_cast<int32_t>(view.shape[axis]);
  Handle buffer = nullptr;
  check(weights_->api.create_buffer(&type, view.data, view.size_bytes, nullptr, &buffer), "binding memory");
  return buffer;
}

void LitertSession::release(Binding binding) noexcept {
  if (!aliases().empty()) {
    const std::lock_guard lock(memory_mutex_);
    memory_.erase(binding);
  }
  weights_->api.destroy_buffer(binding);
}

Status LitertSession::run_signature(size_t index, std::span<const Binding> inputs, std::span<Binding> outputs) {
  // The library's parameter is not const, but the array is not written.
  return weights_->api.run(compiled_.model.get(), index, inputs.size(), const_cast<Handle*>(inputs.data()),
                           outputs.size(), outputs.data());
}

// Gives the library one memory for each tensor, and copies it to where else the tensor is wanted.
Status LitertSession::run_with_aliases(std::span<const Binding> inputs, std::span<const Binding> outputs) {
  std::vector<Binding> written(outputs.begin(), outputs.end());
  const auto source = [&](const Alias& alias) { return (alias.side == Side::input ? inputs : outputs)[alias.index]; };
  for (const Alias& alias : aliases()) written[alias.output] = source(alias);
  const Status status = run_signature(signature_index_, inputs, written);
  const std::lock_guard lock(memory_mutex_);
  for (const Alias& alias : aliases()) {
    const std::span<std::byte> from = memory_.at(source(alias));
    const std::span<std::byte> to = memory_.at(outputs[alias.output]);
    std::memcpy(to.data(), from.data(), std::min(to.size(), from.size()));
  }
  return status;
}

bool LitertSession::has_registered(std::span<const Binding> inputs) const {
  if (registered_.empty()) return false;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i] != registered_[i]) return false;
  return true;
}

void LitertSession::run(std::span<const Binding> inputs, std::span<Binding> outputs) {
  if (!has_registered(inputs)) return register_and_run(inputs, outputs);
  has_run_ = true;
  // Null is an input that stays in the memory of the last run. Registering it again takes longer than a small model.
  const Status status = run_signature(signature_index_, no_inputs_, outputs);
  if (status == 0) return;
  registered_.clear();
  check(status, "running", take_words(weights_->api, compiled_));
}

void LitertSession::register_and_run(std::span<const Binding> inputs, std::span<Binding> outputs) {
  const Loan loan(*this);
  if (compiled_.measured_run_count == kMeasuredRuns) return run_compiled(inputs, outputs);
  Growth growth;
  if (compiled_.is_checked) {
    run_compiled(inputs, outputs);
  } else {
    check_run(inputs, outputs);
  }
  compiled_.arenas.add(growth.bytes());
  ++compiled_.measured_run_count;
}

// What was computed from zeroes is computed again.
void LitertSession::check_run(std::span<const Binding> inputs, std::span<Binding> outputs) {
  const auto lock = weights_->lock_pages();
  WeightPages& pages = *weights_->pages;
  pages.set_aside();
  if (!pages.is_kept()) {
    std::exception_ptr failure;
    try {
      run_compiled(inputs, outputs);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!has_read_zeroes(*weights_)) {
      if (failure != nullptr) {  // it shows nothing of what it did not reach
        if (!pages.are_away()) pages.restore();
        std::rethrow_exception(failure);
      }
      pages.give_back();
      compiled_.is_checked = true;
      return;
    }
    plan_again();
    if (profiling_ == Profiling::on) start_profiler();
  }
  compiled_.is_checked = true;
  run_compiled(inputs, outputs);
}

void LitertSession::plan_again() {
  compiled_ = compile_for_shapes(*weights_, profiling_, signature_index_, input_shapes_);
  is_proven_ = false;
  output_shapes_ = read_output_shapes();
}

void LitertSession::run_compiled(std::span<const Binding> inputs, std::span<Binding> outputs) {
  registered_.clear();
  has_run_ = true;
  const std::span<const Binding> callers = inputs;
  if (!variables_.empty()) {
    all_inputs_.assign(inputs.begin(), inputs.end());
    for (const Owned& binding : variable_bindings_) all_inputs_.push_back(binding.get());
    inputs = all_inputs_;
  }
  const Status status =
      aliases().empty() ? run_signature(signature_index_, inputs, outputs) : run_with_aliases(inputs, outputs);
  if (!is_proven_) prove_output_shapes();
  if (status != 0) check(status, "running", take_words(weights_->api, compiled_));
  // A pool may lend another compiled model to the next run.
  if (is_pooled_ || !compiled_.is_checked || !aliases().empty()) return;
  registered_.assign(callers.begin(), callers.end());
  no_inputs_.assign(inputs.size(), nullptr);
}

// What lasts from run to run is in memory of ours, or is assigned anew by a subgraph; otherwise in the compiled model,
// which shares its weights with the next.
void LitertSession::reset() {
  if (!has_run_ || !weights_->is_stateful) return;
  if (weights_->is_restorable) {
    clear_variables();
    for (const size_t initializer : state_.initializers)
      check(run_signature(initializer, {}, {}), "assigning first values");
  } else {
    compile();
    resize_inputs(*weights_, signature_index_, compiled_, input_shapes_);
    read_output_shapes();
  }
  has_run_ = false;
}

TensorView LitertSession::view(Binding, Block&) const {
  throw Error(Code::engine_failed, "litert: expected a binding of its own, got one of ours");
}

// The library takes strings in and gives them out only in memory whose size the caller guesses.
void require_no_strings(const char* side, const std::vector<TfliteTensor>& tensors) {
  for (const TfliteTensor& tensor : tensors) {
    if (tensor.dtype != DType::string) continue;
    throw Error(Code::unsupported_model, "litert: ", side, " \"", tensor.name,
                "\": expected numbers or booleans, got string (such a model runs on engine=\"litert-interpreter\")");
  }
}

class LitertEngine final : public Engine {
 public:
  LitertEngine(std::shared_ptr<const Weights> weights, std::string version)
      : weights_(std::move(weights)), version_(std::move(version)) {}

  const std::vector<Signature>& signatures() const override { return weights_->signatures; }
  // A run may write to an input that is a variable, so that it must not be the caller's memory: none has this slack.
  MemoryRules memory_rules() const override {
    return {kBlockAlignment, weights_->has_variable_inputs ? SIZE_MAX : kBlockSlack};
  }
  bool is_stateful() const override { return weights_->is_stateful; }
  bool leaves_unwritten() const override { return weights_->leaves_unwritten; }
  EngineReport report() const override;
  bool shares_weights() const override { return weights_->pack.is_possible(); }
  bool is_shared() const override {
    const auto cache = weights_->pack.cache();
    return cache != nullptr && cache->is_file();
  }
  bool is_file_mapped() const override { return weights_->copy.file.is_mapped(); }
  EngineMemory memory() const override;
  uint64_t packing_bytes() const override { return weights_->pack.exists() ? 0 : weights_->packing_bytes; }
  std::unique_ptr<EngineSession> make_session(size_t signature_index) const override {
    {
      const std::lock_guard lock(mutex_);
      if (spare_ != nullptr && signature_index == 0) return std::move(spare_);
    }
    return std::make_unique<LitertSession>(weights_, signature_index, Profiling::off);
  }

 private:
  std::unique_ptr<LitertSession> try_make_reporting() const;

  std::shared_ptr<const Weights> weights_;
  std::string version_;
  mutable std::mutex mutex_;                      // guards what follows
  mutable std::unique_ptr<EngineSession> spare_;  // of a report before there was a session, and taken by the first
};

EngineMemory LitertEngine::memory() const {
  const Block& file = weights_->copy.file;
  const std::shared_ptr<const WeightCache> cache = weights_->pack.cache();
  return {resident_bytes(file.data(), file.size_bytes()), cache == nullptr ? 0 : cache->resident_bytes(),
          weights_->arenas_bytes.load(std::memory_order_relaxed)};
}

// Null when the weights are to be read again, and the file has others by now or cannot be read.
std::unique_ptr<LitertSession> LitertEngine::try_make_reporting() const {
  try {
    return std::make_unique<LitertSession>(weights_, 0, Profiling::on);
  } catch (const Error& error) {
    if (error.code() != Code::bad_input) throw;
    return nullptr;
  } catch (const std::filesystem::filesystem_error&) {
    return nullptr;
  }
}

// Compiles the model once more, with the profiler, and runs it on zeros: the library has no other way to report which
// kernels run.
EngineReport LitertEngine::report() const {
  // On zeros it may have no end.
  if (weights_->has_loop) return {"litert", version_, "", weights_->node_count, -1};
  auto reporting = try_make_reporting();
  if (reporting == nullptr) return {"litert", version_, "", weights_->node_count, -1};
  LitertSession& session = *reporting;
  std::vector<Block> blocks;
  std::vector<std::pair<Side, TensorView>> views;
  std::vector<Shape> input_shapes;
  for (const TensorSpec& spec : weights_->signatures[0].inputs) {
    Shape shape = spec.shape;
    for (size_t axis = 0; axis < shape.rank(); ++axis) shape[axis] = std::max<int64_t>(shape[axis], 1);
    input_shapes.push_back(shape);
  }
  try {
    session.resize(input_shapes);
  } catch (const Error& error) {
    if (error.code() != Code::engine_failed) throw;
    return {"litert", version_, "", weights_->node_count, -1};
  }
  const auto add = [&](Side side, DType dtype, const Shape& shape) {
    blocks.push_back(Block::zeroed(size_bytes(dtype, shape).value_or(0)));
    views.push_back({side, {dtype, shape, blocks.back().data(), blocks.back().size_bytes()}});
  };
  for (size_t i = 0; i < input_shapes.size(); ++i)
    add(Side::input, weights_->signatures[0].inputs[i].dtype, input_shapes[i]);
  const size_t output_count = weights_->signatures[0].outputs.size();
  for (size_t i = 0; i < output_count; ++i)
    add(Side::output, weights_->signatures[0].outputs[i].dtype, session.output_shape(i));

  std::vector<Binding> inputs;
  std::vector<Binding> outputs;
  const auto release = [&](Binding binding) { session.release(binding); };
  std::vector<std::unique_ptr<void, decltype(release)>> bound;
  for (const auto& [side, view] : views) {
    bound.emplace_back(session.bind(side, 0, view), release);
    (side == Side::input ? inputs : outputs).push_back(bound.back().get());
  }
  session.start_profiler();
  session.run(inputs, outputs);
  const int64_t fallback_count = session.fallback_count();
  const bool is_delegated = fallback_count < weights_->node_count;
  bound.clear();
  session.reset();
  const std::lock_guard lock(mutex_);
  if (!weights_->has_compiled.exchange(true, std::memory_order_relaxed)) spare_ = std::move(reporting);
  return {"litert", version_, is_delegated ? "XNNPACK" : "none", weights_->node_count, fallback_count};
}

// Takes names of inputs and outputs out of the file, so that the library makes up its own, which differ. A name may
// share its bytes with anything else in the file, so the file is checked again.
void blank_names(const Block& file, const std::vector<size_t>& offsets) {
  // An empty string: a length of 0 and the zero byte behind it.
  for (const size_t offset : offsets) std::memset(file.data() + offset, 0, 5);
  read_tflite({file.data(), file.size_bytes()});
}

}  // namespace

std::unique_ptr<Engine> open_litert(const std::string& library_path, const std::string& version, Block file,
                                    int threads, EngineLog log, const Sharing& sharing, WeightSource source) {
  TfliteFile facts = read_tflite({file.data(), file.size_bytes()});
  if (!facts.mistakable_names.empty()) blank_names(file, facts.mistakable_names);
  require_version("ai-edge-litert", version, {2, 2}, {2, 4});
  if (!facts.is_stateful || !facts.is_restorable) {
    for (TfliteSignature& signature : facts.signatures) {
      signature.variables.clear();
      signature.initializers.clear();
    }
  }
  for (const TfliteSignature& signature : facts.signatures) {
    require_no_strings("input", signature.inputs);
    require_no_strings("output", signature.outputs);
    if (!signature.open_operator.empty()) refuse_value_shapes(signature.open_operator);
  }
  if (!facts.spreading_operator.empty()) {
    throw Error(Code::unsupported_model, "litert: ", facts.spreading_operator,
                ": expected outputs that no other operator reads, because it leaves bytes of them unwritten");
  }
  const Api& api = opened<Api>(library_path);
  const bool may_share =
      file.size_bytes() >= kMinPackedBytes && facts.is_pack_told_by_buffers && parse_version(version) >= kFirstWithPack;
  auto weights = std::make_shared<Weights>(api, std::move(file), facts, threads, log, may_share);
  for (size_t i = 0; i < weights->signatures.size(); ++i) weights->pools.push_back(make_pool(*weights, i));
  const Block& kept = weights->copy.file;
  if (weights->pack.is_possible() && facts.may_delegate && !facts.is_stateful && !kept.is_sparse())
    weights->pages = WeightPages::try_make(kept, facts.only_packed, std::move(source));
  share(*weights, version, sharing);
  return std::make_unique<LitertEngine>(std::move(weights), version);
}

}  // namespace edgeward
