#include "model_files/flatbuffer.h"

#include <algorithm>
#include <string>
#include <vector>

#include "bytes/utf8.h"
#include "error.h"

namespace edgeward {
namespace {

// The proof of one file. Pending tables are kept in a list, so that a file cannot exhaust the stack.
class Proof {
 public:
  Proof(Bytes file, const FlatSchema& schema) : file_(file), schema_(schema) {}

  ProvenFlatbuffer proven() {
    if (file_.size() > kMaxFlatbufferBytes) {
      throw Error(Code::unsupported_model, "file of ", file_.size(), " bytes, expected less than 2 GiB");
    }
    if (file_.size() < 8) {
      throw Error(Code::malformed_model, "file of ", file_.size(), " bytes is too short for a flatbuffer");
    }
    const std::string_view identifier(reinterpret_cast<const char*>(file_.data()) + 4, 4);
    if (identifier != schema_.identifier) {
      throw Error(Code::malformed_model, "file identifier at offset 4: expected \"", schema_.identifier, "\", got ",
                  shown(identifier));
    }
    const uint64_t root = at<uint32_t>(0);
    pending_.push_back({position_of_table(root, "root offset"), schema_.root, 1});
    while (!pending_.empty()) {
      const Pending next = pending_.back();
      pending_.pop_back();
      check_table(next);
    }
    return {{file_, static_cast<uint32_t>(root)}, end_};
  }

 private:
  struct Pending {
    uint32_t position;
    uint8_t layout;
    uint8_t depth;
  };

  static std::string shown(std::string_view bytes) {
    std::string text = "\"";
    for (const char c : bytes) text += c >= 0x20 && c < 0x7f ? c : '.';
    return text + "\"";
  }

  template <class T>
  T at(uint64_t offset) const {
    const std::optional<T> value = try_read<T>(file_, offset);
    if (!value)
      throw Error(Code::malformed_model, "offset ", offset, " lies outside the file of ", file_.size(), " bytes");
    return *value;
  }

  std::string at_offset(uint64_t position) const {
    const bool is_behind = position >= file_.size();
    return "at offset " + std::to_string(position) + " of " + std::to_string(file_.size()) +
           (is_behind ? " (is the file cut short?)" : "");
  }

  uint32_t position_of_table(uint64_t position, std::string_view what) const {
    if (position % 4 != 0 || position < 4 || !contains(file_, position, 4)) {
      throw Error(Code::malformed_model, what, ": no table can be ", at_offset(position));
    }
    return static_cast<uint32_t>(position);
  }

  static std::string field_name(const Layout& layout, size_t field) {
    std::string_view names = layout.field_names;
    for (size_t skip = 0; skip < field && !names.empty(); ++skip) {
      const size_t space = names.find(' ');
      names = space == std::string_view::npos ? std::string_view() : names.substr(space + 1);
    }
    if (names.empty()) return "field " + std::to_string(field);
    return "field " + std::string(names.substr(0, names.find(' ')));
  }

  [[noreturn]] void refuse(const Layout& layout, size_t field, const std::string& why) const {
    throw Error(Code::malformed_model, "table ", layout.name, ", ", field_name(layout, field), ": ", why);
  }

  // Notes that something ends at `end`.
  void reach(uint64_t end) { end_ = std::max(end_, end); }

  // Returns the position that the offset stored at `slot` points to. Offsets are unsigned and point forward.
  uint64_t follow(uint64_t slot) const { return slot + at<uint32_t>(slot); }

  // Checks the vector at `position` with elements of `width` bytes; returns its element count.
  uint32_t check_vector(const Layout& layout, size_t field, uint64_t position, uint32_t width, uint32_t alignment) {
    if (position % 4 != 0 || !contains(file_, position, 4)) {
      refuse(layout, field, "no vector can be " + at_offset(position));
    }
    const auto count = at<uint32_t>(position);
    if (!contains(file_, position + 4, uint64_t{count} * width)) {
      refuse(layout, field,
             "vector of " + std::to_string(count) + " elements of " + std::to_string(width) + " bytes at offset " +
                 std::to_string(position) + " leaves the file of " + std::to_string(file_.size()) + " bytes");
    }
    reach(position + 4 + uint64_t{count} * width);
    reached_bytes_ += uint64_t{count} * width;
    if (reached_bytes_ / kMaxFlatSharing > file_.size()) {
      refuse(layout, field, "vectors reach more than " + std::to_string(kMaxFlatSharing) + " times the file's bytes");
    }
    if (count != 0 && (position + 4) % alignment != 0) {
      refuse(layout, field,
             "elements at offset " + std::to_string(position + 4) + " are not aligned to " + std::to_string(alignment));
    }
    return count;
  }

  void check_string(const Layout& layout, size_t field, uint64_t position) {
    const uint32_t length = check_vector(layout, field, position, 1, 1);
    const std::optional<char> end = try_read<char>(file_, position + 4 + length);
    if (!end || *end != '\0')
      refuse(layout, field, "string at offset " + std::to_string(position) + " has no end mark");
    reach(position + 5 + length);
    const auto* first = reinterpret_cast<const char*>(file_.data()) + position + 4;
    if (!is_utf8_name({first, length}))
      refuse(layout, field, "string at offset " + std::to_string(position) + " is not UTF-8");
  }

  // Counted when found and not when checked: two vectors may share their elements, and the list must stay small.
  void count_one(const Layout& layout, size_t field) {
    if (++table_count_ > kMaxFlatTables) {
      refuse(layout, field, "more than " + std::to_string(kMaxFlatTables) + " tables");
    }
  }

  void push(const Layout& layout, size_t field, uint64_t position, size_t child, const Pending& parent) {
    if (position % 4 != 0 || position < 4 || !contains(file_, position, 4)) {
      refuse(layout, field, "no table can be " + at_offset(position));
    }
    if (parent.depth >= kMaxFlatDepth) {
      refuse(layout, field, "nested deeper than " + std::to_string(kMaxFlatDepth) + " tables");
    }
    count_one(layout, field);
    pending_.push_back(
        {static_cast<uint32_t>(position), static_cast<uint8_t>(child), static_cast<uint8_t>(parent.depth + 1)});
  }

  void check_table(const Pending& table) {
    const Layout& layout = schema_.layouts[table.layout];
    const int64_t vtable = int64_t{table.position} - at<int32_t>(table.position);
    if (vtable < 0 || vtable % 2 != 0 || !contains(file_, static_cast<uint64_t>(vtable), 4)) {
      throw Error(Code::malformed_model, "table ", layout.name, " at offset ", table.position, ": no vtable can be at ",
                  vtable);
    }
    const auto start = static_cast<uint64_t>(vtable);
    const auto vtable_bytes = at<uint16_t>(start);
    const auto table_bytes = at<uint16_t>(start + 2);
    if (vtable_bytes < 4 || vtable_bytes % 2 != 0 || !contains(file_, start, vtable_bytes)) {
      throw Error(Code::malformed_model, "table ", layout.name, " at offset ", table.position, ": vtable of ",
                  vtable_bytes, " bytes at ", vtable);
    }
    if (table_bytes < 4 || !contains(file_, table.position, table_bytes)) {
      throw Error(Code::malformed_model, "table ", layout.name, " at offset ", table.position, ": ", table_bytes,
                  " bytes leave the file of ", file_.size(), " bytes");
    }
    reach(std::max(start + vtable_bytes, uint64_t{table.position} + table_bytes));
    const size_t field_count = (vtable_bytes - 4u) / 2u;
    size_t child = 0;
    for (size_t field = 0; field < layout.fields.size(); ++field) {
      const char kind = layout.fields[field];
      const bool has_child = kind == 't' || kind == 'v' || kind == 'u';
      const size_t child_index = has_child ? layout.children[child++] : 0;
      const uint16_t offset = field < field_count ? at<uint16_t>(start + 4 + 2 * field) : uint16_t{0};
      if (kind == 'u') check_union_type(layout, field, table, start, field_count, child_index, offset != 0);
      if (offset == 0) continue;
      const uint32_t width = kind >= '1' && kind <= '8' ? static_cast<uint32_t>(kind - '0') : 4u;
      const uint64_t slot = uint64_t{table.position} + offset;
      if (offset < 4 || uint32_t{offset} + width > table_bytes || slot % width != 0) {
        refuse(layout, field,
               std::to_string(width) + " bytes at " + std::to_string(offset) + " of a table of " +
                   std::to_string(table_bytes) + " bytes at offset " + std::to_string(table.position));
      }
      check_field(layout, field, table, slot, child_index);
    }
    for (size_t field = layout.fields.size(); field < field_count; ++field) {
      if (at<uint16_t>(start + 4 + 2 * field) != 0) {
        throw Error(Code::unsupported_model, "table ", layout.name, " has field ", field, ", expected at most ",
                    layout.fields.size(), " fields");
      }
    }
  }

  void check_field(const Layout& layout, size_t field, const Pending& table, uint64_t slot, size_t child) {
    switch (layout.fields[field]) {
      case 's': return check_string(layout, field, follow(slot));
      case 'b': check_vector(layout, field, follow(slot), 1, 1); return;
      case 'h': check_vector(layout, field, follow(slot), 2, 2); return;
      case 'w': check_vector(layout, field, follow(slot), 4, 4); return;
      case 'd': check_vector(layout, field, follow(slot), 8, 8); return;
      case 'c': check_vector(layout, field, follow(slot), 12, 4); return;
      case 'S': {
        const uint64_t first = follow(slot) + 4;
        const uint32_t count = check_vector(layout, field, first - 4, 4, 4);
        for (uint64_t i = 0; i < count; ++i) {
          count_one(layout, field);
          check_string(layout, field, follow(first + 4 * i));
        }
        return;
      }
      case 't': return push(layout, field, follow(slot), child, table);
      case 'v': {
        const uint64_t first = follow(slot) + 4;
        const uint32_t count = check_vector(layout, field, first - 4, 4, 4);
        for (uint64_t i = 0; i < count; ++i) push(layout, field, follow(first + 4 * i), child, table);
        return;
      }
      case 'u':
        return push(layout, field, follow(slot), schema_.unions[child].first_layout + union_member_ - 1u, table);
      default: return;  // a scalar: any value is inside
    }
  }

  // The type and the value of a union are two fields that must be absent or present together.
  void check_union_type(const Layout& layout, size_t field, const Pending& table, uint64_t vtable, size_t field_count,
                        size_t child, bool has_value) {
    const Union& choice = schema_.unions[child];
    const uint16_t offset = field - 1 < field_count ? at<uint16_t>(vtable + 4 + 2 * (field - 1)) : uint16_t{0};
    union_member_ = offset == 0 ? uint8_t{0} : at<uint8_t>(uint64_t{table.position} + offset);
    if (union_member_ > choice.member_count) {
      throw Error(Code::unsupported_model, "table ", layout.name, ", ", field_name(layout, field), ": ", choice.name,
                  " member ", int{union_member_}, ", expected at most ", int{choice.member_count});
    }
    if ((union_member_ != 0) != has_value) {
      refuse(layout, field,
             std::string(choice.name) + " member " + std::to_string(union_member_) +
                 (has_value ? " with a value" : " without a value"));
    }
  }

  Bytes file_;
  const FlatSchema& schema_;
  std::vector<Pending> pending_;
  uint32_t table_count_ = 1;
  uint64_t reached_bytes_ = 0;
  uint64_t end_ = 8;          // of what has been reached; the root offset and the identifier come first
  uint8_t union_member_ = 0;  // of the union field that is being read
};

}  // namespace

ProvenFlatbuffer read_flatbuffer(Bytes file, const FlatSchema& schema) { return Proof(file, schema).proven(); }

}  // namespace edgeward
