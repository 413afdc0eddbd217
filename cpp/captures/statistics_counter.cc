#include "captures/statistics_counter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "captures/scores.h"
#include "error.h"
#include "tensor/element.h"

namespace edgeward {
namespace {

constexpr size_t kBlock = 2048;      // elements that are converted at a time
constexpr size_t kAlignment = 8;     // of elements that wait
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
  for (const TensorSpec& spec : signature.inputs) add_tensor_of(spec, false, edges);
  for (const TensorSpec& spec : signature.outputs) add_tensor_of(spec, true, edges);
  for (Figures* figures : {&adaptive_figures_, &laid_figures_}) {
    figures->row.resize(figures->names.size() + kLanes);
    figures->counter = RowCounter(figures->names, figures->edges, kNan, kNan);
  }
  waiting_.bytes.resize(kMaxWaiting * kMaxWaitingBytes + kLanes * sizeof(float));
  waiting_.tensors.resize(kMaxWaiting * tensors_.size());
  waiting_.latencies_ns.resize(kMaxWaiting);
}

void StatisticsCounter::add_tensor_of(const TensorSpec& spec, bool is_output, const TensorEdges& edges) {
  const auto entry = edges.find({is_output, spec.name});
  static const std::vector<std::vector<float>> kAdaptive;
  const auto& laid = entry == edges.end() ? kAdaptive : entry->second;
  const auto [least, greatest] = limits_of(spec.dtype);
  Tensor tensor{is_output, spec, TensorParts(spec, is_output), 0, 1, {}, {}, false, 0, {}, {}, {}};
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
  const auto first_figure = static_cast<std::ptrdiff_t>(part_count - tensor.parts.figure_count());
  const bool is_whole = laid.size() == 1;  // of all values, without columns and edges of figures
  if (tensor.parts.has_columns()) {
    const auto columns_end = laid.empty() ? laid.end() : laid.begin() + first_figure;
    tensor.columns =
        RowCounter({names.begin(), names.begin() + first_figure}, {laid.begin(), columns_end}, least, greatest);
  } else {
    tensor.values = ValueCounter(laid.empty() ? nullptr : &laid[0], least, greatest);
  }
  tensor.has_laid_figures = !laid.empty() && !is_whole;
  Figures& figures = figures_of(tensor);
  tensor.first_figure = figures.names.size();
  figures.names.insert(figures.names.end(), names.end() - static_cast<std::ptrdiff_t>(tensor.parts.figure_count()),
                       names.end());
  if (tensor.has_laid_figures) figures.edges.insert(figures.edges.end(), laid.begin() + first_figure, laid.end());
  tensor.row.resize((tensor.parts.has_scores() || tensor.parts.has_columns() ? tensor.parts.row_elements() : 0) +
                    kLanes);
  tensors_.push_back(std::move(tensor));
}

void StatisticsCounter::add(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                            uint64_t latency_ns) {
  size_t size_bytes = 0;
  for (const auto& side : {inputs, outputs})
    for (const TensorView& view : side) size_bytes += round_up(view.size_bytes, kAlignment);
  const bool can_wait = size_bytes <= kMaxWaitingBytes;
  if (!can_wait || waiting_.run_count == kMaxWaiting) count_waiting();
  waiting_.are_copies = can_wait;
  std::byte* copy = waiting_.bytes.data() + waiting_.run_count * kMaxWaitingBytes;
  Bytes* tensor = waiting_.tensors.data() + waiting_.run_count * tensors_.size();
  for (const auto& side : {inputs, outputs}) {
    for (const TensorView& view : side) {
      *tensor++ = {can_wait ? copy : view.data, view.size_bytes};
      if (can_wait && view.size_bytes != 0) std::memcpy(copy, view.data, view.size_bytes);
      copy += round_up(view.size_bytes, kAlignment);
    }
  }
  waiting_.latencies_ns[waiting_.run_count++] = latency_ns;
  if (!can_wait) count_waiting();
}

void StatisticsCounter::count_waiting() {
  while (waiting_.counted_count < waiting_.run_count) {
    const size_t run = waiting_.counted_count++;
    count(std::span(waiting_.tensors).subspan(run * tensors_.size(), tensors_.size()), waiting_.latencies_ns[run]);
  }
  waiting_.run_count = 0;
  waiting_.counted_count = 0;
}

void StatisticsCounter::count(std::span<const Bytes> tensors, uint64_t latency_ns) {
  ++run_count_;
  ++turn_;
  latency_.add(latency_ns);
  for (Figures* figures : {&adaptive_figures_, &laid_figures_})
    std::fill(figures->row.begin(), figures->row.end(), RowCounter::kAbsent);
  for (size_t i = 0; i < tensors.size(); ++i) add_tensor(tensors_[i], tensors[i]);
  for (Figures* figures : {&adaptive_figures_, &laid_figures_}) {
    if (!figures->names.empty()) figures->counter.add(figures->row.data(), nullptr);
  }
}

void StatisticsCounter::add_tensor(Tensor& tensor, Bytes bytes) {
  Run run;
  // Not written to.
  const TensorView view{tensor.spec.dtype, {}, const_cast<std::byte*>(bytes.data()), bytes.size()};
  with_elements(view, [&](const auto* elements, size_t count, const auto& to_number) {
    if (count == 0) return;
    const auto to_float = [&](const auto& element) { return static_cast<float>(to_number(element)); };
    if (tensor.parts.has_columns()) {
      add_rows(tensor, elements, count, to_float, run);
    } else {
      add_values(tensor, elements, count, to_float, run);
    }
    put_figures(tensor, run);
  });
}

template <class Element, class ToFloat>
void StatisticsCounter::add_rows(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float,
                                 Run& run) {
  const size_t width = tensor.parts.row_elements();
  const size_t step = std::max<size_t>((count + kMaxElements - 1) / kMaxElements, 1);
  for (size_t first = turn_ % step * width; first + width <= count; first += step * width) {
    const float* row = tensor.row.data();
    if (std::is_same_v<Element, float> && waiting_.are_copies) {
      row = reinterpret_cast<const float*>(elements + first);  // there are bytes behind it
    } else {
      for (size_t i = 0; i < width; ++i) tensor.row[i] = to_float(elements[first + i]);
    }
    tensor.columns.add(row, &run.moments);
    if (tensor.parts.has_scores()) add_scores(tensor, row, run);
  }
}

template <class Element, class ToFloat>
void StatisticsCounter::add_values(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float,
                                   Run& run) {
  const size_t step = std::max<size_t>((count + kMaxElements - 1) / kMaxElements, 1);
  if constexpr (std::is_same_v<Element, float>) {
    if (step == 1) tensor.values.add({elements, count}, run.moments);
  }
  if (!std::is_same_v<Element, float> || step > 1) {
    float block[kBlock];
    size_t filled = 0;
    size_t index = turn_ % step * kStretch;
    const auto flush = [&] {
      if (filled > 0) tensor.values.add({block, filled}, run.moments);
      filled = 0;
    };
    for (; index + kStretch <= count; index += step * kStretch) {
      for (size_t i = 0; i < kStretch; ++i) block[filled + i] = to_float(elements[index + i]);
      filled += kStretch;
      if (filled == kBlock) flush();
    }
    for (; index < count; ++index) block[filled++] = to_float(elements[index]);  // what is left of the last
    flush();
  }
  add_sample(tensor, elements, count, to_float);
  if (!tensor.parts.has_scores()) return;
  const size_t width = tensor.parts.row_elements();
  for (size_t first = turn_ % step * width; first + width <= count; first += step * width) {
    for (size_t i = 0; i < width; ++i) tensor.row[i] = to_float(elements[first + i]);
    add_scores(tensor, tensor.row.data(), run);
  }
}

// Pixels of a picture with its channels, or elements.
template <class Element, class ToFloat>
void StatisticsCounter::add_sample(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float) {
  const size_t channels = std::max<size_t>(tensor.parts.channels(), 1);
  const size_t pixels = count / channels;
  const size_t step = pixels == 0 ? 1 : (pixels - 1) / kMaxSample + 1;
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
      figures_of(tensor).row[tensor.first_figure + kFirstChannel + channel] =
          static_cast<float>(sum / static_cast<double>(sampled));
  }
  if (!is_changed) tensor.values.add_unchanged();
}

void StatisticsCounter::add_scores(Tensor& tensor, const float* row, Run& run) {
  const Scores scores = scores_of(row, tensor.parts.row_elements(), tensor.zero);
  run.margin += static_cast<double>(scores.margin);
  run.entropy += static_cast<double>(scores.entropy);
  ++run.row_count;
  if (scores.best == Scores::kNone) return;
  if (tensor.classes.empty()) tensor.classes.resize(tensor.parts.row_elements());
  ++tensor.classes[scores.best];
}

void StatisticsCounter::put_figures(const Tensor& tensor, const Run& run) {
  if (tensor.parts.figure_count() == 0) return;
  const Moments& moments = run.moments;
  const bool has_any = moments.count > 0;
  float* figure = figures_of(tensor).row.data() + tensor.first_figure;
  *figure++ = has_any ? static_cast<float>(moments.mean) : kNan;
  *figure++ = has_any ? static_cast<float>(std::sqrt(moments.squares / static_cast<double>(moments.count))) : kNan;
  *figure++ = has_any ? moments.min : kNan;
  *figure++ = has_any ? moments.max : kNan;
  figure += tensor.parts.channels();
  if (!tensor.parts.has_scores()) return;
  const auto rows = static_cast<double>(run.row_count);
  *figure++ = static_cast<float>(run.margin * static_cast<double>(tensor.scale) / rows);
  *figure = static_cast<float>(run.entropy / rows);
}

Statistics StatisticsCounter::statistics() {
  count_waiting();
  Statistics statistics{run_count_, error_count_, latency_, {}};
  const std::vector<Part> adaptive = adaptive_figures_.counter.parts();
  const std::vector<Part> laid = laid_figures_.counter.parts();
  for (Tensor& tensor : tensors_) {
    std::vector<Part> parts = tensor.columns.parts();
    if (!tensor.parts.has_columns()) parts.push_back(tensor.values.part());
    const auto figures =
        (tensor.has_laid_figures ? laid : adaptive).begin() + static_cast<std::ptrdiff_t>(tensor.first_figure);
    parts.insert(parts.end(), figures, figures + static_cast<std::ptrdiff_t>(tensor.parts.figure_count()));
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
    tensor.classes.clear();
  }
  adaptive_figures_.counter.clear();
  laid_figures_.counter.clear();
  return taken;
}

}  // namespace edgeward
