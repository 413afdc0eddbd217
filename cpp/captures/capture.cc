#include "captures/capture.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "captures/record.h"
#include "captures/tick_clock.h"
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

bool is_file(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string refused_text(const std::string& path) {
  return "ring \"" + path + "\": expected what its session wrote, got other bytes: see " + path +
         std::string(kRefusedSuffix);
}

// A drain that lives makes what it reads durable each second.
constexpr uint64_t kMaxWaiting_ns = 10'000'000'000;
constexpr std::chrono::milliseconds kLookEvery(5);

}  // namespace

uint64_t Capture::add(const CaptureSource& source) {
  const std::lock_guard lock(mutex_);
  sources_.push_back(&source);
  return source_count_++;
}

void Capture::remove(const CaptureSource& source) {
  const std::lock_guard lock(mutex_);
  sources_.erase(std::remove(sources_.begin(), sources_.end(), &source), sources_.end());
  source.ring->end();
  add_to(ended_, source.counters());
  if (const auto progress = source.ring->progress())
    ended_rings_.push_back(
        {progress->path, progress->drained_count, source.ring->waiting_count(), monotonic_ns(), false});
  settle_ended();  // a program that opens sessions for years may never ask
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

void Capture::refuse(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (refusal_.empty()) refusal_ = reason;
}

bool Capture::is_refused() const {
  const std::lock_guard lock(mutex_);
  return !refusal_.empty();
}

std::string Capture::failure() const {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  if (!refusal_.empty()) return refusal_;
  for (const CaptureSource* source : sources_) {
    std::string failure = source->ring->failure();
    if (!failure.empty()) return failure;
  }
  return "";
}

// Forgets the rings that are drained and gone.
void Capture::settle_ended() {
  for (EndedRing& ring : ended_rings_)
    ring.is_refused = ring.is_refused || is_file(ring.path + std::string(kRefusedSuffix));
  std::erase_if(ended_rings_, [&](const EndedRing& ring) {
    if (ring.is_refused || is_file(ring.path)) return false;
    ended_drained_count_ += ring.drained_count + ring.waiting_count;
    return true;
  });
}

uint64_t Capture::drained_count() {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  settle_ended();
  uint64_t count = ended_drained_count_;
  for (const EndedRing& ring : ended_rings_) count += ring.drained_count;
  for (const CaptureSource* source : sources_) {
    if (const auto progress = source->ring->progress()) count += progress->drained_count;
  }
  return count;
}

bool Capture::is_settled() {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  settle_ended();
  return sources_.empty() && ended_rings_.empty();
}

std::vector<Capture::Goal> Capture::goals(Saved saved) {
  const std::lock_guard lock(mutex_);
  std::vector<Goal> goals;
  for (const EndedRing& ring : ended_rings_) goals.push_back({ring.path, std::nullopt});
  for (const CaptureSource* source : sources_) {
    const auto progress = source->ring->progress();
    if (!progress || (progress->keep == Keep::newest && saved == Saved::ended)) continue;
    goals.push_back({progress->path, source->ring->save()});
  }
  return goals;
}

bool Capture::is_reached(const Goal& goal) {
  const std::lock_guard lock(mutex_);
  settle_ended();
  for (const CaptureSource* source : sources_) {
    const auto progress = source->ring->progress();
    if (progress && progress->path == goal.path) return progress->drained_position >= goal.position.value_or(0);
  }
  return std::none_of(ended_rings_.begin(), ended_rings_.end(),
                      [&](const EndedRing& ring) { return ring.path == goal.path; });
}

bool Capture::wait_drained(int timeout_ms, Saved saved) {
  fork_mark_.require_same_process("capture");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (const Goal& goal : goals(saved)) {
    while (!is_reached(goal)) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      std::this_thread::sleep_for(kLookEvery);
    }
  }
  return true;
}

std::string Capture::complaint() {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  settle_ended();
  const uint64_t now_ns = monotonic_ns();
  const auto waits = [&](const std::string& path, uint64_t since_ns) {
    return "ring \"" + path + "\": expected a drain to read it, got a record that has waited for " +
           std::to_string((now_ns - since_ns) / 1'000'000'000) + " s";
  };
  const auto is_late = [&](uint64_t since_ns) { return since_ns != 0 && now_ns > since_ns + kMaxWaiting_ns; };
  for (const EndedRing& ring : ended_rings_) {
    if (ring.is_refused) return refused_text(ring.path);
    if (is_late(ring.ended_ns)) return waits(ring.path, ring.ended_ns);
  }
  for (const CaptureSource* source : sources_) {
    const auto progress = source->ring->progress();
    if (!progress) continue;
    if (is_file(progress->path + std::string(kRefusedSuffix))) return refused_text(progress->path);
    if (progress->keep == Keep::oldest && is_late(progress->waiting_since_ns))
      return waits(progress->path, progress->waiting_since_ns);
  }
  return "";
}

void Capture::end() {
  fork_mark_.require_same_process("capture");
  const std::lock_guard lock(mutex_);
  for (const CaptureSource* source : sources_) source->ring->end();
}

}  // namespace edgeward
