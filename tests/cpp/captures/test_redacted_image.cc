#include "captures/redacted_image.h"

#include <doctest/doctest.h>

#include <limits>

#include "rigs/detector.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

// In pixels.
struct Box {
  float left, top, right, bottom;
  bool touches(int64_t x, int64_t y) const {
    return static_cast<float>(x + 1) > left && static_cast<float>(x)<right&& static_cast<float>(y + 1)> top &&
           static_cast<float>(y) < bottom;
  }
  bool holds(int64_t x, int64_t y) const {
    return static_cast<float>(x) >= left && static_cast<float>(x + 1) <= right && static_cast<float>(y) >= top &&
           static_cast<float>(y + 1) <= bottom;
  }
};

struct Rule {
  bool keeps;
  std::vector<std::vector<Box>> boxes;  // by image; as many in each
};

struct Case {
  std::string layout;
  DType dtype;
  int64_t images, height, width, channels;
  std::vector<Rule> rules;
  int64_t factor;

  Shape shape() const {
    std::vector<int64_t> dims;
    for (const char axis : layout)
      dims.push_back(axis == 'n' ? images : axis == 'h' ? height : axis == 'w' ? width : channels);
    return Shape(dims);
  }
  bool is_blank(size_t image, int64_t x, int64_t y) const {
    return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) {
      const auto& boxes = rule.boxes[image];
      return rule.keeps ? std::none_of(boxes.begin(), boxes.end(), [&](const Box& box) { return box.holds(x, y); })
                        : std::any_of(boxes.begin(), boxes.end(), [&](const Box& box) { return box.touches(x, y); });
    });
  }
  // Pixel by pixel, as the words say it.
  Octets expected(const Octets& source) const {
    const size_t bytes = bits(dtype) / 8;
    const bool is_planar = layout.find('c') < layout.find('h');
    Octets kept;
    size_t offset = 0;
    const auto put = [&](int64_t image, int64_t y, int64_t x) {
      for (size_t i = 0; i < bytes; ++i, ++offset) {
        if (y % factor == 0 && x % factor == 0)
          kept.push_back(is_blank(static_cast<size_t>(image), x, y) ? std::byte{0} : source[offset]);
      }
    };
    for (int64_t image = 0; image < images; ++image) {
      for (int64_t plane = 0; plane < (is_planar ? channels : 1); ++plane)
        for (int64_t y = 0; y < height; ++y)
          for (int64_t x = 0; x < width; ++x)
            for (int64_t channel = 0; channel < (is_planar ? 1 : channels); ++channel) put(image, y, x);
    }
    return kept;
  }
};

BoxReader reader_of(const Rule& rule, Detector& detector) {
  return {{.output = "boxes"}, rule.keeps ? BoxRounding::inward : BoxRounding::outward, detector.signature()};
}

// All that the image keeps. Each rule's boxes are in an output of its own.
Octets copied(const Case& test, const Octets& source) {
  RedactedImage image({"image", test.dtype, test.shape(), {}}, test.layout);
  Signature signature{"main", {}, {}};
  std::vector<std::vector<float>> corners(test.rules.size());
  std::vector<TensorView> outputs;
  for (size_t i = 0; i < test.rules.size(); ++i) {
    const auto& boxes = test.rules[i].boxes;
    const Shape shape{static_cast<int64_t>(boxes.size()), static_cast<int64_t>(boxes[0].size()), 4};
    for (const auto& of_image : boxes)
      for (const Box& box : of_image) corners[i].insert(corners[i].end(), {box.left, box.top, box.right, box.bottom});
    signature.outputs.push_back({"boxes" + std::to_string(i), DType::float32, shape, {}});
    outputs.push_back(
        {DType::float32, shape, reinterpret_cast<std::byte*>(corners[i].data()), corners[i].size() * sizeof(float)});
  }
  for (size_t i = 0; i < test.rules.size(); ++i) {
    const Boxes boxes{.output = "boxes" + std::to_string(i)};
    if (test.rules[i].keeps) {
      image.keep(BoxReader(boxes, BoxRounding::inward, signature));
    } else {
      image.leave_out(BoxReader(boxes, BoxRounding::outward, signature));
    }
  }
  if (test.factor > 1) image.thin(test.factor);
  Octets memory(source);
  const TensorView view{test.dtype, test.shape(), memory.data(), memory.size()};
  image.look_at(view.shape, outputs);
  Octets target(*size_bytes(test.dtype, image.recorded(view.shape)), std::byte{0xAA});
  image.copy(view, target.data());
  return target;
}

Case random_case(std::mt19937_64& random) {
  const auto below = [&](uint64_t limit) { return static_cast<int64_t>(random() % limit); };
  constexpr const char* kLayouts[] = {"hw", "hwc", "chw", "nhw", "nhwc", "nchw"};
  constexpr DType kDTypes[] = {DType::uint8, DType::float16, DType::float32, DType::complex64};
  Case test{kLayouts[below(6)], kDTypes[below(4)], 1, 1 + below(40), 1 + below(40), 1, {}, 1 + below(4)};
  if (test.layout.find('c') != std::string::npos) test.channels = 1 + below(5);
  if (test.layout.find('n') != std::string::npos) test.images = 1 + below(3);
  const auto corner = [&] { return static_cast<float>(below(4 * 60)) / 4 - 10; };
  for (int64_t rules = below(4); rules > 0; --rules) {
    Rule rule{random() % 2 == 0, {}};
    const int64_t count = below(6);
    for (int64_t image = 0; image < test.images; ++image) {
      rule.boxes.emplace_back();
      for (int64_t i = 0; i < count; ++i) {
        const Box box{corner(), corner(), corner(), corner()};
        // Each box has an area: whether an empty one touches a pixel is no matter.
        rule.boxes.back().push_back({std::min(box.left, box.right), std::min(box.top, box.bottom),
                                     std::max(box.left, box.right) + 0.25F, std::max(box.top, box.bottom) + 0.25F});
      }
    }
    test.rules.push_back(rule);
  }
  return test;
}

RedactedImage image_of(const Shape& shape, const std::string& layout = "") {
  return {{"image", DType::uint8, shape, {}}, layout};
}

}  // namespace

TEST_CASE("each pixel is kept or blank as the boxes say, in every layout, with several rules, thinned or not") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    CAPTURE(i);
    const Case test = random_case(random);
    const Octets source = random_octets(random, *size_bytes(test.dtype, test.shape()));
    REQUIRE(copied(test, source) == test.expected(source));
  }
}

TEST_CASE("a large image, whose copy bypasses the caches, is the same") {
  std::mt19937_64 random(8);
  for (const char* layout : {"nhwc", "nchw"}) {
    const Box box{100.5F, 17, 401, 300};
    const Box other{350, 250, 5000, 5000};
    const Case test{layout, DType::uint8, 1, 333, 517, 3, {{false, {{box, other}}}}, 1};
    const Octets source = random_octets(random, *size_bytes(test.dtype, test.shape()));
    CHECK(copied(test, source) == test.expected(source));
  }
}

TEST_CASE("boxes that cannot be read leave out all, in every kind of rule and with another that can be read") {
  for (const bool keeps : {false, true}) {
    Detector detector({1, 1, 2, std::numeric_limits<float>::quiet_NaN()});
    RedactedImage image = image_of({1, 9, 7, 3});
    const Rule rule{keeps, {}};
    if (keeps) {
      image.keep(reader_of(rule, detector));
    } else {
      image.leave_out(reader_of(rule, detector));
    }
    image.leave_out(BoxReader({.output = "boxes", .count = "count"}, BoxRounding::outward, detector.signature()));
    detector.count = {0};
    Octets source(9 * 7 * 3, std::byte{1});
    const TensorView view{DType::uint8, {1, 9, 7, 3}, source.data(), source.size()};
    for (const auto& outputs : {detector.outputs(), std::vector<TensorView>()}) {
      Octets target(source.size(), std::byte{2});
      image.look_at(view.shape, outputs);
      image.copy(view, target.data());
      CHECK(is_zero(target));
    }
  }
}

TEST_CASE("a run is told apart from the run before") {
  Detector unreadable({5, 1, 2, 2});
  Detector readable({0, 0, 1, 1});
  RedactedImage image = image_of({1, 2, 2, 1}, "nhwc");
  image.leave_out(BoxReader({.output = "boxes"}, BoxRounding::outward, readable.signature()));
  Octets source(4, std::byte{1});
  const TensorView view{DType::uint8, {1, 2, 2, 1}, source.data(), source.size()};
  const auto copied_with = [&](Detector& detector) {
    Octets target(4);
    image.look_at(view.shape, detector.outputs());
    image.copy(view, target.data());
    return target;
  };
  CHECK(copied_with(readable) == from_hex("00010101"));
  CHECK(copied_with(unreadable) == from_hex("00000000"));
  CHECK(copied_with(readable) == from_hex("00010101"));
}

TEST_CASE("the layout is the one that the shape can have, or the one that is asked for") {
  struct Row {
    Shape shape;
    const char* layout;
  };
  for (const Row& row : {Row{{8, 9}, "hw"}, Row{{8, 9, 3}, "hwc"}, Row{{1, 8, 9}, "chw"}, Row{{1, 8, 9, 4}, "nhwc"},
                         Row{{1, 3, 8, 9}, "nchw"}, Row{{-1, -1, -1, 3}, "nhwc"}, Row{{-1, 1, -1, -1}, "nchw"}}) {
    CAPTURE(row.layout);
    CHECK(image_of(row.shape).layout() == row.layout);
    CHECK(image_of(row.shape, row.layout).layout() == row.layout);
  }
  CHECK(image_of({3, 8, 3}, "hwc").layout() == "hwc");
  CHECK(image_of({8, 9, 10}, "nhw").layout() == "nhw");
  CHECK(image_of({1, 3, 9, 3}, "nchw").layout() == "nchw");
}

TEST_CASE("a tensor that is no image, or might be several, is refused") {
  for (const Shape& shape :
       {Shape{}, Shape{7}, Shape{3, 8, 3}, Shape{8, 9, 10}, Shape{1, 3, 8, 3}, Shape{-1, -1, -1}, Shape{1, 1, 8, 8, 3}})
    check_refusal(Code::bad_input, {"\"image\"", "layout", text(shape)}, [&] { image_of(shape); });
  check_refusal(Code::bad_input, {"nhwc", "got \"whc\""}, [] { image_of({8, 9, 3}, "whc"); });
  check_refusal(Code::bad_input, {"4 dimensions", "nhwc", "[8, 9, 3]"}, [] { image_of({8, 9, 3}, "nhwc"); });
  check_refusal(Code::bad_input, {"at least a byte", "int4"}, [] {
    RedactedImage({"image", DType::int4, {8, 9}, {}}, "");
  });
}

TEST_CASE("a thinned image has a pixel for each factor that begins, and stays empty or open where it is") {
  RedactedImage image = image_of({1, -1, -1, 3});
  image.thin(4);
  CHECK(image.recorded({1, 8, 9, 3}) == Shape{1, 2, 3, 3});
  CHECK(image.recorded({2, 1, 0, 3}) == Shape{2, 1, 0, 3});
  CHECK(image.recorded({1, -1, -1, 3}) == Shape{1, -1, -1, 3});
}

}  // namespace edgeward
