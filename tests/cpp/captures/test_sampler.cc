#include "captures/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "captures/record.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr uint64_t kSecond_ns = 1'000'000'000;

Rule plain(RuleKind kind) {
  Rule rule;
  rule.kind = kind;
  rule.output = "y";
  return rule;
}

Rule limited(RuleKind kind, double limit, double upper = 0) {
  Rule rule = plain(kind);
  rule.limit = limit;
  rule.upper = upper;
  return rule;
}

Rule counted(RuleKind kind, uint64_t count, uint64_t window_ns = 0) {
  Rule rule = plain(kind);
  rule.count = count;
  rule.window_ns = window_ns;
  return rule;
}

Rule about_classes(std::vector<int64_t> classes) {
  Rule rule = plain(RuleKind::argmax_in);
  rule.classes = std::move(classes);
  return rule;
}

Rule of(RuleKind kind, std::vector<Rule> parts) {
  Rule rule = plain(kind);
  rule.parts = std::move(parts);
  return rule;
}

Rule nested(size_t depth) { return depth == 1 ? plain(RuleKind::failed) : of(RuleKind::all, {nested(depth - 1)}); }

Signature two_outputs() { return {"main", {}, {{"x", DType::float32, {-1}, {}}, {"y", DType::float32, {-1}, {}}}}; }

// One inference: what output "y" was.
class Scores {
 public:
  explicit Scores(std::vector<float> values, const Quantization& quantization = {})
      : Scores(DType::float32, std::move(values), quantization) {}
  template <class T>
  Scores(DType dtype, const std::vector<T>& values, const Quantization& quantization)
      : memory_(reinterpret_cast<const std::byte*>(values.data()),
                reinterpret_cast<const std::byte*>(values.data() + values.size())) {
    const TensorSpec spec{"y", dtype, {-1}, quantization};
    specs_ = {spec, spec};
    // "x" is empty: a rule that looks at the wrong output never holds.
    views_ = {{dtype, {0}, nullptr, 0}, {dtype, {static_cast<int64_t>(values.size())}, memory_.data(), memory_.size()}};
  }
  Scores(const Scores&) = delete;
  Scores& operator=(const Scores&) = delete;
  Observation at(uint64_t monotonic_ns) const { return {views_, specs_, monotonic_ns, false}; }
  Observation observation() const { return at(0); }

 private:
  std::vector<std::byte> memory_;
  std::vector<TensorSpec> specs_;
  std::vector<TensorView> views_;
};

Observation failure(uint64_t monotonic_ns = 0) { return {{}, {}, monotonic_ns, true}; }

Sampler sampler(const Rule& rule, uint64_t seed = 1) { return Sampler(resolved(rule, two_outputs()), seed); }

Sampler::Answer answer(const Rule& rule, const Observation& observation) {
  Sampler chooser = sampler(rule);
  return chooser.ask(observation, 1);
}

bool holds(const Rule& rule, const Scores& scores) { return answer(rule, scores.observation()).is_kept; }

// For each of `count` inferences at `times_ns`, whether it is kept.
std::vector<bool> kept_at(const Rule& rule, const std::vector<uint64_t>& times_ns) {
  const Scores scores({1, 2});
  Sampler chooser = sampler(rule);
  std::vector<bool> kept;
  for (size_t i = 0; i < times_ns.size(); ++i) kept.push_back(chooser.ask(scores.at(times_ns[i]), i + 1).is_kept);
  return kept;
}

std::vector<bool> kept_of(const Rule& rule, size_t count, uint64_t seed = 1) {
  const Scores scores({1, 2});
  Sampler chooser = sampler(rule, seed);
  std::vector<bool> kept;
  for (size_t i = 0; i < count; ++i) kept.push_back(chooser.ask(scores.observation(), i + 1).is_kept);
  return kept;
}

double sum_of_squares_from(double expected, const std::vector<uint64_t>& counts) {
  double chi_square = 0;
  for (const uint64_t count : counts) {
    const double distance = static_cast<double>(count) - expected;
    chi_square += distance * distance / expected;
  }
  return chi_square;
}

}  // namespace

// ---- Rates.

TEST_CASE("a fraction keeps its share of all, at random") {
  constexpr size_t kCount = 100'000;
  for (const double fraction : {0.001, 0.1, 0.5, 0.9, 0.999}) {
    CAPTURE(fraction);
    const auto kept = kept_of(limited(RuleKind::fraction, fraction), kCount);
    const auto got = static_cast<double>(std::count(kept.begin(), kept.end(), true));
    const double deviation = std::sqrt(kCount * fraction * (1 - fraction));
    CHECK(std::abs(got - kCount * fraction) < 5 * deviation);
    // Whether one is kept says nothing about the next: as many changes as independence has.
    double changes = 0;
    for (size_t i = 1; i < kCount; ++i) changes += kept[i] != kept[i - 1] ? 1 : 0;
    const double expected = 2 * fraction * (1 - fraction) * kCount;
    CHECK(std::abs(changes - expected) < 6 * std::sqrt(expected));
  }
}

TEST_CASE("a fraction of one keeps all, a fraction of zero none") {
  CHECK(kept_of(limited(RuleKind::fraction, 1), 10'000) == std::vector<bool>(10'000, true));
  CHECK(kept_of(limited(RuleKind::fraction, 0), 10'000) == std::vector<bool>(10'000, false));
}

TEST_CASE("the same seed keeps the same inferences, another seed others") {
  const Rule half = limited(RuleKind::fraction, 0.5);
  CHECK(kept_of(half, 1000, 7) == kept_of(half, 1000, 7));
  std::set<std::vector<bool>> different;
  for (uint64_t seed = 0; seed < 100; ++seed) different.insert(kept_of(half, 1000, seed));
  CHECK(different.size() == 100);
}

TEST_CASE("every n-th is the first, and then each n-th") {
  CHECK(kept_of(counted(RuleKind::every, 1), 3) == std::vector<bool>{true, true, true});
  CHECK(kept_of(counted(RuleKind::every, 3), 7) == std::vector<bool>{true, false, false, true, false, false, true});
  const auto rarely = kept_of(counted(RuleKind::every, 1000), 1001);
  CHECK(std::count(rarely.begin(), rarely.end(), true) == 2);
  CHECK(rarely.front());
  CHECK(rarely.back());
}

TEST_CASE("at most so many are kept in any second that begins with one") {
  struct Row {
    double rate;
    std::vector<uint64_t> times_ns;
    std::vector<bool> kept;
  };
  const uint64_t s = kSecond_ns;
  const Row rows[] = {
      {2, {0, 1, 2, s - 1, s, s + 1, s + 2}, {true, true, false, false, true, true, false}},
      {1, {5, s + 4, s + 5, s + 6}, {true, false, true, false}},
      {1, {5, 100 * s, 100 * s + 1}, {true, true, false}},
      // A second begins with an inference that comes after the last one has passed, not on a grid.
      {1, {s / 2, s, 3 * s / 2, 2 * s}, {true, false, true, false}},
      {1.5, {0, 1, 2, s}, {true, true, false, true}},
      {0.5, {0, 1, s}, {true, false, true}},
      {kInfinity, {0, 0, 0}, {true, true, true}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rate);
    CHECK(kept_at(limited(RuleKind::per_second, row.rate), row.times_ns) == row.kept);
  }
}

TEST_CASE("only rates with a window want the time") {
  const struct {
    Rule rule;
    bool is_blind;
  } rows[] = {{limited(RuleKind::fraction, 0.5), true},
              {counted(RuleKind::every, 2), true},
              {limited(RuleKind::per_second, 2), false},
              {counted(RuleKind::reservoir, 2, 1), false},
              {counted(RuleKind::quota, 2, 1), false},
              {limited(RuleKind::above, 2), false},
              {plain(RuleKind::failed), false},
              {of(RuleKind::any, {counted(RuleKind::every, 2), limited(RuleKind::fraction, 1)}), true},
              {of(RuleKind::all, {counted(RuleKind::every, 2), plain(RuleKind::failed)}), false}};
  for (const auto& row : rows) {
    CAPTURE(static_cast<int>(row.rule.kind));
    CHECK(sampler(row.rule).is_blind() == row.is_blind);
  }
}

// ---- Reservoir.

TEST_CASE("a reservoir's choice is uniform over its window") {
  // 20 inferences, 5 kept at the end: each in a quarter of all windows. Sum over 20 cells; with the cells of one window
  // tied to a total of 5, the statistic has a mean of 20 * 3/4.
  constexpr size_t kCount = 20;
  constexpr size_t kKept = 5;
  constexpr uint64_t kWindows = 20'000;
  const Scores scores({1});
  Sampler chooser = sampler(counted(RuleKind::reservoir, kKept, kCount), 42);
  std::vector<uint64_t> survivals(kCount);
  std::vector<uint64_t> pairs(kCount * kCount);
  uint64_t sequence = 0;
  for (uint64_t window = 0; window < kWindows; ++window) {
    std::map<uint64_t, size_t> alive;  // by sequence number, its place in the window
    for (size_t i = 0; i < kCount; ++i) {
      const auto answer = chooser.ask(scores.at(window * kCount + i), sequence + 1);
      if (!answer.is_kept) continue;
      ++sequence;
      if (answer.replaces != 0) CHECK(alive.erase(answer.replaces) == 1);
      alive[sequence] = i;
    }
    REQUIRE(alive.size() == kKept);
    for (const auto& [_, index] : alive) {
      ++survivals[index];
      for (const auto& [__, other] : alive) ++pairs[index * kCount + other];
    }
  }
  // A chi-square of 19 degrees, scaled by 15/19: 50 has a chance below 1 in 10^6.
  CHECK(sum_of_squares_from(kWindows * 0.25, survivals) < 50);
  // Pairs too: 5*4/(20*19) of the windows hold both.
  const double pair = kWindows * (5.0 * 4.0) / (20.0 * 19.0);
  for (size_t i = 0; i < kCount; ++i) {
    for (size_t k = 0; k < i; ++k) {
      CHECK(std::abs(static_cast<double>(pairs[i * kCount + k]) - pair) < 6 * std::sqrt(pair));
    }
  }
}

TEST_CASE("a reservoir fills up first, and then gives up one that it holds for each that it takes") {
  const Scores scores({1});
  Sampler chooser = sampler(counted(RuleKind::reservoir, 3, 1'000'000), 9);
  std::set<uint64_t> held;
  uint64_t sequence = 100;
  size_t replacements = 0;
  for (size_t i = 0; i < 1000; ++i) {
    const auto answer = chooser.ask(scores.at(i), sequence + 1);
    if (!answer.is_kept) {
      CHECK(answer.replaces == 0);
      CHECK(answer.reason == 0);
      continue;
    }
    ++sequence;
    CHECK(answer.reason == kSampled);
    if (held.size() < 3) {
      CHECK(answer.replaces == 0);
      CHECK(i < 3);
    } else {
      CHECK(held.erase(answer.replaces) == 1);
      ++replacements;
    }
    held.insert(sequence);
  }
  CHECK(held.size() == 3);
  CHECK(replacements > 0);
}

TEST_CASE("a reservoir begins anew with each window, and leaves the records of the one before") {
  const Scores scores({1});
  Sampler chooser = sampler(counted(RuleKind::reservoir, 2, 100), 3);
  uint64_t sequence = 0;
  for (const uint64_t begin_ns : {uint64_t{50}, uint64_t{150}, uint64_t{777}}) {
    CAPTURE(begin_ns);
    const uint64_t first = sequence + 1;
    for (uint64_t i = 0; i < 50; ++i) {
      const auto answer = chooser.ask(scores.at(begin_ns + 2 * i), sequence + 1);
      CHECK((i >= 2 || answer.is_kept));
      if (i < 2) CHECK(answer.replaces == 0);
      if (answer.is_kept) ++sequence;
      if (answer.replaces != 0) CHECK(answer.replaces >= first);
    }
  }
}

TEST_CASE("a reservoir that stands beside other rules chooses among what they keep, and gives up only what it chose") {
  const Scores low({1});
  const Scores high({9});
  const Rule above = limited(RuleKind::above, 5);
  const Rule reservoir = counted(RuleKind::reservoir, 4, 1'000'000);
  const Rule rules[] = {of(RuleKind::all, {reservoir, above}), of(RuleKind::all, {above, reservoir}),
                        of(RuleKind::all, {of(RuleKind::all, {reservoir}), above}),
                        of(RuleKind::any, {of(RuleKind::all, {reservoir, above}), plain(RuleKind::failed)})};
  for (const Rule& rule : rules) {
    Sampler chooser = sampler(rule, 5);
    std::set<uint64_t> held;
    uint64_t sequence = 0;
    for (uint64_t i = 0; i < 2000; ++i) {
      const bool is_high = i % 3 == 0;
      const auto answer = chooser.ask((is_high ? high : low).at(i), sequence + 1);
      if (!answer.is_kept) continue;
      ++sequence;
      CHECK(is_high);
      CHECK(answer.reason == (kSampled | kPredicate));
      if (answer.replaces != 0) CHECK(held.erase(answer.replaces) == 1);
      held.insert(sequence);
    }
    CHECK(held.size() == 4);
  }
}

// ---- Quota.

TEST_CASE("a quota keeps so many of each class in each window") {
  const Scores first({3, 1, 2});
  const Scores last({1, 2, 3});
  const Scores tied({3, 1, 3});  // the first of the greatest
  const Scores none({kNan, kNan});
  Sampler chooser = sampler(counted(RuleKind::quota, 2, 100));
  const struct {
    const Scores& scores;
    uint64_t time_ns;
    bool is_kept;
  } rows[] = {{first, 10, true},   {first, 20, true},  {first, 30, false}, {last, 40, true},   {tied, 50, false},
              {last, 60, true},    {last, 109, false}, {last, 110, true},  {first, 111, true}, {tied, 112, true},
              {first, 113, false}, {none, 114, true},  {none, 115, true},  {none, 116, false}};
  for (const auto& row : rows) {
    CAPTURE(row.time_ns);
    const auto answer = chooser.ask(row.scores.at(row.time_ns), 1);
    CHECK(answer.is_kept == row.is_kept);
    CHECK(answer.reason == (row.is_kept ? kSampled : 0u));
  }
}

// ---- What the outputs were.

TEST_CASE("rules about the greatest element") {
  const struct {
    std::string what;
    Rule rule;
    std::vector<float> scores;
    bool is_kept;
  } rows[] = {
      {"below", limited(RuleKind::below, 0.5), {0.1F, 0.4F}, true},
      {"at is not below", limited(RuleKind::below, 0.5), {0.1F, 0.5F}, false},
      {"not all below", limited(RuleKind::below, 0.5), {0.1F, 0.6F}, false},
      {"nothing is below nothing", limited(RuleKind::below, 0.5), {}, false},
      {"NaN is not below", limited(RuleKind::below, 0.5), {kNan}, false},
      {"the others are, beside a NaN", limited(RuleKind::below, 0.5), {kNan, 0.1F}, true},
      {"minus infinity is below", limited(RuleKind::below, 0.5), {-INFINITY}, true},
      {"negative", limited(RuleKind::below, -1), {-3, -2}, true},
      {"above", limited(RuleKind::above, 0.5), {0.9F, 0.1F}, true},
      {"at is not above", limited(RuleKind::above, 0.5), {0.5F}, false},
      {"nothing is not above", limited(RuleKind::above, -kInfinity), {}, false},
      {"NaN is not above", limited(RuleKind::above, 0.5), {kNan}, false},
      {"infinity is above", limited(RuleKind::above, 0.5), {kNan, INFINITY}, true},
      {"at the lower end", limited(RuleKind::between, 0.25, 0.5), {0.25F, 0}, true},
      {"at the upper end", limited(RuleKind::between, 0.25, 0.5), {0.5F, 0}, true},
      {"under", limited(RuleKind::between, 0.25, 0.5), {0.2F, 0}, false},
      {"over", limited(RuleKind::between, 0.25, 0.5), {0.3F, 0.6F}, false},
      {"NaN is not between", limited(RuleKind::between, 0.25, 0.5), {kNan}, false},
      {"nothing is not between", limited(RuleKind::between, -kInfinity, kInfinity), {}, false},
      {"close", limited(RuleKind::margin, 0.2), {0.5F, 0.1F, 0.4F}, true},
      {"close, the other way round", limited(RuleKind::margin, 0.2), {0.4F, 0.1F, 0.5F}, true},
      {"apart", limited(RuleKind::margin, 0.2), {0.7F, 0.1F, 0.2F}, false},
      {"apart by the limit", limited(RuleKind::margin, 0.25), {0.5F, 0.25F}, false},
      {"tied", limited(RuleKind::margin, 0.001), {0.5F, 0.5F}, true},
      {"ascending", limited(RuleKind::margin, 1.5), {1, 2, 3}, true},
      {"alone", limited(RuleKind::margin, 0.2), {0.5F}, false},
      {"alone beside a NaN", limited(RuleKind::margin, 0.2), {kNan, 0.5F}, false},
      {"close beside a NaN", limited(RuleKind::margin, 0.2), {0.45F, kNan, 0.5F}, true},
      {"nothing has no margin", limited(RuleKind::margin, kInfinity), {}, false},
      {"greatest of them", about_classes({0, 2}), {1, 2, 3}, true},
      {"greatest of others", about_classes({0, 2}), {1, 4, 3}, false},
      {"the first of two", about_classes({0}), {4, 4}, true},
      {"not the second of two", about_classes({1}), {4, 4}, false},
      {"NaN is never greatest", about_classes({0}), {kNan, 1}, false},
      {"of no class", about_classes({}), {1, 2}, false},
      {"no element, no class", about_classes({0}), {}, false},
      {"a NaN", plain(RuleKind::not_a_number), {1, kNan, 2}, true},
      {"no NaN", plain(RuleKind::not_a_number), {1, INFINITY, -INFINITY}, false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const Scores scores(row.scores);
    const auto got = answer(row.rule, scores.observation());
    CHECK(got.is_kept == row.is_kept);
    CHECK(got.reason == (row.is_kept ? kPredicate : 0u));
  }
}

TEST_CASE("entropy is that of the output scaled to sum one, in nats") {
  const struct {
    std::string what;
    std::vector<float> scores;
    double nats;
  } rows[] = {{"uniform of 4", {0.25F, 0.25F, 0.25F, 0.25F}, std::log(4)},
              {"unscaled", {3, 3, 3, 3}, std::log(4)},
              {"half and half", {0, 0.5F, 0.5F}, std::log(2)},
              {"certain", {1, 0, 0}, 0},
              {"negatives count as zero", {-5, 1, 1}, std::log(2)},
              {"uneven", {0.5F, 0.25F, 0.25F}, 1.5 * std::log(2)},
              {"nothing positive", {-1, 0}, 0},
              {"nothing", {}, 0},
              {"infinite", {INFINITY, 1}, 0}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const Scores scores(row.scores);
    CHECK(holds(limited(RuleKind::entropy, row.nats - 1e-6), scores));
    CHECK_FALSE(holds(limited(RuleKind::entropy, row.nats + 1e-6), scores));
  }
  CHECK(answer(limited(RuleKind::entropy, 0.1), Scores({1, 1}).observation()).reason == kPredicate);
}

TEST_CASE("quantised outputs are compared as the reals they stand for") {
  const Quantization quarter{{0.25F}, {-128}, 0};
  // Reals: 0, 1, 63.75.
  const Scores scores(DType::int8, std::vector<int8_t>{-128, -124, 127}, quarter);
  CHECK(holds(limited(RuleKind::between, 63.75, 63.75), scores));
  CHECK_FALSE(holds(limited(RuleKind::above, 63.75), scores));
  CHECK(holds(limited(RuleKind::above, 63.7), scores));
  CHECK(holds(limited(RuleKind::margin, 62.8), scores));
  CHECK_FALSE(holds(limited(RuleKind::margin, 62.75), scores));
  CHECK(holds(about_classes({2}), scores));
  const Scores even(DType::uint8, std::vector<uint8_t>{10, 12, 12}, Quantization{{0.5F}, {10}, 0});
  CHECK(holds(limited(RuleKind::entropy, std::log(2) - 1e-6), even));
  CHECK_FALSE(holds(limited(RuleKind::entropy, std::log(2) + 1e-6), even));
  // A negative scale turns the order round.
  const Scores turned(DType::uint8, std::vector<uint8_t>{10, 12}, Quantization{{-0.5F}, {10}, 0});
  CHECK(holds(about_classes({0}), turned));
  // One scale for each index: compared as stored.
  const Scores by_axis(DType::int8, std::vector<int8_t>{5, 7}, Quantization{{1, 0.001F}, {0, 0}, 0});
  CHECK(holds(limited(RuleKind::between, 7, 7), by_axis));
}

TEST_CASE("outputs of every dtype on the line of numbers are looked at") {
  const Rule rule = of(RuleKind::all, {limited(RuleKind::between, 2, 2), about_classes({1})});
  CHECK(holds(rule, Scores(DType::boolean, std::vector<uint8_t>{1, 2}, {})));
  CHECK(holds(rule, Scores(DType::int16, std::vector<int16_t>{1, 2}, {})));
  CHECK(holds(rule, Scores(DType::int32, std::vector<int32_t>{1, 2}, {})));
  CHECK(holds(rule, Scores(DType::int64, std::vector<int64_t>{1, 2}, {})));
  CHECK(holds(rule, Scores(DType::uint64, std::vector<uint64_t>{1, 2}, {})));
  CHECK(holds(rule, Scores(DType::float16, std::vector<uint16_t>{0x3C00, 0x4000}, {})));
  CHECK(holds(rule, Scores(DType::bfloat16, std::vector<uint16_t>{0x3F80, 0x4000}, {})));
  CHECK(holds(rule, Scores(DType::float64, std::vector<double>{1, 2}, {})));
  CHECK_FALSE(holds(rule, Scores(DType::float8_e5m2, std::vector<uint8_t>{1, 2}, {})));
}

TEST_CASE("a run that failed has no outputs to speak of") {
  CHECK(answer(plain(RuleKind::failed), failure()).is_kept);
  CHECK(answer(plain(RuleKind::failed), failure()).reason == kFailed);
  CHECK_FALSE(holds(plain(RuleKind::failed), Scores({1})));
  const Rule rules[] = {limited(RuleKind::below, kInfinity),
                        limited(RuleKind::above, -kInfinity),
                        limited(RuleKind::between, -kInfinity, kInfinity),
                        limited(RuleKind::margin, kInfinity),
                        limited(RuleKind::entropy, -1),
                        about_classes({-1, 0}),
                        counted(RuleKind::quota, 1, 1),
                        plain(RuleKind::not_a_number)};
  for (const Rule& rule : rules) {
    CAPTURE(static_cast<int>(rule.kind));
    CHECK_FALSE(answer(rule, failure()).is_kept);
  }
  // Rates count it like any other.
  for (const Rule& rule : {limited(RuleKind::fraction, 1), counted(RuleKind::every, 1),
                           limited(RuleKind::per_second, 1), counted(RuleKind::reservoir, 1, 1)}) {
    CAPTURE(static_cast<int>(rule.kind));
    CHECK(answer(rule, failure()).reason == kSampled);
  }
}

// ---- Together.

TEST_CASE("all of and any of: what is kept, and the reasons of those that hold") {
  const Rule yes = limited(RuleKind::fraction, 1);  // kSampled
  const Rule no = limited(RuleKind::fraction, 0);
  const Rule high = limited(RuleKind::above, 0);  // kPredicate
  const Rule low = limited(RuleKind::below, 0);
  const auto all = [](std::vector<Rule> parts) { return of(RuleKind::all, std::move(parts)); };
  const auto any = [](std::vector<Rule> parts) { return of(RuleKind::any, std::move(parts)); };
  const struct {
    std::string what;
    Rule rule;
    uint32_t reason;  // 0: not kept
  } rows[] = {
      {"all of one", all({yes}), kSampled},
      {"any of one", any({high}), kPredicate},
      {"all hold", all({yes, high}), kSampled | kPredicate},
      {"the first does not", all({no, high}), 0},
      {"the last does not", all({yes, low}), 0},
      {"some holds", any({no, high}), kPredicate},
      {"some other holds", any({yes, low}), kSampled},
      {"both hold", any({yes, high}), kSampled | kPredicate},
      {"none holds", any({no, low}), 0},
      {"all that failed give no reason", any({all({yes, low}), high}), kPredicate},
      {"any in all", all({any({no, high}), any({yes, no})}), kSampled | kPredicate},
      {"all in all in any", any({all({all({yes, no}), high}), all({yes})}), kSampled},
      {"never", all({any({no, low}), yes}), 0},
  };
  const Scores scores({1, 2});
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const auto got = answer(row.rule, scores.observation());
    CHECK(got.is_kept == (row.reason != 0));
    CHECK(got.reason == row.reason);
    CHECK(got.replaces == 0);
  }
  CHECK(answer(any({plain(RuleKind::failed), yes, high}), failure()).reason == (kFailed | kSampled));
}

TEST_CASE("a rate counts the same whatever stands beside it") {
  const Rule third = counted(RuleKind::every, 3);
  const Rule never = limited(RuleKind::fraction, 0);
  const Rule high = limited(RuleKind::above, 5);
  const Scores low_scores({1});
  const Scores high_scores({9});
  for (const bool is_first : {true, false}) {
    CAPTURE(is_first);
    Sampler both = sampler(of(RuleKind::all, is_first ? std::vector{third, high} : std::vector{high, third}));
    Sampler either = sampler(of(RuleKind::any, is_first ? std::vector{third, never} : std::vector{never, third}));
    for (size_t i = 0; i < 30; ++i) {
      const Scores& scores = i % 2 == 0 ? low_scores : high_scores;
      CHECK(both.ask(scores.observation(), 1).is_kept == (i % 3 == 0 && i % 2 == 1));
      CHECK(either.ask(scores.observation(), 1).is_kept == (i % 3 == 0));
    }
  }
}

TEST_CASE("what some rule replaces is said when any of several keeps") {
  const Scores scores({9});
  Sampler chooser =
      sampler(of(RuleKind::any, {counted(RuleKind::reservoir, 1, 1'000'000), limited(RuleKind::above, 5)}), 2);
  uint64_t held = 1;
  size_t replacements = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const auto answer = chooser.ask(scores.at(i), i + 1);
    CHECK(answer.is_kept);  // by the other rule at least
    const bool is_chosen = (answer.reason & kSampled) != 0;
    CHECK((answer.reason & kPredicate) != 0);
    if (i == 0) continue;
    CHECK(answer.replaces == (is_chosen ? held : 0));
    if (is_chosen) {
      held = i + 1;
      ++replacements;
    }
  }
  CHECK(replacements > 0);
}

// ---- What means nothing.

TEST_CASE("a rule about an output without real numbers is refused") {
  for (const DType dtype : {DType::string, DType::complex64}) {
    Signature signature = two_outputs();
    signature.outputs[1].dtype = dtype;
    Rule rule = limited(RuleKind::below, 1);
    rule.output = signature.outputs[1].name;
    const std::string words = "output \"y\": expected real numbers, got " + std::string(name(dtype));
    check_refusal(Code::bad_input, {words}, [&] { (void)resolved(rule, signature); });
  }
}

TEST_CASE("a rule that means nothing is refused, and says what was expected") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Rule elsewhere = limited(RuleKind::below, 1);
  elsewhere.output = "z";
  const std::string reservoirs = "expected at most one reservoir among rules that must all hold, got more";
  const struct {
    std::string what;
    Rule rule;
    std::string words;
  } rows[] = {
      {"fraction below 0", limited(RuleKind::fraction, -0.1), "sample: expected a fraction from 0 to 1, got -0.1"},
      {"fraction above 1", limited(RuleKind::fraction, 1.5), "sample: expected a fraction from 0 to 1, got 1.5"},
      {"fraction NaN", limited(RuleKind::fraction, nan), "limit: expected a number, got NaN"},
      {"limit NaN", limited(RuleKind::below, nan), "limit: expected a number, got NaN"},
      {"upper NaN", limited(RuleKind::between, 0, nan), "limit: expected a number, got NaN"},
      {"no rate", limited(RuleKind::per_second, 0), "rate: expected more than 0, got 0"},
      {"negative rate", limited(RuleKind::per_second, -1), "rate: expected more than 0, got -1"},
      {"every 0", counted(RuleKind::every, 0), "count: expected at least 1, got 0"},
      {"reservoir of 0", counted(RuleKind::reservoir, 0, 1), "count: expected at least 1, got 0"},
      {"quota of 0", counted(RuleKind::quota, 0, 1), "count: expected at least 1, got 0"},
      {"reservoir too large", counted(RuleKind::reservoir, 100'001, 1),
       "reservoir: expected at most 100000, got 100001"},
      {"reservoir without window", counted(RuleKind::reservoir, 1), "window: expected more than 0 s, got 0"},
      {"quota without window", counted(RuleKind::quota, 1), "window: expected more than 0 s, got 0"},
      {"unknown output", elsewhere, "output: expected one of \"x\", \"y\", got \"z\""},
      {"all of none", of(RuleKind::all, {}), "expected 1 to 64 rules together, got 0"},
      {"any of none", of(RuleKind::any, {}), "expected 1 to 64 rules together, got 0"},
      {"any of 65", of(RuleKind::any, std::vector(65, plain(RuleKind::failed))),
       "expected 1 to 64 rules together, got 65"},
      {"too deep", nested(17), "expected rules nested at most 16 deep, got more"},
      {"much too deep", nested(1000), "expected rules nested at most 16 deep, got more"},
      {"two reservoirs that must both choose",
       of(RuleKind::all, {counted(RuleKind::reservoir, 1, 1), counted(RuleKind::reservoir, 1, 1)}), reservoirs},
      {"two reservoirs, further down",
       of(RuleKind::all, {of(RuleKind::any, {counted(RuleKind::reservoir, 1, 1), plain(RuleKind::failed)}),
                          of(RuleKind::all, {counted(RuleKind::reservoir, 1, 1)})}),
       reservoirs},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const std::string words = "capture: " + row.words;
    check_refusal(Code::bad_input, {words}, [&] { (void)resolved(row.rule, two_outputs()); });
    // Wherever it stands.
    if (row.what.find("deep") != std::string::npos) continue;
    check_refusal(Code::bad_input, {words}, [&] {
      (void)resolved(of(RuleKind::any, {plain(RuleKind::failed), of(RuleKind::all, {row.rule})}), two_outputs());
    });
  }
}

TEST_CASE("rules at their limits are taken") {
  const Rule rules[] = {limited(RuleKind::fraction, 0),
                        limited(RuleKind::fraction, 1),
                        counted(RuleKind::reservoir, 100'000, 1),
                        of(RuleKind::any, std::vector(64, plain(RuleKind::failed))),
                        of(RuleKind::any, {counted(RuleKind::reservoir, 1, 1), counted(RuleKind::reservoir, 1, 1)}),
                        nested(16)};
  for (const Rule& rule : rules) CHECK_NOTHROW((void)resolved(rule, two_outputs()));
  CHECK(answer(nested(16), failure()).is_kept);
  CHECK_FALSE(holds(nested(16), Scores({1})));
}

TEST_CASE("a rule is about the output of its name, wherever that lies and whatever was written there before") {
  Rule rule = limited(RuleKind::below, 1);
  rule.output_index = 77;
  const Rule both = resolved(of(RuleKind::any, {rule, of(RuleKind::all, {rule})}), two_outputs());
  CHECK(both.parts[0].output_index == 1);
  CHECK(both.parts[1].parts[0].output_index == 1);
  rule.output = "x";
  CHECK(resolved(rule, two_outputs()).output_index == 0);
}

}  // namespace edgeward
