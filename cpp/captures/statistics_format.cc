#include "captures/statistics_format.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bytes/crc32c.h"
#include "bytes/utf8.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr std::string_view kMagic = "EWSTAT02";
constexpr std::string_view kFirstMagic = "EWSTAT01";
constexpr uint64_t kMaxDescription = 1 << 20;
constexpr uint64_t kMaxTensors = 512;
constexpr uint64_t kMaxName = 4096;
constexpr uint64_t kMaxEdges = 4096;
constexpr uint64_t kMaxParts = TensorParts::kMaxColumns + 16;
constexpr double kLargestFloat = std::numeric_limits<float>::max();

// ---- Writing.

class Writer {
 public:
  template <class T>
  void put(const T& value) {
    const Bytes bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // 7 bits a byte, the lowest first; the upper bit says that another byte follows.
  void put_count(uint64_t count) {
    for (; count >= 0x80; count >>= 7) put(static_cast<uint8_t>(count | 0x80));
    put(static_cast<uint8_t>(count));
  }
  void put_text(std::string_view text) {
    put_count(text.size());
    const Bytes bytes = std::as_bytes(std::span(text));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // Most are 0: how many are not, then each with the number of zeros before it.
  void put_sparse(const std::vector<uint64_t>& counts) {
    put_count(
        static_cast<uint64_t>(std::count_if(counts.begin(), counts.end(), [](uint64_t count) { return count != 0; })));
    uint64_t zeros = 0;
    for (const uint64_t count : counts) {
      if (count == 0) {
        ++zeros;
        continue;
      }
      put_count(zeros);
      put_count(count);
      zeros = 0;
    }
  }
  std::vector<std::byte> finish() {
    put(crc32c(bytes_));
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

void put_part(Writer& writer, const Part& part) {
  writer.put(static_cast<uint8_t>(part.name.kind));
  writer.put_count(part.name.index);
  for (const uint64_t count : {part.moments.count, part.nan_count, part.infinite_count, part.clipped_count,
                               part.unchanged_count, part.pair_count})
    writer.put_count(count);
  writer.put(part.step_squares);
  if (part.moments.count > 0) {
    for (const float extent : {part.moments.min, part.moments.max}) writer.put(extent);
    for (const double moment : {part.moments.mean, part.moments.squares}) writer.put(moment);
  }
  if (!part.bins.is_adaptive()) {
    writer.put_count(part.bins.counts().size());
    for (const float edge : part.bins.edges()) writer.put(edge);
    for (const uint64_t count : part.bins.counts()) writer.put_count(count);
    return;
  }
  writer.put_count(0);
  if (part.moments.count == 0) return;
  writer.put(static_cast<uint8_t>(part.bins.scale().fraction));
  writer.put_sparse(part.bins.counts());
}

// ---- Reading.

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
  // In 8 bytes, as version 1 has them.
  uint64_t take_fixed(uint64_t most) { return checked(take<uint64_t>(), most); }
  uint64_t take_count(uint64_t most = Statistics::kMaxCount) {
    uint64_t count = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = take<uint8_t>();
      if (shift > 56) refuse("expected a number of at most 9 bytes, got more");
      count |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) {
        if (byte == 0 && shift > 0) refuse("expected a number in its shortest form, got a longer one");
        return checked(count, most);
      }
    }
  }
  std::string take_text(uint64_t size) {
    if (!contains(bytes_, offset_, size)) refuse("expected more bytes, got the end");
    const auto* data = reinterpret_cast<const char*>(bytes_.data() + offset_);
    offset_ += size;
    return {data, static_cast<size_t>(size)};
  }
  template <class T>
  T take_number() {
    const T number = take<T>();
    if (!(std::abs(static_cast<double>(number)) <= kLargestFloat))
      refuse("expected a number that a float can hold, got another");
    return number;
  }
  void take_sparse(std::vector<uint64_t>& counts) {
    uint64_t index = 0;
    for (uint64_t left = take_count(counts.size()); left > 0; --left, ++index) {
      const uint64_t zeros = take_count(counts.size());
      const uint64_t count = take_count();
      index += zeros;
      if (index >= counts.size() || count == 0) refuse("expected counts of ", counts.size(), " bins, got others");
      counts[index] = count;
    }
  }
  // As version 1 has them: pairs of an index and a count.
  std::vector<uint64_t> take_pairs(uint64_t most) {
    std::vector<uint64_t> counts(take_fixed(most));
    const uint64_t filled = take_fixed(counts.size());
    uint64_t least = 0;
    for (uint64_t i = 0; i < filled; ++i) {
      const auto index = take<uint32_t>();
      const uint64_t count = take_fixed(Statistics::kMaxCount);
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
  static uint64_t checked(uint64_t count, uint64_t most) {
    if (count > most) refuse("expected at most ", most, " of something, got ", count);
    return count;
  }

  Bytes bytes_;
  uint64_t offset_ = 0;
};

void require_sum(const std::vector<uint64_t>& counts, uint64_t expected) {
  uint64_t total = 0;  // of at most 4,097 counts below 2^56: it does not overflow
  for (const uint64_t count : counts) total += count;
  if (total != expected) Reader::refuse("expected bins of ", expected, " values, got those of ", total);
}

void require_moments(const Moments& moments) {
  const auto count = static_cast<double>(moments.count);
  const double extent = static_cast<double>(moments.max) - static_cast<double>(moments.min);
  // A mean may be rounded past the extent.
  const double slack = 1e-6 * std::max(std::abs(moments.min), std::abs(moments.max));
  if (!(extent >= 0) || !(moments.mean >= moments.min - slack && moments.mean <= moments.max + slack))
    Reader::refuse("expected a mean between the least and the greatest value, got another");
  if (!(moments.squares >= 0 && moments.squares <= (extent + slack) * (extent + slack) * count))
    Reader::refuse("expected a sum of squares of ", moments.count, " distances, got another");
}

std::vector<float> take_edges(Reader& reader, uint64_t count) {
  std::vector<float> edges;
  for (uint64_t i = 0; i < count; ++i) {
    edges.push_back(reader.take_number<float>());
    if (i > 0 && !(edges[i] > edges[i - 1])) Reader::refuse("expected edges that ascend, got others");
  }
  return edges;
}

Bins take_adaptive(Reader& reader, const Moments& moments) {
  const auto fraction = static_cast<int32_t>(reader.take<uint8_t>());
  Bins bins;
  // Version 1 had 3.
  if (fraction < BinScale::kMinFraction - 1 || fraction > BinScale::kMaxFraction)
    Reader::refuse("expected a fraction of 3 to 23 bits, got ", fraction);
  bins.widen(moments.min, moments.max, fraction);
  if (bins.scale().fraction != fraction) Reader::refuse("expected a scale that fits the values, got a finer one");
  std::vector<uint64_t> counts(bins.counts().size());
  reader.take_sparse(counts);
  require_sum(counts, moments.count);
  if (counts.front() == 0 || counts.back() == 0) Reader::refuse("expected bins of the extent, got fewer");
  for (size_t i = 0; i < counts.size(); ++i) bins.count_at(i) = counts[i];
  return bins;
}

Part take_part(Reader& reader) {
  Part part;
  const auto kind = reader.take<uint8_t>();
  if (kind >= kPartKindCount) Reader::refuse("expected a kind of part, got ", static_cast<unsigned>(kind));
  part.name = {static_cast<PartKind>(kind), static_cast<uint32_t>(reader.take_count(kMaxParts))};
  for (uint64_t* count : {&part.moments.count, &part.nan_count, &part.infinite_count, &part.clipped_count,
                          &part.unchanged_count, &part.pair_count})
    *count = reader.take_count();
  part.step_squares = reader.take<double>();
  // No two floats lie further apart than twice the largest.
  if (!(part.step_squares >= 0 &&
        part.step_squares <= 4 * kLargestFloat * kLargestFloat * static_cast<double>(part.pair_count)))
    Reader::refuse("expected a sum of squares of ", part.pair_count, " steps, got another");
  if (part.moments.count > 0) {
    for (float* extent : {&part.moments.min, &part.moments.max}) *extent = reader.take_number<float>();
    part.moments.mean = reader.take_number<double>();
    part.moments.squares = reader.take<double>();
    require_moments(part.moments);
  }
  const uint64_t bin_count = reader.take_count(kMaxEdges + 1);
  if (bin_count == 0) {
    if (part.moments.count > 0) part.bins = take_adaptive(reader, part.moments);
    return part;
  }
  part.bins = Bins(take_edges(reader, bin_count - 1));
  for (size_t i = 0; i < bin_count; ++i) part.bins.count_at(i) = reader.take_count();
  require_sum(part.bins.counts(), part.moments.count);
  return part;
}

TensorStatistics take_tensor_head(Reader& reader) {
  TensorStatistics tensor;
  const auto is_output = reader.take<uint8_t>();
  const auto dtype = reader.take<uint8_t>();
  if (is_output > 1 || dtype >= kDTypeCount) Reader::refuse("expected a side and a dtype, got others");
  tensor.is_output = is_output == 1;
  tensor.dtype = static_cast<DType>(dtype);
  return tensor;
}

std::string take_name(Reader& reader, uint64_t size) {
  std::string name = reader.take_text(size);
  if (!is_utf8_name(name)) Reader::refuse("expected a name in UTF-8, got other bytes");
  return name;
}

Statistics take_statistics(Reader& reader) {
  Statistics statistics;
  statistics.description = reader.take_text(reader.take_count(kMaxDescription));
  if (!is_utf8_name(statistics.description)) Reader::refuse("expected a description in UTF-8, got other bytes");
  statistics.run_count = reader.take_count();
  statistics.error_count = reader.take_count();
  reader.take_sparse(statistics.latency.counts());
  for (uint64_t left = reader.take_count(kMaxTensors); left > 0; --left) {
    TensorStatistics tensor = take_tensor_head(reader);
    tensor.name = take_name(reader, reader.take_count(kMaxName));
    tensor.classes.resize(reader.take_count(TensorParts::kMaxClasses));
    reader.take_sparse(tensor.classes);
    for (uint64_t parts = reader.take_count(kMaxParts); parts > 0; --parts) tensor.parts.push_back(take_part(reader));
    statistics.tensors.push_back(std::move(tensor));
  }
  return statistics;
}

// ---- Version 1.

// Counts by the upper 12 bits of a float, as cells of 3 bits of fraction.
Bins bins_of_bits(const std::vector<uint64_t>& counts, const Moments& moments) {
  Bins bins;
  if (moments.count == 0) return bins;
  bins.widen(moments.min, moments.max, 3);
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    if (counts[bin] == 0) continue;
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(bin) << 20);
    const int64_t index = int64_t{bins.scale().cell(value)} - bins.first_cell();
    if (index < 0 || index >= static_cast<int64_t>(bins.counts().size()))
      Reader::refuse("expected bins between the least and the greatest value, got others");
    bins.count_at(static_cast<size_t>(index)) += counts[bin];
  }
  if (bins.counts().front() == 0 || bins.counts().back() == 0) Reader::refuse("expected bins of the extent, got fewer");
  return bins;
}

Part take_first_part(Reader& reader) {
  Part part;
  for (uint64_t* count : {&part.moments.count, &part.nan_count, &part.infinite_count})
    *count = reader.take_fixed(Statistics::kMaxCount);
  for (float* extent : {&part.moments.min, &part.moments.max})
    *extent = static_cast<float>(reader.take_number<double>());
  part.moments.mean = reader.take_number<double>();
  part.moments.squares = reader.take<double>();
  if (part.moments.count > 0) {
    require_moments(part.moments);
  } else {
    part.moments = {};
  }
  const uint64_t edge_count = reader.take_fixed(kMaxEdges);
  std::vector<float> edges;
  for (uint64_t i = 0; i < edge_count; ++i) {
    const auto edge = reader.take_number<double>();
    // A float is not below an edge exactly when it is not below the least float of which that is true.
    const auto nearest = static_cast<float>(edge);
    edges.push_back(nearest < edge ? std::nextafter(nearest, std::numeric_limits<float>::infinity()) : nearest);
    if (i > 0 && !(edges[i] > edges[i - 1])) Reader::refuse("expected edges that ascend, got others");
  }
  const std::vector<uint64_t> counts = reader.take_pairs(kMaxEdges + 1);
  if (counts.size() != (edge_count == 0 ? size_t{1} << 12 : edge_count + 1))
    Reader::refuse("expected bins for ", edge_count, " edges, got ", counts.size());
  require_sum(counts, part.moments.count);
  if (edge_count == 0) {
    part.bins = bins_of_bits(counts, part.moments);
    return part;
  }
  part.bins = Bins(std::move(edges));
  for (size_t i = 0; i < counts.size(); ++i) part.bins.count_at(i) = counts[i];
  return part;
}

Statistics take_first_version(Reader& reader) {
  Statistics statistics;
  statistics.run_count = reader.take_fixed(Statistics::kMaxCount);
  statistics.error_count = reader.take_fixed(Statistics::kMaxCount);
  statistics.latency.counts() = reader.take_pairs(LatencyHistogram::kBuckets);
  if (statistics.latency.counts().size() != LatencyHistogram::kBuckets)
    Reader::refuse("expected ", LatencyHistogram::kBuckets, " buckets of latency, got ",
                   statistics.latency.counts().size());
  for (uint64_t left = reader.take_fixed(kMaxTensors); left > 0; --left) {
    TensorStatistics tensor = take_tensor_head(reader);
    tensor.name = take_name(reader, reader.take_fixed(kMaxName));
    tensor.parts.push_back(take_first_part(reader));
    tensor.classes = reader.take_pairs(TensorParts::kMaxClasses);
    statistics.tensors.push_back(std::move(tensor));
  }
  return statistics;
}

}  // namespace

std::vector<std::byte> bytes_of(const Statistics& statistics, std::string_view description) {
  Writer writer;
  for (const char c : kMagic) writer.put(c);
  writer.put_text(description);
  writer.put_count(statistics.run_count);
  writer.put_count(statistics.error_count);
  writer.put_sparse(statistics.latency.counts());
  writer.put_count(statistics.tensors.size());
  for (const TensorStatistics& tensor : statistics.tensors) {
    writer.put(static_cast<uint8_t>(tensor.is_output));
    writer.put(static_cast<uint8_t>(tensor.dtype));
    writer.put_text(tensor.name);
    writer.put_count(tensor.classes.size());
    writer.put_sparse(tensor.classes);
    writer.put_count(tensor.parts.size());
    for (const Part& part : tensor.parts) put_part(writer, part);
  }
  return writer.finish();
}

Statistics statistics_from(Bytes bytes) {
  Reader reader(bytes);
  const std::string magic = reader.take_text(kMagic.size());
  if (magic != kMagic && magic != kFirstMagic) Reader::refuse("expected the magic bytes EWSTAT02, got others");
  Statistics statistics = magic == kMagic ? take_statistics(reader) : take_first_version(reader);
  reader.finish();
  return statistics;
}

}  // namespace edgeward
