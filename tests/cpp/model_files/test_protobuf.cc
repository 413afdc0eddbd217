// The wire format of protocol buffers: what a message is taken apart into, and the bytes that are no message.
#include "model_files/protobuf.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "rigs/refusal.h"

using namespace edgeward;
using namespace std::string_literals;

namespace {

// A field of each wire type: 1: varint 300, 2: fixed64, 3: "abc", 4: fixed32 of 1.5.
const std::string kMessage =
    "\x08\xac\x02"
    "\x11\x01\x02\x03\x04\x05\x06\x07\x08"
    "\x1a\x03"
    "abc"
    "\x25\x00\x00\xc0\x3f"s;

std::vector<ProtobufField> fields_of(std::string_view message) {
  ProtobufFields fields(std::as_bytes(std::span(message)), "Message");
  std::vector<ProtobufField> all;
  ProtobufField field;
  while (fields.next(field)) all.push_back(field);
  return all;
}

void check_refused(std::string_view message, const char* words) {
  check_refusal(Code::malformed_model, {"Message", words}, [&] { fields_of(message); });
}

}  // namespace

TEST_CASE("a message is taken apart into its fields") {
  const auto fields = fields_of(kMessage);
  REQUIRE(fields.size() == 4);
  for (uint32_t i = 0; i < 4; ++i) CHECK(fields[i].number == i + 1);
  CHECK(fields[0].integer() == 300);
  CHECK(fields[1].wire == ProtobufWire::fixed64);
  CHECK(fields[1].value == 0x0807060504030201);
  CHECK(fields[2].text() == "abc");
  CHECK(fields[2].message().size() == 3);
  CHECK(fields[3].float32() == 1.5f);
  CHECK(fields_of("").empty());
  // A negative number has all ten bytes.
  CHECK(fields_of("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")[0].integer() == -1);
}

TEST_CASE("a message that is cut inside a field is refused at every byte") {
  const size_t ends[] = {0, 3, 12, 17, 22};  // between fields, the part before is a message of its own
  size_t cut = 0;
  for (size_t size = 0; size < kMessage.size(); ++size) {
    CAPTURE(size);
    if (std::find(std::begin(ends), std::end(ends), size) != std::end(ends)) {
      CHECK_NOTHROW(fields_of(kMessage.substr(0, size)));
      continue;
    }
    check_refusal(Code::malformed_model, {"Message"}, [&] { fields_of(kMessage.substr(0, size)); });
    ++cut;
  }
  CHECK(cut == kMessage.size() - 4);
}

TEST_CASE("bytes after the last field are no message") {
  check_refused(kMessage + "\0"s, "field number 0");
  check_refused(kMessage + "\x08"s, "ends inside a number");
  check_refused(kMessage + "\x0f"s, "wire type 7, expected 0, 1, 2 or 5");
}

TEST_CASE("numbers are of at most 64 bits, in at most ten bytes") {
  const std::string ones(9, '\xff');
  CHECK(fields_of("\x08" + ones + "\x01")[0].value == UINT64_MAX);
  CHECK(fields_of("\x08\x80\x00"s)[0].value == 0);  // longer than it needs to be: the format allows it
  check_refused("\x08" + ones + "\x02", "more than 64 bits");
  check_refused("\x08" + ones + "\x81\x00"s, "more than 64 bits");
  check_refused("\x08" + std::string(9, '\x80') + "\x80", "more than 64 bits");
  check_refused("\x1a" + ones + "\x01" + "abc", "a field of 18446744073709551615 bytes, but 3 are left");
}

TEST_CASE("field numbers are 1 to 2^29 - 1") {
  CHECK(fields_of("\xf8\xff\xff\xff\x0f\x07")[0].number == (1u << 29) - 1);
  check_refused("\x00\x07"s, "field number 0");
  check_refused("\x80\x80\x80\x80\x10\x07", "field number 536870912");
}

TEST_CASE("groups and unknown wire types are refused") {
  const std::pair<std::string, const char*> rows[] = {
      {"\x0b", "wire type 3"}, {"\x0c", "wire type 4"}, {"\x0e", "wire type 6"}, {"\x0f", "wire type 7"}};
  for (const auto& [message, words] : rows) check_refused(message, words);
}

TEST_CASE("a field is read as the wire type that it has, and as no other") {
  const auto fields = fields_of(kMessage);
  int refusals = 0;
  for (size_t i = 0; i < fields.size(); ++i) {
    const ProtobufField& field = fields[i];
    const auto check = [&](bool is_right, const auto& read) {
      if (is_right) {
        CHECK_NOTHROW(read());
        return;
      }
      check_refusal(Code::malformed_model, {"Message, field", "wire type", "expected"}, read);
      ++refusals;
    };
    check(i == 0, [&] { field.integer(); });
    check(i == 2, [&] { field.text(); });
    check(i == 2, [&] { field.message(); });
    check(i == 3, [&] { field.float32(); });
  }
  CHECK(refusals == 12);
}

TEST_CASE("a string is UTF-8 without NULs") {
  CHECK(fields_of("\x0a\x02\xc3\xbc")[0].text() == "ü");
  for (const std::string& text : {"\x0a\x01\xff"s, "\x0a\x02\xc3\x28"s, "\x0a\x03" + "a\0b"s}) {
    const auto fields = fields_of(text);
    check_refusal(Code::malformed_model, {"Message, field 1", "not UTF-8"}, [&] { fields[0].text(); });
    CHECK_NOTHROW(fields[0].message());
  }
}

TEST_CASE("repeated numbers are packed, or a field each") {
  const auto numbers = [](const std::string& message, ProtobufWire element) {
    std::vector<uint64_t> all;
    uint64_t count = 0;
    for (const ProtobufField& field : fields_of(message)) {
      field.numbers(element, [&](uint64_t value) { all.push_back(value); });
      count += field.count(element);
    }
    CHECK(count == all.size());
    return all;
  };
  using Numbers = std::vector<uint64_t>;
  CHECK(numbers("\x08\x05\x08\xac\x02", ProtobufWire::varint) == Numbers{5, 300});
  CHECK(numbers("\x0a\x03\x05\xac\x02", ProtobufWire::varint) == Numbers{5, 300});
  CHECK(numbers("\x0a\x08\x01\x00\x00\x00\x02\x00\x00\x00"s, ProtobufWire::fixed32) == Numbers{1, 2});
  CHECK(numbers("\x0a\x08\x01\x00\x00\x00\x00\x00\x00\x00"s, ProtobufWire::fixed64) == Numbers{1});
  CHECK(numbers("\x0a\x00"s, ProtobufWire::fixed64).empty());

  const auto refused = [](const std::string& message, ProtobufWire element, const char* words) {
    const auto fields = fields_of(message);
    check_refusal(Code::malformed_model, {"Message", words}, [&] { fields[0].count(element); });
    check_refusal(Code::malformed_model, {"Message"}, [&] { fields[0].numbers(element, [](uint64_t) {}); });
  };
  refused("\x0a\x01\xac", ProtobufWire::varint, "ends inside a number");
  refused("\x0a\x03"s + "\x01\x00\x00"s, ProtobufWire::fixed32, "3 bytes of 4");
  refused("\x0a\x04"s + "\x01\x00\x00\x00"s, ProtobufWire::fixed64, "4 bytes of 8");
  refused("\x0d\x01\x00\x00\x00"s, ProtobufWire::varint, "not a number");
}
