// Names: what models, publishers, targets and members are called. Rules: docs/package-format.md, before section 1.
// Two names are the same when their bytes are. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace edgeward {

inline constexpr std::string_view kNameCharacters = "A-Z a-z 0-9 . _ -";  // for messages

bool is_name_character(char byte);

// Whether it is a name: characters as above, at least one, and no dot first.
bool is_name(std::string_view text);

// Whether it can name a kind of machine: a name without capitals, since machines are named without.
bool is_target(std::string_view text);

// The name with a-z for A-Z: two names that fold to one are one file where the file system ignores case.
std::string folded(std::string_view name);

}  // namespace edgeward
