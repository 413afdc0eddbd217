#include "engines/library.h"

#include <doctest/doctest.h>

#include <string>

#include "rigs/directory.h"
#include "rigs/refusal.h"

namespace edgeward {

TEST_CASE("a library that cannot be opened is named, in the loader's words") {
  check_refusal(Code::engine_missing, {"/nowhere/libengine.so", "No such file"},
                [] { Library("/nowhere/libengine.so"); });
  check_refusal(Code::engine_missing, {"/dev/null"}, [] { Library("/dev/null"); });
}

TEST_CASE("a symbol is found, and one that is missing is named") {
  const Library library(FAKE_LITERT_PATH);
  CHECK(library.path() == FAKE_LITERT_PATH);
  CHECK((library.symbol<int (*)(void**)>("LiteRtCreateOptions") != nullptr));
  CHECK(library.try_address("LiteRtCreateOptions") != nullptr);
  CHECK(library.try_address("LiteRtCreateNothing") == nullptr);
  check_refusal(Code::engine_mismatch, {FAKE_LITERT_PATH, "LiteRtCreateNothing"},
                [&] { (void)library.symbol<void (*)()>("LiteRtCreateNothing"); });
}

TEST_CASE("a library is told from others by its build id, or without one by all of its code") {
  const auto text = [](const Bytes& bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  const std::string id = "build of a test fake";  // tests/cpp/CMakeLists.txt
  const auto identity = Library(FAKE_LITERT_PATH).identity();
  REQUIRE(identity.size() == 1);
  CHECK(text(identity[0]) == id);

  const Directory directory;
  std::string content = content_of(FAKE_LITERT_PATH);
  const size_t note = content.find(std::string("GNU\0", 4) + id);
  REQUIRE(note != std::string::npos);
  const auto opened_with = [&](size_t offset, char byte, const char* name) {
    std::string changed = content;
    changed[offset] = byte;
    return Library(write_file(directory.at(name), changed)).identity();
  };
  // The owner, the type, and a length that leaves the notes.
  size_t number = 0;
  for (const auto& [offset, byte] : {std::pair(note, 'X'), std::pair(note - 4, '\1'), std::pair(note - 7, '\x7f')}) {
    const auto code = opened_with(offset, byte, std::to_string(number++).c_str());
    REQUIRE(!code.empty());
    CHECK(text(code[0]) != id);
    size_t size_bytes = 0;
    for (const Bytes& segment : code) size_bytes += segment.size();
    CHECK(size_bytes > 4096);
  }
}

TEST_CASE("a version is its first two numbers, and zero where it has none") {
  struct Row {
    const char* text;
    Version version;
  };
  const Row rows[] = {{"2.3.0", {2, 3}},      {"2.3", {2, 3}},
                      {"1.32.0rc1", {1, 32}}, {"2", {2, 0}},
                      {"2.x", {2, 0}},        {"", {0, 0}},
                      {"nightly", {0, 0}},    {"2.14.0.post1", {2, 14}},
                      {"10.20", {10, 20}},    {"99999999999.1", {999999999, 0}}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK((parse_version(row.text) == row.version));
  }
}

TEST_CASE("a version must lie in the range that was checked, whose end is outside") {
  for (const char* text : {"2.2.0", "2.3.0", "2.3.99"}) {
    CAPTURE(text);
    CHECK_NOTHROW(require_version("ai-edge-litert", text, {2, 2}, {2, 4}));
  }
  for (const char* text : {"2.1.9", "2.4.0", "3.2.0", "1.3.0", "", "unknown"}) {
    CAPTURE(text);
    check_refusal(Code::engine_mismatch, {"ai-edge-litert", "from 2.2 and below 2.4", std::string("got ") + text}, [&] {
      require_version("ai-edge-litert", text, {2, 2}, {2, 4});
    });
  }
}

TEST_CASE("a variable that a library does not refer to, or not there, is not redirected") {
  const Library library(FAKE_LITERT_PATH);
  int elsewhere = 0;
  CHECK_FALSE(library.try_redirect("no_such_variable", &elsewhere, &elsewhere));
  CHECK_FALSE(library.try_redirect("stderr", &elsewhere, &elsewhere));
}

}  // namespace edgeward
