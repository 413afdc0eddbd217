// Resident memory: how much of a piece of memory, and of this process, lies in RAM now. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgeward {

// The bytes of [data, data + size_bytes) whose pages are in RAM; all of them where the kernel does not tell. Costs some
// 10 us for 64 MiB.
uint64_t resident_bytes(const void* data, size_t size_bytes);

// What this process has in RAM of memory that no file and no memfd is behind; 0 where /proc does not tell. Kernels from
// 6.2 to 6.16 count to within some pages for each processor.
uint64_t anonymous_bytes();

}  // namespace edgeward
