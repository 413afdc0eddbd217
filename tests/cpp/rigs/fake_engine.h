// An engine that adds one to every byte, and keeps books of all that the core asks of it.
// What engine.h forbids is written down as a complaint; a test of the core ends with none and with nothing left alive.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engines/engine.h"
#include "error.h"
#include "system/memory.h"

namespace edgeward {

struct FakeBinding {
  Side side;
  size_t index;
  TensorView view;
  std::vector<std::byte> engine_memory;  // when the engine made it
  uint64_t session;
  uint64_t generation;  // of the session's shapes
  bool is_released = false;
};

// Outlives every engine, session and lease. Any thread.
class Books {
 public:
  Books() = default;
  Books(const Books&) = delete;
  Books& operator=(const Books&) = delete;
  ~Books() {
    const std::vector<std::string> complaints = this->complaints();
    CHECK(complaints.empty());
    for (const std::string& complaint : complaints) MESSAGE(complaint);
    CHECK(live_bindings() == 0);
    CHECK(live_sessions == 0);
  }

  void complain(std::string about) {
    const std::lock_guard lock(mutex_);
    complaints_.push_back(std::move(about));
  }
  std::vector<std::string> complaints() const {
    const std::lock_guard lock(mutex_);
    return complaints_;
  }

  FakeBinding* bind(FakeBinding binding) {
    const std::lock_guard lock(mutex_);
    ++binds_;
    ++live_;
    return bindings_.emplace_back(std::make_unique<FakeBinding>(std::move(binding))).get();
  }
  void release(FakeBinding& binding) {
    const std::lock_guard lock(mutex_);
    if (binding.is_released) {
      complaints_.push_back("a binding was released twice");
      return;
    }
    binding.is_released = true;
    binding.engine_memory = {};
    --live_;
  }
  bool is_released(const FakeBinding& binding) const {
    const std::lock_guard lock(mutex_);
    return binding.is_released;
  }
  size_t binds() const {
    const std::lock_guard lock(mutex_);
    return binds_;
  }
  size_t live_bindings() const {
    const std::lock_guard lock(mutex_);
    return live_;
  }

  std::atomic<int> live_sessions{0};
  std::atomic<int> made_sessions{0};
  std::atomic<int> runs{0};

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> complaints_;
  std::vector<std::unique_ptr<FakeBinding>> bindings_;  // kept after release, so that a second one is seen
  size_t binds_ = 0;
  size_t live_ = 0;
};

// What the engine is like. A hook is called before the engine does its part, and may throw in its place.
struct FakeModel {
  std::vector<TensorSpec> inputs{{"x", DType::uint8, {2, 3}, {}}};
  std::vector<TensorSpec> outputs{{"y", DType::uint8, {2, 3}, {}}};  // of output i: input i's bytes plus one
  MemoryRules rules{64, 64};
  bool is_declared_wrong = false;   // the first run finds out that all outputs depend on values
  bool is_stateful = false;         // a run then adds what was run before it since the last reset, too
  size_t written_bytes = SIZE_MAX;  // of each output, at most; the rest stays as it was
  EngineMemory memory{};            // what its engine says it has
  bool keeps_arenas = false;

  std::function<void()> on_session = [] {};
  std::function<void(std::span<const Shape>)> on_resize = [](std::span<const Shape>) {};
  std::function<void(Side, size_t)> on_bind = [](Side, size_t) {};
  std::function<void()> on_run = [] {};
  std::function<void()> on_view = [] {};
};

// An output whose spec has a dimension of -1 where its input has none depends on values: it has the input's bytes that
// are not zero, plus one, in memory of the engine's.
class FakeSession final : public EngineSession {
 public:
  FakeSession(std::shared_ptr<const FakeModel> model, Books& books) : model_(std::move(model)), books_(books) {
    model_->on_session();
    number_ = static_cast<uint64_t>(++books_.made_sessions);
    ++books_.live_sessions;
  }
  ~FakeSession() override {
    --books_.live_sessions;
    if (live_here_ != 0) books_.complain("a session ended before its bindings");
  }

  void resize(std::span<const Shape> input_shapes) override {
    const Turn turn(*this);
    if (input_shapes.size() != model_->inputs.size())
      books_.complain("resize: another number of shapes than of inputs");
    for (size_t i = 0; i < input_shapes.size(); ++i) {
      if (!model_->inputs[i].shape.admits(input_shapes[i]))
        books_.complain("resize: a shape that the spec does not admit");
    }
    ++generation_;
    shapes_.clear();  // a resize that fails leaves nothing to build on
    model_->on_resize(input_shapes);
    shapes_.assign(input_shapes.begin(), input_shapes.end());
  }

  Shape output_shape(size_t index) const override {
    if (is_found_wrong_) return {-1};
    return depends_on_values(index) ? model_->outputs[index].shape : shapes_.at(index);
  }

  Binding bind(Side side, size_t index, const TensorView& view) override {
    model_->on_bind(side, index);
    if (shapes_.empty()) books_.complain("bind: a session without shapes");
    const Shape wanted = side == Side::input ? shapes_.at(index) : output_shape(index);
    const DType dtype = (side == Side::input ? model_->inputs : model_->outputs)[index].dtype;
    if (!(view.shape == wanted) || view.dtype != dtype) books_.complain("bind: another tensor than the one in force");
    if (view.size_bytes != size_bytes(view.dtype, view.shape)) books_.complain("bind: another size than the shape's");
    if (reinterpret_cast<uintptr_t>(view.data) % model_->rules.alignment_bytes != 0)
      books_.complain("bind: memory off its alignment");
    ++live_here_;
    return books_.bind({side, index, view, {}, number_, generation_});
  }

  // Any thread: memory that was lent comes back from where it was used.
  void release(Binding binding) noexcept override {
    --live_here_;
    books_.release(*static_cast<FakeBinding*>(binding));
  }

  void run(std::span<const Binding> inputs, std::span<Binding> outputs) override {
    const Turn turn(*this);
    ++books_.runs;
    model_->on_run();
    if (model_->is_declared_wrong && !std::exchange(is_found_wrong_, true))
      throw OtherShapes(Code::engine_failed, "fake: another shape");
    if (inputs.size() != model_->inputs.size() || outputs.size() != model_->outputs.size()) {
      books_.complain("run: another number of tensors than the model's");
      return;
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!is_right(inputs[i], Side::input, i)) return;
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const TensorView& source = static_cast<FakeBinding*>(inputs[i])->view;
      touch_slack(source);
      if (depends_on_values(i)) {
        if (outputs[i] != nullptr) books_.complain("run: memory for an output whose size depends on values");
        outputs[i] = make_output(i, source);
        continue;
      }
      if (!is_right(outputs[i], Side::output, i)) return;
      const TensorView& target = static_cast<FakeBinding*>(outputs[i])->view;
      const size_t written_bytes = std::min(source.size_bytes, model_->written_bytes);
      for (size_t k = 0; k < written_bytes; ++k) target.data[k] = plus(source.data[k], 1 + runs_since_reset_);
    }
    if (model_->is_stateful) ++runs_since_reset_;
  }

  TensorView view(Binding binding, Block&) const override {
    model_->on_view();
    const auto* bound = static_cast<FakeBinding*>(binding);
    if (books_.is_released(*bound)) books_.complain("view: a released binding");
    return bound->view;
  }

  void reset() override { runs_since_reset_ = 0; }

 private:
  // One call of the engine; a second at the same time is what two threads in one session would be.
  class Turn {
   public:
    explicit Turn(FakeSession& session) : session_(session) {
      if (session_.is_in_use_.exchange(true)) session_.books_.complain("two threads in one session");
    }
    ~Turn() { session_.is_in_use_ = false; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    FakeSession& session_;
  };

  static std::byte plus(std::byte value, int more) {
    return static_cast<std::byte>(std::to_integer<int>(value) + more);
  }

  bool depends_on_values(size_t index) const {
    if (is_found_wrong_) return true;
    const Shape& output = model_->outputs[index].shape;
    return output.is_dynamic() && !output.is_unknown() && !model_->inputs[index].shape.is_dynamic();
  }

  // False when there is nothing to work on; what else is wrong is a complaint alone.
  bool is_right(Binding binding, Side side, size_t index) {
    const auto* bound = static_cast<FakeBinding*>(binding);
    if (bound == nullptr) {
      books_.complain("run: no memory for a tensor of known size");
      return false;
    }
    if (books_.is_released(*bound)) books_.complain("run: a released binding");
    if (bound->session != number_) books_.complain("run: another session's binding");
    if (bound->generation != generation_) books_.complain("run: a binding of other shapes");
    if (bound->side != side || bound->index != index) books_.complain("run: another tensor's binding");
    return true;
  }

  // Reads what memory_rules() says may be read, as real kernels do: past a guard page that ends the process.
  __attribute__((no_sanitize("address", "thread"))) void touch_slack(const TensorView& view) const {
    const volatile std::byte* past = view.data + view.size_bytes;
    for (size_t i = 0; i < model_->rules.slack_bytes; ++i) (void)past[i];
  }

  Binding make_output(size_t index, const TensorView& source) {
    FakeBinding bound{Side::output, index, {model_->outputs[index].dtype, {}, nullptr, 0}, {}, number_, generation_};
    for (size_t k = 0; k < source.size_bytes; ++k) {
      if (source.data[k] != std::byte{0}) bound.engine_memory.push_back(plus(source.data[k], 1));
    }
    bound.view.shape = {static_cast<int64_t>(bound.engine_memory.size())};
    bound.view.data = bound.engine_memory.data();
    bound.view.size_bytes = bound.engine_memory.size();
    ++live_here_;
    return books_.bind(std::move(bound));
  }

  std::shared_ptr<const FakeModel> model_;
  Books& books_;
  uint64_t number_ = 0;
  uint64_t generation_ = 0;
  std::vector<Shape> shapes_;
  int runs_since_reset_ = 0;
  bool is_found_wrong_ = false;
  std::atomic<int> live_here_{0};
  std::atomic<bool> is_in_use_{false};
};

class FakeEngine final : public Engine {
 public:
  FakeEngine(std::shared_ptr<const FakeModel> model, Books& books) : model_(std::move(model)), books_(books) {
    signatures_.push_back({"main", model_->inputs, model_->outputs});
  }
  const std::vector<Signature>& signatures() const override { return signatures_; }
  MemoryRules memory_rules() const override { return model_->rules; }
  bool is_stateful() const override { return model_->is_stateful; }
  bool leaves_unwritten() const override { return model_->written_bytes != SIZE_MAX; }
  EngineReport report() const override { return {"fake", "1.0", "none"}; }
  bool shares_weights() const override { return false; }
  EngineMemory memory() const override { return model_->memory; }
  bool keeps_arenas() const override { return model_->keeps_arenas; }
  std::unique_ptr<EngineSession> make_session(size_t) const override {
    return std::make_unique<FakeSession>(model_, books_);
  }

 private:
  std::shared_ptr<const FakeModel> model_;
  Books& books_;
  std::vector<Signature> signatures_;
};

}  // namespace edgeward
