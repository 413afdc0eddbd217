#include "captures/redaction.h"

#include <doctest/doctest.h>

#include <functional>

#include "rigs/detector.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

RedactionRule rule_of(RedactionKind kind, const std::string& tensor = "image") {
  RedactionRule rule{.kind = kind, .tensor = tensor};
  rule.boxes.output = "boxes";
  rule.factor = 2;
  rule.count = 2;
  if (kind == RedactionKind::hash) rule.key = std::make_shared<const Secret>(Octets(kSecretBytes, std::byte{5}));
  return rule;
}

constexpr RedactionKind kAll[] = {RedactionKind::drop,       RedactionKind::blank, RedactionKind::keep_regions,
                                  RedactionKind::downsample, RedactionKind::first, RedactionKind::hash};

bool is_of_image(RedactionKind kind) {
  return kind == RedactionKind::blank || kind == RedactionKind::keep_regions || kind == RedactionKind::downsample;
}

// A model of an image, an id and the outputs of a detector, and one run of it.
class Run {
 public:
  explicit Run(std::vector<float> boxes = {0, 0, 1, 1}) : detector_(std::move(boxes)) {
    std::mt19937_64 random(3);
    image_ = random_octets(random, 5 * 6 * 3);
    id_ = random_octets(random, 8);
  }
  Signature signature() const {
    Signature signature = detector_.signature();
    signature.inputs = {{"image", DType::uint8, {1, 5, 6, 3}, {{0.5F}, {3}, 0}}, {"id", DType::int64, {1}, {}}};
    return signature;
  }
  std::vector<TensorView> inputs() {
    return {{DType::uint8, {1, 5, 6, 3}, image_.data(), image_.size()}, {DType::int64, {1}, id_.data(), id_.size()}};
  }
  std::vector<TensorView> outputs() { return detector_.outputs(); }
  const Octets& image() const { return image_; }
  const Octets& id() const { return id_; }

 private:
  Detector detector_;
  Octets image_;
  Octets id_;
};

Octets copied(Redaction& redaction, size_t index, const TensorView& view, RecordSide side = RecordSide::input) {
  Octets target(redaction.recorded(side, index, view).size_bytes, std::byte{0xAA});
  redaction.copy(side, index, view, target);
  return target;
}

}  // namespace

TEST_CASE("a tensor without a rule is copied as it is") {
  Run run;
  Redaction redaction({rule_of(RedactionKind::drop, "id")}, run.signature());
  redaction.look_at(run.inputs(), run.outputs());
  CHECK(copied(redaction, 0, run.inputs()[0]) == run.image());
  CHECK_FALSE(redaction.drops(RecordSide::input, 0));
  CHECK(redaction.drops(RecordSide::input, 1));
  CHECK_FALSE(redaction.hashes_any());
}

TEST_CASE("a hash is the HMAC of the tensor's bytes, as uint8 [32], of each run anew") {
  Run run;
  const RedactionRule rule = rule_of(RedactionKind::hash, "id");
  Redaction redaction({rule}, run.signature());
  const auto inputs = run.inputs();
  redaction.look_at(inputs, {});
  const TensorView recorded = redaction.recorded(RecordSide::input, 1, inputs[1]);
  CHECK(recorded.dtype == DType::uint8);
  CHECK(recorded.shape == Shape{32});
  const auto hash = [&] { return hmac_sha256(rule.key->bytes(), Bytes(inputs[1].data, 8)); };
  CHECK(is_same(copied(redaction, 1, inputs[1]), hash()));
  inputs[1].data[0] ^= std::byte{1};
  const Digest next = hash();
  redaction.look_at(inputs, run.outputs());
  CHECK(is_same(copied(redaction, 1, inputs[1]), next));
}

TEST_CASE("statistics count every tensor but those that are hashed") {
  Run run;
  Redaction redaction({rule_of(RedactionKind::hash, "id"), rule_of(RedactionKind::drop)}, run.signature());
  REQUIRE(redaction.hashes_any());
  const auto counted = redaction.counted(RecordSide::input, run.inputs());
  REQUIRE(counted.size() == 2);
  CHECK(counted[0].size_bytes == run.image().size());
  CHECK(counted[1].size_bytes == 0);
}

TEST_CASE("the first are the first along any axis, or all where there are less") {
  std::mt19937_64 random(9);
  const Octets source = random_octets(random, size_t{3} * 4 * 5 * 2);
  const Shape shape{3, 4, 5};
  const Signature signature{"main", {{"x", DType::int16, {3, 4, -1}, {}}}, {}};
  for (int64_t axis = -3; axis < 3; ++axis) {
    const size_t along = static_cast<size_t>((axis + 3) % 3);
    for (const int64_t count : {1L, 2L, 3L, 4L, 5L, 6L, INT64_MAX}) {
      CAPTURE(axis);
      CAPTURE(count);
      RedactionRule rule = rule_of(RedactionKind::first, "x");
      rule.axis = axis;
      rule.count = count;
      Redaction redaction({rule}, signature);
      Octets memory(source);
      const TensorView view{DType::int16, shape, memory.data(), memory.size()};
      redaction.look_at(std::span(&view, 1), {});
      Octets expected;
      for (size_t i = 0; i < 60; ++i) {
        const size_t index[] = {i / 20, i / 5 % 4, i % 5};
        if (static_cast<int64_t>(index[along]) >= count) continue;
        expected.insert(expected.end(), {source[2 * i], source[2 * i + 1]});
      }
      CHECK(copied(redaction, 0, view) == expected);
      Shape kept = shape;
      kept[along] = std::min(kept[along], count);
      CHECK(redaction.recorded(RecordSide::input, 0, view).shape == kept);
    }
  }
}

TEST_CASE("an image is blank where boxes are, all of it without outputs, and thinned beside") {
  Run run({1, 1, 3, 2});
  Redaction redaction({rule_of(RedactionKind::downsample), rule_of(RedactionKind::blank)}, run.signature());
  const auto inputs = run.inputs();
  CHECK(redaction.recorded(RecordSide::input, 0, inputs[0]).shape == Shape{1, 3, 3, 3});
  redaction.look_at(inputs, run.outputs());
  Octets expected;
  for (const size_t y : {0UL, 2UL, 4UL})
    for (const size_t x : {0UL, 2UL, 4UL})
      for (size_t c = 0; c < 3; ++c) expected.push_back(run.image()[(y * 6 + x) * 3 + c]);
  CHECK(copied(redaction, 0, inputs[0]) == expected);  // the box holds rows 1 and pixels 1 and 2: none that is kept
  redaction.look_at(inputs, {});
  CHECK(is_zero(copied(redaction, 0, inputs[0])));
}

TEST_CASE("an engine's tensor of other dimensions than the model's leaves nothing") {
  Run run;
  for (const RedactionKind kind : {RedactionKind::blank, RedactionKind::downsample, RedactionKind::first}) {
    RedactionRule rule = rule_of(kind, "boxes");
    rule.layout = is_of_image(kind) ? "nhw" : "";
    Redaction redaction({rule}, run.signature());
    auto outputs = run.outputs();
    outputs[0].shape = {4};
    redaction.look_at(run.inputs(), outputs);
    CHECK(redaction.recorded(RecordSide::output, 0, outputs[0]).shape == Shape{0});
    CHECK(copied(redaction, 0, outputs[0], RecordSide::output).empty());
  }
}

TEST_CASE("a tensor without elements is copied as such, however many rows it has") {
  const Signature signature{"main", {{"x", DType::uint8, {1, -1, -1, 1}, {}}}, {}};
  for (const RedactionKind kind : {RedactionKind::downsample, RedactionKind::first}) {
    Redaction redaction({rule_of(kind, "x")}, signature);
    const TensorView view{DType::uint8, {1, int64_t{1} << 62, 0, 1}, nullptr, 0};
    redaction.look_at(std::span(&view, 1), {});
    CHECK(copied(redaction, 0, view).empty());
  }
}

TEST_CASE("the signature of records has their dtypes, shapes and scales") {
  Signature signature{"main",
                      {{"image", DType::uint8, {1, 5, 7, 3}, {{0.5F}, {3}, 0}}, {"id", DType::int64, {2}, {}}},
                      {{"y", DType::int8, {1, 3}, {{1, 2, 3}, {4, 5, 6}, 1}}}};
  const Redaction redaction({rule_of(RedactionKind::downsample), rule_of(RedactionKind::hash, "id"),
                             rule_of(RedactionKind::first, "y"), rule_of(RedactionKind::drop, "absent")},
                            signature);
  const Signature recorded = redaction.recorded(signature);
  CHECK(recorded.inputs[0].shape == Shape{1, 3, 4, 3});
  CHECK(recorded.inputs[0].quantization.scales == std::vector<float>{0.5F});
  CHECK(recorded.inputs[1].dtype == DType::uint8);
  CHECK(recorded.inputs[1].shape == Shape{32});
  CHECK(recorded.outputs[0].shape == Shape{1, 2});
  CHECK(recorded.outputs[0].quantization.scales == std::vector<float>{1, 2});
  CHECK(recorded.outputs[0].quantization.zero_points == std::vector<int64_t>{4, 5});
  signature.inputs[1].quantization = {{1}, {0}, 0};
  CHECK(redaction.recorded(signature).inputs[1].quantization.scales.empty());
}

TEST_CASE("rules go together on one tensor, or are refused, whatever their order") {
  for (const RedactionKind kind : kAll) {
    for (const RedactionKind beside : kAll) {
      CAPTURE(static_cast<int>(kind));
      CAPTURE(static_cast<int>(beside));
      const auto make = [&] { const Redaction redaction({rule_of(kind), rule_of(beside)}, Run().signature()); };
      const bool go_together = is_of_image(kind) && is_of_image(beside) &&
                               !(kind == RedactionKind::downsample && beside == RedactionKind::downsample);
      if (go_together) {
        CHECK_NOTHROW(make());
      } else {
        check_refusal(Code::bad_input, {"redact", "\"image\"", "got two"}, make);
      }
    }
  }
}

TEST_CASE("a rule that does not fit its tensor is refused") {
  const auto refused = [](const std::vector<std::string_view>& words, RedactionKind kind, const std::string& tensor,
                          const std::function<void(RedactionRule&)>& change) {
    RedactionRule rule = rule_of(kind, tensor);
    change(rule);
    Signature signature = Run().signature();
    signature.inputs.push_back({"packed", DType::int4, {4, 4}, {}});
    check_refusal(Code::bad_input, words, [&] { const Redaction redaction({rule}, signature); });
  };
  const auto same = [](RedactionRule&) {};
  refused({"\"id\"", "layout", "[1]"}, RedactionKind::blank, "id", same);
  refused({"\"packed\"", "int4"}, RedactionKind::downsample, "packed", same);
  refused({"\"packed\"", "int4"}, RedactionKind::first, "packed", same);
  refused({"boxes", "\"nothing\""}, RedactionKind::keep_regions, "image",
          [](RedactionRule& rule) { rule.boxes.output = "nothing"; });
  for (const int64_t factor : {-2L, 0L, 1L})
    refused({"downsample of \"image\"", "factor", "got " + std::to_string(factor)}, RedactionKind::downsample, "image",
            [&](RedactionRule& rule) { rule.factor = factor; });
  refused({"first of \"image\"", "count", "got 0"}, RedactionKind::first, "image",
          [](RedactionRule& rule) { rule.count = 0; });
  for (const int64_t axis : {-5L, 4L, INT64_MIN, INT64_MAX})
    refused({"axis of [1, 5, 6, 3]"}, RedactionKind::first, "image", [&](RedactionRule& rule) { rule.axis = axis; });
  refused({"hash of \"id\"", "key"}, RedactionKind::hash, "id", [](RedactionRule& rule) { rule.key = nullptr; });
  RedactionRule other = rule_of(RedactionKind::blank);
  other.layout = "nchw";
  check_refusal(Code::bad_input, {"the layout nhwc", "got nchw"}, [&] {
    const Redaction redaction({rule_of(RedactionKind::downsample), other}, Run().signature());
  });
}

TEST_CASE("a rule holds for an input and an output of the same name") {
  const Signature signature{"main", {{"x", DType::uint8, {4}, {}}}, {{"x", DType::uint8, {4}, {}}}};
  const Redaction redaction({rule_of(RedactionKind::drop, "x")}, signature);
  CHECK(redaction.drops(RecordSide::input, 0));
  CHECK(redaction.drops(RecordSide::output, 0));
}

}  // namespace edgeward
