// Capture: what a model's sessions capture and where, and the sum of what they count. Any thread; a session holds it as
// long as it records.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "captures/redaction.h"
#include "captures/ring_format.h"
#include "captures/sampler.h"
#include "captures/session_ring.h"
#include "captures/statistics_counter.h"
#include "system/fork.h"

namespace edgeward {

struct CapturePlan {
  std::string ring_directory = {};  // on tmpfs
  uint64_t ring_bytes = 0;          // of each session's ring: a power of two
  Keep keep = Keep::oldest;
  NewestLimits newest = {};                 // with Keep::newest
  std::optional<PublicKey> recipient = {};  // X25519: only its owner can read the records; none: anybody can
  std::optional<Rule> rule = {};            // none: only what capture_next() asks for
  uint64_t seed = 0;                        // of the first session; each further one adds 1
  std::optional<std::vector<std::string>> tensors = {};  // names of the tensors in a record; none: all
  uint64_t pre_roll_count = 0;                           // records kept before each that is chosen
  uint64_t pre_roll_ns = 0;                              // how old they may be; 0: any age
  uint64_t pre_roll_bytes = 0;                           // room for them, in each session
  uint64_t post_roll_count = 0;                          // records kept after each that is chosen
  uint64_t post_roll_ns = 0;                             // how much later they may begin; 0: at any time
  std::vector<RedactionRule> redactions = {};            // what records leave out of tensors
  bool has_statistics = false;
  TensorEdges edges = {};                                // of the statistics' bins
  std::map<std::string, std::string> descriptions = {};  // by signature: JSON for the readers of its rings
};

// A request to keep the next inference whatever the sampler says, with the caller's bytes.
struct CaptureRequest {
  uint64_t correlation_id;
  std::vector<std::byte> user;
};

// Where the counts and the ring of one session are read. Any thread may call the functions until the source is removed.
struct CaptureSource {
  std::string signature;
  std::function<RingCounters()> counters;
  std::function<std::optional<Statistics>()> statistics;       // since the last take_statistics()
  std::function<std::optional<Statistics>()> take_statistics;  // the same, counted from zero from here on
  SessionRing* ring;
};

class Capture {
 public:
  explicit Capture(CapturePlan plan) : plan_(std::move(plan)) {}

  const CapturePlan& plan() const { return plan_; }

  // The sum over all sessions, ended ones too.
  RingCounters counters() const;
  // By signature, for each that ran; empty without statistics.
  std::map<std::string, Statistics> statistics() const;
  // What was counted since the last call, by signature: each inference is in one answer alone.
  std::map<std::string, Statistics> take_statistics();

  // Throws Error(bad_input) for more bytes than a record can hold.
  void capture_next(CaptureRequest request);
  bool has_request() const { return has_request_.load(std::memory_order_relaxed); }
  std::optional<CaptureRequest> take_request();

  // Why sessions capture nothing: the plan does not fit the model. The first reason stays.
  void refuse(const std::string& reason);
  bool is_refused() const;
  // Why some session captures nothing; empty when all do.
  std::string failure() const;

  // How many records of all sessions, ended ones too, are on the disk.
  uint64_t drained_count();
  // Waits until what was committed before the call is on the disk; with `Saved::newest`, what rings of the newest hold
  // as well. False when the time is over first, or a ring was refused.
  enum class Saved {
    ended,
    newest
  };
  bool wait_drained(int timeout_ms, Saved saved);
  // Which record has waited too long for a drain, or which ring was refused; else empty.
  std::string complaint();
  // Whether no session is left, and all that they committed is on the disk: nothing here changes any more.
  bool is_settled();
  // Ends the rings of all sessions: what runs from here on is not captured.
  void end();

  // Called when a session begins and when it ends; `source` must live in between. add() returns how many sessions began
  // before.
  uint64_t add(const CaptureSource& source);
  void remove(const CaptureSource& source);

 private:
  // A ring whose session has ended; it is there until it is drained.
  struct EndedRing {
    std::string path;
    uint64_t drained_count;  // when it ended
    uint64_t waiting_count;  // of records, then
    uint64_t ended_ns;
    bool is_refused;
  };
  // What must be drained: up to a position, or until the ring is gone.
  struct Goal {
    std::string path;
    std::optional<uint64_t> position;
  };
  std::vector<Goal> goals(Saved saved);
  bool is_reached(const Goal& goal);
  void settle_ended();

  CapturePlan plan_;
  ForkMark fork_mark_;
  std::atomic<bool> has_request_{false};
  mutable std::mutex mutex_;  // all below
  std::optional<CaptureRequest> request_;
  std::vector<const CaptureSource*> sources_;
  uint64_t source_count_ = 0;  // ever
  RingCounters ended_;
  std::map<std::string, Statistics> ended_statistics_;  // of ended sessions, not taken
  std::map<std::string, Statistics> taken_statistics_;  // of all sessions
  std::vector<EndedRing> ended_rings_;
  uint64_t ended_drained_count_ = 0;  // of rings that are gone
  std::string refusal_;
};

}  // namespace edgeward
