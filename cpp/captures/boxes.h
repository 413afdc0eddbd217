// Boxes: which pixels of an image the outputs of a detector name. What they hold is a model's and may be anything:
// boxes that cannot be read are told apart from boxes that name nothing. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/signature.h"
#include "tensor/tensor.h"

namespace edgeward {

// More boxes than this in one image count as unreadable: so the cost of a record has a limit.
inline constexpr size_t kMaxBoxes = 1024;

enum class BoxOrder : uint8_t {
  xyxy,  // left, top, right, bottom
  yxyx,  // top, left, bottom, right
};

enum class BoxUnit : uint8_t {
  pixels,      // of the image as the model sees it
  normalised,  // 0 to 1 is the image
};

enum class BoxRounding : uint8_t {
  outward,  // a pixel that a box touches is in it
  inward,   // only a pixel that is in it whole
};

// Where boxes are and which of them count. Quantised outputs are read as the reals that they stand for.
struct Boxes {
  std::string output = {};  // of shape [4], after one to three dimensions that count boxes
  BoxOrder order = BoxOrder::xyxy;
  BoxUnit unit = BoxUnit::pixels;
  double margin = 0;                // added on each side, in parts of the box's width and height
  std::string scores = {};          // the output with the score of each box; empty: all count
  double least = 0;                 // a box with a lower score does not count
  std::string classes = {};         // the output with the class of each box; empty: all count
  std::vector<int64_t> among = {};  // those that count
  std::string count = {};           // the output with the number of boxes in each image; empty: as many as there are
};

struct ImageExtent {
  size_t count;  // of images in the tensor
  int64_t height;
  int64_t width;
};

// Pixels from top to before bottom and from left to before right; within the image, perhaps none.
struct Region {
  size_t image;
  int64_t top;
  int64_t left;
  int64_t bottom;
  int64_t right;
};

class BoxReader {
 public:
  // Throws Error(bad_input) for an output that the signature lacks or whose dtype or shape cannot be what it is for.
  BoxReader(const Boxes& boxes, BoxRounding rounding, const Signature& signature);

  // Sets `regions` to those of the boxes that count. False when a box, score, class or count cannot be read: it is NaN,
  // infinite or negative where it must not be, a box ends before it begins, boxes do not belong to one image each,
  // there are more than kMaxBoxes in one image, or there are no outputs. Throws std::bad_alloc.
  bool try_read(std::span<const TensorView> outputs, const ImageExtent& extent, std::vector<Region>& regions);

 private:
  // One output, by its index; its values as numbers.
  struct Column {
    size_t index;
    std::vector<double> values;
    void read(std::span<const TensorView> outputs, const std::vector<TensorSpec>& specs);
  };
  // Nothing when it cannot be read.
  std::optional<bool> counts(size_t box) const;
  std::optional<Region> region_of(size_t box, size_t image, const ImageExtent& extent) const;

  Boxes boxes_;
  BoxRounding rounding_;
  std::vector<TensorSpec> specs_;  // of all outputs
  Column corners_;
  std::optional<Column> scores_;
  std::optional<Column> classes_;
  std::optional<Column> count_;
};

}  // namespace edgeward
