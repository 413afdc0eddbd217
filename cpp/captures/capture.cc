#include "captures/capture.h"

#include <algorithm>

#include "captures/record.h"
#include "error.h"

namespace edgeward {
namespace {

void add_to(RingCounters& into, const RingCounters& other) {
  for (const RingCounter& counter : kRingCounters) into.*counter.member += other.*counter.member;
}

void merge_into(std::map<std::string, Statistics>& all, const std::string& signature,
                const std::optional<Statistics>& added) {
  if (!added) return;
  const auto [row, is_first] = all.emplace(signature, *added);
  if (!is_first) row->second.merge(*added);
}

}  // namespace

uint64_t Capture::add(const CaptureSource& source) {
  const std::lock_guard lock(mutex_);
  sources_.push_back(&source);
  return source_count_++;
}

void Capture::remove(const CaptureSource& source) {
  const std::lock_guard lock(mutex_);
  sources_.erase(std::remove(sources_.begin(), sources_.end(), &source), sources_.end());
  add_to(ended_, source.counters());
  merge_into(ended_statistics_, source.signature, source.statistics());
}

RingCounters Capture::counters() const {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  RingCounters counters = ended_;
  for (const CaptureSource* source : sources_) add_to(counters, source->counters());
  return counters;
}

std::map<std::string, Statistics> Capture::statistics() const {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  std::map<std::string, Statistics> all = taken_statistics_;
  for (const auto& [signature, statistics] : ended_statistics_) merge_into(all, signature, statistics);
  for (const CaptureSource* source : sources_) merge_into(all, source->signature, source->statistics());
  return all;
}

std::map<std::string, Statistics> Capture::take_statistics() {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  std::map<std::string, Statistics> taken = std::exchange(ended_statistics_, {});
  for (const CaptureSource* source : sources_) merge_into(taken, source->signature, source->take_statistics());
  for (const auto& [signature, statistics] : taken) merge_into(taken_statistics_, signature, statistics);
  return taken;
}

void Capture::capture_next(CaptureRequest request) {
  fork_mark_.require_same_process("capture");
  if (request.user.size() > kMaxUserBytes) {
    throw Error(Code::bad_input, "capture: expected at most ", kMaxUserBytes, " bytes of the caller's, got ",
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
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace edgeward
