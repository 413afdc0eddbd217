// A moment as people read it in messages: the date and time in UTC, with its zone.
#pragma once

#include <cstdint>
#include <string>

namespace edgeward {

// Of Unix seconds, such as "2027-01-31T12:00:00Z". After the year 9999: "253402300800 s after 1970".
std::string date_text(uint64_t unix_s);

}  // namespace edgeward
