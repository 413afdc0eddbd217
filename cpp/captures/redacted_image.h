// RedactedImage: what a record holds of a tensor of images: pixels that boxes name are left out, or all others are, and
// what is left may be thinned. One thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "captures/boxes.h"
#include "captures/ring_copy.h"
#include "tensor/tensor.h"

namespace edgeward {

class RedactedImage {
 public:
  // `layout` names the axes: "hw", "hwc", "chw", "nhw", "nhwc" or "nchw" (images, height, width, channels). Empty: the
  // only one that has from 1 to 4 channels, or "hw". Throws Error(bad_input) when the tensor has other axes, when there
  // is no such layout or more than one, and for elements smaller than a byte.
  RedactedImage(const TensorSpec& spec, const std::string& layout);

  std::string_view layout() const { return layout_; }

  // Leaves out the pixels that the boxes name. `boxes` round outward.
  void leave_out(BoxReader boxes) { parts_.push_back({std::move(boxes), false, {}}); }
  // Leaves out the pixels that they do not name. `boxes` round inward.
  void keep(BoxReader boxes) { parts_.push_back({std::move(boxes), true, {}}); }
  // Keeps one pixel of each `factor` in each `factor`-th row.
  void thin(int64_t factor) { factor_ = factor; }
  int64_t factor() const { return factor_; }

  Shape recorded(Shape shape) const;

  // Reads the boxes that a run gave. What cannot be read leaves out the whole tensor. Throws std::bad_alloc.
  void look_at(const Shape& shape, std::span<const TensorView> outputs);
  // Of the run that was looked at; all of recorded(). `target` is aligned to 64 bytes.
  void copy(const TensorView& view, std::byte* target) noexcept;

 private:
  struct Part {
    BoxReader boxes;
    bool keeps;
    std::vector<Region> regions;  // of the run
  };
  // From `begin` to before `end`: pixels of a row, or rows.
  struct Span {
    int64_t begin;
    int64_t end;
  };
  int64_t extent(char axis, const Shape& shape) const;
  int64_t next_change(size_t image, int64_t row, int64_t height) const;
  void find_blanks(size_t image, int64_t row, int64_t width);
  size_t pixel_bytes(const TensorView& view) const;
  // Calls `body(first row's bytes, begin, end)` for rows of which the same pixels are blank, one image after the other.
  template <class Body>
  void each_band(const TensorView& view, const Body& body);
  void copy_whole(const TensorView& view, std::byte* target);
  void copy_thinned(const TensorView& view, std::byte* target);
  // `next_row` is the one that is copied after this one, if there is one.
  void thin_row(const std::byte* row, const std::byte* next_row, size_t pixel_bytes, int64_t width,
                RingCopy& copy) const;

  std::string_view layout_;
  std::vector<Part> parts_;
  int64_t factor_ = 1;
  bool is_blank_ = false;     // all of the run's
  std::vector<Span> blanks_;  // of the row at hand: ascending, apart; has room for all that there can be
};

}  // namespace edgeward
