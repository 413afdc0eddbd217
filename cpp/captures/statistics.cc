#include "captures/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "bytes/crc32c.h"
#include "error.h"
#include "tensor/element.h"

// Loops over elements are compiled once more for wider vectors, and the processor chooses.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define EDGEWARD_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEWARD_WIDE
#endif

namespace edgeward {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 2048;  // elements: they stay in the nearest cache
constexpr size_t kMaxClasses = 4096;
constexpr double kLargestFloat = std::numeric_limits<float>::max();
constexpr unsigned kSubBits = 4;  // 16 buckets for each power of two

// What a block of floats adds up to, around `shift`.
struct BlockSums {
  double sum = 0;
  double squares = 0;
  float min = 0;
  float max = 0;
  bool is_finite = false;
};

// Sums are doubles: the first value of a block, from which all others are seen, may lie far from them.
EDGEWARD_WIDE BlockSums sums_of(const float* values, size_t count, double shift) {
  double sums[kLanes] = {};
  double squares[kLanes] = {};
  float least[kLanes];
  float most[kLanes];
  // x - x is 0 for what is finite, and NaN for what is not.
  float specials[kLanes] = {};
  std::fill(std::begin(least), std::end(least), std::numeric_limits<float>::infinity());
  std::fill(std::begin(most), std::end(most), -std::numeric_limits<float>::infinity());
  const auto add = [&](size_t lane, float value) {
    const double from_shift = value - shift;
    sums[lane] += from_shift;
    squares[lane] += from_shift * from_shift;
    least[lane] = value < least[lane] ? value : least[lane];
    most[lane] = value > most[lane] ? value : most[lane];
    specials[lane] += value - value;
  };
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(lane, values[i + lane]);
  }
  for (; i < count; ++i) add(0, values[i]);
  BlockSums total;
  float special = 0;
  total.min = least[0];
  total.max = most[0];
  for (size_t lane = 0; lane < kLanes; ++lane) {
    total.sum += sums[lane];
    total.squares += squares[lane];
    total.min = std::min(total.min, least[lane]);
    total.max = std::max(total.max, most[lane]);
    special += specials[lane];
  }
  total.is_finite = special == 0;
  return total;
}

// Bins of `count` values: how many edges each is not below.
EDGEWARD_WIDE void bins_of(const float* values, size_t count, const float* edges, size_t edge_count, uint32_t* bins) {
  for (size_t i = 0; i < count; ++i) bins[i] = 0;
  for (size_t edge = 0; edge < edge_count; ++edge) {
    const float least = edges[edge];
    for (size_t i = 0; i < count; ++i) bins[i] += values[i] >= least ? 1 : 0;
  }
}

EDGEWARD_WIDE void bit_bins_of(const float* values, size_t count, uint32_t* bins) {
  for (size_t i = 0; i < count; ++i) bins[i] = std::bit_cast<uint32_t>(values[i]) >> 20;
}

void merge_moments(TensorStatistics& into, uint64_t count, double mean, double squares, double min, double max) {
  if (count == 0) return;
  if (into.finite_count == 0) {
    into.min = min;
    into.max = max;
  }
  const auto before = static_cast<double>(into.finite_count);
  const auto added = static_cast<double>(count);
  const double step = mean - into.mean;
  const double total = before + added;
  into.mean += step * added / total;
  into.squares += squares + step * step * before * added / total;
  into.finite_count += count;
  into.min = std::min(into.min, min);
  into.max = std::max(into.max, max);
}

class BlockCounter {
 public:
  BlockCounter(TensorStatistics& statistics, const std::vector<float>& edges)
      : statistics_(statistics), edges_(edges) {}

  void add(const float* values, size_t count) {
    if (count == 0) return;
    // Some value of the block itself, near all of them: what is summed is then small.
    const double shift = std::isfinite(values[0]) ? values[0] : 0;
    const BlockSums sums = sums_of(values, count, shift);
    if (sums.is_finite) {
      const auto counted = static_cast<double>(count);
      const double from_shift = sums.sum / counted;
      merge_moments(statistics_, count, shift + from_shift,
                    std::max(0.0, sums.squares - counted * from_shift * from_shift), sums.min, sums.max);
      add_bins(values, count);
      return;
    }
    // Rare: NaN or infinities. One by one.
    for (size_t i = 0; i < count; ++i) add_one(values[i], &values[i]);
  }

  void add_one(double value, const float* as_float) {
    if (std::isnan(value)) {
      ++statistics_.nan_count;
    } else if (std::abs(value) > kLargestFloat) {
      ++statistics_.infinite_count;
    } else {
      merge_moments(statistics_, 1, value, 0, value, value);
      if (as_float != nullptr) {
        add_bins(as_float, 1);
      } else {
        add_bin(value);
      }
    }
  }

 private:
  void add_bins(const float* values, size_t count) {
    uint32_t bins[kBlock];
    if (statistics_.edges.empty()) {
      bit_bins_of(values, count, bins);
    } else {
      bins_of(values, count, edges_.data(), edges_.size(), bins);
    }
    uint64_t* counts = statistics_.bins.data();
    for (size_t i = 0; i < count; ++i) ++counts[bins[i]];
  }
  void add_bin(double value) {
    const auto& edges = statistics_.edges;
    const size_t bin = edges.empty()
                           ? TensorStatistics::bin_of_bits(static_cast<float>(value))
                           : static_cast<size_t>(std::upper_bound(edges.begin(), edges.end(), value) - edges.begin());
    ++statistics_.bins[bin];
  }

  TensorStatistics& statistics_;
  const std::vector<float>& edges_;
};

// A float is not below an edge exactly when it is not below the least float of which that is true.
std::vector<float> least_floats(const std::vector<double>& edges) {
  std::vector<float> floats;
  for (const double edge : edges) {
    const auto nearest = static_cast<float>(edge);
    floats.push_back(nearest < edge ? std::nextafter(nearest, std::numeric_limits<float>::infinity()) : nearest);
  }
  return floats;
}

// ---- Bytes: capture-format 4.

constexpr char kMagic[8] = {'E', 'W', 'S', 'T', 'A', 'T', '0', '1'};
constexpr uint64_t kMaxTensors = 512;
constexpr uint64_t kMaxName = 4096;
constexpr uint64_t kMaxEdges = 4096;

class Writer {
 public:
  template <class T>
  void put(const T& value) {
    const Bytes bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  template <class T>
  void put_all(const std::vector<T>& values) {
    put<uint64_t>(values.size());
    for (const T& value : values) put(value);
  }
  void put_text(const std::string& text) {
    put<uint64_t>(text.size());
    for (const char c : text) bytes_.push_back(static_cast<std::byte>(c));
  }
  // Most bins are empty: index and count of the others.
  void put_sparse(const std::vector<uint64_t>& counts) {
    put<uint64_t>(counts.size());
    put<uint64_t>(
        static_cast<uint64_t>(std::count_if(counts.begin(), counts.end(), [](uint64_t count) { return count != 0; })));
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0) continue;
      put(static_cast<uint32_t>(i));
      put(counts[i]);
    }
  }
  std::vector<std::byte> finish() {
    put(crc32c(bytes_));
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {
    const auto crc =
        bytes.size() < sizeof(uint32_t) ? std::nullopt : try_read<uint32_t>(bytes, bytes.size() - sizeof(uint32_t));
    if (!crc || crc32c(bytes.first(bytes.size() - sizeof(*crc))) != *crc)
      refuse("expected a CRC that fits, got another");
    bytes_ = bytes.first(bytes.size() - sizeof(*crc));
  }
  template <class T>
  T take() {
    const auto value = try_read<T>(bytes_, offset_);
    if (!value) refuse("expected more bytes, got the end");
    offset_ += sizeof(T);
    return *value;
  }
  uint64_t take_count(uint64_t most) {
    const auto count = take<uint64_t>();
    if (count > most) refuse("expected at most ", most, " of something, got ", count);
    return count;
  }
  std::string take_text(uint64_t most) {
    std::string text(take_count(most), '\0');
    for (char& c : text) c = static_cast<char>(take<uint8_t>());
    return text;
  }
  double take_number() {
    const auto number = take<double>();
    if (!(std::abs(number) <= kLargestFloat)) refuse("expected a number that a float can hold, got another");
    return number;
  }
  std::vector<uint64_t> take_sparse(uint64_t most) {
    std::vector<uint64_t> counts(take_count(most));
    const uint64_t filled = take_count(counts.size());
    uint64_t least = 0;
    for (uint64_t i = 0; i < filled; ++i) {
      const auto index = take<uint32_t>();
      const auto count = take<uint64_t>();
      if (index < least || index >= counts.size() || count == 0) refuse("expected ascending bins that hold something");
      counts[index] = count;
      least = uint64_t{index} + 1;
    }
    return counts;
  }
  void finish() const {
    if (offset_ != bytes_.size()) refuse("expected the end, got ", bytes_.size() - offset_, " bytes more");
  }
  template <class... Parts>
  [[noreturn]] static void refuse(const Parts&... parts) {
    throw Error(Code::malformed_capture, "statistics: ", parts...);
  }

 private:
  Bytes bytes_;
  uint64_t offset_ = 0;
};

template <class T>
void add_counts(std::vector<T>& into, const std::vector<T>& other) {
  for (size_t i = 0; i < into.size(); ++i) into[i] += other[i];
}

}  // namespace

// ---- Latency.

size_t LatencyHistogram::bucket_of(uint64_t ns) {
  if (ns < 16) return ns;
  const unsigned exponent = 63 - static_cast<unsigned>(std::countl_zero(ns));  // 4 to 63
  const auto fraction = static_cast<size_t>(ns >> (exponent - kSubBits)) & 15;
  return (size_t{exponent} - kSubBits + 1) * 16 + fraction;
}

uint64_t LatencyHistogram::least_of(size_t bucket) {
  if (bucket < 16) return bucket;
  const size_t exponent = bucket / 16 + kSubBits - 1;
  return (uint64_t{16} + bucket % 16) << (exponent - kSubBits);
}

void LatencyHistogram::merge(const LatencyHistogram& other) { add_counts(counts_, other.counts_); }

// ---- A tensor.

size_t TensorStatistics::bin_of_bits(float value) { return std::bit_cast<uint32_t>(value) >> 20; }

float TensorStatistics::least_of_bits(size_t bin) { return std::bit_cast<float>(static_cast<uint32_t>(bin) << 20); }

bool TensorStatistics::has_bins_of(const TensorStatistics& other) const {
  return edges == other.edges && bins.size() == other.bins.size();
}

void TensorStatistics::merge(const TensorStatistics& other) {
  if (!has_bins_of(other)) throw Error(Code::bad_input, "statistics: expected the same bins, got others");
  if (classes.size() < other.classes.size()) classes.resize(other.classes.size());
  for (size_t i = 0; i < other.classes.size(); ++i) classes[i] += other.classes[i];
  merge_moments(*this, other.finite_count, other.mean, other.squares, other.min, other.max);
  nan_count += other.nan_count;
  infinite_count += other.infinite_count;
  add_counts(bins, other.bins);
}

// ---- All of them.

Statistics::Statistics(const Signature& signature, const std::vector<std::vector<double>>& edges) {
  const auto add = [&](const TensorSpec& spec, bool is_output) {
    Tensor tensor{is_output, spec.name, spec.dtype, {}, {}};
    if (tensors_.size() < edges.size()) tensor.statistics.edges = edges[tensors_.size()];
    tensor.float_edges = least_floats(tensor.statistics.edges);
    const size_t edge_count = tensor.statistics.edges.size();
    tensor.statistics.bins.resize(edge_count == 0 ? TensorStatistics::kBitBins : edge_count + 1);
    tensors_.push_back(std::move(tensor));
  };
  for (const TensorSpec& spec : signature.inputs) add(spec, false);
  for (const TensorSpec& spec : signature.outputs) add(spec, true);
}

void Statistics::add(std::span<const TensorView> inputs, std::span<const TensorView> outputs, uint64_t latency_ns) {
  ++run_count_;
  ++turn_;
  latency_.add(latency_ns);
  size_t index = 0;
  for (const TensorView& view : inputs) add_tensor(tensors_[index++], view);
  for (const TensorView& view : outputs) add_tensor(tensors_[index++], view);
}

void Statistics::add_tensor(Tensor& tensor, const TensorView& view) {
  TensorStatistics& statistics = tensor.statistics;
  BlockCounter counter(statistics, tensor.float_edges);
  with_elements(view, [&](const auto* elements, size_t count, const auto& to_number) {
    using Number = decltype(to_number(*elements));
    const size_t step = (count + kMaxElementsCounted - 1) / kMaxElementsCounted;
    size_t index = step > 1 ? turn_ % step : 0;
    if constexpr (std::is_same_v<Number, double>) {
      for (; index < count; index += step) counter.add_one(to_number(elements[index]), nullptr);
    } else {
      if constexpr (std::is_same_v<decltype(elements), const float*>) {
        if (step == 1) {
          for (size_t begin = 0; begin < count; begin += kBlock)
            counter.add(elements + begin, std::min(kBlock, count - begin));
          return;
        }
      }
      float block[kBlock];
      while (index < count) {
        size_t filled = 0;
        for (; filled < kBlock && index < count; index += step) block[filled++] = to_number(elements[index]);
        counter.add(block, filled);
      }
    }
  });
  if (!tensor.is_output) return;
  // A row of scores, and which of them is the greatest.
  const size_t elements = view.size_bytes * 8 / bits(view.dtype);
  const bool is_row = elements > 1 && elements <= kMaxClasses &&
                      std::any_of(view.shape.begin(), view.shape.end(),
                                  [&](int64_t dim) { return static_cast<uint64_t>(dim) == elements; });
  if (!is_row) return;
  size_t greatest = 0;
  double most = -std::numeric_limits<double>::infinity();
  bool has_any = false;
  for_each_element(view, [&](size_t i, double value) {
    if (!(value > most) && (has_any || std::isnan(value))) return;
    most = value;
    greatest = i;
    has_any = true;
  });
  if (!has_any) return;
  if (statistics.classes.size() < elements) statistics.classes.resize(elements);
  ++statistics.classes[greatest];
}

void Statistics::merge(const Statistics& other) {
  const auto is_same = [](const Tensor& a, const Tensor& b) {
    return a.is_output == b.is_output && a.name == b.name && a.dtype == b.dtype;
  };
  if (!std::equal(tensors_.begin(), tensors_.end(), other.tensors_.begin(), other.tensors_.end(), is_same))
    throw Error(Code::bad_input, "statistics: expected those of the same tensors, got others");
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (!tensors_[i].statistics.has_bins_of(other.tensors_[i].statistics))
      throw Error(Code::bad_input, "statistics: expected the same bins of \"", tensors_[i].name, "\", got others");
  }
  for (size_t i = 0; i < tensors_.size(); ++i) tensors_[i].statistics.merge(other.tensors_[i].statistics);
  run_count_ += other.run_count_;
  error_count_ += other.error_count_;
  latency_.merge(other.latency_);
}

Statistics Statistics::take() {
  Statistics taken = *this;
  // Nothing below allocates: what was counted is either taken or still here.
  run_count_ = 0;
  error_count_ = 0;
  std::fill(latency_.counts().begin(), latency_.counts().end(), 0);
  for (Tensor& tensor : tensors_) {
    TensorStatistics empty;
    empty.edges.swap(tensor.statistics.edges);
    empty.bins.swap(tensor.statistics.bins);
    std::fill(empty.bins.begin(), empty.bins.end(), 0);
    tensor.statistics = std::move(empty);
  }
  return taken;
}

std::vector<std::byte> Statistics::bytes() const {
  Writer writer;
  writer.put(kMagic);
  writer.put(run_count_);
  writer.put(error_count_);
  writer.put_sparse(latency_.counts());
  writer.put<uint64_t>(tensors_.size());
  for (const Tensor& tensor : tensors_) {
    const TensorStatistics& counted = tensor.statistics;
    writer.put(static_cast<uint8_t>(tensor.is_output));
    writer.put(static_cast<uint8_t>(tensor.dtype));
    writer.put_text(tensor.name);
    writer.put(counted.finite_count);
    writer.put(counted.nan_count);
    writer.put(counted.infinite_count);
    for (const double number : {counted.min, counted.max, counted.mean, counted.squares}) writer.put(number);
    writer.put_all(counted.edges);
    writer.put_sparse(counted.bins);
    writer.put_sparse(counted.classes);
  }
  return writer.finish();
}

Statistics Statistics::from_bytes(Bytes bytes) {
  Reader reader(bytes);
  for (const char expected : kMagic) {
    if (reader.take<char>() != expected) Reader::refuse("expected the magic bytes EWSTAT01, got others");
  }
  Statistics statistics;
  statistics.run_count_ = reader.take<uint64_t>();
  statistics.error_count_ = reader.take<uint64_t>();
  statistics.latency_.counts() = reader.take_sparse(LatencyHistogram::kBuckets);
  if (statistics.latency_.counts().size() != LatencyHistogram::kBuckets)
    Reader::refuse("expected ", LatencyHistogram::kBuckets, " buckets of latency, got ",
                   statistics.latency_.counts().size());
  const uint64_t count = reader.take_count(kMaxTensors);
  for (uint64_t i = 0; i < count; ++i) {
    Tensor tensor{};
    const auto is_output = reader.take<uint8_t>();
    const auto dtype = reader.take<uint8_t>();
    if (is_output > 1 || dtype >= kDTypeCount) Reader::refuse("expected a side and a dtype, got others");
    tensor.is_output = is_output == 1;
    tensor.dtype = static_cast<DType>(dtype);
    tensor.name = reader.take_text(kMaxName);
    TensorStatistics& counted = tensor.statistics;
    counted.finite_count = reader.take<uint64_t>();
    counted.nan_count = reader.take<uint64_t>();
    counted.infinite_count = reader.take<uint64_t>();
    for (double* number : {&counted.min, &counted.max, &counted.mean}) *number = reader.take_number();
    counted.squares = reader.take<double>();
    // No two such numbers lie further apart than twice the largest.
    if (!(counted.squares >= 0 &&
          counted.squares <= 4 * kLargestFloat * kLargestFloat * static_cast<double>(counted.finite_count)))
      Reader::refuse("expected a sum of squares of ", counted.finite_count, " distances, got another");
    const uint64_t edge_count = reader.take_count(kMaxEdges);
    for (uint64_t edge = 0; edge < edge_count; ++edge) {
      counted.edges.push_back(reader.take_number());
      if (edge > 0 && !(counted.edges[edge] > counted.edges[edge - 1]))
        Reader::refuse("expected edges that ascend, got others");
    }
    tensor.float_edges = least_floats(counted.edges);
    counted.bins = reader.take_sparse(kMaxEdges + 1);
    if (counted.bins.size() != (edge_count == 0 ? TensorStatistics::kBitBins : edge_count + 1))
      Reader::refuse("expected bins for ", edge_count, " edges, got ", counted.bins.size());
    counted.classes = reader.take_sparse(kMaxClasses);
    statistics.tensors_.push_back(std::move(tensor));
  }
  reader.finish();
  return statistics;
}

}  // namespace edgeward
