// The names of segments, and of windows of statistics: a number, and what tells apart those that two processes make at
// once. Numbers grow, whatever the clock says: names sort in the order in which files were made.
// docs/capture-format.md, sections 3 and 5. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace edgeward {

// Of a file's name, without its directory; nothing for a name that begins with no number.
std::optional<int64_t> segment_number_of(std::string_view name);

// Of the next file: the Unix time in nanoseconds, or one more than the greatest number among `names`.
int64_t next_segment_number(int64_t wall_ns, std::span<const std::string> names);

}  // namespace edgeward
