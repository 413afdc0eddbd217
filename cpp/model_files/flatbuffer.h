// An untrusted flatbuffer: first proven to stay inside its bytes, then read.
// The proof follows a schema given as data (Layout): every table, vtable, vector and string reachable from the root
// is inside the file, aligned, within the depth and table limits, and no field is present that the schema lacks.
// Reading is only for files so proven; nothing here copies, and no view outlives the bytes.
// Rules: docs/model-files.md, section 1.
#pragma once

#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "bytes/bytes.h"

namespace edgeward {

// One kind of table. `fields` has one letter per field id:
//   1 2 4 8  a scalar of so many bytes        b h w d  a vector of scalars of 1, 2, 4, 8 bytes
//   s        a string                         S        a vector of strings
//   t        a table                          v        a vector of tables
//   u        a table of the union's member that the scalar field before it names (0: none)
//   c        a vector of structs of 12 bytes, aligned to 4
// Each t, v and u takes the next of `children`: for t and v the index of a Layout, for u of a Union.
struct Layout {
  std::string_view name;
  std::string_view fields;
  std::string_view field_names = {};  // separated by spaces, for messages; empty: the ids are shown
  std::span<const uint8_t> children = {};
};

// Member k of a union (k from 1) has the layout `first_layout + k - 1`.
struct Union {
  std::string_view name;
  uint8_t first_layout;
  uint8_t member_count;
};

struct FlatSchema {
  std::string_view identifier;  // four bytes at offset 4
  std::span<const Layout> layouts;
  std::span<const Union> unions;
  uint8_t root;
};

// Above the depth and size of any model, and low enough that a check ends soon.
inline constexpr uint32_t kMaxFlatDepth = 64;
inline constexpr uint32_t kMaxFlatTables = 1'000'000;  // with the strings of vectors

// Strings may be shared, so a file may reach more bytes than it has; beyond this many times its size it only wastes
// time.
inline constexpr uint64_t kMaxFlatSharing = 16;

// A vector of scalars inside a proven file. Elements are read by value, since they may be unaligned for C++.
template <class T>
class FlatVector {
 public:
  FlatVector() = default;
  FlatVector(const std::byte* first, uint32_t count) : first_(first), count_(count) {}

  uint32_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  T operator[](uint32_t index) const {
    T value;
    std::memcpy(&value, first_ + index * sizeof(T), sizeof(T));
    return value;
  }
  const std::byte* data() const { return first_; }

 private:
  const std::byte* first_ = nullptr;
  uint32_t count_ = 0;
};

class FlatTables;

// One table inside a proven file; a default-made one is absent, and every field of an absent table is absent.
class FlatTable {
 public:
  FlatTable() = default;
  FlatTable(Bytes file, uint32_t position) : file_(file), position_(position) {}

  explicit operator bool() const { return position_ != 0; }
  bool has(uint32_t field) const { return position(field) != 0; }

  // Where the field's scalar, or the offset of what it refers to, is located in the file; 0 when it is absent.
  uint32_t position(uint32_t field) const {
    if (position_ == 0) return 0;
    const uint32_t vtable = position_ - static_cast<uint32_t>(at<int32_t>(position_));
    const uint32_t entry = 4 + 2 * field;
    if (entry + 2 > at<uint16_t>(vtable)) return 0;
    const auto offset = at<uint16_t>(vtable + entry);
    return offset == 0 ? 0 : position_ + offset;
  }

  template <class T>
  T scalar(uint32_t field, T otherwise) const {
    const uint32_t slot = position(field);
    return slot == 0 ? otherwise : at<T>(slot);
  }

  std::string_view string(uint32_t field) const {
    const uint32_t position = target(field);
    if (position == 0) return {};
    return {reinterpret_cast<const char*>(file_.data()) + position + 4, at<uint32_t>(position)};
  }

  template <class T>
  FlatVector<T> vector(uint32_t field) const {
    const uint32_t position = target(field);
    if (position == 0) return {};
    return {file_.data() + position + 4, at<uint32_t>(position)};
  }

  FlatTable table(uint32_t field) const { return {file_, target(field)}; }
  FlatTables tables(uint32_t field) const;

  // Of a vector of strings.
  uint32_t string_count(uint32_t field) const {
    const uint32_t position = target(field);
    return position == 0 ? 0 : at<uint32_t>(position);
  }
  std::string_view string_at(uint32_t field, uint32_t index) const {
    const uint32_t slot = target(field) + 4 + 4 * index;
    const uint32_t position = slot + at<uint32_t>(slot);
    return {reinterpret_cast<const char*>(file_.data()) + position + 4, at<uint32_t>(position)};
  }

 private:
  friend class FlatTables;

  template <class T>
  T at(uint32_t position) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, file_.data() + position, sizeof(T));
    return value;
  }

  uint32_t target(uint32_t field) const {
    const uint32_t slot = position(field);
    return slot == 0 ? 0 : slot + at<uint32_t>(slot);
  }

  Bytes file_;
  uint32_t position_ = 0;
};

class FlatTables {
 public:
  FlatTables() = default;
  FlatTables(Bytes file, uint32_t position) : file_(file), position_(position) {
    if (position_ != 0) count_ = FlatTable(file_, position_).at<uint32_t>(position_);
  }

  uint32_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  FlatTable operator[](uint32_t index) const {
    const uint32_t slot = position_ + 4 + 4 * index;
    return {file_, slot + FlatTable(file_, position_).at<uint32_t>(slot)};
  }

 private:
  Bytes file_;
  uint32_t position_ = 0;
  uint32_t count_ = 0;
};

inline FlatTables FlatTable::tables(uint32_t field) const { return {file_, target(field)}; }

// What a proof yields. No table, vector or string has a byte at `end` or behind it.
struct ProvenFlatbuffer {
  FlatTable root;
  uint64_t end;
};

// Offsets are signed numbers of 32 bits to some readers.
inline constexpr uint64_t kMaxFlatbufferBytes = (uint64_t{1} << 31) - 1;

// Proves `file` against `schema`. Throws Error(malformed_model), or Error(unsupported_model) for a file of 2 GiB or
// more, or a field or union member that the schema does not know.
ProvenFlatbuffer read_flatbuffer(Bytes file, const FlatSchema& schema);

}  // namespace edgeward
