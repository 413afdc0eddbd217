#include "models/session.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "error.h"
#include "system/growth.h"
#include "system/resident.h"
#include "tensor/string_block.h"

namespace edgeward {
namespace {

Binding binding_of(const BoundTensor* tensor) { return tensor == nullptr ? nullptr : tensor->binding; }

// What an input needs: strings are empty at first. Nothing when no memory could hold it.
std::optional<size_t> first_bytes(DType dtype, const Shape& shape) {
  if (dtype != DType::string) return size_bytes(dtype, shape);
  const auto count = element_count(shape);
  return count ? string_block_bytes(*count, 0) : std::nullopt;
}

std::shared_ptr<Block> empty_strings(const Shape& shape) {
  const size_t count = *element_count(shape);
  auto block = std::make_shared<Block>(Block::uninitialized(*string_block_bytes(count, 0)));
  StringBlockWriter writer({block->data(), block->size_bytes()}, count);
  for (size_t i = 0; i < count; ++i) (void)writer.add(0);
  return block;
}

}  // namespace

// Holds the session during a call; the constructor throws when the session cannot be used.
class Session::Entry {
 public:
  enum class Closed : uint8_t {
    refused,
    allowed
  };
  explicit Entry(Session& session, Closed closed = Closed::refused) : session_(session) {
    session.fork_mark_.require_same_process("session");
    // acquire; pairs with the release below: the last call's writes are seen by a caller on another thread.
    Use use = Use::none;
    if (!session.use_.compare_exchange_strong(use, Use::call, std::memory_order_acquire)) wait(use);
    if (session.engine_session_ == nullptr && closed == Closed::refused) refuse();
  }
  ~Entry() { session_.use_.store(Use::none, std::memory_order_release); }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

 private:
  void wait(Use use) {
    do {
      if (use == Use::call)
        throw Error(Code::busy, "session: expected one thread at a time, got a second call during a run");
      session_.use_.wait(use, std::memory_order_acquire);
      use = Use::none;
    } while (!session_.use_.compare_exchange_strong(use, Use::call, std::memory_order_acquire));
  }
  [[noreturn]] void refuse() {
    session_.use_.store(Use::none, std::memory_order_release);
    throw Error(Code::closed, "session: expected use before close(), got a call after it");
  }

  Session& session_;
};

Session::Session(std::shared_ptr<const Engine> engine, size_t signature_index, std::shared_ptr<Account> account)
    : account_(std::move(account)), share_(Account::Share::of_session(account_)), keeps_arenas_(engine->keeps_arenas()),
      engine_(std::move(engine)), signature_index_(signature_index), signature_(engine_->signatures()[signature_index]),
      rules_(engine_->memory_rules()), is_stateful_(engine_->is_stateful()),
      leaves_unwritten_(engine_->leaves_unwritten()), engine_session_(engine_->make_session(signature_index)) {
  std::vector<Shape> first_shapes;
  for (const TensorSpec& spec : signature_.inputs) {
    const auto is_too_small = [&](int64_t dim) { return dim >= 0 && dim < rules_.least_dimension; };
    if (std::any_of(spec.shape.begin(), spec.shape.end(), is_too_small)) {
      throw Error(Code::unsupported_model, "input \"", spec.name, "\": expected every dimension at least ",
                  rules_.least_dimension, ", got ", text(spec.shape));
    }
    if (is_packed(spec.dtype) && spec.shape.is_dynamic()) {
      throw Error(Code::unsupported_model, "input \"", spec.name, "\": expected known dimensions for packed ",
                  name(spec.dtype), ", got ", text(spec.shape));
    }
    Shape shape = spec.shape;
    for (size_t axis = 0; axis < shape.rank(); ++axis) shape[axis] = shape[axis] < 0 ? 1 : shape[axis];
    first_shapes.push_back(shape);
    has_string_inputs_ |= spec.dtype == DType::string;
    inputs_.emplace_back().spec = &spec;
  }
  for (const TensorSpec& spec : signature_.outputs) outputs_.emplace_back().spec = &spec;
  bound_inputs_.resize(inputs_.size());
  bound_outputs_.resize(outputs_.size());
  if (std::any_of(first_shapes.begin(), first_shapes.end(), [](const Shape& shape) { return shape.is_unknown(); })) {
    forget_shapes();
    return;
  }
  try {
    impose_shapes(first_shapes);
    name_shapes();
  } catch (const Error& error) {
    const auto is_dynamic = [](const Input& input) { return input.spec->shape.is_dynamic(); };
    if (error.code() != Code::engine_failed || std::none_of(inputs_.begin(), inputs_.end(), is_dynamic)) throw;
    // The first shapes that a caller brings decide. What failed to resize may be left half resized.
    engine_session_.reset();
    engine_session_ = engine_->make_session(signature_index);
    forget_shapes();
  }
}

Session::~Session() {
  if (fork_mark_.is_foreign()) {
    leave_alone(engine_session_);
    leave_alone(engine_);
    leave_alone(outputs_);
    return;
  }
  abandon();
}

void Session::close() {
  const Entry entry(*this, Entry::Closed::allowed);
  abandon();
  recorder_.reset();  // its ring ends with the session
}

void Session::renew() noexcept {
  Use use = Use::none;
  if (fork_mark_.is_foreign() || !use_.compare_exchange_strong(use, Use::renewal, std::memory_order_acquire)) return;
  if (is_outdated()) {
    Growth growth;
    replace_engine_session();
    if (is_open()) add_arenas(growth.bytes());
  }
  // release; pairs with the acquires in Entry.
  use_.store(Use::none, std::memory_order_release);
  use_.notify_all();
}

void Session::replace_engine_session() noexcept {
  std::shared_ptr<EngineSession> other;
  try {
    other = engine_->make_session(signature_index_);
  } catch (...) {
    return;  // this session goes on as it is
  }
  try {
    const Setting in_force = setting();
    release_bindings();
    engine_session_ = std::move(other);
    restore(in_force);
  } catch (...) {
    abandon();
  }
}

void Session::release_bindings() noexcept {
  if (engine_session_ == nullptr) return;
  for (Input& input : inputs_) drop(input);
  for (Output& output : outputs_) drop(output);
  is_own_bound_ = false;
}

void Session::drop(Slot& slot) noexcept {
  for (BoundTensor* tensor : {&slot.own, &slot.foreign}) {
    if (tensor->binding != nullptr) engine_session_->release(tensor->binding);
    *tensor = {};
  }
  slot.bound = nullptr;
}

void Session::drop(Output& output) noexcept {
  drop(static_cast<Slot&>(output));
  output.result.reset();
  output.engine_memory.reset();
  if (output.pool != nullptr) output.pool->orphan();
  output.pool.reset();
}

void Session::apply_shapes(std::span<const Shape> input_shapes) {
  const Setting in_force = setting();
  try {
    impose_shapes_measured(input_shapes);
  } catch (...) {
    // An engine session that fails to resize may be left half resized; a fresh one is not.
    start_again(in_force);
    throw;
  }
}

Session::Setting Session::setting() const {
  Setting setting{has_shapes_, {}, {}, {}};
  for (const Input& input : inputs_) {
    setting.shapes.push_back(input.shape);
    setting.inputs.push_back(input.own_block);
  }
  for (const Output& output : outputs_) setting.outputs.push_back(output.own_block);
  return setting;
}

void Session::start_again(const Setting& setting) noexcept {
  try {
    release_bindings();
    engine_session_.reset();
    engine_session_ = engine_->make_session(signature_index_);
    restore(setting);
  } catch (...) {
    abandon();
  }
}

void Session::forget_shapes() {
  has_shapes_ = false;
  for (Input& input : inputs_) input.shape = input.spec->shape;
  for (Output& output : outputs_) output.shape = output.spec->shape;
}

void Session::name_shapes() {
  if (std::any_of(inputs_.begin(), inputs_.end(), [](const Input& input) { return input.spec->shape.is_dynamic(); }))
    return;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (signature_.outputs[i].shape.is_unknown()) signature_.outputs[i].shape = outputs_[i].shape;
  }
}

void Session::add_arenas(int64_t size_bytes) {
  if (keeps_arenas_) return account_->add_engine_arenas(size_bytes);
  arenas_bytes_ += size_bytes;
  account_->add_arenas(size_bytes);
}

void Session::abandon() noexcept {
  release_bindings();
  engine_session_.reset();
  engine_.reset();
  account_->add_arenas(-std::exchange(arenas_bytes_, 0));
  share_.reset();
}

void Session::restore(const Setting& setting) {
  if (!setting.has_shapes) return forget_shapes();
  impose_shapes(setting.shapes);
  for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i].own_block = setting.inputs[i];
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i].own_block = setting.outputs[i];
}

void Session::impose_shapes_measured(std::span<const Shape> input_shapes) {
  uint64_t shapes_bytes = 0;
  for (size_t i = 0; i < inputs_.size(); ++i)
    shapes_bytes += first_bytes(inputs_[i].spec->dtype, input_shapes[i]).value_or(0);
  if (shapes_bytes <= measured_bytes_) return impose_shapes(input_shapes);
  Growth growth;
  impose_shapes(input_shapes);
  add_arenas(growth.bytes());
}

void Session::impose_shapes(std::span<const Shape> input_shapes) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!first_bytes(inputs_[i].spec->dtype, input_shapes[i])) {
      throw Error(Code::bad_input, "input \"", inputs_[i].spec->name,
                  "\": expected a size that fits memory, got shape ", text(input_shapes[i]));
    }
  }
  release_bindings();
  has_shapes_ = false;
  try {
    engine_session_->resize(input_shapes);
  } catch (const Error& error) {
    if (error.code() != Code::engine_failed) throw;
    std::string refused;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      refused += (i == 0 ? "\"" : ", \"") + inputs_[i].spec->name + "\" " + text(input_shapes[i]);
    }
    throw Error(error.code(), error.what(), " (planning for ", refused, ")");
  }
  shapes_bytes_ = 0;
  is_settled_ = false;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    inputs_[i].shape = input_shapes[i];
    inputs_[i].size_bytes = *first_bytes(inputs_[i].spec->dtype, input_shapes[i]);
    inputs_[i].own_block.reset();
    if (inputs_[i].spec->dtype == DType::string) inputs_[i].own_block = empty_strings(input_shapes[i]);
    shapes_bytes_ += inputs_[i].size_bytes;
  }
  // Kernels that have nothing to read may return before they write.
  zeroes_outputs_ = leaves_unwritten_ || std::any_of(inputs_.begin(), inputs_.end(), [](const Input& input) {
                      return element_count(input.shape) == 0;
                    });
  has_engine_outputs_ = false;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    Output& output = outputs_[i];
    output.shape = engine_session_->output_shape(i);
    output.own_block.reset();
    const auto size = size_bytes(output.spec->dtype, output.shape);
    output.size_bytes = size.value_or(0);
    if (size) {
      output.pool = std::make_shared<OutputPool>(*engine_session_, i, output.spec->dtype, output.shape, account_);
    } else {
      has_engine_outputs_ = true;
    }
  }
  if (shapes_bytes_ > measured_bytes_) measured_run_count_ = 0;
  has_shapes_ = true;
}

bool Session::takes(const TensorSpec& spec, const Shape& shape) const {
  return spec.shape.admits(shape) &&
         std::all_of(shape.begin(), shape.end(), [&](int64_t dim) { return dim >= rules_.least_dimension; });
}

void Session::resize(std::span<const Shape> input_shapes) {
  const Entry entry(*this);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const TensorSpec& spec = *inputs_[i].spec;
    const Shape& shape = input_shapes[i];
    if (!takes(spec, shape)) {
      throw Error(Code::bad_input, "input \"", spec.name, "\": expected ",
                  spec.shape.is_unknown() ? "a shape" : text(spec.shape), " with every dimension at least ",
                  rules_.least_dimension, ", got ", text(shape));
    }
  }
  const Setting in_force = setting();
  apply_shapes(input_shapes);
  try {
    bind_all_own();
  } catch (...) {
    start_again(in_force);
    throw;
  }
}

// ---- Own memory.

const BoundTensor& Session::bind_own(Slot& slot, Side side, size_t index) {
  if (slot.own.binding != nullptr) return slot.own;
  if (slot.own_block == nullptr) slot.own_block = account_->zeroed(slot.size_bytes);
  slot.own.view = {slot.spec->dtype, slot.shape, slot.own_block->data(), slot.own_block->size_bytes()};
  slot.own.binding = engine_session_->bind(side, index, slot.own.view);
  return slot.own;
}

inline const BoundTensor& Session::bind_foreign(Slot& slot, Side side, size_t index, std::byte* data) {
  if (slot.foreign.binding != nullptr && slot.foreign.view.data == data) return slot.foreign;
  // Forget it first: bind() may throw.
  if (Binding previous = std::exchange(slot.foreign.binding, nullptr)) engine_session_->release(previous);
  slot.foreign.view = {slot.spec->dtype, slot.shape, data, slot.size_bytes};
  slot.foreign.binding = engine_session_->bind(side, index, slot.foreign.view);
  return slot.foreign;
}

void Session::refuse_without_shapes() const {
  const auto input = std::find_if(inputs_.begin(), inputs_.end(),
                                  [](const Input& candidate) { return candidate.spec->shape.is_dynamic(); });
  const TensorSpec& spec = *input->spec;
  if (spec.shape.is_unknown()) {
    throw Error(Code::bad_input,
                "session: expected resize() first, because the model does not tell the shape of input \"", spec.name,
                "\"");
  }
  throw Error(Code::bad_input, "session: expected resize() first, because the engine cannot plan input \"", spec.name,
              "\" ", text(spec.shape), " with 1 for each -1");
}

Session::Own Session::own_input(size_t index) {
  const Entry entry(*this);
  require_shapes();
  Input& input = inputs_[index];
  return {bind_own(input, Side::input, index).view, input.own_block};
}

Session::Own Session::own_output(size_t index) {
  const Entry entry(*this);
  require_shapes();
  Output& output = outputs_[index];
  if (output.pool == nullptr) {
    if (output.engine_memory == nullptr) return {{output.spec->dtype, output.shape, nullptr, 0}, nullptr};
    return {output.engine_memory->view, output.engine_memory};
  }
  return {bind_own(output, Side::output, index).view, output.own_block};
}

void Session::bind_all_own() {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    inputs_[i].bound = &bind_own(inputs_[i], Side::input, i);
    bound_inputs_[i] = inputs_[i].bound->binding;
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    outputs_[i].bound = outputs_[i].pool == nullptr ? nullptr : &bind_own(outputs_[i], Side::output, i);
    bound_outputs_[i] = binding_of(outputs_[i].bound);
  }
  is_own_bound_ = !has_engine_outputs_;
  is_seen_ = false;
}

inline void Session::run_engine() {
  if (!is_settled_) return run_unsettled();
  try {
    engine_session_->run(bound_inputs_, bound_outputs_);
  } catch (const OtherShapes&) {
    leave_outputs_to_engine();
    run_unsettled();
  }
}

void Session::run_unsettled() {
  if (zeroes_outputs_) zero_outputs();
  if (measured_run_count_ < kMeasuredRuns) {
    call_engine_measured();
  } else {
    call_engine();
  }
  if (has_engine_outputs_) collect_engine_outputs();
  is_settled_ = measured_run_count_ == kMeasuredRuns && !zeroes_outputs_ && !has_engine_outputs_;
}

void Session::call_engine() {
  try {
    engine_session_->run(bound_inputs_, bound_outputs_);
  } catch (const OtherShapes&) {
    leave_outputs_to_engine();
    engine_session_->run(bound_inputs_, bound_outputs_);
  }
}

void Session::call_engine_measured() {
  const auto touched_bytes = [&] {
    int64_t size_bytes = 0;
    for (const Output& output : outputs_) {
      if (output.bound != nullptr)
        size_bytes += static_cast<int64_t>(resident_bytes(output.bound->view.data, output.bound->view.size_bytes));
    }
    return size_bytes;
  };
  const int64_t before_bytes = touched_bytes();
  Growth growth;
  call_engine();
  add_arenas(growth.bytes() - (touched_bytes() - before_bytes));
  measured_bytes_ = std::max(measured_bytes_, shapes_bytes_);
  ++measured_run_count_;
}

inline void Session::run_bound() {
  if (recorder_ == nullptr || recorder_->passes_over()) {
    run_engine();
  } else {
    run_and_record();
  }
}

void Session::run() {
  const Entry entry(*this);
  require_shapes();
  if (has_string_inputs_) take_strings();
  if (!is_own_bound_) bind_all_own();
  run_bound();
  if (!has_engine_outputs_) return;
  for (Output& output : outputs_) {
    if (output.pool == nullptr) output.engine_memory = std::move(output.result);
  }
}

// Otherwise bytes that the run leaves out would show what the memory held before: earlier answers, to whomever.
void Session::zero_outputs() {
  for (const Output& output : outputs_) {
    if (output.bound != nullptr) std::memset(output.bound->view.data, 0, output.size_bytes);
  }
}

void Session::leave_outputs_to_engine() {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    Output& output = outputs_[i];
    const Shape shape = engine_session_->output_shape(i);
    if (output.pool == nullptr || !shape.is_dynamic()) continue;
    drop(output);
    output.shape = shape;
    output.size_bytes = 0;
    output.own_block.reset();
    bound_outputs_[i] = nullptr;
    has_engine_outputs_ = true;
    is_own_bound_ = false;
    is_seen_ = false;
    is_settled_ = false;
    if (output.target.data != nullptr) check_target(output);
  }
}

void Session::run_and_record() {
  const auto see = [](const auto& slots, std::vector<TensorView>& views) {
    views.clear();
    for (const Slot& slot : slots) views.push_back(slot.bound->view);
  };
  if (!is_seen_) see(inputs_, seen_inputs_);
  const uint64_t begin_ns = recorder_->now_ns();
  try {
    run_engine();
  } catch (...) {
    recorder_->observe_failure(begin_ns, seen_inputs_);
    throw;
  }
  if (!is_seen_) see(outputs_, seen_outputs_);
  is_seen_ = true;
  recorder_->observe(begin_ns, seen_inputs_, seen_outputs_);
}

void Session::attach(std::shared_ptr<Capture> capture) {
  const Entry entry(*this);
  recorder_.reset();
  if (capture != nullptr) recorder_ = std::make_unique<Recorder>(std::move(capture), signature_);
}

// Each output becomes a lease, or none does: when one cannot be described, all memory of the run is released.
void Session::collect_engine_outputs() {
  std::exception_ptr failure;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].pool != nullptr) continue;
    try {
      outputs_[i].result = lease_of_engine(engine_session_, std::exchange(bound_outputs_[i], nullptr));
      outputs_[i].bound = outputs_[i].result.get();
      if (outputs_[i].spec->dtype == DType::string) ++copies_;
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure == nullptr) return;
  for (Output& output : outputs_) output.result.reset();
  std::rethrow_exception(failure);
}

void Session::run_bare(size_t count) {
  const Entry entry(*this);
  require_shapes();
  if (has_engine_outputs_) {
    throw Error(Code::unsupported_model,
                "session: expected outputs of known shape for bare runs, got one that depends on values");
  }
  bind_all_own();
  if (zeroes_outputs_) zero_outputs();
  for (size_t i = 0; i < count; ++i) engine_session_->run(bound_inputs_, bound_outputs_);
}

void Session::reset() {
  const Entry entry(*this);
  if (has_shapes_) engine_session_->reset();
}

// ---- Memory of the caller's.

inline bool Session::is_argument_in_force(const Input& input) const {
  return input.argument.shape == input.shape && !is_packed(input.spec->dtype);
}

// Checks every argument against the model, and resizes when dynamic dimensions differ from those in force.
void Session::adopt_argument_shapes() {
  bool is_changed = false;
  for (const Input& input : inputs_) {
    const TensorSpec& spec = *input.spec;
    const Shape& shape = input.argument.shape;
    if (is_argument_in_force(input)) continue;
    if (is_packed(spec.dtype)) {
      if (shape == storage_shape(spec.dtype, spec.shape)) continue;
    } else if (takes(spec, shape)) {
      is_changed = true;
      continue;
    }
    throw Error(Code::bad_input, "input \"", spec.name, "\": expected ", name(spec.dtype),
                is_packed(spec.dtype) ? " packed into uint8 " : " ",
                spec.shape.is_unknown() ? "of any shape" : text(storage_shape(spec.dtype, spec.shape)), ", got ",
                text(shape));
  }
  if (!is_changed) return;
  std::vector<Shape> shapes;
  for (const Input& input : inputs_)
    shapes.push_back(is_packed(input.spec->dtype) ? input.shape : input.argument.shape);
  apply_shapes(shapes);
}

void Session::check_target(const Output& output) const {
  const Shape wanted = storage_shape(output.spec->dtype, output.shape);
  if (output.pool == nullptr) {
    throw Error(
        Code::bad_input, "output \"", output.spec->name, "\": expected no out=, because ",
        output.spec->dtype == DType::string
            ? "strings have no memory of a known size"
            : (output.shape.is_unknown() ? "its shape" : "its shape " + text(output.shape)) + " depends on values");
  }
  if (!(output.target.shape == wanted) || !is_contiguous(output.target)) {
    throw Error(Code::bad_input, "output \"", output.spec->name, "\": expected a C-contiguous out= of ", text(wanted),
                ", got ", text(output.target.shape), is_contiguous(output.target) ? "" : " that is not C-contiguous");
  }
  if (overlaps_a_target(output.target.data, output.size_bytes, &output)) {
    throw Error(Code::bad_input, "output \"", output.spec->name,
                "\": expected an out= of its own, got one that overlaps another");
  }
}

bool Session::overlaps_a_target(const std::byte* data, size_t size_bytes, const Output* besides) const {
  return std::any_of(outputs_.begin(), outputs_.end(), [&](const Output& output) {
    return &output != besides && output.target.data != nullptr && data < output.target.data + output.size_bytes &&
           output.target.data < data + size_bytes;
  });
}

// For the engine, and at least for C++'s own access.
bool Session::is_aligned(const StridedView& view) const {
  // Both are powers of two.
  return (reinterpret_cast<uintptr_t>(view.data) & (std::max(rules_.alignment_bytes, view.element_bytes) - 1)) == 0;
}

void Session::set_strings(size_t index, const Shape& shape, std::shared_ptr<Block> strings) {
  const Entry entry(*this);
  inputs_[index].argument.shape = shape;
  inputs_[index].strings = std::move(strings);
}

const BoundTensor& Session::bind_strings(Input& input, size_t index) {
  if (Binding previous = std::exchange(input.own.binding, nullptr)) engine_session_->release(previous);
  input.own_block = std::move(input.strings);
  ++copies_;
  return bind_own(input, Side::input, index);
}

// For run(), whose shapes are those in force.
void Session::take_strings() {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Input& input = inputs_[i];
    if (input.strings == nullptr) continue;
    if (!(input.argument.shape == input.shape)) {
      throw Error(Code::bad_input, "input \"", input.spec->name, "\": expected string ", text(input.shape), ", got ",
                  text(input.argument.shape));
    }
    (void)bind_strings(input, i);
    is_own_bound_ = false;
  }
}

inline const BoundTensor& Session::bind_argument(Input& input, size_t index) {
  if (input.strings != nullptr) return bind_strings(input, index);
  const StridedView& argument = input.argument;
  const bool is_bound = input.foreign.binding != nullptr && input.foreign.view.data == argument.data;
  const bool is_usable =
      is_contiguous(argument) &&
      (is_bound || (is_aligned(argument) && readable_slack(argument.data, input.size_bytes) >= rules_.slack_bytes)) &&
      !overlaps_a_target(argument.data, input.size_bytes, nullptr);
  if (is_usable) return bind_foreign(input, Side::input, index, argument.data);
  const BoundTensor& own = bind_own(input, Side::input, index);
  if (is_contiguous(argument)) {
    std::memcpy(own.view.data, argument.data, input.size_bytes);
  } else {
    gather(argument, own.view.data);
  }
  ++copies_;
  return own;
}

inline const BoundTensor* Session::bind_result(Output& output, size_t index) {
  if (output.target.data == nullptr) {
    if (output.pool == nullptr) return nullptr;
    output.result = output.pool->lease();
    return output.result.get();
  }
  if (!is_aligned(output.target)) return &bind_own(output, Side::output, index);
  return &bind_foreign(output, Side::output, index, output.target.data);
}

// Copies to the caller's target what the engine could not write there.
inline void Session::collect(Output& output) {
  if (output.target.data != nullptr && output.bound == &output.own) {
    std::memcpy(output.target.data, output.own.view.data, output.size_bytes);
    ++copies_;
  }
  output.target.data = nullptr;
}

void Session::predict() {
  const Entry entry(*this);
  is_own_bound_ = false;
  is_seen_ = false;
  for (Output& output : outputs_) output.result.reset();
  try {
    for (const Input& input : inputs_) {
      if (is_argument_in_force(input)) continue;
      adopt_argument_shapes();
      break;
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (outputs_[i].target.data != nullptr) check_target(outputs_[i]);
      outputs_[i].bound = bind_result(outputs_[i], i);
      bound_outputs_[i] = binding_of(outputs_[i].bound);
    }
    for (size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i].bound = &bind_argument(inputs_[i], i);
      bound_inputs_[i] = inputs_[i].bound->binding;
    }
    if (is_stateful_) engine_session_->reset();
    run_bound();
    for (Output& output : outputs_) collect(output);
  } catch (...) {
    for (Output& output : outputs_) {
      output.target.data = nullptr;
      output.result.reset();
    }
    throw;
  }
}

}  // namespace edgeward
