#include "captures/recorder.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "error.h"

namespace edgeward {
namespace {

// From here on a copy goes past the caches: nobody reads it soon, and what is in them is worth more.
constexpr size_t kStreamedFromBytes = size_t{64} << 10;

// `target` is aligned to 64 bytes.
void copy_out(std::byte* target, const std::byte* source, size_t size_bytes) {
#if defined(__SSE2__)
  if (size_bytes >= kStreamedFromBytes) {
    const size_t whole = size_bytes / 64 * 64;
    for (size_t i = 0; i < whole; i += 64) {
      const auto load = [&](size_t k) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i + k)); };
      const auto store = [&](size_t k, __m128i value) {
        _mm_stream_si128(reinterpret_cast<__m128i*>(target + i + k), value);
      };
      const __m128i a = load(0);
      const __m128i b = load(16);
      const __m128i c = load(32);
      const __m128i d = load(48);
      store(0, a);
      store(16, b);
      store(32, c);
      store(48, d);
    }
    // Such stores may become visible late: not after the ring's tail.
    _mm_sfence();
    std::memcpy(target + whole, source + whole, size_bytes - whole);
    return;
  }
#endif
  std::memcpy(target, source, size_bytes);
}

int64_t wall_now_ns() { return std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

// For so long what the two clocks differ by is taken for the same: reading one costs as much as all else here.
constexpr uint64_t kWallAheadFor_ns = 10'000'000;

std::vector<size_t> chosen(const CapturePlan& plan, const std::vector<TensorSpec>& specs) {
  std::vector<size_t> indices;
  for (size_t i = 0; i < specs.size(); ++i) {
    const bool is_wanted =
        !plan.tensors || std::find(plan.tensors->begin(), plan.tensors->end(), specs[i].name) != plan.tensors->end();
    if (is_wanted) indices.push_back(i);
  }
  return indices;
}

std::string description_of(const CapturePlan& plan, const Signature& signature) {
  const auto found = plan.descriptions.find(signature.name);
  return found == plan.descriptions.end() ? "{}" : found->second;
}

std::vector<std::vector<double>> edges_of(const CapturePlan& plan, const Signature& signature) {
  std::vector<std::vector<double>> edges;
  const auto add = [&](const TensorSpec& spec) {
    const auto found = plan.edges.find(spec.name);
    edges.push_back(found == plan.edges.end() ? std::vector<double>() : found->second);
    if (std::adjacent_find(edges.back().begin(), edges.back().end(), [](double a, double b) { return !(a < b); }) !=
        edges.back().end())
      throw Error(Code::bad_input, "capture: tensor \"", spec.name, "\": expected edges that ascend, got others");
  };
  for (const TensorSpec& spec : signature.inputs) add(spec);
  for (const TensorSpec& spec : signature.outputs) add(spec);
  return edges;
}

}  // namespace

Recorder::Recorder(std::shared_ptr<Capture> capture, const Signature& signature)
    : capture_(std::move(capture)), plan_(capture_->plan()), signature_(signature),
      inputs_(chosen(plan_, signature.inputs)), outputs_(chosen(plan_, signature.outputs)),
      ring_(plan_.ring_directory, plan_.ring_bytes, plan_.keep, description_of(plan_, signature)),
      source_{signature.name, [this] { return counters(); }, [this] { return statistics(); }} {
  std::optional<Rule> rule;
  if (plan_.rule) rule = resolved(*plan_.rule, signature_);
  if (plan_.has_statistics) statistics_.emplace(signature_, edges_of(plan_, signature_));
  const uint64_t number = capture_->add(source_);
  if (rule) sampler_.emplace(*rule, plan_.seed + number);
  may_pass_over_ = !statistics_ && plan_.pre_roll_count == 0 && (!sampler_ || sampler_->is_blind());
}

Recorder::~Recorder() { capture_->remove(source_); }

// By a sampler that need not see the run.
bool Recorder::is_picked_before() noexcept {
  const Sampler::Answer answer = sampler_->ask({}, sequence_ + 1);
  if (answer.is_kept) answer_ = answer;
  return answer.is_kept;
}

void Recorder::observe(uint64_t begin_ns, std::span<const TensorView> inputs,
                       std::span<const TensorView> outputs) noexcept {
  const uint64_t end_ns = now_ns();
  decide(begin_ns, end_ns, inputs, outputs, false);
  if (!statistics_) return;
  const std::lock_guard lock(mutex_);
  try {
    statistics_->add(inputs, outputs, end_ns - begin_ns);
  } catch (const std::bad_alloc&) {
    // No memory to count classes in: they are missing from this run.
  }
}

void Recorder::observe_failure(uint64_t begin_ns, std::span<const TensorView> inputs) noexcept {
  decide(begin_ns, now_ns(), inputs, {}, true);
  if (!statistics_) return;
  const std::lock_guard lock(mutex_);
  statistics_->add_failure();
}

void Recorder::decide(uint64_t begin_ns, uint64_t end_ns, std::span<const TensorView> inputs,
                      std::span<const TensorView> outputs, bool has_failed) noexcept {
  try {
    try_decide(begin_ns, end_ns, inputs, outputs, has_failed);
  } catch (...) {
    // No memory for a record: the prediction stands.
    ring_.count_lost();
  }
}

void Recorder::try_decide(uint64_t begin_ns, uint64_t end_ns, std::span<const TensorView> inputs,
                          std::span<const TensorView> outputs, bool has_failed) {
  Sampler::Answer answer;
  if (answer_) {
    answer = *std::exchange(answer_, std::nullopt);
  } else if (sampler_) {
    answer = sampler_->ask({outputs, signature_.outputs, begin_ns, has_failed}, sequence_ + 1);
  }
  const auto request = capture_->has_request() ? capture_->take_request() : std::nullopt;
  RecordHead head;
  head.monotonic_ns = begin_ns;
  head.latency_ns = end_ns - begin_ns;
  head.reason = answer.reason | (request ? kManual : 0u) | (has_failed ? kFailed : 0u);
  head.replaces = answer.replaces;
  if (!answer.is_kept && !request) {
    ring_.count_sampled_out();
    if (plan_.pre_roll_count > 0) wait(head, inputs, outputs);
    return;
  }
  const int64_t wall_ahead = wall_ahead_ns(end_ns);
  head.wall_ns = static_cast<int64_t>(begin_ns) + wall_ahead;
  if (request) head.correlation_id = request->correlation_id;
  if (!waiting_.empty()) write_waiting(begin_ns, wall_ahead);
  write(head, inputs, outputs, request ? Bytes(request->user) : Bytes());
}

// By how much the wall's clock is ahead of the one that nobody sets.
int64_t Recorder::wall_ahead_ns(uint64_t end_ns) {
  if (end_ns - wall_read_ns_ > kWallAheadFor_ns) {
    wall_read_ns_ = now_ns();
    wall_ahead_ns_ = wall_now_ns() - static_cast<int64_t>(wall_read_ns_);
  }
  return wall_ahead_ns_;
}

bool Recorder::lay_out(RecordHead& head, std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                       size_t user_bytes) {
  if (!form_ || form_->user_bytes != user_bytes || !fits(*form_, inputs, outputs))
    form_ = lay_out_record(tensors_of(inputs, outputs), user_bytes);
  if (!form_) return false;
  head.size_bytes = form_->size_bytes;
  head.tensor_count = static_cast<uint16_t>(form_->tensors.size());
  head.user_bytes = form_->user_bytes;
  return true;
}

// Whether a run's tensors are those that a record of this form holds.
bool Recorder::fits(const RecordForm& form, std::span<const TensorView> inputs,
                    std::span<const TensorView> outputs) const {
  const size_t count = (inputs.empty() ? 0 : inputs_.size()) + (outputs.empty() ? 0 : outputs_.size());
  if (form.tensors.size() != count) return false;
  return std::all_of(form.tensors.begin(), form.tensors.end(), [&](const RecordTensor& tensor) {
    const auto& views = tensor.side == RecordSide::input ? inputs : outputs;
    if (views.empty()) return false;
    const TensorView& view = views[tensor.index];
    return view.size_bytes == tensor.size_bytes && view.dtype == tensor.dtype && view.shape == tensor.shape;
  });
}

std::vector<RecordTensor> Recorder::tensors_of(std::span<const TensorView> inputs,
                                               std::span<const TensorView> outputs) const {
  std::vector<RecordTensor> tensors;
  const auto add = [&](RecordSide side, const std::vector<size_t>& chosen, std::span<const TensorView> views) {
    if (views.empty()) return;  // a run that failed has no outputs
    for (const size_t index : chosen) {
      const TensorView& view = views[index];
      tensors.push_back({side, static_cast<uint32_t>(index), view.dtype, view.shape, view.size_bytes, 0});
    }
  };
  add(RecordSide::input, inputs_, inputs);
  add(RecordSide::output, outputs_, outputs);
  return tensors;
}

void Recorder::copy_tensors(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                            std::span<std::byte> record) const {
  for (const RecordTensor& tensor : form_->tensors) {
    const auto& views = tensor.side == RecordSide::input ? inputs : outputs;
    // An empty tensor may have no address, which memcpy does not want to see.
    if (tensor.size_bytes == 0) continue;
    copy_out(record.data() + tensor.offset, views[tensor.index].data, tensor.size_bytes);
  }
}

void Recorder::write(RecordHead& head, std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                     Bytes user) {
  head.sequence = ++sequence_;
  if (!lay_out(head, inputs, outputs, user.size())) return ring_.count_lost();
  head.lost_before = ring_.lost();
  head.position = ring_.position();
  const auto room = ring_.try_claim(head.size_bytes);
  if (room.empty()) return;
  write_record_head(head, *form_, user, room);
  copy_tensors(inputs, outputs, room);
  ring_.commit();
}

// ---- What came before.

void Recorder::wait(const RecordHead& head, std::span<const TensorView> inputs, std::span<const TensorView> outputs) {
  Waiting waiting{head, std::move(spare_)};
  spare_.clear();
  if (!lay_out(waiting.head, inputs, outputs, 0) || waiting.head.size_bytes > plan_.pre_roll_bytes) return;
  while (!waiting_.empty() &&
         (waiting_.size() >= plan_.pre_roll_count || waiting_bytes_ + waiting.head.size_bytes > plan_.pre_roll_bytes))
    drop_oldest_waiting();
  if (waiting.bytes.empty()) waiting.bytes = std::move(spare_);
  // From a multiple of 64 on, as in the ring.
  waiting.bytes.resize(waiting.head.size_bytes + 64);
  write_record_head(waiting.head, *form_, {}, waiting.room());
  copy_tensors(inputs, outputs, waiting.room());
  waiting_bytes_ += waiting.head.size_bytes;
  waiting_.push_back(std::move(waiting));
}

void Recorder::drop_oldest_waiting() {
  waiting_bytes_ -= waiting_.front().head.size_bytes;
  spare_ = std::move(waiting_.front().bytes);
  waiting_.pop_front();
}

void Recorder::write_waiting(uint64_t begin_ns, int64_t wall_ahead_ns) {
  while (!waiting_.empty()) {
    Waiting& waiting = waiting_.front();
    const bool is_recent = plan_.pre_roll_ns == 0 || begin_ns - waiting.head.monotonic_ns <= plan_.pre_roll_ns;
    if (is_recent) {
      RecordHead head = waiting.head;
      head.sequence = ++sequence_;
      head.reason = kPreRoll;
      head.wall_ns = wall_ahead_ns + static_cast<int64_t>(head.monotonic_ns);
      head.lost_before = ring_.lost();
      head.position = ring_.position();
      ring_.uncount_sampled_out();
      const auto room = ring_.try_claim(head.size_bytes);
      if (!room.empty()) {
        copy_out(room.data(), waiting.room().data(), head.size_bytes);
        rewrite_record_head(head, room);
        ring_.commit();
      }
    }
    drop_oldest_waiting();
  }
}

std::optional<Statistics> Recorder::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace edgeward
