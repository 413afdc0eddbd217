// The bytes of a model file, read once into memory of our own. Not mapped: a file that is overwritten or cut short
// while it serves must not reach the engine (docs/decisions/0002).
#pragma once

#include <string>

#include "memory.h"

namespace edgeward {

// Throws std::system_error when the system refuses, Error(bad_input) when it is not a regular file or changes
// meanwhile.
Block read_file(const std::string& path);

}  // namespace edgeward
