// The bytes of Statistics: docs/capture-format.md, section 4. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "captures/statistics.h"

namespace edgeward {

// `description` is UTF-8 without a zero byte, at most 1 MiB.
std::vector<std::byte> bytes_of(const Statistics& statistics, std::string_view description);

// Version 1 too: it has the values of each tensor alone, and no description. Throws Error(malformed_capture).
Statistics statistics_from(Bytes bytes);

}  // namespace edgeward
