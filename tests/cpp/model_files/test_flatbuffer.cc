// The bounded flatbuffer reader, over a small schema of its own.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model_files/flatbuffer.h"
#include "rigs/flat_writer.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

using namespace testing;

enum LayoutIndex : uint8_t {
  kLeaf,
  kOther,
  kRoot
};
enum Field : uint32_t {
  number,
  name,
  words,
  leaf,
  leaves,
  kind,
  choice,
  texts,
  wide
};

constexpr uint8_t kRootChildren[] = {kLeaf, kLeaf, 0};
constexpr uint8_t kLeafChildren[] = {kRoot};
constexpr Layout kLayouts[] = {
    {"Leaf", "4t", "value root", kLeafChildren},
    {"Other", "s", "text"},
    {"Root", "4swtv1uS8", "number name words leaf leaves kind choice texts wide", kRootChildren},
};
constexpr Union kUnions[] = {{"Choice", kLeaf, 2}};
constexpr FlatSchema kSchema = {"TEST", kLayouts, kUnions, kRoot};

FlatNode tree() {
  return {scalar<int32_t>(number, 7),
          string(name, "seven"),
          vector<int32_t>(words, {1, 2, 3}),
          table(leaf, {scalar<int32_t>(0, 11)}),
          tables(leaves, {{scalar<int32_t>(0, 21)}, {}, {scalar<int32_t>(0, 23)}}),
          scalar<uint8_t>(kind, 2),
          table(choice, {string(0, "two")}),
          strings(texts, {"a", "", "c"}),
          scalar<int64_t>(wide, -5)};
}

std::string file(const FlatNode& node) { return FlatWriter::file("TEST", node); }
FlatTable read(const std::string& bytes) { return read_flatbuffer(view(bytes), kSchema).root; }

template <class Edit>
std::string edited(const Edit& edit) {
  FlatNode node = tree();
  edit(node);
  return file(node);
}

// The file of tree() with a number of T laid over the bytes at `offset`.
template <class T>
std::string patched(size_t offset, T value) {
  std::string bytes = file(tree());
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  return bytes;
}

size_t root_offset() { return try_read<uint32_t>(view(file(tree())), 0).value(); }
// Where field `id` of the root lies.
size_t slot(uint32_t id) {
  const std::string bytes = file(tree());
  const size_t root = root_offset();
  const size_t vtable = root - static_cast<size_t>(try_read<int32_t>(view(bytes), root).value());
  return root + try_read<uint16_t>(view(bytes), vtable + 4 + 2 * id).value();
}

TEST_CASE("every kind of field is read back") {
  const std::string bytes = file(tree());
  const FlatTable root = read(bytes);
  CHECK(root.scalar<int32_t>(number, 0) == 7);
  CHECK(root.string(name) == "seven");
  CHECK(root.vector<int32_t>(words).size() == 3);
  CHECK(root.vector<int32_t>(words)[2] == 3);
  CHECK(root.table(leaf).scalar<int32_t>(0, 0) == 11);
  CHECK(root.tables(leaves).size() == 3);
  CHECK(root.tables(leaves)[2].scalar<int32_t>(0, 0) == 23);
  CHECK(root.table(choice).string(0) == "two");
  CHECK(root.string_count(texts) == 3);
  CHECK(root.string_at(texts, 2) == "c");
  CHECK(root.scalar<int64_t>(wide, 0) == -5);
}

TEST_CASE("an absent field has its default, and so have the fields of an absent table") {
  const std::string bytes = file({});
  const FlatTable root = read(bytes);
  CHECK(root.scalar<int32_t>(number, 42) == 42);
  CHECK(root.string(name).empty());
  CHECK(root.vector<int32_t>(words).empty());
  CHECK_FALSE(root.table(leaf));
  CHECK(root.table(leaf).scalar<int32_t>(0, 43) == 43);
  CHECK(root.tables(leaves).empty());
  CHECK(root.string_count(texts) == 0);
  CHECK_FALSE(root.has(wide));
}

TEST_CASE("a file cut at any byte is refused") {
  const std::string bytes = file(tree());
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(read(bytes.substr(0, size)), Error);
  }
}

TEST_CASE("bytes after the last table change nothing") {
  const std::string bytes = file(tree()) + std::string(5, '\xff');
  CHECK(read(bytes).string(name) == "seven");
}

TEST_CASE("a damaged frame is refused with its place") {
  const size_t root = root_offset();
  check_refusal(Code::malformed_model, {"identifier", "TEST", "NOPE"}, [] { read(FlatWriter::file("NOPE", tree())); });
  check_refusal(Code::malformed_model, {"root offset"}, [] { read(patched<uint32_t>(0, 0x7fffffff)); });
  check_refusal(Code::malformed_model, {"root offset"}, [] { read(patched<uint32_t>(0, 10)); });
  check_refusal(Code::malformed_model, {"table Root", "no vtable"}, [&] { read(patched<int32_t>(root, 1 << 30)); });
  check_refusal(Code::malformed_model, {"table Root", "no vtable"}, [&] { read(patched<int32_t>(root, -(1 << 30))); });
  const auto distance = try_read<int32_t>(view(file(tree())), root).value();
  const size_t vtable = root - static_cast<size_t>(distance);
  check_refusal(Code::malformed_model, {"table Root", "vtable of 3 bytes"},
                [&] { read(patched<uint16_t>(vtable, 3)); });
  check_refusal(Code::malformed_model, {"table Root", "vtable of 65534 bytes"},
                [&] { read(patched<uint16_t>(vtable, 65534)); });
  check_refusal(Code::malformed_model, {"table Root", "65535 bytes leave the file"},
                [&] { read(patched<uint16_t>(vtable + 2, 65535)); });
  check_refusal(Code::malformed_model, {"table Root, field number", "9999"},
                [&] { read(patched<uint16_t>(vtable + 4, 9999)); });
  check_refusal(Code::malformed_model, {"table Root, field number"}, [&] { read(patched<uint16_t>(vtable + 4, 2)); });
}

TEST_CASE("a damaged field is refused by name") {
  const auto leads_outside = [](uint32_t id) { return patched<uint32_t>(slot(id), 0x7ffffff0); };
  check_refusal(Code::malformed_model, {"table Root, field name"}, [&] { read(leads_outside(name)); });
  check_refusal(Code::malformed_model, {"table Root, field words"}, [&] { read(leads_outside(words)); });
  check_refusal(Code::malformed_model, {"table Root, field leaf"}, [&] { read(leads_outside(leaf)); });
  check_refusal(Code::malformed_model, {"table Root, field leaves"}, [&] { read(leads_outside(leaves)); });
  check_refusal(Code::malformed_model, {"table Root, field texts"}, [&] { read(leads_outside(texts)); });
  const size_t count = slot(words) + try_read<uint32_t>(view(file(tree())), slot(words)).value();
  check_refusal(Code::malformed_model, {"field words", "4294967295 elements"},
                [&] { read(patched<uint32_t>(count, ~0u)); });
  const size_t length = slot(name) + try_read<uint32_t>(view(file(tree())), slot(name)).value();
  check_refusal(Code::malformed_model, {"field name", "no end mark"}, [&] { read(patched<uint32_t>(length, 4)); });
  check_refusal(Code::malformed_model, {"field name", "UTF-8"}, [&] { read(patched<uint8_t>(length + 4, 0xff)); });
  check_refusal(Code::malformed_model, {"field name", "UTF-8"}, [&] { read(patched<uint8_t>(length + 5, 0)); });
}

TEST_CASE("a union's type and value come together") {
  check_refusal(Code::malformed_model, {"Choice member 2 without a value"},
                [] { read(edited([](FlatNode& node) { remove(node, choice); })); });
  check_refusal(Code::malformed_model, {"Choice member 0 with a value"},
                [] { read(edited([](FlatNode& node) { remove(node, kind); })); });
  check_refusal(Code::unsupported_model, {"Choice member 3", "at most 2"},
                [] { read(edited([](FlatNode& node) { set(node, scalar<uint8_t>(kind, 3)); })); });
}

TEST_CASE("a field that the schema lacks is refused") {
  check_refusal(Code::unsupported_model, {"table Root has field 9", "at most 9 fields"},
                [] { read(edited([](FlatNode& node) { set(node, scalar<int32_t>(9, 1)); })); });
}

TEST_CASE("tables may nest 64 deep and no deeper") {
  const auto nested = [](uint32_t depth) {
    FlatNode node;
    for (uint32_t level = 1; level < depth; ++level) {
      const uint32_t parent_field = (depth - level) % 2 == 0 ? 1u : static_cast<uint32_t>(leaf);
      FlatNode parent;
      parent.push_back(table(parent_field, std::move(node)));
      node = std::move(parent);
    }
    return file(node);
  };
  CHECK_NOTHROW(read(nested(kMaxFlatDepth)));
  check_refusal(Code::malformed_model, {"deeper than 64"}, [&] { read(nested(kMaxFlatDepth + 1)); });
}

TEST_CASE("vectors that share their tables cannot make a small file endless") {
  // Each level has two slots that lead to one table of the next: 2^40 paths.
  FlatNode node;
  for (int level = 0; level < 20; ++level) node = {tables(leaves, {{table(1, std::move(node))}, {}})};
  std::string bytes = file(node);
  size_t shared = 0;
  size_t at = try_read<uint32_t>(view(bytes), 0).value();
  for (int level = 0; level < 20; ++level) {
    const size_t field = at + 4;
    const size_t list = field + try_read<uint32_t>(view(bytes), field).value();
    REQUIRE(try_read<uint32_t>(view(bytes), list).value() == 2);
    const uint32_t first = try_read<uint32_t>(view(bytes), list + 4).value();
    const uint32_t again = first - 4;
    std::memcpy(bytes.data() + list + 8, &again, 4);
    ++shared;
    const size_t child = list + 4 + first;
    at = child + 4 + try_read<uint32_t>(view(bytes), child + 4).value();
  }
  CHECK(shared == 20);
  check_refusal(Code::malformed_model, {"field leaves", "more than 16 times"}, [&] { read(bytes); });
}

TEST_CASE("every flipped bit gives a file that is read or refused") {
  const std::string bytes = file(tree());
  size_t refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    try {
      const FlatTable root = read(damaged);
      root.string(name);
      for (uint32_t i = 0; i < root.tables(leaves).size(); ++i) root.tables(leaves)[i].scalar<int32_t>(0, 0);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > bytes.size());
}

}  // namespace
}  // namespace edgeward
