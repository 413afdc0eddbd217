// Base64 (RFC 4648, 4): with padding, without line breaks, and only the one spelling of each byte string.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"

namespace edgeward {

std::string encode_base64(Bytes bytes);

// Returns nothing for a text that encode_base64 does not write.
std::optional<std::vector<std::byte>> try_decode_base64(std::string_view text);

}  // namespace edgeward
