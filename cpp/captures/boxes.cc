#include "captures/boxes.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "tensor/element.h"

namespace edgeward {
namespace {

// The index of an output that holds numbers.
size_t number_output(const std::string& name, const char* role, const Signature& signature) {
  const auto refuse = [&](const auto&... parts) { throw Error(Code::bad_input, "redact: ", role, ": ", parts...); };
  const auto spec = std::find_if(signature.outputs.begin(), signature.outputs.end(),
                                 [&](const TensorSpec& output) { return output.name == name; });
  if (spec == signature.outputs.end()) {
    std::string known;
    for (const TensorSpec& output : signature.outputs) known += (known.empty() ? "\"" : ", \"") + output.name + "\"";
    refuse("expected one of the outputs ", known.empty() ? "(there is none)" : known, ", got \"", name, "\"");
  }
  if (!has_elements(spec->dtype))
    refuse("output \"", name, "\": expected real numbers, got ", edgeward::name(spec->dtype));
  if (spec->quantization.scales.size() > 1)
    refuse("output \"", name, "\": expected one scale, got ", spec->quantization.scales.size());
  return static_cast<size_t>(spec - signature.outputs.begin());
}

}  // namespace

BoxReader::BoxReader(const Boxes& boxes, BoxRounding rounding, const Signature& signature)
    : boxes_(boxes), rounding_(rounding),
      specs_(signature.outputs), corners_{number_output(boxes.output, "boxes", signature), {}} {
  const auto refuse = [](const auto&... parts) { throw Error(Code::bad_input, "redact: ", parts...); };
  const Shape& shape = specs_[corners_.index].shape;
  const int64_t last = shape.rank() == 0 ? 0 : shape[shape.rank() - 1];
  if (shape.rank() < 2 || shape.rank() > 4 || (last != 4 && last >= 0))
    refuse("boxes: output \"", boxes.output, "\": expected 2 to 4 dimensions, the last of 4, got ", text(shape));
  if (!(boxes.margin >= 0 && std::isfinite(boxes.margin)))
    refuse("margin: expected a finite number of at least 0, got ", boxes.margin);
  if (std::isnan(boxes.least)) refuse("least: expected a number, got NaN");
  if (boxes.classes.empty() != boxes.among.empty())
    refuse("boxes: expected classes and among together, got only ", boxes.classes.empty() ? "among" : "classes");
  const auto column = [&](const std::string& name, const char* role) -> std::optional<Column> {
    if (name.empty()) return std::nullopt;
    return Column{number_output(name, role, signature), {}};
  };
  scores_ = column(boxes.scores, "scores");
  classes_ = column(boxes.classes, "classes");
  count_ = column(boxes.count, "count");
  const auto corners = element_count(shape);
  for (const auto& column : {scores_, classes_}) {
    if (!column) continue;
    const TensorSpec& spec = specs_[column->index];
    const auto values = element_count(spec.shape);
    if (corners && values && *values != *corners / 4)
      refuse("output \"", spec.name, "\": expected a value for each of ", *corners / 4, " boxes, got ",
             text(spec.shape));
  }
}

void BoxReader::Column::read(std::span<const TensorView> outputs, const std::vector<TensorSpec>& specs) {
  values.clear();
  for_each_element(outputs[index],
                   [&](size_t, double stored) { values.push_back(real_of(stored, specs[index].quantization)); });
}

bool BoxReader::try_read(std::span<const TensorView> outputs, const ImageExtent& extent, std::vector<Region>& regions) {
  regions.clear();
  if (outputs.empty() || extent.count == 0) return false;
  const Shape& shape = outputs[corners_.index].shape;
  if (shape.rank() < 2 || shape[shape.rank() - 1] != 4) return false;
  // Of several images, each has its own boxes.
  if (extent.count > 1 && (shape.rank() < 3 || shape[0] != static_cast<int64_t>(extent.count))) return false;
  corners_.read(outputs, specs_);
  const size_t box_count = corners_.values.size() / 4;
  for (auto* column : {&scores_, &classes_}) {
    if (!*column) continue;
    (*column)->read(outputs, specs_);
    if ((*column)->values.size() != box_count) return false;
  }
  if (count_) {
    count_->read(outputs, specs_);
    if (count_->values.size() != extent.count) return false;
  }
  const size_t most = box_count / extent.count;
  for (size_t image = 0; image < extent.count; ++image) {
    const double wanted = count_ ? count_->values[image] : static_cast<double>(most);
    if (!(wanted >= 0)) return false;
    const size_t used = wanted < static_cast<double>(most) ? static_cast<size_t>(std::ceil(wanted)) : most;
    size_t counted = 0;
    for (size_t box = image * most; box < image * most + used; ++box) {
      const auto does_count = counts(box);
      if (!does_count) return false;
      if (!*does_count) continue;
      const auto region = region_of(box, image, extent);
      if (!region || ++counted > kMaxBoxes) return false;
      if (region->top < region->bottom && region->left < region->right) regions.push_back(*region);
    }
  }
  return true;
}

std::optional<bool> BoxReader::counts(size_t box) const {
  if (scores_) {
    if (std::isnan(scores_->values[box])) return std::nullopt;
    if (scores_->values[box] < boxes_.least) return false;
  }
  if (!classes_) return true;
  const double value = classes_->values[box];
  if (!std::isfinite(value) || value != std::floor(value)) return std::nullopt;
  return std::any_of(boxes_.among.begin(), boxes_.among.end(),
                     [&](int64_t among) { return value == static_cast<double>(among); });
}

std::optional<Region> BoxReader::region_of(size_t box, size_t image, const ImageExtent& extent) const {
  const double* corner = corners_.values.data() + 4 * box;
  const size_t x = boxes_.order == BoxOrder::xyxy ? 0 : 1;
  // One side of the box after the other: where it begins and ends along `size` pixels.
  const auto side = [&](size_t axis, int64_t size) -> std::optional<std::pair<int64_t, int64_t>> {
    const auto pixels = static_cast<double>(size);
    const double scale = boxes_.unit == BoxUnit::pixels ? 1 : pixels;
    double begin = corner[axis] * scale;
    double end = corner[axis + 2] * scale;
    const double added = (end - begin) * boxes_.margin;
    begin -= added;
    end += added;
    // What overflowed on the way is no box either.
    if (!std::isfinite(begin) || !std::isfinite(end) || end < begin) return std::nullopt;
    begin = std::clamp(begin, 0.0, pixels);
    end = std::clamp(end, 0.0, pixels);
    if (rounding_ == BoxRounding::outward)
      return std::pair(static_cast<int64_t>(std::floor(begin)), static_cast<int64_t>(std::ceil(end)));
    return std::pair(static_cast<int64_t>(std::ceil(begin)), static_cast<int64_t>(std::floor(end)));
  };
  const auto across = side(x, extent.width);
  const auto down = side(1 - x, extent.height);
  if (!across || !down) return std::nullopt;
  return Region{image, down->first, across->first, down->second, across->second};
}

}  // namespace edgeward
