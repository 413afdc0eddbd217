#include "captures/recorder.h"

#include <doctest/doctest.h>

#include <fstream>
#include <thread>

#include "captures/ring_reader.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

// A record as it was found in a ring, with bytes of its own.
struct Kept {
  RecordHead head;
  std::vector<RecordTensor> tensors;
  Octets user;
  Octets bytes;
  Octets data(size_t tensor) const {
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(tensors.at(tensor).offset);
    return {from, from + static_cast<std::ptrdiff_t>(tensors.at(tensor).size_bytes)};
  }
};

// All records in the one ring of a directory.
std::vector<Kept> kept_in(const Directory& directory) {
  std::vector<Kept> all;
  for (const std::string& name : directory.names()) {
    auto reader = RingReader::try_open(directory.at(name));
    REQUIRE(reader);
    while (const auto copied = reader->next(kRecordHeadBytes)) {
      REQUIRE(is_record_at(copied->bytes, copied->position));
      const auto record = try_read_record(copied->bytes);
      REQUIRE(record);
      all.push_back({record->head, record->tensors, Octets(record->user.begin(), record->user.end()),
                     Octets(copied->bytes.begin(), copied->bytes.end())});
    }
    CHECK_FALSE(reader->is_broken());
  }
  return all;
}

std::vector<uint64_t> sequences_of(const std::vector<Kept>& all) {
  std::vector<uint64_t> sequences;
  for (const Kept& kept : all) sequences.push_back(kept.head.sequence);
  return sequences;
}

Rule rule_of(RuleKind kind, double limit = 0) {
  Rule rule;
  rule.kind = kind;
  rule.limit = limit;
  rule.output = "y";
  return rule;
}

// A session of one input and one output of `size_bytes` octets each, and its recorder.
class Recorded {
 public:
  explicit Recorded(const std::function<void(CapturePlan&)>& change = nullptr, size_t size_bytes = 64)
      : input_(size_bytes), output_(size_bytes) {
    CapturePlan plan{.ring_directory = directory_.at(""),
                     .ring_bytes = uint64_t{1} << 20,
                     .rule = rule_of(RuleKind::fraction, 1),
                     .seed = 1,
                     .pre_roll_bytes = uint64_t{1} << 18};
    if (change != nullptr) change(plan);
    capture_ = std::make_shared<Capture>(std::move(plan));
    recorder_.emplace(capture_, signature());
  }
  static Signature signature() { return {"main", {{"x", DType::uint8, {-1}, {}}}, {{"y", DType::uint8, {-1}, {}}}}; }

  // One inference, whose output is `value` all over; returns when it began.
  uint64_t run(uint8_t value) {
    const uint64_t begin_ns = recorder_->now_ns();
    run_at(begin_ns, value);
    return begin_ns;
  }
  void run_at(uint64_t begin_ns, uint8_t value) {
    std::fill(output_.begin(), output_.end(), std::byte{value});
    std::fill(input_.begin(), input_.end(), std::byte{static_cast<uint8_t>(value + 1)});
    const TensorView input = view(input_);
    const TensorView output = view(output_);
    recorder_->observe(begin_ns, std::span(&input, 1), std::span(&output, 1));
  }
  void fail() {
    const TensorView input = view(input_);
    recorder_->observe_failure(recorder_->now_ns(), std::span(&input, 1));
  }
  Octets& input() { return input_; }
  Recorder& recorder() { return *recorder_; }
  Capture& capture() { return *capture_; }
  std::vector<Kept> kept() const { return kept_in(directory_); }

 private:
  static TensorView view(Octets& octets) {
    return {DType::uint8, {static_cast<int64_t>(octets.size())}, octets.data(), octets.size()};
  }
  Directory directory_;
  Octets input_;
  Octets output_;
  std::shared_ptr<Capture> capture_;
  std::optional<Recorder> recorder_;
};

// The first byte of the output of each record.
std::vector<int> values_of(const std::vector<Kept>& all) {
  std::vector<int> values;
  for (const Kept& kept : all) values.push_back(static_cast<int>(kept.data(1).at(0)));
  return values;
}

void check_identity(const RingCounters& counters, uint64_t inferences) {
  CHECK(counters.committed + counters.sampled_out + counters.lost_full + counters.lost_large == inferences);
}

}  // namespace

TEST_CASE("a tensor is kept bit for bit, whatever its size and wherever it lies") {
  std::mt19937_64 random(1);
  for (const size_t size : {0UL, 1UL, 63UL, 64UL, 65UL, 65'535UL, 65'536UL, 65'537UL, 65'600UL, 150'000UL}) {
    for (const size_t skipped : {0UL, 1UL, 16UL}) {
      CAPTURE(size);
      CAPTURE(skipped);
      Recorded session;
      Octets memory = random_octets(random, size + skipped);
      const TensorView view{DType::uint8, {static_cast<int64_t>(size)}, memory.data() + skipped, size};
      session.recorder().observe(session.recorder().now_ns(), std::span(&view, 1), std::span(&view, 1));
      const auto all = session.kept();
      REQUIRE(all.size() == 1);
      REQUIRE(all[0].tensors.size() == 2);
      for (const size_t tensor : {0UL, 1UL}) {
        CHECK(is_same(all[0].data(tensor), Bytes(memory).subspan(skipped)));
        CHECK(all[0].tensors[tensor].dtype == DType::uint8);
        CHECK(all[0].tensors[tensor].shape == Shape{static_cast<int64_t>(size)});
        CHECK(all[0].tensors[tensor].offset % 64 == 0);
      }
    }
  }
}

TEST_CASE("a head says when, for how long and why") {
  Recorded session;
  const int64_t wall_before_ns = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  const uint64_t began_ns = session.run(7);
  const int64_t wall_after_ns = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  const auto all = session.kept();
  REQUIRE(all.size() == 1);
  const RecordHead& head = all[0].head;
  CHECK(head.sequence == 1);
  CHECK(head.monotonic_ns == began_ns);
  CHECK(head.wall_ns >= wall_before_ns);
  CHECK(head.wall_ns <= wall_after_ns);
  CHECK(head.latency_ns <= static_cast<uint64_t>(wall_after_ns - wall_before_ns));
  CHECK(head.reason == kSampled);
  CHECK(head.correlation_id == 0);
  CHECK(head.replaces == 0);
}

TEST_CASE("only the tensors that were asked for") {
  for (const bool is_output : {false, true}) {
    Recorded session([&](CapturePlan& plan) { plan.tensors = {is_output ? "y" : "x"}; });
    session.run(9);
    const auto all = session.kept();
    REQUIRE(all.size() == 1);
    REQUIRE(all[0].tensors.size() == 1);
    CHECK(all[0].tensors[0].side == (is_output ? RecordSide::output : RecordSide::input));
    CHECK(all[0].data(0) == Octets(64, std::byte{static_cast<uint8_t>(is_output ? 9 : 10)}));
  }
}

TEST_CASE("a request keeps the next inference alone, with the caller's bytes, rule or none") {
  Recorded session([](CapturePlan& plan) { plan.rule.reset(); });
  session.run(1);
  session.capture().capture_next({77, from_text("a label")});
  session.run(2);
  session.run(3);
  const auto all = session.kept();
  CHECK(values_of(all) == std::vector<int>{2});
  CHECK(all[0].head.reason == kManual);
  CHECK(all[0].head.correlation_id == 77);
  CHECK(to_text(all[0].user) == "a label");
  check_identity(session.recorder().counters(), 3);
}

TEST_CASE("a run that failed has its inputs, and says so") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::failed);
    plan.has_statistics = true;
  });
  session.run(1);
  session.fail();
  const auto all = session.kept();
  REQUIRE(all.size() == 1);
  CHECK((all[0].head.reason & kFailed) != 0);
  REQUIRE(all[0].tensors.size() == 1);
  CHECK(all[0].tensors[0].side == RecordSide::input);
  CHECK(session.recorder().statistics()->error_count == 1);
  CHECK(session.recorder().statistics()->run_count == 1);
}

TEST_CASE("what a full ring loses is counted, in the next record too") {
  Recorded session([](CapturePlan& plan) { plan.ring_bytes = kMinRingBytes; });
  for (int i = 0; i < 1000; ++i) session.run(1);
  const RingCounters counters = session.recorder().counters();
  CHECK(counters.lost_full > 0);
  check_identity(counters, 1000);
  const auto all = session.kept();
  CHECK(all.size() == counters.committed);
  CHECK(all.back().head.sequence == all.size());
  CHECK(all.back().head.lost_before == 0);
}

TEST_CASE("sequences count what was lost: a gap is a loss") {
  Directory directory;
  const auto capture = std::make_shared<Capture>(CapturePlan{
      .ring_directory = directory.at(""), .ring_bytes = kMinRingBytes, .rule = rule_of(RuleKind::fraction, 1)});
  Recorder recorder(capture, Recorded::signature());
  Octets small(64);
  Octets large(kMinRingBytes);
  const auto observe = [&](Octets& octets) {
    const TensorView view{DType::uint8, {static_cast<int64_t>(octets.size())}, octets.data(), octets.size()};
    recorder.observe(recorder.now_ns(), std::span(&view, 1), std::span(&view, 1));
  };
  observe(small);
  observe(large);
  observe(large);
  observe(small);
  const auto all = kept_in(directory);
  CHECK(sequences_of(all) == std::vector<uint64_t>{1, 4});
  CHECK(all[1].head.lost_before == 2);
  CHECK(recorder.counters().lost_large == 2);
}

TEST_CASE("a black box keeps the newest, and the last one always") {
  Recorded session([](CapturePlan& plan) {
    plan.ring_bytes = kMinRingBytes;
    plan.keep = Keep::newest;
  });
  for (int i = 0; i < 1000; ++i) session.run(static_cast<uint8_t>(i));
  const RingCounters counters = session.recorder().counters();
  CHECK(counters.committed == 1000);
  CHECK(counters.overwritten > 0);
  CHECK(counters.lost_full == 0);
}

TEST_CASE("before one that is kept come as many as were asked for, in their order and once") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::above, 100);
    plan.pre_roll_count = 3;
  });
  for (const uint8_t value : {1, 2, 3, 4, 5, 200, 6, 201, 202, 7, 8, 9, 10, 203}) session.run(value);
  const auto all = session.kept();
  CHECK(values_of(all) == std::vector<int>{3, 4, 5, 200, 6, 201, 202, 8, 9, 10, 203});
  for (const Kept& kept : all) {
    CHECK(kept.head.reason == (static_cast<int>(kept.data(1)[0]) > 100 ? kPredicate : kPreRoll));
    CHECK(is_same(kept.data(0), Octets(64, std::byte(static_cast<uint8_t>(kept.data(1)[0]) + 1))));
  }
  for (size_t i = 1; i < all.size(); ++i) {
    CHECK(all[i].head.sequence == i + 1);
    CHECK(all[i].head.monotonic_ns >= all[i - 1].head.monotonic_ns);
  }
  const RingCounters counters = session.recorder().counters();
  CHECK(counters.sampled_out == 3);
  check_identity(counters, 14);
}

TEST_CASE("what came before is kept no longer than was asked for") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::above, 100);
    plan.pre_roll_count = 100;
    plan.pre_roll_ns = 1'000'000'000;
  });
  const uint64_t now_ns = session.recorder().now_ns();
  session.run_at(now_ns - 2'000'000'000, 1);
  session.run_at(now_ns - 1'000'000'001, 2);
  session.run_at(now_ns - 1'000'000'000, 3);
  session.run_at(now_ns - 5, 4);
  session.run_at(now_ns, 200);
  CHECK(values_of(session.kept()) == std::vector<int>{3, 4, 200});
  check_identity(session.recorder().counters(), 5);
}

TEST_CASE("what came before takes no more room than was given") {
  Recorded session(
      [](CapturePlan& plan) {
        plan.rule = rule_of(RuleKind::above, 100);
        plan.pre_roll_count = 100;
        plan.pre_roll_bytes = 50'000;
      },
      10'000);  // 20,000 and its rows for each: two fit
  for (uint8_t value = 1; value <= 9; ++value) session.run(value);
  session.input().resize(40'000);  // larger than all the room: it stays away, and the others stay
  session.run(10);
  session.input().resize(10'000);
  session.run(200);
  CHECK(values_of(session.kept()) == std::vector<int>{8, 9, 200});
  check_identity(session.recorder().counters(), 11);
}

TEST_CASE("after one that is kept come as many as were asked for, counted anew from each") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::above, 100);
    plan.pre_roll_count = 1;
    plan.post_roll_count = 2;
  });
  for (const uint8_t value : {1, 2, 200, 3, 201, 4, 5, 6, 7, 202}) session.run(value);
  session.fail();
  session.capture().capture_next({});
  for (const uint8_t value : {8, 9, 10, 11}) session.run(value);
  std::vector<std::pair<int, uint32_t>> all;
  for (const Kept& kept : session.kept())
    all.emplace_back(kept.tensors.size() == 2 ? static_cast<int>(kept.data(1)[0]) : -1, kept.head.reason);
  CHECK(all == std::vector<std::pair<int, uint32_t>>{{2, kPreRoll},
                                                     {200, kPredicate},
                                                     {3, kPostRoll},
                                                     {201, kPredicate},
                                                     {4, kPostRoll},
                                                     {5, kPostRoll},
                                                     {7, kPreRoll},
                                                     {202, kPredicate},
                                                     {-1, kFailed | kPostRoll},
                                                     {8, kManual},
                                                     {9, kPostRoll},
                                                     {10, kPostRoll}});
  check_identity(session.recorder().counters(), 15);
}

TEST_CASE("what came after is kept no longer than was asked for") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::above, 100);
    plan.post_roll_count = 100;
    plan.post_roll_ns = 1'000'000'000;
  });
  const uint64_t now_ns = session.recorder().now_ns();
  session.run_at(now_ns - 2'000'000'000, 200);
  session.run_at(now_ns - 1'000'000'000, 1);
  session.run_at(now_ns - 999'999'999, 2);
  CHECK(values_of(session.kept()) == std::vector<int>{200, 1});
  check_identity(session.recorder().counters(), 3);
}

TEST_CASE("a run that failed says so in the pre-roll too") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::above, 100);
    plan.pre_roll_count = 1;
  });
  session.fail();
  session.run(200);
  CHECK(session.kept().at(0).head.reason == (kFailed | kPreRoll));
}

TEST_CASE("a rule that looks at nothing is asked before the run, once") {
  const auto run_all = [](Recorded& session) {
    for (uint8_t value = 0; value < 200; ++value) {
      if (value == 100) session.capture().capture_next({});
      if (!session.recorder().passes_over()) session.run(value);
    }
    check_identity(session.recorder().counters(), 200);
    return values_of(session.kept());
  };
  // With statistics nothing is passed over, and the choice is the same.
  for (const Rule& rule : {rule_of(RuleKind::fraction, 0.3), rule_of(RuleKind::fraction, 0)}) {
    Recorded plain([&](CapturePlan& plan) { plan.rule = rule; });
    Recorded counting([&](CapturePlan& plan) {
      plan.rule = rule;
      plan.has_statistics = true;
    });
    const std::vector<int> values = run_all(plain);
    CHECK(values == run_all(counting));
    CHECK(std::count(values.begin(), values.end(), 100) == 1);
    CHECK(values.size() == doctest::Approx(1 + 199 * rule.limit).epsilon(0.3));
  }
}

TEST_CASE("a run that somebody may want is not passed over") {
  const auto is_seen = [](const std::function<void(CapturePlan&)>& change) {
    Recorded session(change);
    return !session.recorder().passes_over();
  };
  CHECK_FALSE(is_seen([](CapturePlan& plan) { plan.rule.reset(); }));
  CHECK_FALSE(is_seen([](CapturePlan& plan) { plan.rule = rule_of(RuleKind::fraction, 0); }));
  CHECK(is_seen(nullptr));
  CHECK(is_seen([](CapturePlan& plan) { plan.rule = rule_of(RuleKind::above, 1); }));
  CHECK(is_seen([](CapturePlan& plan) { plan.rule = rule_of(RuleKind::failed); }));
  CHECK(is_seen([](CapturePlan& plan) {
    plan.rule.reset();
    plan.has_statistics = true;
  }));
  CHECK(is_seen([](CapturePlan& plan) {
    plan.rule.reset();
    plan.pre_roll_count = 1;
  }));
  CHECK(is_seen([](CapturePlan& plan) {
    plan.rule.reset();
    plan.post_roll_count = 1;
  }));
}

TEST_CASE("statistics are of every inference, kept or not") {
  Recorded session([](CapturePlan& plan) {
    plan.rule = rule_of(RuleKind::fraction, 0);
    plan.has_statistics = true;
    plan.edges = {{{true, "y"}, {{5, 10}}}};
  });
  for (uint8_t value = 0; value < 20; ++value) session.run(value);
  CHECK(session.kept().empty());
  const auto statistics = session.recorder().statistics();
  REQUIRE(statistics);
  CHECK(statistics->run_count == 20);
  CHECK(statistics->tensors[1].parts[0].bins.counts() == std::vector<uint64_t>{5 * 64, 5 * 64, 10 * 64});
  CHECK(session.capture().statistics().at("main").run_count == 20);
}

TEST_CASE("what is left out is nowhere in the ring's file, of runs that are kept, that failed and that came before") {
  const std::string canary = "canary-in-a-tensor";
  const Directory directory;
  CapturePlan plan{.ring_directory = directory.at(""),
                   .ring_bytes = kMinRingBytes,
                   .rule = rule_of(RuleKind::every),
                   .pre_roll_count = 2,
                   .pre_roll_bytes = kMinRingBytes};
  plan.rule->count = 2;
  // No box can be read, so the image is blank; the id is hashed; the text loses its end.
  RedactionRule blank{.kind = RedactionKind::blank, .tensor = "image", .layout = "nhwc"};
  blank.boxes.output = "boxes";
  const RedactionRule hash{.kind = RedactionKind::hash,
                           .tensor = "id",
                           .key = std::make_shared<const Secret>(Octets(kSecretBytes, std::byte{5}))};
  plan.redactions = {blank, hash, {.kind = RedactionKind::first, .tensor = "text", .count = 3}};
  const auto size = static_cast<int64_t>(canary.size());
  const Signature signature{"main",
                            {{"image", DType::uint8, {1, 1, size, 1}, {}}, {"id", DType::uint8, {size}, {}}},
                            {{"boxes", DType::float32, {1, 4}, {}}, {"text", DType::uint8, {size}, {}}}};
  Octets octets = from_text(canary);
  float boxes[] = {1, 1, 0, 0};
  const std::vector<TensorView> inputs{{DType::uint8, {1, 1, size, 1}, octets.data(), octets.size()},
                                       {DType::uint8, {size}, octets.data(), octets.size()}};
  const std::vector<TensorView> outputs{{DType::float32, {1, 4}, reinterpret_cast<std::byte*>(boxes), sizeof(boxes)},
                                        {DType::uint8, {size}, octets.data(), octets.size()}};
  Recorder recorder(std::make_shared<Capture>(std::move(plan)), signature);
  for (int i = 0; i < 5; ++i) recorder.observe(recorder.now_ns(), inputs, outputs);
  recorder.observe_failure(recorder.now_ns(), inputs);
  recorder.observe(recorder.now_ns(), inputs, outputs);
  const auto all = kept_in(directory);
  CHECK(sequences_of(all) == std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 7});
  for (const Kept& kept : all) {
    CHECK(is_zero(kept.data(0)));
    CHECK(kept.tensors[1].shape == Shape{32});
    if (kept.tensors.size() > 2) CHECK(to_text(kept.data(3)) == "can");
  }
  const auto names = directory.names();
  REQUIRE(names.size() == 1);
  std::ifstream file(directory.at(*names.begin()), std::ios::binary);
  const std::string ring(std::istreambuf_iterator<char>(file), {});
  REQUIRE(ring.size() > kMinRingBytes);
  CHECK(ring.find("can") != std::string::npos);
  CHECK(ring.find("canary") == std::string::npos);
}

TEST_CASE("a tensor that is dropped is in no record and in the statistics, one that is hashed the other way round") {
  Recorded session([](CapturePlan& plan) {
    plan.has_statistics = true;
    plan.redactions = {
        {.kind = RedactionKind::drop, .tensor = "x"},
        {.kind = RedactionKind::hash, .tensor = "y", .key = std::make_shared<const Secret>()},
    };
  });
  session.run(7);
  const auto all = session.kept();
  REQUIRE(all.size() == 1);
  REQUIRE(all[0].tensors.size() == 1);
  CHECK(all[0].tensors[0].side == RecordSide::output);
  CHECK(all[0].data(0).size() == 32);
  const auto statistics = session.recorder().statistics();
  CHECK(statistics->run_count == 1);
  CHECK(statistics->tensors[0].parts[0].moments.count == 64);
  for (const Part& part : statistics->tensors[1].parts) CHECK(part.moments.count == 0);
}

TEST_CASE("a plan that does not fit the model is refused, and leaves no record") {
  const Directory directory;
  const auto make = [&](const std::function<void(CapturePlan&)>& change) {
    CapturePlan plan{.ring_directory = directory.at(""), .ring_bytes = kMinRingBytes, .has_statistics = true};
    change(plan);
    const auto capture = std::make_shared<Capture>(std::move(plan));
    const Recorder recorder(capture, Recorded::signature());
  };
  check_refusal(Code::bad_input, {"\"z\""}, [&] {
    make([](CapturePlan& plan) {
      plan.rule = rule_of(RuleKind::above, 1);
      plan.rule->output = "z";
    });
  });
  check_refusal(Code::bad_input, {"\"x\"", "ascend"}, [&] {
    make([](CapturePlan& plan) { plan.edges = {{{false, "x"}, {{1, 1}}}}; });
  });
  check_refusal(Code::bad_input, {"\"x\"", "a key"}, [&] {
    make([](CapturePlan& plan) { plan.redactions = {{.kind = RedactionKind::hash, .tensor = "x"}}; });
  });
  check_refusal(Code::bad_input, {"power of two"}, [&] { make([](CapturePlan& plan) { plan.ring_bytes = 100'000; }); });
  CHECK_NOTHROW(make([](CapturePlan& plan) { plan.ring_directory += "/absent/deeper"; }));  // it counts all the same
  CHECK(kept_in(directory).empty());
}

}  // namespace edgeward
