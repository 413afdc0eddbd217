// Session: one signature of a model, ready to run: the engine's session, the memory bound to it, and every check.
// One thread at a time; a second thread gets Error(busy). Leases may outlive the session.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "captures/recorder.h"
#include "engines/engine.h"
#include "models/account.h"
#include "models/lease.h"
#include "system/fork.h"
#include "system/memory.h"

namespace edgeward {

class Session {
 public:
  // Dynamic dimensions are 1 until the first resize. Where the engine cannot plan them so, or the whole shape of an
  // input is unknown, no shapes are in force until
  // resize() or predict() brings some that it can; everything else throws Error(bad_input) until then.
  // What the session takes counts in `account`.
  Session(std::shared_ptr<const Engine> engine, size_t signature_index, std::shared_ptr<Account> account);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The engine's, with the shapes of outputs that the file leaves unknown, where those of the inputs decide them.
  const Signature& signature() const { return signature_; }

  bool is_open() const { return engine_session_ != nullptr; }

  // Ends the engine's session. Memory that was handed out stays valid; every other call throws Error(closed) from then
  // on.
  void close();

  // Whether renew() would save memory. Only while no other thread uses the session.
  bool is_outdated() const { return engine_session_ != nullptr && engine_session_->is_outdated(); }
  // Continues with an engine session that shares what this one's has for itself, in the same memory and shapes. Does
  // nothing while a call is in the session or when the engine makes no other. Any thread; a call on another thread
  // waits.
  void renew() noexcept;

  // ---- The session's own memory, read and written by the engine in place.

  // In use until the next resize. The keeper keeps it alive after that, and after the session.
  struct Own {
    TensorView view;
    std::shared_ptr<const void> keeper;
  };
  Own own_input(size_t index);
  // An output whose shape depends on values has no memory (and no keeper) before the first run, and other memory after
  // each run.
  Own own_output(size_t index);

  // One shape per input. Throws Error(bad_input) naming the first that its spec does not admit, Error(engine_failed)
  // when the engine refuses the combination, Error(out_of_memory); the shapes in force then stay.
  void resize(std::span<const Shape> input_shapes);
  const Shape& input_shape(size_t index) const { return inputs_[index].shape; }
  bool has_string_inputs() const { return has_string_inputs_; }
  // True when run() puts some output into other memory each time.
  bool has_engine_outputs() const { return has_engine_outputs_; }

  // Reads and writes the session's own memory.
  void run();
  // Calls the engine `count` times on own memory, with nothing around each call.
  void run_bare(size_t count);
  // Restores the initial state (models with variable tensors).
  void reset();

  // ---- Memory of the caller's. Fill in the arguments, predict, take the results.

  // What predict() reads. Every input must be set again for each call, be located outside of own_input(), and live
  // until the call returns.
  StridedView& argument(size_t index) { return inputs_[index].argument; }
  // The strings that an input of such elements has from then on, for predict() and run(): a StringBlock of the elements
  // of `shape`, aligned and with slack as a Block is. Copied into the engine's memory or bound there, and counted as a
  // copy, by the next run.
  void set_strings(size_t index, const Shape& shape, std::shared_ptr<Block> strings);
  // Where predict() writes an output; with data == nullptr, to fresh memory. Consumed by the call.
  StridedView& target(size_t index) { return outputs_[index].target; }
  void forget_targets() {
    for (Output& output : outputs_) output.target.data = nullptr;
  }
  // Resizes when an argument has another shape, starts from the initial state, runs.
  // Throws Error(bad_input) naming the tensor, before anything is written.
  void predict();
  // The memory of an output that had no target.
  Lease take(size_t index) { return std::move(outputs_[index].result); }

  // From then on, runs are captured; null ends that. Throws as Recorder does, and then captures nothing.
  void attach(std::shared_ptr<Capture> capture);
  // Null when nothing is captured.
  const Capture* capture() const { return recorder_ == nullptr ? nullptr : recorder_->capture().get(); }

  // Counts what the engine took to make this session, until it ends, or the engine does where that keeps it.
  void add_arenas(int64_t size_bytes);

  // How many inputs and outputs predict() has copied, and tensors of strings run().
  uint64_t copies() const { return copies_; }

 private:
  class Entry;  // use_, for the length of a call
  enum class Use : uint8_t {
    none,
    call,
    renewal  // for a moment, which calls wait for
  };

  // One input or output: its shape in force and the memory it can be bound to.
  struct Slot {
    const TensorSpec* spec;
    Shape shape;  // -1 in an output's: known only after a run
    size_t size_bytes = 0;
    std::shared_ptr<Block> own_block;
    BoundTensor own;
    BoundTensor foreign;                 // memory of a caller's, remembered for the next call
    const BoundTensor* bound = nullptr;  // what the next run reads or writes; null for memory of the engine's
  };
  struct Input : Slot {
    StridedView argument{};
    std::shared_ptr<Block> strings;  // those of set_strings(), until the next run
  };
  struct Output : Slot {
    std::shared_ptr<OutputMemory> engine_memory;  // of the last run(), when the shape is known only after it
    std::shared_ptr<OutputPool> pool;             // null while the shape is not known
    StridedView target{};
    Lease result;
  };

  // Whether an input may have that shape.
  bool takes(const TensorSpec& spec, const Shape& shape) const;
  void apply_shapes(std::span<const Shape> input_shapes);
  void impose_shapes(std::span<const Shape> input_shapes);
  // The same; what the engine takes for inputs that are larger than any before is added to the arenas.
  void impose_shapes_measured(std::span<const Shape> input_shapes);
  // Throws Error(bad_input) when no shapes are in force.
  void require_shapes() const {
    if (!has_shapes_) refuse_without_shapes();
  }
  [[noreturn]] void refuse_without_shapes() const;
  void forget_shapes();
  void name_shapes();
  // Shapes and own memory, to return to when the engine refuses others.
  struct Setting {
    bool has_shapes;
    std::vector<Shape> shapes;
    std::vector<std::shared_ptr<Block>> inputs;
    std::vector<std::shared_ptr<Block>> outputs;
  };
  Setting setting() const;
  void restore(const Setting& setting);
  // Continues with a fresh engine session and that setting; closes this session if that fails.
  void start_again(const Setting& setting) noexcept;
  void replace_engine_session() noexcept;
  void abandon() noexcept;
  void release_bindings() noexcept;
  // Releases the slot's bindings, and an output's pool with them.
  void drop(Slot& slot) noexcept;
  void drop(Output& output) noexcept;
  // The slot's own memory, allocated and bound when it is first asked for.
  const BoundTensor& bind_own(Slot& slot, Side side, size_t index);
  // A caller's memory, bound only when the last call's was other memory.
  const BoundTensor& bind_foreign(Slot& slot, Side side, size_t index, std::byte* data);
  void bind_all_own();
  bool is_argument_in_force(const Input& input) const;
  void adopt_argument_shapes();
  void check_target(const Output& output) const;
  bool overlaps_a_target(const std::byte* data, size_t size_bytes, const Output* besides) const;
  bool is_aligned(const StridedView& view) const;
  const BoundTensor& bind_argument(Input& input, size_t index);
  // Makes the strings that were set the input's own memory, and binds it.
  const BoundTensor& bind_strings(Input& input, size_t index);
  void take_strings();
  // Null: the engine makes the memory.
  const BoundTensor* bind_result(Output& output, size_t index);
  // Runs what is bound, and lets the recorder see it when it asks to.
  void run_bound();
  void run_engine();
  // A run with what only some models need, or what only first runs do.
  void run_unsettled();
  void call_engine();
  void call_engine_measured();
  // Lets the engine make the memory of outputs that have other shapes than the model declares. Throws Error(bad_input)
  // when the caller wants one of them in memory of its own.
  void leave_outputs_to_engine();
  void run_and_record();
  void collect_engine_outputs();
  void collect(Output& output);
  void zero_outputs();

  ForkMark fork_mark_;
  std::shared_ptr<Account> account_;
  std::optional<Account::Share> share_;  // none once closed
  bool keeps_arenas_;
  int64_t arenas_bytes_ = 0;              // of this session alone
  std::shared_ptr<const Engine> engine_;  // null once closed
  size_t signature_index_;
  Signature signature_;
  MemoryRules rules_;
  bool is_stateful_;
  bool leaves_unwritten_;
  bool zeroes_outputs_ = false;  // before each run: kernels may leave bytes of them unwritten
  bool is_settled_ = false;      // a run of these shapes is the engine's run and nothing else
  uint64_t shapes_bytes_ = 0;    // of all inputs
  uint64_t measured_bytes_ = 0;  // the most that a run was measured with
  int measured_run_count_ = 0;   // on shapes of that size
  bool has_string_inputs_ = false;
  bool has_shapes_ = false;
  bool has_engine_outputs_ = false;
  std::atomic<Use> use_{Use::none};
  std::shared_ptr<EngineSession> engine_session_;  // null once closed
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::vector<Binding> bound_inputs_;  // of each slot's `bound`, as the engine takes them
  std::vector<Binding> bound_outputs_;
  bool is_own_bound_ = false;  // the own memory is bound, ready for run()
  bool is_seen_ = false;       // seen_* are the views of what is bound
  uint64_t copies_ = 0;
  std::unique_ptr<Recorder> recorder_;   // null: nothing is captured
  std::vector<TensorView> seen_inputs_;  // what the recorder is shown
  std::vector<TensorView> seen_outputs_;
};

}  // namespace edgeward
