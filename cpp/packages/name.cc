#include "packages/name.h"

#include <algorithm>

namespace edgeward {
namespace {

bool is_capital(char byte) { return byte >= 'A' && byte <= 'Z'; }

}  // namespace

bool is_name_character(char byte) {
  return (byte >= 'a' && byte <= 'z') || is_capital(byte) || (byte >= '0' && byte <= '9') || byte == '.' ||
         byte == '_' || byte == '-';
}

bool is_name(std::string_view text) {
  return !text.empty() && text[0] != '.' && std::all_of(text.begin(), text.end(), is_name_character);
}

bool is_target(std::string_view text) { return is_name(text) && std::none_of(text.begin(), text.end(), is_capital); }

std::string folded(std::string_view name) {
  std::string text(name);
  for (char& byte : text) {
    if (is_capital(byte)) byte = static_cast<char>(byte - 'A' + 'a');
  }
  return text;
}

}  // namespace edgeward
