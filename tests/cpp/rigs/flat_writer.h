// Writes flatbuffers for the tests: a tree of fields in, bytes out. Any tree can be written, also a broken one.
// Every table lies before what it refers to, aligned to 8, with a vtable of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "bytes/bytes.h"

namespace edgeward::testing {

struct FlatField;
using FlatNode = std::vector<FlatField>;  // the fields of one table

// One field: inline bytes (a scalar), or something elsewhere that the field leads to.
struct FlatField {
  enum class Kind : uint8_t {
    scalar,
    string,
    vector,
    table,
    tables,
    strings
  };

  uint32_t id = 0;
  Kind kind = Kind::scalar;
  uint32_t width = 0;      // of a scalar, or of a vector's elements
  std::string bytes = {};  // of a scalar, string or vector
  std::vector<FlatNode> nodes = {};
  std::vector<std::string> texts = {};
};

template <class T>
FlatField scalar(uint32_t id, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {id, FlatField::Kind::scalar, sizeof(T), std::string(reinterpret_cast<const char*>(&value), sizeof(T))};
}
inline FlatField string(uint32_t id, std::string text) { return {id, FlatField::Kind::string, 1, std::move(text)}; }
template <class T>
FlatField vector(uint32_t id, const std::vector<T>& values) {
  return {id, FlatField::Kind::vector, sizeof(T),
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}
inline FlatField table(uint32_t id, FlatNode node) { return {id, FlatField::Kind::table, 4, {}, {std::move(node)}}; }
inline FlatField tables(uint32_t id, std::vector<FlatNode> nodes) {
  return {id, FlatField::Kind::tables, 4, {}, std::move(nodes)};
}
inline FlatField strings(uint32_t id, std::vector<std::string> texts) {
  return {id, FlatField::Kind::strings, 4, {}, {}, std::move(texts)};
}

// The field `id` of a node, to be changed.
inline FlatField& at(FlatNode& node, uint32_t id) {
  for (FlatField& field : node) {
    if (field.id == id) return field;
  }
  return node.emplace_back(FlatField{id});
}
inline void set(FlatNode& node, FlatField field) {
  const uint32_t id = field.id;
  at(node, id) = std::move(field);
}
inline void remove(FlatNode& node, uint32_t id) {
  std::erase_if(node, [&](const FlatField& field) { return field.id == id; });
}

class FlatWriter {
 public:
  static std::string file(std::string_view identifier, const FlatNode& root) {
    FlatWriter writer;
    writer.bytes_.assign(4, '\0');
    writer.bytes_ += identifier;
    writer.link(0, writer.write_table(root));
    return writer.bytes_;
  }

 private:
  void align(size_t alignment) { bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment); }
  template <class T>
  void put(size_t position, T value) {
    std::memcpy(bytes_.data() + position, &value, sizeof(T));
  }
  void link(size_t slot, size_t target) { put(slot, static_cast<uint32_t>(target - slot)); }

  size_t write_bytes(const std::string& bytes, uint32_t count, uint32_t alignment) {
    bytes_.resize((bytes_.size() + 4 + alignment - 1) / alignment * alignment - 4);
    align(4);
    const size_t position = bytes_.size();
    bytes_.resize(position + 4);
    put(position, count);
    bytes_ += bytes;
    return position;
  }

  size_t write_string(const std::string& text) {
    const size_t position = write_bytes(text, static_cast<uint32_t>(text.size()), 4);
    bytes_ += '\0';
    return position;
  }

  size_t write_table(const FlatNode& node) {
    uint32_t field_count = 0;
    for (const FlatField& field : node) field_count = std::max(field_count, field.id + 1);
    std::vector<uint16_t> offsets(field_count, 0);
    uint32_t size = 4;
    for (const FlatField& field : node) {
      const uint32_t width = field.kind == FlatField::Kind::scalar ? field.width : 4;
      size = (size + width - 1) / width * width;
      offsets[field.id] = static_cast<uint16_t>(size);
      size += width;
    }
    align(2);
    while ((bytes_.size() + 4 + 2 * field_count) % 8 != 0) bytes_ += std::string(2, '\0');
    const size_t vtable = bytes_.size();
    const size_t position = vtable + 4 + 2 * field_count;
    bytes_.resize(position + size);
    put(vtable, static_cast<uint16_t>(4 + 2 * field_count));
    put(vtable + 2, static_cast<uint16_t>(size));
    for (uint32_t i = 0; i < field_count; ++i) put(vtable + 4 + 2 * i, offsets[i]);
    put(position, static_cast<int32_t>(position - vtable));
    for (const FlatField& field : node) write_field(field, position + offsets[field.id]);
    return position;
  }

  void write_field(const FlatField& field, size_t slot) {
    switch (field.kind) {
      case FlatField::Kind::scalar: std::memcpy(bytes_.data() + slot, field.bytes.data(), field.bytes.size()); return;
      case FlatField::Kind::string: return link(slot, write_string(field.bytes));
      case FlatField::Kind::vector:
        return link(slot, write_bytes(field.bytes, static_cast<uint32_t>(field.bytes.size() / field.width),
                                      std::max(4u, field.width)));
      case FlatField::Kind::table: return link(slot, write_table(field.nodes[0]));
      case FlatField::Kind::tables: {
        const size_t position = write_slots(field.nodes.size());
        link(slot, position);
        for (size_t i = 0; i < field.nodes.size(); ++i) link(position + 4 + 4 * i, write_table(field.nodes[i]));
        return;
      }
      case FlatField::Kind::strings: {
        const size_t position = write_slots(field.texts.size());
        link(slot, position);
        for (size_t i = 0; i < field.texts.size(); ++i) link(position + 4 + 4 * i, write_string(field.texts[i]));
        return;
      }
    }
  }

  size_t write_slots(size_t count) {
    return write_bytes(std::string(4 * count, '\0'), static_cast<uint32_t>(count), 4);
  }

  std::string bytes_;
};

inline Bytes view(const std::string& file) { return {reinterpret_cast<const std::byte*>(file.data()), file.size()}; }

}  // namespace edgeward::testing
