#include "captures/recorder.h"

#include <algorithm>

#include "captures/ring_copy.h"
#include "error.h"

namespace edgeward {
namespace {

// A calibration of the wall clock is trusted this long: reading that clock costs as much as all else here.
constexpr uint64_t kWallTrustedFor_ns = 10'000'000;

std::vector<size_t> chosen_indices(const CapturePlan& plan, const std::optional<Redaction>& redaction, RecordSide side,
                                   const std::vector<TensorSpec>& specs) {
  std::vector<size_t> indices;
  for (size_t i = 0; i < specs.size(); ++i) {
    const bool is_wanted =
        !plan.tensors || std::find(plan.tensors->begin(), plan.tensors->end(), specs[i].name) != plan.tensors->end();
    const bool has_place = specs[i].dtype != DType::string;  // capture-format 2: a tensor's size follows from its shape
    if (is_wanted && has_place && !(redaction && redaction->drops(side, i))) indices.push_back(i);
  }
  return indices;
}

std::optional<Redaction> redaction_of(const CapturePlan& plan, const Signature& signature) {
  if (plan.redactions.empty()) return std::nullopt;
  return Redaction(plan.redactions, signature);
}

std::string description_of(const CapturePlan& plan, const Signature& signature) {
  const auto entry = plan.descriptions.find(signature.name);
  return entry == plan.descriptions.end() ? "{}" : entry->second;
}

// What a sampler that is asked before the run sees: a constant, so that a "no" builds nothing.
constexpr Observation kUnseen{};

std::span<const TensorView> views_of(const Observation& observation, RecordSide side) {
  return side == RecordSide::input ? observation.inputs : observation.outputs;
}

}  // namespace

Recorder::Recorder(std::shared_ptr<Capture> capture, const Signature& signature)
    : capture_(std::move(capture)), plan_(capture_->plan()), signature_(signature),
      redaction_(redaction_of(plan_, signature)),
      input_indices_(chosen_indices(plan_, redaction_, RecordSide::input, signature.inputs)),
      output_indices_(chosen_indices(plan_, redaction_, RecordSide::output, signature.outputs)),
      ring_({plan_.ring_directory, plan_.ring_bytes, plan_.keep, description_of(plan_, signature), plan_.recipient,
             plan_.newest}),
      pre_roll_({plan_.pre_roll_count, plan_.pre_roll_ns, plan_.pre_roll_bytes}),
      source_{signature.name, [this] { return counters(); }, [this] { return statistics(); },
              [this] { return take_statistics(); }, &ring_} {
  std::optional<Rule> rule;
  if (plan_.rule) rule = resolved(*plan_.rule, signature_);
  if (plan_.has_statistics) statistics_.emplace(signature_, plan_.edges);
  const uint64_t number = capture_->add(source_);
  if (rule) sampler_.emplace(*rule, plan_.seed + number);
  may_pass_over_ =
      !statistics_ && plan_.pre_roll_count == 0 && plan_.post_roll_count == 0 && (!sampler_ || sampler_->is_blind());
}

Recorder::~Recorder() {
  // A forked child has neither the ring's pages nor, perhaps, the capture's mutex.
  if (!fork_mark_.is_foreign()) capture_->remove(source_);
}

// Whether a sampler that need not see the run picks it.
bool Recorder::is_picked_before() noexcept {
  const Sampler::Answer answer = sampler_->ask(kUnseen, sequence_ + 1);
  if (answer.is_kept) answer_ = answer;
  return answer.is_kept;
}

void Recorder::observe(uint64_t begin_ns, std::span<const TensorView> inputs,
                       std::span<const TensorView> outputs) noexcept {
  const Observation observation{outputs, signature_.outputs, begin_ns, false, inputs, now_ns() - begin_ns};
  decide(observation);
  if (!statistics_) return;
  const std::lock_guard lock(mutex_);
  try {
    if (redaction_ && redaction_->hashes_any()) {
      statistics_->add(redaction_->counted(RecordSide::input, inputs), redaction_->counted(RecordSide::output, outputs),
                       observation.latency_ns);
    } else {
      statistics_->add(inputs, outputs, observation.latency_ns);
    }
  } catch (const std::bad_alloc&) {
    // There is no memory to count in: a part of this run is not counted.
  }
}

void Recorder::observe_failure(uint64_t begin_ns, std::span<const TensorView> inputs) noexcept {
  decide({{}, signature_.outputs, begin_ns, true, inputs, now_ns() - begin_ns});
  if (!statistics_) return;
  const std::lock_guard lock(mutex_);
  statistics_->add_failure();
}

void Recorder::decide(const Observation& observation) noexcept {
  try {
    try_decide(observation);
  } catch (...) {
    // There is no memory for a record: the prediction stands.
    ring_.count_lost();
  }
}

void Recorder::try_decide(const Observation& observation) {
  Sampler::Answer answer;
  if (answer_) {
    answer = *std::exchange(answer_, std::nullopt);
  } else if (sampler_) {
    answer = sampler_->ask(observation, sequence_ + 1);
  }
  const auto request = capture_->has_request() ? capture_->take_request() : std::nullopt;
  const uint64_t begin_ns = observation.monotonic_ns;
  RecordHead head;
  head.monotonic_ns = begin_ns;
  head.latency_ns = observation.latency_ns;
  head.reason = answer.reason | (request ? kManual : 0u) | (observation.has_failed ? kFailed : 0u);
  head.replaces = answer.replaces;
  if (answer.is_kept || request) {
    post_roll_left_ = plan_.post_roll_count;
    chosen_ns_ = begin_ns;
  } else if (is_post_roll(begin_ns)) {
    head.reason |= kPostRoll;
  } else {
    if (plan_.pre_roll_count > 0) keep_for_pre_roll(head, observation);
    ring_.count_sampled_out();  // behind what may fail, and is then counted as lost
    return;
  }
  const int64_t wall_ahead = wall_ahead_ns(begin_ns + observation.latency_ns);
  head.wall_ns = static_cast<int64_t>(begin_ns) + wall_ahead;
  if (request) head.correlation_id = request->correlation_id;
  if (!pre_roll_.is_empty()) write_pre_roll(begin_ns, wall_ahead);
  write(head, observation, request ? Bytes(request->user) : Bytes());
}

bool Recorder::is_post_roll(uint64_t begin_ns) {
  if (post_roll_left_ == 0 || (plan_.post_roll_ns != 0 && begin_ns - chosen_ns_ > plan_.post_roll_ns)) return false;
  --post_roll_left_;
  return true;
}

// By how much the wall clock is ahead of the monotonic clock, calibrated anew when the last time was too long ago.
int64_t Recorder::wall_ahead_ns(uint64_t end_ns) {
  if (end_ns - wall_read_ns_ > kWallTrustedFor_ns) {
    wall_read_ns_ = now_ns();
    wall_ahead_ns_ = wall_ns() - static_cast<int64_t>(wall_read_ns_);
  }
  return wall_ahead_ns_;
}

bool Recorder::lay_out(RecordHead& head, const Observation& observation, size_t user_bytes) {
  // Before there is room for the record: this may fail, the copy does not.
  if (redaction_) redaction_->look_at(observation.inputs, observation.outputs);
  if (!form_ || form_->user_bytes != user_bytes || !fits(*form_, observation))
    form_ = lay_out_record(tensors_of(observation), user_bytes);
  if (!form_) return false;
  head.size_bytes = form_->size_bytes;
  head.tensor_count = static_cast<uint16_t>(form_->tensors.size());
  head.user_bytes = form_->user_bytes;
  return true;
}

// Whether a run's tensors are those that a record of this form holds.
bool Recorder::fits(const RecordForm& form, const Observation& observation) const {
  const size_t count = (observation.inputs.empty() ? 0 : input_indices_.size()) +
                       (observation.outputs.empty() ? 0 : output_indices_.size());
  if (form.tensors.size() != count) return false;
  return std::all_of(form.tensors.begin(), form.tensors.end(), [&](const RecordTensor& tensor) {
    const auto views = views_of(observation, tensor.side);
    if (views.empty()) return false;
    const auto is_same = [&](const TensorView& view) {
      return view.size_bytes == tensor.size_bytes && view.dtype == tensor.dtype && view.shape == tensor.shape;
    };
    const TensorView& view = views[tensor.index];
    const bool is_redacted = redaction_ && !redaction_->keeps(tensor.side, tensor.index);
    return is_redacted ? is_same(redaction_->recorded(tensor.side, tensor.index, view)) : is_same(view);
  });
}

std::vector<RecordTensor> Recorder::tensors_of(const Observation& observation) const {
  std::vector<RecordTensor> tensors;
  const auto add = [&](RecordSide side, const std::vector<size_t>& indices) {
    const auto views = views_of(observation, side);
    if (views.empty()) return;  // a run that failed has no outputs
    for (const size_t index : indices) {
      const TensorView view = redaction_ ? redaction_->recorded(side, index, views[index]) : views[index];
      tensors.push_back({side, static_cast<uint32_t>(index), view.dtype, view.shape, view.size_bytes, 0});
    }
  };
  add(RecordSide::input, input_indices_);
  add(RecordSide::output, output_indices_);
  return tensors;
}

void Recorder::copy_tensors(const Observation& observation, std::span<std::byte> record) {
  for (const RecordTensor& tensor : form_->tensors) {
    // An empty tensor may have no address, which memcpy must not get.
    if (tensor.size_bytes == 0) continue;
    const TensorView& view = views_of(observation, tensor.side)[tensor.index];
    const auto target = record.subspan(tensor.offset, tensor.size_bytes);
    if (redaction_ && !redaction_->keeps(tensor.side, tensor.index)) {
      redaction_->copy(tensor.side, tensor.index, view, target);
    } else {
      RingCopy(target.data(), target.size()).copy(view.data, target.size());
    }
  }
}

void Recorder::write(RecordHead& head, const Observation& observation, Bytes user) {
  head.sequence = ++sequence_;
  if (!lay_out(head, observation, user.size())) return ring_.count_lost();
  head.lost_before = ring_.lost();
  head.position = ring_.position();
  const auto room = ring_.try_claim(head.size_bytes, head.monotonic_ns);
  if (room.empty()) return;
  write_record_head(head, *form_, user, room);
  copy_tensors(observation, room);
  ring_.commit();
}

void Recorder::keep_for_pre_roll(RecordHead& head, const Observation& observation) {
  if (!lay_out(head, observation, 0)) return;
  const auto room = pre_roll_.try_add(head);
  if (room.empty()) return;
  write_record_head(head, *form_, {}, room);
  copy_tensors(observation, room);
}

void Recorder::write_pre_roll(uint64_t begin_ns, int64_t wall_ahead_ns) {
  for (; !pre_roll_.is_empty(); pre_roll_.drop_oldest()) {
    if (!pre_roll_.is_recent(begin_ns)) continue;
    RecordHead head = pre_roll_.oldest_head();
    head.sequence = ++sequence_;
    head.reason |= kPreRoll;
    head.wall_ns = wall_ahead_ns + static_cast<int64_t>(head.monotonic_ns);
    head.lost_before = ring_.lost();
    head.position = ring_.position();
    ring_.uncount_sampled_out();
    const auto room = ring_.try_claim(head.size_bytes, head.monotonic_ns);
    if (room.empty()) continue;
    RingCopy(room.data(), head.size_bytes).copy(pre_roll_.oldest_bytes().data(), head.size_bytes);
    rewrite_record_head(head, room);
    ring_.commit();
  }
}

std::optional<Statistics> Recorder::statistics() {
  const std::lock_guard lock(mutex_);
  if (!statistics_) return std::nullopt;
  return statistics_->statistics();
}

std::optional<Statistics> Recorder::take_statistics() {
  const std::lock_guard lock(mutex_);
  if (!statistics_) return std::nullopt;
  return statistics_->take();
}

}  // namespace edgeward
