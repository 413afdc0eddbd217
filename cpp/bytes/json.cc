#include "bytes/json.h"

#include <optional>

#include "bytes/utf8.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr int kMaxLevels = 8;

}  // namespace

class Json::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json document() {
    Json root = value(1);
    skip_space();
    if (at_ != text_.size()) fail("the end of the document");
    return root;
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    throw Error(Code::malformed_root, "JSON: byte ", at_, ": expected ", expected);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool try_take(char wanted) {
    skip_space();
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }

  void take(char wanted, std::string_view expected) {
    if (!try_take(wanted)) fail(expected);
  }

  Json value(int level) {
    skip_space();
    Json json;
    switch (peek()) {
      case '{': json.value_ = object(level); break;
      case '[': json.value_ = array(level); break;
      case '"': json.value_ = string(); break;
      case 't': word("true"), json.value_ = true; break;
      case 'f': word("false"), json.value_ = false; break;
      case 'n': word("null"); break;
      default: json.value_ = integer();
    }
    return json;
  }

  void word(std::string_view wanted) {
    if (text_.substr(at_, wanted.size()) != wanted) fail("a value");
    at_ += wanted.size();
  }

  Object object(int level) {
    if (level > kMaxLevels) fail("at most 8 levels");
    Object members;
    ++at_;
    if (try_take('}')) return members;
    do {
      skip_space();
      if (peek() != '"') fail("a key");
      std::string key = string();
      take(':', "\":\"");
      if (!members.emplace(std::move(key), value(level + 1)).second) fail("each key once");
    } while (try_take(','));
    take('}', "\",\" or \"}\"");
    return members;
  }

  Array array(int level) {
    if (level > kMaxLevels) fail("at most 8 levels");
    Array elements;
    ++at_;
    if (try_take(']')) return elements;
    do {
      elements.push_back(value(level + 1));
    } while (try_take(','));
    take(']', "\",\" or \"]\"");
    return elements;
  }

  // Four hexadecimal digits.
  uint32_t code_unit() {
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("four hexadecimal digits");
      unit = unit << 4 | static_cast<uint32_t>(digit);
    }
    return unit;
  }

  void append_escaped(std::string& text) {
    switch (const char c = peek(); ++at_, c) {
      case '"':
      case '\\':
      case '/': text += c; return;
      case 'b': text += '\b'; return;
      case 'f': text += '\f'; return;
      case 'n': text += '\n'; return;
      case 'r': text += '\r'; return;
      case 't': text += '\t'; return;
      case 'u': append_point(text); return;
      default: --at_; fail("an escape");
    }
  }

  void append_point(std::string& text) {
    uint32_t point = code_unit();
    if (point >= 0xD800 && point < 0xDC00) {
      if (text_.substr(at_, 2) != "\\u") fail("the second half of a surrogate pair");
      at_ += 2;
      const uint32_t low = code_unit();
      if (low < 0xDC00 || low >= 0xE000) fail("the second half of a surrogate pair");
      point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point == 0 || (point >= 0xDC00 && point < 0xE000)) {
      fail("a character");
    }
    const auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
    if (point < 0x80) return add(point);
    if (point < 0x800) {
      add(0xC0 | point >> 6);
    } else if (point < 0x10000) {
      add(0xE0 | point >> 12);
      add(0x80 | (point >> 6 & 0x3F));
    } else {
      add(0xF0 | point >> 18);
      add(0x80 | (point >> 12 & 0x3F));
      add(0x80 | (point >> 6 & 0x3F));
    }
    add(0x80 | (point & 0x3F));
  }

  std::string string() {
    std::string text;
    ++at_;
    for (;;) {
      if (at_ == text_.size() || static_cast<uint8_t>(text_[at_]) < ' ') fail("the end of a string");
      const char c = text_[at_++];
      if (c == '"') return text;
      if (c == '\\') {
        append_escaped(text);
      } else {
        text += c;
      }
    }
  }

  int64_t integer() {
    const bool is_negative = peek() == '-';
    if (is_negative) ++at_;
    const size_t start = at_;
    std::optional<int64_t> number = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      const int64_t digit = is_negative ? '0' - peek() : peek() - '0';
      number = checked_multiply<int64_t>(*number, 10);
      if (number) number = checked_add(*number, digit);
      if (!number) fail("a whole number of 64 bits");
    }
    if (at_ == start) fail("a value");
    const bool has_zero_first = text_[start] == '0' && (at_ - start > 1 || is_negative);
    if (has_zero_first || peek() == '.' || peek() == 'e' || peek() == 'E') fail("a whole number in its plain form");
    return *number;
  }

  std::string_view text_;
  size_t at_ = 0;
};

Json Json::parse(Bytes bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!is_utf8_name(text)) throw Error(Code::malformed_root, "JSON: expected UTF-8, got other bytes");
  return Parser(text).document();
}

namespace {

template <class T, class Value>
const T& required(const Value& value, std::string_view what, std::string_view expected) {
  const T* held = std::get_if<T>(&value);
  if (held == nullptr) throw Error(Code::malformed_root, what, ": expected ", expected, ", got something else");
  return *held;
}

}  // namespace

const Json::Object& Json::object(std::string_view what) const { return required<Object>(value_, what, "an object"); }
const Json::Array& Json::array(std::string_view what) const { return required<Array>(value_, what, "an array"); }
const std::string& Json::string(std::string_view what) const { return required<std::string>(value_, what, "a string"); }
int64_t Json::integer(std::string_view what) const { return required<int64_t>(value_, what, "a whole number"); }

}  // namespace edgeward
