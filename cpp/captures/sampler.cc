#include "captures/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "captures/record.h"
#include "error.h"
#include "tensor/element.h"

namespace edgeward {
namespace {

constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxParts = 64;
constexpr uint64_t kSecondNs = 1'000'000'000;

bool is_about_output(RuleKind kind) {
  switch (kind) {
    case RuleKind::quota:
    case RuleKind::below:
    case RuleKind::above:
    case RuleKind::between:
    case RuleKind::argmax_in:
    case RuleKind::margin:
    case RuleKind::entropy:
    case RuleKind::not_a_number: return true;
    default: return false;
  }
}

bool has_reservoir(const Rule& rule) {
  return rule.kind == RuleKind::reservoir || std::any_of(rule.parts.begin(), rule.parts.end(), has_reservoir);
}

void resolve(Rule& rule, const Signature& signature, size_t depth) {
  const auto refuse = [](const auto&... parts) { throw Error(Code::bad_input, "capture: ", parts...); };
  if (depth > kMaxDepth) refuse("expected rules nested at most ", kMaxDepth, " deep, got more");
  const bool is_tree = rule.kind == RuleKind::all || rule.kind == RuleKind::any;
  if (is_tree && (rule.parts.empty() || rule.parts.size() > kMaxParts))
    refuse("expected 1 to ", kMaxParts, " rules together, got ", rule.parts.size());
  if (std::isnan(rule.limit) || std::isnan(rule.upper)) refuse("limit: expected a number, got NaN");
  if (rule.kind == RuleKind::fraction && !(rule.limit >= 0 && rule.limit <= 1))
    refuse("sample: expected a fraction from 0 to 1, got ", rule.limit);
  if (rule.kind == RuleKind::per_second && !(rule.limit > 0)) refuse("rate: expected more than 0, got ", rule.limit);
  const bool has_count =
      rule.kind == RuleKind::every || rule.kind == RuleKind::reservoir || rule.kind == RuleKind::quota;
  if (has_count && rule.count == 0) refuse("count: expected at least 1, got 0");
  if (rule.kind == RuleKind::reservoir && rule.count > kMaxReservoirCount)
    refuse("reservoir: expected at most ", kMaxReservoirCount, ", got ", rule.count);
  if ((rule.kind == RuleKind::reservoir || rule.kind == RuleKind::quota) && rule.window_ns == 0)
    refuse("window: expected more than 0 s, got 0");
  if (is_about_output(rule.kind)) {
    const auto output = std::find_if(signature.outputs.begin(), signature.outputs.end(),
                                     [&](const TensorSpec& spec) { return spec.name == rule.output; });
    if (output == signature.outputs.end()) {
      std::string known;
      for (const TensorSpec& spec : signature.outputs) known += (known.empty() ? "\"" : ", \"") + spec.name + "\"";
      refuse("output: expected one of ", known, ", got \"", rule.output, "\"");
    }
    if (!has_elements(output->dtype))
      refuse("output \"", rule.output, "\": expected real numbers, got ", name(output->dtype));
    rule.output_index = static_cast<size_t>(output - signature.outputs.begin());
  }
  for (Rule& part : rule.parts) resolve(part, signature, depth + 1);
  if (rule.kind == RuleKind::all && std::count_if(rule.parts.begin(), rule.parts.end(), has_reservoir) > 1)
    refuse("expected at most one reservoir among rules that must all hold, got more");
}

// Notes why, if it holds.
bool because(Sampler::Answer& answer, uint32_t reason, bool does_hold) {
  if (does_hold) answer.reason |= reason;
  return does_hold;
}

uint64_t rotated(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

// What rules compare of an output, found in one pass.
struct Summary {
  double largest = -std::numeric_limits<double>::infinity();
  double second = -std::numeric_limits<double>::infinity();
  int64_t largest_index = -1;
  bool has_nan = false;
};

Summary summary_of(const TensorView& view, const TensorSpec& spec) {
  Summary summary;
  for_each_element(view, [&](size_t index, double stored) {
    const double value = real_of(stored, spec.quantization);
    if (std::isnan(value)) {
      summary.has_nan = true;
    } else if (value > summary.largest || summary.largest_index < 0) {
      summary.second = summary.largest;
      summary.largest = value;
      summary.largest_index = static_cast<int64_t>(index);
    } else if (value > summary.second) {
      summary.second = value;
    }
  });
  return summary;
}

double entropy_of(const TensorView& view, const TensorSpec& spec) {
  double sum = 0;
  for_each_element(view, [&](size_t, double stored) { sum += std::max(real_of(stored, spec.quantization), 0.0); });
  if (!(sum > 0) || !std::isfinite(sum)) return 0;
  double entropy = 0;
  for_each_element(view, [&](size_t, double stored) {
    const double share = std::max(real_of(stored, spec.quantization), 0.0) / sum;
    if (share > 0) entropy -= share * std::log(share);
  });
  return entropy;
}

}  // namespace

Rule resolved(Rule rule, const Signature& signature) {
  resolve(rule, signature, 1);
  return rule;
}

Sampler::Sampler(const Rule& rule, uint64_t seed) {
  // Blackman and Vigna: xoshiro256**, its state from splitmix64.
  for (uint64_t& word : state_) {
    seed += 0x9E3779B97F4A7C15u;
    uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    word = mixed ^ (mixed >> 31);
  }
  const auto add = [this](const Rule& added, const auto& again) -> size_t {
    const size_t index = nodes_.size();
    nodes_.push_back({});
    nodes_[index].rule = added;
    nodes_[index].rule.parts.clear();
    nodes_[index].has_reservoir = has_reservoir(added);
    is_blind_ = is_blind_ && (added.kind == RuleKind::fraction || added.kind == RuleKind::every ||
                              added.kind == RuleKind::all || added.kind == RuleKind::any);
    std::vector<size_t> parts;
    for (const Rule& part : added.parts) parts.push_back(again(part, again));
    nodes_[index].parts = std::move(parts);
    return index;
  };
  add(rule, add);
}

uint64_t Sampler::random() {
  const uint64_t result = rotated(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotated(state_[3], 45);
  return result;
}

Sampler::Answer Sampler::ask(const Observation& observation, uint64_t sequence) {
  Answer answer;
  if (!holds(nodes_[0], observation, sequence, answer)) return {};  // in registers: most answers are a no
  answer.is_kept = true;
  return answer;
}

bool Sampler::holds(Node& node, const Observation& observation, uint64_t sequence, Answer& answer) {
  const Rule& rule = node.rule;
  switch (rule.kind) {
    case RuleKind::fraction:
      // 53 bits, as many as a double holds: 1.0 keeps all, 0.0 none.
      return because(answer, kSampled, static_cast<double>(random() >> 11) * 0x1p-53 < rule.limit);
    case RuleKind::every: {
      const bool is_first = node.seen == 0;
      if (++node.seen == rule.count) node.seen = 0;
      return because(answer, kSampled, is_first);
    }
    case RuleKind::per_second: {
      node.renew_window(observation.monotonic_ns, kSecondNs);
      const bool has_room = static_cast<double>(node.seen) < rule.limit;
      node.seen += has_room ? 1 : 0;
      return because(answer, kSampled, has_room);
    }
    case RuleKind::reservoir:
      node.renew_window(observation.monotonic_ns, rule.window_ns);
      return because(answer, kSampled, reservoir_holds(node, sequence, answer));
    case RuleKind::failed: return because(answer, kFailed, observation.has_failed);
    case RuleKind::all: {
      // Every part is asked, so that a rate counts the same whatever the other parts say. A reservoir is asked last and
      // chooses among what the others keep: what it replaces later is then a record.
      bool do_all = true;
      for (const size_t part : node.parts) {
        if (!nodes_[part].has_reservoir) do_all = holds(nodes_[part], observation, sequence, answer) && do_all;
      }
      for (const size_t part : node.parts) {
        if (nodes_[part].has_reservoir) do_all = do_all && holds(nodes_[part], observation, sequence, answer);
      }
      return do_all;
    }
    case RuleKind::any: {
      bool does_any = false;
      for (const size_t part : node.parts) {
        Answer alone;
        if (!holds(nodes_[part], observation, sequence, alone)) continue;
        does_any = true;
        answer.reason |= alone.reason;
        if (alone.replaces != 0) answer.replaces = alone.replaces;
      }
      return does_any;
    }
    default: return output_holds(node, observation, answer);
  }
}

bool Sampler::output_holds(Node& node, const Observation& observation, Answer& answer) {
  if (observation.has_failed) return false;
  const Rule& rule = node.rule;
  const TensorView& view = observation.outputs[rule.output_index];
  const TensorSpec& spec = observation.specs[rule.output_index];
  if (rule.kind == RuleKind::entropy) return because(answer, kPredicate, entropy_of(view, spec) > rule.limit);
  const Summary summary = summary_of(view, spec);
  switch (rule.kind) {
    case RuleKind::quota: {
      node.renew_window(observation.monotonic_ns, rule.window_ns);
      uint64_t& count = node.by_class[summary.largest_index];
      const bool has_room = count < rule.count;
      count += has_room ? 1 : 0;
      return because(answer, kSampled, has_room);
    }
    case RuleKind::below:
      return because(answer, kPredicate, summary.largest_index >= 0 && summary.largest < rule.limit);
    case RuleKind::above:
      return because(answer, kPredicate, summary.largest_index >= 0 && summary.largest > rule.limit);
    case RuleKind::between:
      return because(answer, kPredicate,
                     summary.largest_index >= 0 && summary.largest >= rule.limit && summary.largest <= rule.upper);
    case RuleKind::argmax_in:
      return because(answer, kPredicate,
                     std::find(rule.classes.begin(), rule.classes.end(), summary.largest_index) != rule.classes.end());
    case RuleKind::margin:
      return because(answer, kPredicate, summary.largest_index >= 0 && summary.largest - summary.second < rule.limit);
    case RuleKind::not_a_number: return because(answer, kPredicate, summary.has_nan);
    default: return false;
  }
}

// Vitter's algorithm R: the i-th of a window is chosen with probability count / i, and replaces one chosen before.
bool Sampler::reservoir_holds(Node& node, uint64_t sequence, Answer& answer) {
  ++node.seen;
  if (node.chosen.size() < node.rule.count) {
    node.chosen.push_back(sequence);
    return true;
  }
  const uint64_t index = random() % node.seen;
  if (index >= node.rule.count) return false;
  answer.replaces = node.chosen[index];
  node.chosen[index] = sequence;
  return true;
}

void Sampler::Node::renew_window(uint64_t now_ns, uint64_t window_ns) {
  if (has_window && now_ns - window_begin_ns < window_ns) return;
  has_window = true;
  window_begin_ns = now_ns;
  seen = 0;
  chosen.clear();
  by_class.clear();
}

}  // namespace edgeward
