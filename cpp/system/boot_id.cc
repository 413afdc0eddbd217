#include "system/boot_id.h"

#include <charconv>
#include <fstream>
#include <string>

namespace edgeward {

BootId boot_id_of(std::string_view text) {
  constexpr size_t kUuidChars = 36;
  if (text.size() == kUuidChars + 1 && text.back() == '\n') text.remove_suffix(1);
  if (text.size() != kUuidChars) return {};
  BootId id{};
  size_t position = 0;
  for (std::byte& byte : id) {
    if (text[position] == '-') ++position;
    if (position + 2 > text.size()) return {};
    unsigned value = 0;
    const char* end = text.data() + position + 2;
    const auto [stopped, error] = std::from_chars(text.data() + position, end, value, 16);
    if (error != std::errc() || stopped != end) return {};
    byte = static_cast<std::byte>(value);
    position += 2;
  }
  return position == text.size() ? id : BootId{};
}

BootId boot_id() {
  static const BootId id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string line;
    std::getline(file, line);
    return boot_id_of(line);
  }();
  return id;
}

}  // namespace edgeward
