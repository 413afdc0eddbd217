// Recorder: what one session does with each inference it has run: it counts it, asks the sampler, and writes the record
// into the session's ring. Everything happens in the caller's thread, inside its call; nothing here throws, waits or
// reports: a capture that fails costs a record, which is counted, and never an answer. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "captures/capture.h"
#include "captures/observation.h"
#include "captures/pre_roll.h"
#include "captures/record.h"
#include "captures/redaction.h"
#include "captures/sampler.h"
#include "captures/session_ring.h"
#include "captures/statistics_counter.h"
#include "captures/tick_clock.h"
#include "system/fork.h"
#include "tensor/signature.h"

namespace edgeward {

class Recorder {
 public:
  // Makes the session's ring, if there is room. Throws Error(bad_input) for a plan that does not fit the signature.
  Recorder(std::shared_ptr<Capture> capture, const Signature& signature);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Asked before a run: true when nothing of it is wanted, which is then counted, and the run needs no other call.
  // Defined in the header: a "no" that jumps from page to page of code costs more than the decision.
  bool passes_over() noexcept {
    if (!may_pass_over_ || capture_->has_request() || (sampler_ && is_picked_before())) return false;
    ring_.count_sampled_out();
    return true;
  }
  // The clock of observe(): when a run begins.
  uint64_t now_ns() { return clock_.now_ns(); }
  // Called after a run that began at `begin_ns`. The views are of all inputs and outputs, in the signature's order.
  void observe(uint64_t begin_ns, std::span<const TensorView> inputs, std::span<const TensorView> outputs) noexcept;
  // Called after a run that threw.
  void observe_failure(uint64_t begin_ns, std::span<const TensorView> inputs) noexcept;

  RingCounters counters() const { return ring_.counters(); }
  // A snapshot; nothing without statistics. Any thread.
  std::optional<Statistics> statistics();
  // The same, and from here on they are counted from zero. Any thread.
  std::optional<Statistics> take_statistics();
  const std::shared_ptr<Capture>& capture() const { return capture_; }

 private:
  bool is_picked_before() noexcept;
  void decide(const Observation& observation) noexcept;
  void try_decide(const Observation& observation);
  // Sets form_ and the head's sizes; false for a record that is larger than its format can say.
  bool lay_out(RecordHead& head, const Observation& observation, size_t user_bytes);
  bool fits(const RecordForm& form, const Observation& observation) const;
  std::vector<RecordTensor> tensors_of(const Observation& observation) const;
  void copy_tensors(const Observation& observation, std::span<std::byte> record);
  void write(RecordHead& head, const Observation& observation, Bytes user);
  // Whether a run that nothing chose comes so soon after one that was chosen that it is recorded.
  bool is_post_roll(uint64_t begin_ns);
  void keep_for_pre_roll(RecordHead& head, const Observation& observation);
  void write_pre_roll(uint64_t begin_ns, int64_t wall_ahead_ns);
  int64_t wall_ahead_ns(uint64_t end_ns);

  ForkMark fork_mark_;
  std::shared_ptr<Capture> capture_;
  const CapturePlan& plan_;
  Signature signature_;
  std::optional<Redaction> redaction_;  // none: tensors are copied as they are
  std::vector<size_t> input_indices_;   // of the tensors that a record holds
  std::vector<size_t> output_indices_;
  SessionRing ring_;
  std::optional<Sampler> sampler_;
  bool may_pass_over_;                     // nothing here looks at each run
  std::optional<Sampler::Answer> answer_;  // of a sampler that was asked before the run
  uint64_t sequence_ = 0;
  std::optional<RecordForm> form_;  // of the last record
  PreRoll pre_roll_;
  uint64_t post_roll_left_ = 0;  // how many more runs are recorded after the last that was chosen
  uint64_t chosen_ns_ = 0;       // when that one began
  TickClock clock_;
  uint64_t wall_read_ns_ = 0;  // when the two clocks were last compared
  int64_t wall_ahead_ns_ = 0;

  mutable std::mutex mutex_;  // statistics_
  std::optional<StatisticsCounter> statistics_;
  CaptureSource source_;  // this recorder, as the capture sees it
};

}  // namespace edgeward
