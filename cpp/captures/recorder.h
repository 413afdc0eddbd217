// Recorder: what one session does with each inference it has run: counts it, asks the sampler, and lays the record into
// the session's ring. Everything happens in the caller's thread, inside its call; nothing here throws, waits or
// reports: a capture that fails costs a record, which is counted, and never an answer. One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "captures/capture.h"
#include "captures/record.h"
#include "captures/ring_writer.h"
#include "captures/sampler.h"
#include "captures/statistics.h"
#include "captures/tick_clock.h"
#include "tensor/signature.h"

namespace edgeward {

class Recorder {
 public:
  // Makes the session's ring. Throws Error(bad_input) for a plan that does not fit the signature,
  // std::filesystem::filesystem_error.
  Recorder(std::shared_ptr<Capture> capture, const Signature& signature);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Before a run: true when nothing of it is wanted, which is then counted, and the run needs no other call.
  // In the header: a "no" that jumps from page to page of code costs more than it does.
  bool passes_over() noexcept {
    if (!may_pass_over_ || capture_->has_request() || (sampler_ && is_picked_before())) return false;
    ring_.count_sampled_out();
    return true;
  }
  // The time that observe() wants of a run's beginning.
  uint64_t now_ns() { return clock_.now_ns(); }
  // After a run that began at `begin_ns`. The views are of all inputs and outputs, in the signature's order.
  void observe(uint64_t begin_ns, std::span<const TensorView> inputs, std::span<const TensorView> outputs) noexcept;
  // After a run that threw.
  void observe_failure(uint64_t begin_ns, std::span<const TensorView> inputs) noexcept;

  RingCounters counters() const { return ring_.counters(); }
  // A copy of what was counted so far; nothing without statistics. Any thread.
  std::optional<Statistics> statistics() const;
  const std::shared_ptr<Capture>& capture() const { return capture_; }

 private:
  // A record that was not chosen, kept for a while in case that the next one is.
  struct Waiting {
    RecordHead head;
    std::vector<std::byte> bytes;  // as in the ring, with room to begin at a multiple of 64
    std::span<std::byte> room() {
      const size_t skipped = -reinterpret_cast<uintptr_t>(bytes.data()) % 64;
      return std::span(bytes).subspan(skipped, head.size_bytes);
    }
  };

  bool is_picked_before() noexcept;
  void decide(uint64_t begin_ns, uint64_t end_ns, std::span<const TensorView> inputs,
              std::span<const TensorView> outputs, bool has_failed) noexcept;
  void try_decide(uint64_t begin_ns, uint64_t end_ns, std::span<const TensorView> inputs,
                  std::span<const TensorView> outputs, bool has_failed);
  // Sets form_ and the head's sizes; false when the record is larger than its format can say.
  bool lay_out(RecordHead& head, std::span<const TensorView> inputs, std::span<const TensorView> outputs,
               size_t user_bytes);
  bool fits(const RecordForm& form, std::span<const TensorView> inputs, std::span<const TensorView> outputs) const;
  std::vector<RecordTensor> tensors_of(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const;
  void copy_tensors(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                    std::span<std::byte> record) const;
  void write(RecordHead& head, std::span<const TensorView> inputs, std::span<const TensorView> outputs, Bytes user);
  void wait(const RecordHead& head, std::span<const TensorView> inputs, std::span<const TensorView> outputs);
  void drop_oldest_waiting();
  void write_waiting(uint64_t begin_ns, int64_t wall_ahead_ns);
  int64_t wall_ahead_ns(uint64_t end_ns);

  std::shared_ptr<Capture> capture_;
  const CapturePlan& plan_;
  Signature signature_;
  std::vector<size_t> inputs_;  // which tensors a record holds
  std::vector<size_t> outputs_;
  RingWriter ring_;
  std::optional<Sampler> sampler_;
  bool may_pass_over_;                     // nobody looks at each run
  std::optional<Sampler::Answer> answer_;  // of a sampler that was asked before the run
  uint64_t sequence_ = 0;
  std::optional<RecordForm> form_;  // of the last record
  std::deque<Waiting> waiting_;     // the oldest first
  std::vector<std::byte> spare_;    // of one that waits no more
  uint64_t waiting_bytes_ = 0;
  TickClock clock_;
  uint64_t wall_read_ns_ = 0;  // when the two clocks were last compared
  int64_t wall_ahead_ns_ = 0;

  mutable std::mutex mutex_;  // statistics_
  std::optional<Statistics> statistics_;
  CaptureSource source_;  // ourselves, as the capture sees us
};

}  // namespace edgeward
