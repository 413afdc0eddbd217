// Sampler: which inferences are kept. A rule is a tree: its leaves are rates and conditions on outputs, its inner nodes
// "all of" and "any of". Each session has one; one thread at a time. The same seed and the same inferences give the
// same answers. Reads no clock: the caller passes the time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "captures/observation.h"
#include "tensor/signature.h"

namespace edgeward {

inline constexpr uint64_t kMaxReservoirCount = 100'000;

enum class RuleKind : uint8_t {
  fraction,      // this share of all, at random: limit
  every,         // the first, and then each n-th: count
  per_second,    // at most `limit` in any second; a second begins with an inference
  reservoir,     // a uniform sample of `count` from each window of `window_ns`; later choices replace earlier ones
  quota,         // at most `count` for each class of an output in each window
  below,         // the output's largest element < limit
  above,         // the output's largest element > limit
  between,       // limit <= the output's largest element <= upper
  argmax_in,     // the index of the output's largest element is one of `classes`
  margin,        // the two largest elements of the output differ by less than limit
  entropy,       // the output, scaled to sum 1, has more than `limit` nats
  not_a_number,  // the output holds a NaN
  failed,        // the run threw
  all,           // every part holds; a reservoir in one of them chooses among what the others keep
  any,           // some part holds
};

struct Rule {
  RuleKind kind;
  double limit = 0;
  double upper = 0;
  uint64_t count = 0;
  uint64_t window_ns = 0;
  std::string output;       // its name
  size_t output_index = 0;  // in the signature: resolved() sets it
  std::vector<int64_t> classes;
  std::vector<Rule> parts;
};

// The rule for sessions of this signature. Throws Error(bad_input) for a rule that cannot hold: a fraction outside 0 to
// 1, a count of 0, an output that the signature lacks, a tree deeper than 16, two reservoirs under one "all of".
Rule resolved(Rule rule, const Signature& signature);

class Sampler {
 public:
  Sampler(const Rule& rule, uint64_t seed);

  struct Answer {
    bool is_kept = false;
    uint32_t reason = 0;    // bits of record.h
    uint64_t replaces = 0;  // sequence of the record that this one replaces in a reservoir; 0: none
  };
  // `sequence` is the number that the record would have.
  Answer ask(const Observation& observation, uint64_t sequence);
  // True when answers depend on no time and no output: ask() may then be called before the run.
  bool is_blind() const { return is_blind_; }

 private:
  struct Node {
    Rule rule;
    std::vector<size_t> parts;   // in nodes_
    bool has_reservoir = false;  // is one, or has one somewhere in its parts
    uint64_t seen = 0;           // in the window, or altogether
    uint64_t window_begin_ns = 0;
    bool has_window = false;
    std::vector<uint64_t> chosen;  // sequence numbers in a reservoir
    std::unordered_map<int64_t, uint64_t> by_class;
    void renew_window(uint64_t now_ns, uint64_t window_ns);
  };
  bool holds(Node& node, const Observation& observation, uint64_t sequence, Answer& answer);
  bool output_holds(Node& node, const Observation& observation, Answer& answer);
  bool reservoir_holds(Node& node, uint64_t sequence, Answer& answer);
  uint64_t random();

  std::vector<Node> nodes_;  // the tree; a node comes before its parts
  bool is_blind_ = true;
  uint64_t state_[4];
};

}  // namespace edgeward
