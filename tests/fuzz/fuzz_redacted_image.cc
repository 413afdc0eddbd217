// libFuzzer: the outputs of a detector that gives anything at all, and an image that its boxes are left out of:
//
//   1 byte   the layout
//   4        images, height, width, channels
//   1        bit 0, the boxes are kept instead; bit 1, they are normalised; bits 2 and 3, the factor; bits 4 and 5, the
//            dimensions of the boxes; bit 6, there are scores and a count
//   1        n, how many floats the boxes have
//   4 n      boxes, then scores and counts from the same bytes
//   ...      image, as far as it goes, then ones
//
// Each byte that is copied is that of its pixel, or zero; nothing else is read or written. Without boxes that can be
// read, all is zero. How to build and run: .ci/run, lane fuzz.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "captures/redacted_image.h"

using namespace edgeward;

namespace {

constexpr const char* kLayouts[] = {"hw", "hwc", "chw", "nhw", "nhwc", "nchw"};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  void read(void* target, size_t size_bytes) {
    const size_t count = std::min(size_bytes, size_);
    if (count > 0) std::memcpy(target, data_, count);
    data_ += count;
    size_ -= count;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

Shape shape_of(const std::string& layout, Input& input) {
  const int64_t images = input.byte() % 4;
  // The largest bypass the caches.
  const int64_t height = input.byte() % 80;
  const int64_t width = input.byte() % 80;
  const int64_t channels = input.byte() % 6;
  std::vector<int64_t> dims;
  for (const char axis : layout)
    dims.push_back(axis == 'n' ? images : axis == 'h' ? height : axis == 'w' ? width : channels);
  return Shape(dims);
}

Shape boxes_shape(int rank, int64_t image_count, int64_t count) {
  if (rank == 2) return {count, 4};
  if (rank == 3) return {image_count, image_count == 0 ? 0 : count / image_count, 4};
  return {image_count, image_count == 0 ? 0 : count / image_count, 1, 4};
}

// Whether `copied` holds pixels of `source`, thinned, or zeros.
bool is_of(const std::vector<std::byte>& copied, const std::vector<std::byte>& source, const std::string& layout,
           const Shape& shape, int64_t factor) {
  size_t next = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    bool is_kept = true;
    size_t rest = i;
    for (size_t axis = shape.rank(); axis-- > 0; rest /= static_cast<size_t>(shape[axis])) {
      const auto index = static_cast<int64_t>(rest % static_cast<size_t>(shape[axis]));
      if ((layout[axis] == 'h' || layout[axis] == 'w') && index % factor != 0) is_kept = false;
    }
    if (!is_kept) continue;
    if (copied[next] != source[i] && copied[next] != std::byte{0}) return false;
    ++next;
  }
  return next == copied.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const std::string layout = kLayouts[input.byte() % 6];
  const Shape shape = shape_of(layout, input);
  const uint8_t bits = input.byte();
  const int64_t factor = 1 + ((bits >> 2) & 3);
  std::vector<float> values(input.byte());
  input.read(values.data(), values.size() * sizeof(float));
  const auto image_count = layout[0] == 'n' ? shape[0] : 1;
  const Shape boxed = boxes_shape(2 + ((bits >> 4) & 3) % 3, image_count, static_cast<int64_t>(values.size() / 4));
  const auto view = [&](const Shape& of) {
    return TensorView{DType::float32, of, reinterpret_cast<std::byte*>(values.data()), *size_bytes(DType::float32, of)};
  };
  const Shape scored{static_cast<int64_t>(*size_bytes(DType::uint8, boxed) / 4)};
  const std::vector<TensorView> outputs{view(boxed), view(scored),
                                        view({std::min(image_count, static_cast<int64_t>(values.size()))})};
  Boxes boxes{.output = "boxes", .unit = (bits & 2) != 0 ? BoxUnit::normalised : BoxUnit::pixels};
  if ((bits & 64) != 0) {
    boxes.scores = "scores";
    boxes.count = "count";
  }
  const Signature signature{"main",
                            {},
                            {{"boxes", DType::float32, {-1, 4}, {}},
                             {"scores", DType::float32, {-1}, {}},
                             {"count", DType::float32, {-1}, {}}}};
  RedactedImage image({"image", DType::uint8, shape, {}}, layout);
  const bool keeps = (bits & 1) != 0;
  BoxReader reader(boxes, keeps ? BoxRounding::inward : BoxRounding::outward, signature);
  std::vector<Region> regions;
  const bool is_readable = reader.try_read(outputs, {static_cast<size_t>(image_count), 300, 300}, regions);
  keeps ? image.keep(reader) : image.leave_out(reader);
  if (factor > 1) image.thin(factor);
  std::vector<std::byte> source(*size_bytes(DType::uint8, shape), std::byte{1});
  input.read(source.data(), source.size());
  std::vector<std::byte> copied(*size_bytes(DType::uint8, image.recorded(shape)), std::byte{2});
  image.look_at(shape, outputs);
  if (copied.empty()) return 0;
  image.copy({DType::uint8, shape, source.data(), source.size()}, copied.data());
  if (!is_of(copied, source, layout, shape, factor)) abort();
  const bool is_zero = std::all_of(copied.begin(), copied.end(), [](std::byte byte) { return byte == std::byte{0}; });
  if (!is_readable && !is_zero) abort();
  return 0;
}
