#include "bytes/json.h"

#include <doctest/doctest.h>

#include <limits>

#include "rigs/damage.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

Json parsed(std::string_view text) { return Json::parse(std::as_bytes(std::span(text))); }

void check_refused(std::string_view text, const std::vector<std::string_view>& words = {"JSON: byte ", "expected "}) {
  CAPTURE(text);
  check_refusal(Code::malformed_root, words, [&] { parsed(text); });
}

std::string nested(size_t levels, char open, char close) {
  return std::string(levels, open) + std::string(levels, close);
}

// Every kind of value, every kind of space and every escape.
constexpr std::string_view kDocument =
    "{\"name\" : \"a \\\"b\\\\c\\/d\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\\u20AC \xC3\xA9\",\t\"numbers\":[0,-1,12],\n"
    "\"more\":{\"yes\":true,\"no\":false,\"none\":null,\"empty\":[{},[],\"\"]}}\r\n";

}  // namespace

TEST_CASE("a document is read with each of its values") {
  const Json document = parsed(kDocument);
  const Json::Object& fields = document.object("document");
  CHECK(fields.size() == 3);
  CHECK(fields.find("name")->second.string("name") ==
        "a \"b\\c/d\b\f\n\r\t\xC3\xA9\xF0\x9F\x98\x80\xE2\x82\xAC \xC3\xA9");
  const Json::Array& numbers = fields.find("numbers")->second.array("numbers");
  REQUIRE(numbers.size() == 3);
  CHECK(numbers[0].integer("number") == 0);
  CHECK(numbers[1].integer("number") == -1);
  CHECK(numbers[2].integer("number") == 12);
  const Json::Object& more = fields.find("more")->second.object("more");
  const Json::Array& empty = more.find("empty")->second.array("empty");
  REQUIRE(empty.size() == 3);
  CHECK(empty[0].object("object").empty());
  CHECK(empty[1].array("array").empty());
  CHECK(empty[2].string("string").empty());
}

TEST_CASE("a value of another kind is an error that names it and what it should be") {
  for (const char* text : {"{}", "[]", "\"text\"", "7", "true", "false", "null"}) {
    CAPTURE(text);
    const Json value = parsed(text);
    const std::string_view kind(text);
    const auto check = [&](bool is_it, std::string_view expected, auto&& call) {
      if (is_it) {
        CHECK_NOTHROW(call());
      } else {
        check_refusal(Code::malformed_root, {"threshold", expected}, call);
      }
    };
    check(kind == "{}", "an object", [&] { (void)value.object("threshold"); });
    check(kind == "[]", "an array", [&] { (void)value.array("threshold"); });
    check(kind == "\"text\"", "a string", [&] { (void)value.string("threshold"); });
    check(kind == "7", "a whole number", [&] { (void)value.integer("threshold"); });
  }
}

TEST_CASE("a whole number is read up to the limits of 64 bits, and in one form only") {
  struct Row {
    const char* text;
    int64_t expected;
  };
  const Row rows[] = {{"0", 0},
                      {"10", 10},
                      {"-10", -10},
                      {"9223372036854775807", std::numeric_limits<int64_t>::max()},
                      {"-9223372036854775808", std::numeric_limits<int64_t>::min()}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parsed(row.text).integer("number") == row.expected);
  }
  for (const char* text :
       {"9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999999999"}) {
    check_refused(text, {"JSON: byte ", "64 bits"});
  }
  for (const char* text : {"-0", "00", "01", "-01", "1.0", "1.", "1e3", "1E3", "0e0", "0.5"}) {
    check_refused(text, {"JSON: byte ", "plain form"});
  }
  for (const char* text : {"-", "+1", ".5", "0x10", "1_0", "NaN", "Infinity", "-Infinity", "--1", "1 2", "- 1"}) {
    check_refused(text);
  }
}

TEST_CASE("a key stands once, however it is spelled, and at whatever depth") {
  check_refused(R"({"a":1,"a":1})", {"each key once"});
  check_refused(R"({"a":1,"b":2,"\u0061":3})", {"each key once"});
  check_refused(R"([{"":1,"":2}])", {"each key once"});
  CHECK_NOTHROW(parsed(R"({"a":{"a":1},"A":{"a":1}})"));
}

TEST_CASE("eight levels are read, and a ninth is refused however many follow") {
  for (const auto& [open, close] : {std::pair('[', ']'), std::pair('{', '}')}) {
    CAPTURE(open);
    const auto document = [&, open = open, close = close](size_t levels) {
      if (open == '[') return nested(levels, open, close);
      std::string text;
      for (size_t i = 1; i < levels; ++i) text += "{\"a\":";
      return text + nested(1, open, close) + std::string(levels - 1, close);
    };
    CHECK_NOTHROW(parsed(document(8)));
    check_refused(document(9), {"at most 8 levels"});
    check_refused(document(200'000), {"at most 8 levels"});
  }
  check_refused(std::string(10'000'000, '['), {"at most 8 levels"});
}

TEST_CASE("what another reader might take otherwise is refused") {
  const char* const texts[] = {
      // No document, two of them, or something behind one.
      "", " ", "{} {}", "{}x", "[],", "1,", "\"a\"\"b\"",
      // Almost a word.
      "tru", "True", "TRUE", "truefalse", "nul", "nulll", "undefined", "yes",
      // Commas, colons and brackets.
      "[1,]", "[,1]", "[1 2]", "[1", "[", "[1}", "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{\"a\":1",
      "{\"a\":1]", "{1:2}", "{a:1}", "{null:1}", "{'a':1}", "]", "}", ":", ",",
      // Strings.
      "\"", "\"a", "'a'", "\"\\", "\"\\\"", "\"\\x41\"", "\"\\a\"", "\"\\'\"", "\"\\u\"", "\"\\u12\"", "\"\\u12g4\"",
      "\"\\U0041\"", "\"a\nb\"", "\"a\tb\"", "\"\x01\"", "\"\x1F\"",
      // Characters that are none.
      "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\n\"",
      "\"\\udbff\\ue000\"", "\"\\ud800\\u0041\"",
      // Comments, marks and other space.
      "/* */ 1", "// a\n1", "1 // a", "# a\n1", "\xEF\xBB\xBF{}", "\x0B{}", "\x0C{}", "\xC2\xA0{}"};
  for (const char* text : texts) check_refused(text);
}

TEST_CASE("bytes that are not UTF-8 are refused, and so is a zero") {
  for (const char* text : {"\"\x80\"", "\"\xC3\"", "\"\xC0\xAF\"", "\"\xE0\x80\xAF\"", "\"\xED\xA0\x80\"",
                           "\"\xF4\x90\x80\x80\"", "\"\xF8\x88\x80\x80\x80\"", "\"\xFF\"", "{\"\xC3\":1}"}) {
    check_refused(text, {"JSON", "UTF-8"});
  }
  check_refused(std::string_view("\"a\0b\"", 5), {"JSON", "UTF-8"});
  check_refused(std::string_view("{}\0", 3), {"JSON", "UTF-8"});
  CHECK(parsed("\"\x7F\"").string("string") == "\x7F");
}

TEST_CASE("an error says at which byte") {
  check_refused("{\"a\":1,\"a\":1}", {"JSON: byte 12: "});
  check_refused("[true,fals]", {"JSON: byte 6: "});
  check_refused("[1,2", {"JSON: byte 4: "});
  check_refused("7 7", {"JSON: byte 2: ", "the end of the document"});
}

TEST_CASE("a document that is cut is refused wherever it is, but for the space behind its end") {
  const size_t end = kDocument.rfind('}') + 1;
  Damage(from_text(kDocument)).for_each_cut([&](Bytes text) {
    if (text.size() >= end) {
      CHECK_NOTHROW(Json::parse(text));
    } else {
      CHECK_THROWS_AS(Json::parse(text), Error);
    }
  });
}

TEST_CASE("a document with a bit turned over is read as another one or refused, and no reader goes past its end") {
  size_t refused = 0;
  size_t read = 0;
  Damage(from_text(kDocument)).for_each_flip([&](Bytes text) {
    try {
      (void)Json::parse(text).object("document");
      ++read;
    } catch (const Error& error) {
      CHECK(error.code() == Code::malformed_root);
      ++refused;
    }
  });
  CHECK(read > 0);
  CHECK(refused > 0);
}

TEST_CASE("a byte behind a document is refused, but for space") {
  Damage(from_text("{}")).for_each_byte_more([&](Bytes text) {
    const char last = static_cast<char>(text.back());
    if (std::string_view(" \t\r\n").find(last) != std::string_view::npos) {
      CHECK_NOTHROW(Json::parse(text));
    } else {
      CHECK_THROWS_AS(Json::parse(text), Error);
    }
  });
}

}  // namespace edgeward
