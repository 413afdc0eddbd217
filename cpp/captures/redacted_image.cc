#include "captures/redacted_image.h"

#include <algorithm>
#include <array>

#include "captures/blanked_copy.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr std::array<std::string_view, 6> kLayouts{"hw", "hwc", "chw", "nhw", "nhwc", "nchw"};
constexpr int64_t kMaxGuessedChannels = 4;

// Whether nobody would take the tensor's axes for others.
bool suggests(const Shape& shape, std::string_view layout) {
  const size_t axis = layout.find('c');
  if (axis == std::string_view::npos) return layout == "hw";
  return shape[axis] >= 1 && shape[axis] <= kMaxGuessedChannels;
}

std::string_view layout_of(const TensorSpec& spec, const std::string& wanted) {
  const auto refuse = [&](const auto&... parts) {
    throw Error(Code::bad_input, "redact: image \"", spec.name, "\": expected ", parts...);
  };
  if (is_packed(spec.dtype)) refuse("elements of at least a byte, got ", name(spec.dtype));
  std::vector<std::string_view> fitting;
  for (const std::string_view layout : kLayouts) {
    if (layout.size() != spec.shape.rank()) continue;
    if (wanted.empty() ? suggests(spec.shape, layout) : layout == wanted) fitting.push_back(layout);
  }
  if (fitting.size() == 1) return fitting[0];
  std::string known;
  for (const std::string_view layout : kLayouts) known += (known.empty() ? "" : ", ") + std::string(layout);
  if (wanted.empty()) refuse("a layout (one of ", known, "), since ", text(spec.shape), " does not tell it, got none");
  if (std::find(kLayouts.begin(), kLayouts.end(), wanted) == kLayouts.end())
    refuse("a layout of ", known, ", got \"", wanted, "\"");
  refuse(wanted.size(), " dimensions for the layout ", wanted, ", got ", text(spec.shape));
  return {};
}

}  // namespace

RedactedImage::RedactedImage(const TensorSpec& spec, const std::string& layout) : layout_(layout_of(spec, layout)) {}

int64_t RedactedImage::extent(char axis, const Shape& shape) const {
  const size_t index = layout_.find(axis);
  return index == std::string_view::npos ? 1 : shape[index];
}

Shape RedactedImage::recorded(Shape shape) const {
  for (const char axis : {'h', 'w'}) {
    int64_t& dim = shape[layout_.find(axis)];
    if (dim > 0) dim = (dim - 1) / factor_ + 1;
  }
  return shape;
}

void RedactedImage::look_at(const Shape& shape, std::span<const TensorView> outputs) {
  const ImageExtent extent{static_cast<size_t>(this->extent('n', shape)), this->extent('h', shape),
                           this->extent('w', shape)};
  is_blank_ = false;
  size_t most_blanks = 0;
  for (Part& part : parts_) {
    if (!part.boxes.try_read(outputs, extent, part.regions)) is_blank_ = true;
    most_blanks += part.regions.size() + 1;
  }
  blanks_.reserve(most_blanks);
}

// The first row behind `row` in which other pixels are blank.
int64_t RedactedImage::next_change(size_t image, int64_t row, int64_t height) const {
  int64_t next = height;
  for (const Part& part : parts_) {
    for (const Region& region : part.regions) {
      if (region.image != image) continue;
      if (region.top > row) next = std::min(next, region.top);
      if (region.bottom > row) next = std::min(next, region.bottom);
    }
  }
  return next;
}

void RedactedImage::find_blanks(size_t image, int64_t row, int64_t width) {
  const auto by_begin = [](const Span& a, const Span& b) { return a.begin < b.begin; };
  blanks_.clear();
  for (const Part& part : parts_) {
    const size_t first = blanks_.size();
    for (const Region& region : part.regions) {
      if (region.image == image && region.top <= row && row < region.bottom)
        blanks_.push_back({region.left, region.right});
    }
    if (!part.keeps) continue;
    // Turn what is kept into what lies between.
    std::sort(blanks_.begin() + static_cast<std::ptrdiff_t>(first), blanks_.end(), by_begin);
    int64_t end = 0;
    for (size_t i = first; i < blanks_.size(); ++i) {
      const Span kept = blanks_[i];
      blanks_[i] = {end, std::max(end, kept.begin)};
      end = std::max(end, kept.end);
    }
    blanks_.push_back({end, width});
  }
  std::sort(blanks_.begin(), blanks_.end(), by_begin);
  // Unite those that touch, and leave out those that are empty.
  size_t count = 0;
  for (const Span& blank : blanks_) {
    if (blank.begin == blank.end) continue;
    if (count > 0 && blank.begin <= blanks_[count - 1].end) {
      blanks_[count - 1].end = std::max(blanks_[count - 1].end, blank.end);
    } else {
      blanks_[count++] = blank;
    }
  }
  blanks_.erase(blanks_.begin() + static_cast<std::ptrdiff_t>(count), blanks_.end());
}

size_t RedactedImage::pixel_bytes(const TensorView& view) const {
  const bool is_planar = layout_.find('c') < layout_.find('h');
  return bits(view.dtype) / 8 * (is_planar ? 1 : static_cast<size_t>(extent('c', view.shape)));
}

template <class Body>
void RedactedImage::each_band(const TensorView& view, const Body& body) {
  const int64_t height = extent('h', view.shape);
  const int64_t width = extent('w', view.shape);
  const size_t row_bytes = static_cast<size_t>(width) * pixel_bytes(view);
  const bool is_planar = layout_.find('c') < layout_.find('h');
  const size_t planes = is_planar ? static_cast<size_t>(extent('c', view.shape)) : 1;
  const std::byte* row = view.data;
  for (size_t plane = 0; plane < planes * static_cast<size_t>(extent('n', view.shape)); ++plane) {
    const size_t image = plane / planes;
    for (int64_t begin = 0, end = 0; begin < height; begin = end) {
      end = next_change(image, begin, height);
      find_blanks(image, begin, width);
      body(row, begin, end);
      row += static_cast<size_t>(end - begin) * row_bytes;
    }
  }
}

void RedactedImage::copy_whole(const TensorView& view, std::byte* target) {
  BlankedCopy copy(view.data, target, view.size_bytes);
  const size_t pixel_bytes = this->pixel_bytes(view);
  const auto width = static_cast<size_t>(extent('w', view.shape));
  each_band(view, [&](const std::byte*, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      size_t pixel = 0;
      for (const Span& blank : blanks_) {
        copy.keep((static_cast<size_t>(blank.begin) - pixel) * pixel_bytes);
        copy.blank(static_cast<size_t>(blank.end - blank.begin) * pixel_bytes);
        pixel = static_cast<size_t>(blank.end);
      }
      copy.keep((width - pixel) * pixel_bytes);
    }
  });
}

void RedactedImage::thin_row(const std::byte* row, const std::byte* next_row, size_t pixel_bytes, int64_t width,
                             RingCopy& copy) const {
  const auto step = static_cast<size_t>(factor_);
  // How many pixels that are kept when thinned begin before `pixel`.
  const auto index = [&](int64_t pixel) { return static_cast<size_t>((pixel + factor_ - 1) / factor_); };
  const auto keep = [&](int64_t begin, int64_t end) {
    const size_t first = index(begin);
    const size_t count = index(end) - first;
    const size_t offset = first * step * pixel_bytes;
    RingCopy::announce(next_row + offset, count * step * pixel_bytes);
    copy.copy_every(step, row + offset, pixel_bytes, count);
  };
  int64_t end = 0;
  for (const Span& blank : blanks_) {
    keep(end, blank.begin);
    copy.blank((index(blank.end) - index(blank.begin)) * pixel_bytes);
    end = blank.end;
  }
  keep(end, width);
}

void RedactedImage::copy_thinned(const TensorView& view, std::byte* target) {
  RingCopy copy(target, *size_bytes(view.dtype, recorded(view.shape)));
  const size_t pixel_bytes = this->pixel_bytes(view);
  const int64_t width = extent('w', view.shape);
  const size_t row_bytes = static_cast<size_t>(width) * pixel_bytes;
  each_band(view, [&](const std::byte* first, int64_t begin, int64_t end) {
    for (int64_t row = (begin + factor_ - 1) / factor_ * factor_; row < end; row += factor_) {
      const std::byte* kept = first + static_cast<size_t>(row - begin) * row_bytes;
      const bool is_last = end - row <= factor_;
      thin_row(kept, is_last ? kept : kept + static_cast<size_t>(factor_) * row_bytes, pixel_bytes, width, copy);
    }
  });
}

void RedactedImage::copy(const TensorView& view, std::byte* target) noexcept {
  if (is_blank_) {
    const size_t bytes = *size_bytes(view.dtype, recorded(view.shape));
    RingCopy(target, bytes).blank(bytes);
  } else if (factor_ == 1) {
    copy_whole(view, target);
  } else {
    copy_thinned(view, target);
  }
}

}  // namespace edgeward
