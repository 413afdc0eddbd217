// Thinning: every n-th of elements that lie in a row, taken together. Any thread.
#pragma once

#include <cstddef>

namespace edgeward {

// Takes `count` elements of `source`, the first and then each `step`-th, to `target`, which has room for these alone.
// `step` is at least 1. Reads nothing behind the last that is taken.
void thin(std::byte* target, const std::byte* source, size_t element_bytes, size_t step, size_t count);

// The same without instructions that not every processor has, for tests to compare.
void thin_plainly(std::byte* target, const std::byte* source, size_t element_bytes, size_t step, size_t count);

}  // namespace edgeward
