#include "capture.h"

#include <algorithm>

#include "error.h"
#include "record.h"
#include "recorder.h"

namespace edgeward {
namespace {

void add_to(RingCounters& into, const RingCounters& other) {
  into.sampled_out += other.sampled_out;
  into.committed += other.committed;
  into.lost_full += other.lost_full;
  into.lost_large += other.lost_large;
  into.overwritten += other.overwritten;
}

void merge_into(std::map<std::string, Statistics>& all, const std::string& signature,
                const std::optional<Statistics>& one) {
  if (!one) return;
  const auto [place, is_first] = all.emplace(signature, *one);
  if (!is_first) place->second.merge(*one);
}

}  // namespace

uint64_t Capture::add(const Recorder& recorder) {
  const std::lock_guard lock(mutex_);
  recorders_.push_back(&recorder);
  return recorder_count_++;
}

void Capture::remove(const Recorder& recorder) {
  const std::lock_guard lock(mutex_);
  recorders_.erase(std::remove(recorders_.begin(), recorders_.end(), &recorder), recorders_.end());
  add_to(ended_, recorder.counters());
  merge_into(ended_statistics_, recorder.signature_name(), recorder.statistics());
}

RingCounters Capture::counters() const {
  const std::lock_guard lock(mutex_);
  RingCounters counters = ended_;
  for (const Recorder* recorder : recorders_) add_to(counters, recorder->counters());
  return counters;
}

std::map<std::string, Statistics> Capture::statistics() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, Statistics> all = ended_statistics_;
  for (const Recorder* recorder : recorders_) merge_into(all, recorder->signature_name(), recorder->statistics());
  return all;
}

void Capture::capture_next(CaptureRequest request) {
  if (request.user.size() > kMostUserBytes) {
    throw Error(Code::bad_input, "capture: expected at most ", kMostUserBytes, " bytes of the caller's, got ",
                request.user.size());
  }
  const std::lock_guard lock(mutex_);
  request_ = std::move(request);
  has_request_.store(true, std::memory_order_relaxed);
}

std::optional<CaptureRequest> Capture::take_request() {
  const std::lock_guard lock(mutex_);
  has_request_.store(false, std::memory_order_relaxed);
  return std::exchange(request_, std::nullopt);
}

void Capture::note_failure(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  failure_ = reason;
}

std::string Capture::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace edgeward
