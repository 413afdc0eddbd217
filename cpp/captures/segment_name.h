// The names of segments: a number, and a salt that tells apart what two drains make at once. Numbers grow, whatever the
// clock says: names sort in the order in which segments were made. docs/capture-format.md, section 3. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace edgeward {

// Of a file's name, without its directory; nothing for a name that begins with no number.
std::optional<int64_t> segment_number_of(std::string_view name);

// Of the next segment: the Unix time in nanoseconds, or one more than the greatest number among `names`.
int64_t next_segment_number(int64_t wall_ns, std::span<const std::string> names);

}  // namespace edgeward
