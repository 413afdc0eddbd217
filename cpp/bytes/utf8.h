// Whether foreign bytes can be a name: UTF-8 without a zero byte, since names cross C strings and Python's str.
#pragma once

#include <cstdint>
#include <string_view>

namespace edgeward {

inline bool is_utf8_name(std::string_view text) {
  constexpr uint32_t kMinPoints[] = {0, 0, 0x80, 0x800, 0x10000};  // by length; a smaller code point is overlong
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<uint8_t>(text[i]);
    if (lead == 0) return false;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > text.size() - i) return false;
    uint32_t point = lead & (0x7fu >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = (point << 6) | (next & 0x3fu);
    }
    if (point < kMinPoints[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

}  // namespace edgeward
