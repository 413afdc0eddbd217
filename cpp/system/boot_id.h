// BootId: which start of the machine this is. Monotonic times compare within one boot alone.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace edgeward {

using BootId = std::array<std::byte, 16>;

// The kernel's, read once; zero where it says none. Any thread.
BootId boot_id();

// Of the kernel's text, a UUID and perhaps the end of the line; zero for any other.
BootId boot_id_of(std::string_view text);

}  // namespace edgeward
