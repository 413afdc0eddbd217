#include "model_files/tflite_outline.h"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "bytes/bytes.h"
#include "model_files/tflite_schema.h"
#include "model_files/tflite_type.h"

namespace edgeward {

namespace schema = tflite_schema;

namespace {

// A place outside the file, or what cannot be a table: the file is read whole.
struct NoFlatbuffer {};

struct Extent {
  uint64_t begin;
  uint64_t end;
};

// Reads single values of a flatbuffer out of the file, each inside it or NoFlatbuffer.
class Peek {
 public:
  explicit Peek(const File& file) : file_(file) {}

  template <class T>
  T at(uint64_t position) const {
    T value;
    require_inside(position, sizeof(T));
    file_.read_at(position, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void require_inside(uint64_t position, uint64_t size_bytes) const {
    if (position > file_.size_bytes() || size_bytes > file_.size_bytes() - position) throw NoFlatbuffer();
  }
  uint64_t target(uint64_t slot) const { return slot + at<uint32_t>(slot); }
  // 0 when the table does not have the field.
  uint64_t field(uint64_t table, uint32_t field) const {
    const int64_t vtable = static_cast<int64_t>(table) - at<int32_t>(table);
    if (vtable < 0) throw NoFlatbuffer();
    const uint64_t entry = 4 + 2 * uint64_t{field};
    if (entry + 2 > at<uint16_t>(static_cast<uint64_t>(vtable))) return 0;
    const auto offset = at<uint16_t>(static_cast<uint64_t>(vtable) + entry);
    return offset == 0 ? 0 : table + offset;
  }
  template <class T>
  T scalar(uint64_t table, uint32_t field, T otherwise) const {
    const uint64_t slot = this->field(table, field);
    return slot == 0 ? otherwise : at<T>(slot);
  }
  // Calls `visit(index, table)` for each table of a vector of tables.
  template <class Visit>
  void for_each(uint64_t table, uint32_t field, const Visit& visit) const {
    const uint64_t slot = this->field(table, field);
    if (slot == 0) return;
    const uint64_t vector = target(slot);
    const auto count = at<uint32_t>(vector);
    require_inside(vector + 4, 4 * uint64_t{count});
    for (uint32_t i = 0; i < count; ++i) visit(i, target(vector + 4 + 4 * uint64_t{i}));
  }

 private:
  const File& file_;
};

// Of indices and shapes, which are integers of 32 bits or more, and of strings and booleans, rules may read contents.
bool is_weight(TfliteType type) {
  switch (type) {
    case TfliteType::float32:
    case TfliteType::float16:
    case TfliteType::bfloat16:
    case TfliteType::int8:
    case TfliteType::uint8:
    case TfliteType::int4: return true;
    default: return false;
  }
}

std::optional<Extent> contents(const Peek& peek, uint64_t buffer) {
  if (const uint64_t slot = peek.field(buffer, schema::buffer::data)) {
    const uint64_t vector = peek.target(slot);
    const uint64_t begin = vector + 4;
    return Extent{begin, begin + peek.at<uint32_t>(vector)};
  }
  const auto offset = peek.scalar<uint64_t>(buffer, schema::buffer::offset, 0);
  const auto size = peek.scalar<uint64_t>(buffer, schema::buffer::size, 0);
  if (offset <= 1 || size == 0) return std::nullopt;
  peek.require_inside(offset, size);
  return Extent{offset, offset + size};
}

// What may be left out, in order and apart from each other.
std::vector<Extent> holes(const File& file) {
  const Peek peek(file);
  const uint64_t root = peek.target(0);
  std::map<uint32_t, bool> is_needed;  // by buffer that a tensor has
  peek.for_each(root, schema::model::subgraphs, [&](uint32_t, uint64_t subgraph) {
    peek.for_each(subgraph, schema::subgraph::tensors, [&](uint32_t, uint64_t tensor) {
      const auto type = static_cast<TfliteType>(peek.scalar<int8_t>(tensor, schema::tensor::type, 0));
      is_needed[peek.scalar<uint32_t>(tensor, schema::tensor::buffer, 0)] |= !is_weight(type);
    });
  });
  std::vector<Extent> holes;
  peek.for_each(root, schema::model::buffers, [&](uint32_t index, uint64_t buffer) {
    const auto needed = is_needed.find(index);
    const auto extent = contents(peek, buffer);
    if (needed == is_needed.end() || needed->second || !extent || extent->end - extent->begin < kLeftOutBytes) return;
    peek.require_inside(extent->begin, extent->end - extent->begin);
    holes.push_back(*extent);
  });
  std::ranges::sort(holes, {}, &Extent::begin);
  const auto overlaps = [](const Extent& a, const Extent& b) { return a.end > b.begin; };
  if (std::ranges::adjacent_find(holes, overlaps) != holes.end()) throw NoFlatbuffer();
  return holes;
}

}  // namespace

Block read_tflite_outline(const File& file) {
  std::vector<Extent> left_out;
  try {
    left_out = holes(file);
  } catch (const NoFlatbuffer&) {
    left_out.clear();
  }
  Block outline = left_out.empty() ? Block::pages(file.size_bytes()) : Block::sparse(file.size_bytes());
  left_out.push_back({file.size_bytes(), file.size_bytes()});
  uint64_t begin = 0;
  for (const Extent& hole : left_out) {
    file.read_at(begin, {outline.data() + begin, static_cast<size_t>(hole.begin - begin)});
    begin = hole.end;
  }
  return outline;
}

}  // namespace edgeward
