#include "captures/statistics_counter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "captures/scores.h"
#include "error.h"
#include "tensor/element.h"

namespace edgeward {
namespace {

constexpr size_t kBlock = 2048;      // elements that are converted at a time
constexpr size_t kFirstChannel = 4;  // among the figures, after mean, deviation, least and largest
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The least and the greatest of an integer dtype; NaN for others.
std::pair<float, float> limits_of(DType dtype) {
  const auto of = []<class T>(T) {
    return std::pair(static_cast<float>(std::numeric_limits<T>::min()),
                     static_cast<float>(std::numeric_limits<T>::max()));
  };
  switch (dtype) {
    case DType::int8: return of(int8_t{});
    case DType::int16: return of(int16_t{});
    case DType::int32: return of(int32_t{});
    case DType::int64: return of(int64_t{});
    case DType::uint8: return of(uint8_t{});
    case DType::uint16: return of(uint16_t{});
    case DType::uint32: return of(uint32_t{});
    case DType::uint64: return of(uint64_t{});
    default: return {kNan, kNan};
  }
}

bool does_ascend(const std::vector<float>& edges) {
  return std::adjacent_find(edges.begin(), edges.end(), [](float a, float b) { return !(a < b); }) == edges.end() &&
         std::all_of(edges.begin(), edges.end(), [](float edge) { return std::isfinite(edge); });
}

}  // namespace

StatisticsCounter::StatisticsCounter(const Signature& signature, const TensorEdges& edges) {
  for (const TensorSpec& spec : signature.inputs) tensors_.push_back(tensor_of(spec, false, edges));
  for (const TensorSpec& spec : signature.outputs) tensors_.push_back(tensor_of(spec, true, edges));
}

StatisticsCounter::Tensor StatisticsCounter::tensor_of(const TensorSpec& spec, bool is_output,
                                                       const TensorEdges& edges) const {
  const auto entry = edges.find({is_output, spec.name});
  static const std::vector<std::vector<float>> kAdaptive;
  const auto& laid = entry == edges.end() ? kAdaptive : entry->second;
  const auto [least, greatest] = limits_of(spec.dtype);
  Tensor tensor{is_output, spec, TensorParts(spec, is_output), 0, 1, {}, {}, {}, {}, {}, {}, {}};
  const size_t part_count = tensor.parts.names().size();
  if (laid.size() == 1 && part_count > 1) tensor.parts = TensorParts(spec, is_output, false);
  if (!laid.empty() && laid.size() != 1 && laid.size() != part_count)
    throw Error(Code::bad_input, "statistics: tensor \"", spec.name, "\": expected edges of ", part_count,
                " parts, got those of ", laid.size());
  if (!std::all_of(laid.begin(), laid.end(), does_ascend))
    throw Error(Code::bad_input, "statistics: tensor \"", spec.name, "\": expected edges that ascend, got others");
  if (spec.quantization.scales.size() == 1) {
    tensor.scale = static_cast<float>(spec.quantization.scales[0]);
    tensor.zero = static_cast<float>(spec.quantization.zero_points[0]);
  }
  const auto& names = tensor.parts.names();
  const auto first_figure = names.end() - static_cast<std::ptrdiff_t>(tensor.parts.figure_count());
  const size_t before = names.size() - tensor.parts.figure_count();
  const auto laid_for = [&](size_t first, size_t count) {
    const auto begin = laid.begin() + static_cast<std::ptrdiff_t>(std::min(first, laid.size()));
    return std::vector(begin, begin + std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(count), laid.end() - begin));
  };
  if (tensor.parts.has_columns()) {
    tensor.columns = RowCounter({names.begin(), first_figure}, laid_for(0, before), least, greatest);
  } else {
    tensor.values = ValueCounter(laid.empty() ? nullptr : &laid[0], least, greatest);
  }
  tensor.figures = RowCounter({first_figure, names.end()}, laid_for(before, names.size() - before), kNan, kNan);
  tensor.row.resize((tensor.parts.has_scores() || tensor.parts.has_columns() ? tensor.parts.row_elements() : 0) +
                    kLanes);
  tensor.figure_row.resize(tensor.figures.width() + kLanes);
  return tensor;
}

void StatisticsCounter::add(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                            uint64_t latency_ns) {
  ++run_count_;
  ++turn_;
  latency_.add(latency_ns);
  size_t index = 0;
  for (const TensorView& view : inputs) add_tensor(tensors_[index++], view);
  for (const TensorView& view : outputs) add_tensor(tensors_[index++], view);
}

void StatisticsCounter::add_tensor(Tensor& tensor, const TensorView& view) {
  Run run;
  with_elements(view, [&](const auto* elements, size_t count, const auto& to_number) {
    if (count == 0) return;
    const auto to_float = [&](const auto& element) { return static_cast<float>(to_number(element)); };
    if (tensor.parts.has_columns()) {
      add_rows(tensor, elements, count, to_float, run);
    } else {
      add_values(tensor, elements, count, to_float, run);
    }
    add_figures(tensor, run);
  });
}

template <class Element, class ToFloat>
void StatisticsCounter::add_rows(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float,
                                 Run& run) {
  const size_t width = tensor.parts.row_elements();
  for (size_t first = 0; first + width <= count; first += width) {
    for (size_t i = 0; i < width; ++i) tensor.row[i] = to_float(elements[first + i]);
    run.moments.merge(tensor.columns.add(tensor.row.data()));
    if (tensor.parts.has_scores()) add_scores(tensor, run);
  }
}

template <class Element, class ToFloat>
void StatisticsCounter::add_values(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float,
                                   Run& run) {
  const size_t step = (count + kMaxElements - 1) / kMaxElements;
  if constexpr (std::is_same_v<Element, float>) {
    if (step == 1) tensor.values.add({elements, count}, run.moments);
  }
  if (!std::is_same_v<Element, float> || step > 1) {
    float block[kBlock];
    for (size_t index = step > 1 ? turn_ % step : 0; index < count;) {
      size_t filled = 0;
      for (; filled < kBlock && index < count; index += step) block[filled++] = to_float(elements[index]);
      tensor.values.add({block, filled}, run.moments);
    }
  }
  add_sample(tensor, elements, count, to_float);
  if (!tensor.parts.has_scores()) return;
  const size_t width = tensor.parts.row_elements();
  for (size_t first = 0; first + width <= count; first += width) {
    for (size_t i = 0; i < width; ++i) tensor.row[i] = to_float(elements[first + i]);
    add_scores(tensor, run);
  }
}

// Pixels of a picture with its channels, or elements.
template <class Element, class ToFloat>
void StatisticsCounter::add_sample(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float) {
  const size_t channels = std::max<size_t>(tensor.parts.channels(), 1);
  const size_t pixels = count / channels;
  const size_t step = (pixels + kMaxSample - 1) / kMaxSample;
  const size_t pixel_stride = tensor.parts.is_channels_last() ? channels : 1;
  const size_t channel_stride = tensor.parts.is_channels_last() ? 1 : pixels;
  const size_t sampled = pixels == 0 ? 0 : (pixels - 1) / step + 1;
  bool is_changed = tensor.sample.size() != sampled * channels;
  tensor.sample.resize(sampled * channels);
  for (size_t channel = 0; channel < channels; ++channel) {
    double sum = 0;
    for (size_t i = 0; i < sampled; ++i) {
      const float value = to_float(elements[i * step * pixel_stride + channel * channel_stride]);
      float& before = tensor.sample[channel * sampled + i];
      is_changed |= std::bit_cast<uint32_t>(before) != std::bit_cast<uint32_t>(value);
      before = value;
      sum += value;
    }
    if (tensor.parts.channels() > 0)
      tensor.figure_row[kFirstChannel + channel] = static_cast<float>(sum / static_cast<double>(sampled));
  }
  if (!is_changed) tensor.values.add_unchanged();
}

void StatisticsCounter::add_scores(Tensor& tensor, Run& run) {
  const Scores scores = scores_of({tensor.row.data(), tensor.parts.row_elements()}, tensor.zero);
  run.margin += static_cast<double>(scores.margin);
  run.entropy += static_cast<double>(scores.entropy);
  ++run.row_count;
  if (scores.best == Scores::kNone) return;
  if (tensor.classes.empty()) tensor.classes.resize(tensor.parts.row_elements());
  ++tensor.classes[scores.best];
}

void StatisticsCounter::add_figures(Tensor& tensor, const Run& run) {
  if (tensor.figures.width() == 0) return;
  const Moments& moments = run.moments;
  const bool has_any = moments.count > 0;
  float* figure = tensor.figure_row.data();
  *figure++ = has_any ? static_cast<float>(moments.mean) : kNan;
  *figure++ = has_any ? static_cast<float>(std::sqrt(moments.squares / static_cast<double>(moments.count))) : kNan;
  *figure++ = has_any ? moments.min : kNan;
  *figure++ = has_any ? moments.max : kNan;
  figure += tensor.parts.channels();
  if (tensor.parts.has_scores()) {
    const auto rows = static_cast<double>(run.row_count);
    *figure++ = static_cast<float>(run.margin * static_cast<double>(tensor.scale) / rows);
    *figure = static_cast<float>(run.entropy / rows);
  }
  tensor.figures.add(tensor.figure_row.data());
}

Statistics StatisticsCounter::statistics() const {
  Statistics statistics{run_count_, error_count_, latency_, {}};
  for (const Tensor& tensor : tensors_) {
    std::vector<Part> parts = tensor.columns.parts();
    if (!tensor.parts.has_columns()) parts.push_back(tensor.values.part());
    for (Part& figure : tensor.figures.parts()) parts.push_back(std::move(figure));
    statistics.tensors.push_back(
        {tensor.is_output, tensor.spec.name, tensor.spec.dtype, std::move(parts), tensor.classes});
  }
  return statistics;
}

Statistics StatisticsCounter::take() {
  Statistics taken = statistics();
  // Nothing below allocates: what was counted is either taken or still here.
  run_count_ = 0;
  error_count_ = 0;
  std::fill(latency_.counts().begin(), latency_.counts().end(), 0);
  for (Tensor& tensor : tensors_) {
    tensor.values.clear();
    tensor.columns.clear();
    tensor.figures.clear();
    tensor.classes.clear();
  }
  return taken;
}

}  // namespace edgeward
