// The bytes of a .tflite file with one operator: y = -x over float32.
// Laid out front to back, every table before what it points to; as much of the format as the core's tests need.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "system/memory.h"

namespace edgeward {

struct Negation {
  std::vector<int32_t> shape{1, 4};
  std::vector<int32_t> shape_signature{-1, 4};
  bool is_variable = false;  // of a third tensor, which nothing uses
};

namespace tflite_bytes {

// A field of a table: nothing, a number, or something that lies elsewhere in the file.
struct Node {
  enum class Kind {
    absent,
    number,
    text,
    numbers,
    table,
    tables
  } kind = Kind::absent;
  int32_t number = 0;
  std::string text = {};
  std::vector<int32_t> numbers = {};
  std::vector<Node> children = {};  // the fields of a table, or the tables of a vector
};

inline Node absent() { return {}; }
inline Node number(int32_t value) { return {Node::Kind::number, value}; }
inline Node text(std::string value) { return {Node::Kind::text, 0, std::move(value)}; }
inline Node numbers(std::vector<int32_t> values) { return {Node::Kind::numbers, 0, {}, std::move(values)}; }
inline Node table(std::vector<Node> fields) { return {Node::Kind::table, 0, {}, {}, std::move(fields)}; }
inline Node tables(std::vector<Node> elements) { return {Node::Kind::tables, 0, {}, {}, std::move(elements)}; }

class Writer {
 public:
  std::string file(const std::string& identifier, const Node& root) {
    append(0);
    bytes_ += identifier;
    point(0, write(root));
    return std::move(bytes_);
  }

 private:
  size_t append(int32_t value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return bytes_.size() - sizeof value;
  }
  void append_half(size_t value) {
    const auto half = static_cast<uint16_t>(value);
    bytes_.append(reinterpret_cast<const char*>(&half), sizeof half);
  }
  void point(size_t from, size_t to) {
    const auto offset = static_cast<uint32_t>(to - from);
    std::memcpy(bytes_.data() + from, &offset, sizeof offset);
  }

  size_t write(const Node& node) {
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
    if (node.kind == Node::Kind::table) return write_table(node.children);
    const size_t begin = bytes_.size();
    if (node.kind == Node::Kind::text) {
      append(static_cast<int32_t>(node.text.size()));
      bytes_ += node.text + '\0';
    } else if (node.kind == Node::Kind::numbers) {
      append(static_cast<int32_t>(node.numbers.size()));
      for (const int32_t value : node.numbers) append(value);
    } else {
      append(static_cast<int32_t>(node.children.size()));
      std::vector<size_t> slots;
      for (size_t i = 0; i < node.children.size(); ++i) slots.push_back(append(0));
      for (size_t i = 0; i < slots.size(); ++i) point(slots[i], write(node.children[i]));
    }
    return begin;
  }

  // Each field in a slot of four bytes; one that is narrower is its slot's first.
  size_t write_table(const std::vector<Node>& fields) {
    const size_t vtable = bytes_.size();
    append_half(4 + 2 * fields.size());
    size_t table_bytes = 4;
    std::vector<size_t> offsets;
    for (const Node& field : fields) {
      offsets.push_back(field.kind == Node::Kind::absent ? 0 : table_bytes);
      if (field.kind != Node::Kind::absent) table_bytes += 4;
    }
    append_half(table_bytes);
    for (const size_t offset : offsets) append_half(offset);
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
    const size_t begin = append(static_cast<int32_t>(bytes_.size() - vtable));
    for (const Node& field : fields) {
      if (field.kind != Node::Kind::absent) append(field.number);
    }
    for (size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].kind > Node::Kind::number) point(begin + offsets[i], write(fields[i]));
    }
    return begin;
  }

  std::string bytes_;
};

}  // namespace tflite_bytes

inline Block tflite_file(const Negation& model = {}) {
  using namespace tflite_bytes;
  constexpr int32_t kNeg = 59;
  const auto tensor = [&](const char* name, bool is_variable) {
    // shape, type (0: float32), buffer, name, quantization, is_variable, sparsity, shape_signature
    return table({numbers(model.shape), number(0), number(0), text(name), absent(), number(is_variable ? 1 : 0),
                  absent(), numbers(model.shape_signature)});
  };
  std::vector<Node> tensors{tensor("x", false), tensor("y", false)};
  if (model.is_variable) tensors.push_back(tensor("state", true));
  const Node operation = table({number(0), numbers({0}), numbers({1})});
  const Node graph = table({tables(std::move(tensors)), numbers({0}), numbers({1}), tables({operation})});
  const Node code = table({number(kNeg), absent(), number(1), number(kNeg)});
  const std::string file =
      Writer().file("TFL3", table({number(3), tables({code}), tables({graph}), text("test"), tables({table({})})}));
  Block block = Block::uninitialized(file.size());
  std::memcpy(block.data(), file.data(), file.size());
  return block;
}

}  // namespace edgeward
