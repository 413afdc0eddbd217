#include "captures/boxes.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "rigs/detector.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr ImageExtent kImage{1, 20, 10};  // 20 high, 10 wide

using Edges = std::array<int64_t, 5>;  // image, top, left, bottom, right
using Change = std::function<void(Boxes&)>;

// What is read of the detector's outputs; nothing when it cannot be.
std::optional<std::vector<Edges>> read(Detector detector, const Change& change = nullptr,
                                       const ImageExtent& extent = kImage,
                                       BoxRounding rounding = BoxRounding::outward) {
  Boxes boxes{.output = "boxes"};
  if (change != nullptr) change(boxes);
  BoxReader reader(boxes, rounding, detector.signature());
  std::vector<Region> regions{{7, 7, 7, 7, 7}};
  if (!reader.try_read(detector.outputs(), extent, regions)) return std::nullopt;
  std::vector<Edges> all;
  for (const Region& region : regions)
    all.push_back({static_cast<int64_t>(region.image), region.top, region.left, region.bottom, region.right});
  return all;
}

using Regions = std::vector<Edges>;

}  // namespace

TEST_CASE("a box is the pixels that it touches, or those that are in it whole") {
  const Detector detector({2.5F, 3.25F, 6.75F, 12.0F});
  CHECK(read(detector) == Regions{{0, 3, 2, 12, 7}});
  CHECK(read(detector, nullptr, kImage, BoxRounding::inward) == Regions{{0, 4, 3, 12, 6}});
  CHECK(read(detector, [](Boxes& boxes) { boxes.order = BoxOrder::yxyx; }) == Regions{{0, 2, 3, 7, 10}});
}

TEST_CASE("a normalised box counts in parts of the image") {
  const auto change = [](Boxes& boxes) {
    boxes.order = BoxOrder::yxyx;
    boxes.unit = BoxUnit::normalised;
  };
  CHECK(read(Detector({0.25F, 0.5F, 0.5F, 1.0F}), change) == Regions{{0, 5, 5, 10, 10}});
}

TEST_CASE("a margin is added on each side, as far as the image goes") {
  const auto change = [](Boxes& boxes) { boxes.margin = 0.5; };
  CHECK(read(Detector({2, 6, 6, 14}), change) == Regions{{0, 2, 0, 18, 8}});
  CHECK(read(Detector({0, 0, 4, 18}), change) == Regions{{0, 0, 0, 20, 6}});
}

TEST_CASE("a box out of range is clipped, and names nothing when it lies outside or is empty") {
  CHECK(read(Detector({-5, -1e30F, 1e30F, 4})) == Regions{{0, 0, 0, 4, 10}});
  CHECK(read(Detector({20, 0, 30, 4})) == Regions{});
  CHECK(read(Detector({-9, 0, -1, 4})) == Regions{});
  CHECK(read(Detector({0, 0, 0, 0})) == Regions{});
  CHECK(read(Detector({2.2F, 2.2F, 2.8F, 2.8F}), nullptr, kImage, BoxRounding::inward) == Regions{});
  CHECK(read(Detector(std::vector<float>())) == Regions{});
}

TEST_CASE("a box that is NaN, infinite or inverted cannot be read, and no box beside it either") {
  for (const float bad : {kNaN, kInfinity, -kInfinity}) {
    for (size_t corner = 0; corner < 4; ++corner) {
      std::vector<float> boxes{1, 1, 2, 2, 3, 3, 4, 4};
      boxes[4 + corner] = bad;
      CHECK_FALSE(read(Detector(boxes)));
    }
  }
  CHECK_FALSE(read(Detector({6, 1, 5, 2})));
  CHECK_FALSE(read(Detector({1, 6, 2, 5})));
}

TEST_CASE("a score below the least does not count, whatever the box; one that is NaN cannot be read") {
  const auto change = [](Boxes& boxes) {
    boxes.scores = "scores";
    boxes.least = 0.5;
  };
  Detector detector({1, 1, 2, 2, kNaN, 3, 4, 4, 5, 5, 6, 6});
  detector.scores = {0.5F, 0.49F, kInfinity};
  CHECK(read(detector, change) == Regions{{0, 1, 1, 2, 2}, {0, 5, 5, 6, 6}});
  detector.scores[1] = kNaN;
  CHECK_FALSE(read(detector, change));
  detector.scores = {1, 1};
  CHECK_FALSE(read(detector, change));
}

TEST_CASE("a class that is not asked for does not count; one that is no whole number cannot be read") {
  const auto change = [](Boxes& boxes) {
    boxes.classes = "classes";
    boxes.among = {3, 5};
  };
  Detector detector({1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6});
  detector.classes = {5, 4, 3};
  CHECK(read(detector, change) == Regions{{0, 1, 1, 2, 2}, {0, 5, 5, 6, 6}});
  for (const float bad : {kNaN, kInfinity, 3.5F}) {
    detector.classes[1] = bad;
    CHECK_FALSE(read(detector, change));
  }
}

TEST_CASE("boxes behind the count do not count, and all do when it is larger; NaN or less than 0 cannot be read") {
  const auto change = [](Boxes& boxes) { boxes.count = "count"; };
  Detector detector({1, 1, 2, 2, kNaN, kNaN, kNaN, kNaN});
  const auto with = [&](std::vector<float> count) {
    detector.count = std::move(count);
    return read(detector, change);
  };
  CHECK(with({0}) == Regions{});
  CHECK(with({1}) == Regions{{0, 1, 1, 2, 2}});
  CHECK_FALSE(with({1.1F}));  // the second is NaN
  CHECK_FALSE(with({kInfinity}));
  CHECK_FALSE(with({kNaN}));
  CHECK_FALSE(with({-1}));
  CHECK_FALSE(with({}));
  CHECK_FALSE(with({1, 1}));
}

TEST_CASE("boxes have 2 to 4 dimensions, and each of several images has its own") {
  const std::vector<float> two{1, 1, 2, 2, 3, 3, 4, 4};
  const Regions both{{0, 1, 1, 2, 2}, {0, 3, 3, 4, 4}};
  const Regions each{{0, 1, 1, 2, 2}, {1, 3, 3, 4, 4}};
  const ImageExtent pair{2, 20, 10};
  for (const Shape& shape : {Shape{2, 4}, Shape{1, 2, 4}, Shape{2, 1, 4}, Shape{1, 1, 2, 4}, Shape{2, 1, 1, 4}})
    CHECK(read(Detector(shape, two)) == both);
  CHECK(read(Detector({2, 1, 4}, two), nullptr, pair) == each);
  CHECK(read(Detector({2, 1, 1, 4}, two), nullptr, pair) == each);
  for (const Shape& shape : {Shape{2, 4}, Shape{1, 2, 4}, Shape{1, 2, 1, 4}})
    CHECK_FALSE(read(Detector(shape, two), nullptr, pair));
  Detector counted({2, 2, 4}, {1, 1, 2, 2, kNaN, 0, 0, 0, 3, 3, 4, 4, 5, 5, 6, 6});
  counted.count = {1, 2};
  const auto change = [](Boxes& boxes) { boxes.count = "count"; };
  CHECK(read(counted, change, pair) == Regions{{0, 1, 1, 2, 2}, {1, 3, 3, 4, 4}, {1, 5, 5, 6, 6}});
  CHECK_FALSE(read(Detector(two), nullptr, {0, 20, 10}));
}

TEST_CASE("what an engine gives in spite of its signature cannot be read") {
  Detector detector({1, 1, 2, 2});
  BoxReader reader({.output = "boxes"}, BoxRounding::outward, detector.signature());
  std::vector<Region> regions;
  CHECK_FALSE(reader.try_read({}, kImage, regions));
  for (const Shape& shape : {Shape{4}, Shape{1, 4, 1}, Shape{2, 2}, Shape{}}) {
    auto outputs = detector.outputs();
    outputs[0].shape = shape;
    CHECK_FALSE(reader.try_read(outputs, kImage, regions));
  }
}

TEST_CASE("more boxes than the limit cannot be read, in one image; those that do not count are no matter") {
  const auto change = [](Boxes& boxes) {
    boxes.scores = "scores";
    boxes.least = 0.5;
  };
  const auto with = [&](size_t count, size_t image_count) {
    std::vector<float> corners;
    for (size_t i = 0; i < 2 * count * image_count; ++i) corners.insert(corners.end(), {1, 1, 2, 2});
    Detector detector({static_cast<int64_t>(image_count), static_cast<int64_t>(2 * count), 4}, corners);
    for (size_t i = 0; i < 2 * count * image_count; ++i) detector.scores.push_back(i % 2 == 0 ? 1.0F : 0.0F);
    return read(detector, change, {image_count, 20, 10});
  };
  CHECK(with(kMaxBoxes, 1)->size() == kMaxBoxes);
  CHECK(with(kMaxBoxes, 2)->size() == 2 * kMaxBoxes);
  CHECK_FALSE(with(kMaxBoxes + 1, 1));
}

TEST_CASE("a quantised output is read as the reals that it stands for") {
  Signature signature{"main", {}, {{"boxes", DType::int8, {1, 4}, {{0.5F}, {-10}, 0}}}};
  std::array<int8_t, 4> stored{-8, -6, -2, 10};  // 1, 2, 4, 10
  const TensorView view{DType::int8, {1, 4}, reinterpret_cast<std::byte*>(stored.data()), 4};
  BoxReader reader({.output = "boxes"}, BoxRounding::outward, signature);
  std::vector<Region> regions;
  REQUIRE(reader.try_read(std::span(&view, 1), kImage, regions));
  REQUIRE(regions.size() == 1);
  CHECK(regions[0].left == 1);
  CHECK(regions[0].top == 2);
  CHECK(regions[0].right == 4);
  CHECK(regions[0].bottom == 10);
}

TEST_CASE("outputs that cannot be boxes, scores, classes or a count are refused") {
  const auto make = [](const Change& change, const Shape& shape = {1, 3, 4}, DType dtype = DType::float32,
                       const Quantization& quantization = {}) {
    const Signature signature{"main",
                              {{"image", DType::uint8, {1, 8, 8, 3}, {}}},
                              {{"boxes", dtype, shape, quantization},
                               {"scores", DType::float32, {1, 2}, {}},
                               {"c", DType::complex64, {3}, {}}}};
    Boxes boxes{.output = "boxes"};
    change(boxes);
    const BoxReader reader(boxes, BoxRounding::outward, signature);
  };
  const auto refused = [&](const std::vector<std::string_view>& words, const Change& change) {
    check_refusal(Code::bad_input, words, [&] { make(change); });
  };
  refused({"boxes", "\"scores\"", "got \"image\""}, [](Boxes& boxes) { boxes.output = "image"; });
  refused({"\"c\"", "real numbers", "complex64"}, [](Boxes& boxes) { boxes.scores = "c"; });
  refused({"\"scores\"", "3 boxes", "[1, 2]"}, [](Boxes& boxes) { boxes.scores = "scores"; });
  refused({"classes and among"}, [](Boxes& boxes) { boxes.among = {1}; });
  refused({"classes and among"}, [](Boxes& boxes) { boxes.classes = "scores"; });
  refused({"count", "got \"n\""}, [](Boxes& boxes) { boxes.count = "n"; });
  refused({"least", "NaN"}, [](Boxes& boxes) { boxes.least = std::nan(""); });
  for (const double margin : {-0.1, std::nan(""), HUGE_VAL})
    refused({"margin"}, [&](Boxes& boxes) { boxes.margin = margin; });
  const auto nothing = [](Boxes&) {};
  for (const Shape& shape : {Shape{4}, Shape{}, Shape{1, 3, 5}, Shape{4, 3}, Shape{1, 1, 1, 1, 4}})
    check_refusal(Code::bad_input, {"\"boxes\"", "2 to 4 dimensions", text(shape)}, [&] { make(nothing, shape); });
  check_refusal(Code::bad_input, {"one scale", "got 2"}, [&] {
    make(nothing, {1, 3, 4}, DType::int8, {{1, 2}, {0, 0}, 1});
  });
  for (const Shape& shape : {Shape{-1, 4}, Shape{-1, -1, -1}, Shape{1, 1, 3, 4}}) make(nothing, shape);
}

}  // namespace edgeward
