#include "system/resident.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cstdio>

#include "system/memory.h"

namespace edgeward {

uint64_t resident_bytes(const void* data, size_t size_bytes) {
  if (size_bytes == 0) return 0;
  const size_t page = page_bytes();
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const uintptr_t end = begin + size_bytes;
  uint64_t resident = 0;
  unsigned char states[4096];
  for (uintptr_t first = begin / page * page; first < end;) {
    const size_t count = std::min<size_t>((end - first + page - 1) / page, sizeof states);
    if (mincore(std::bit_cast<void*>(first), count * page, states) != 0) return size_bytes;
    for (size_t i = 0; i < count; ++i, first += page) {
      if (states[i] % 2 == 0) continue;
      resident += std::min(end, first + page) - std::max(begin, first);
    }
  }
  return resident;
}

uint64_t anonymous_bytes() {
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128];
  const ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  if (size <= 0) return 0;
  text[size] = '\0';
  uint64_t resident = 0;
  uint64_t behind_files = 0;
  if (std::sscanf(text, "%*u %" SCNu64 " %" SCNu64, &resident, &behind_files) != 2) return 0;
  return (resident - std::min(resident, behind_files)) * page_bytes();
}

}  // namespace edgeward
