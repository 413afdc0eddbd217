// Where this process's own memory holds something: for what must be in one place only.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "file.h"
#include "mapping.h"
#include "octets.h"

namespace edgeward {

// How often `matches`, asked of each run of `size_bytes` bytes in writable memory, says yes. What the kernel hides is
// not looked at, nor the page of `except`, nor the vast mappings that sanitizers make.
template <class Matches>
size_t places_in_own_memory(size_t size_bytes, const void* except, Matches&& matches) {
  constexpr size_t kVastBytes = size_t{1} << 30;
  constexpr size_t kPageBytes = 4096;
  static std::byte chunk[kPageBytes * 16];
  const auto chunk_begin = reinterpret_cast<uintptr_t>(chunk);
  const auto page = reinterpret_cast<uintptr_t>(except) / kPageBytes * kPageBytes;
  const Descriptor memory(open("/proc/self/mem", O_RDONLY | O_CLOEXEC), "memory");
  size_t places = 0;
  for (const Mapping& one : mappings()) {
    if (!one.permissions.starts_with("rw") || one.end - one.begin > kVastBytes) continue;
    // Chunks overlap, so that nothing is missed at their seam.
    for (uintptr_t at = one.begin; at < one.end; at += sizeof(chunk) - size_bytes + 1) {
      const ssize_t got = pread(memory.number(), chunk, std::min(sizeof(chunk), one.end - at), static_cast<off_t>(at));
      for (ssize_t i = 0; i + static_cast<ssize_t>(size_bytes) <= got; ++i) {
        const uintptr_t place = at + static_cast<uintptr_t>(i);
        const bool is_elsewhere = (place < page || place >= page + kPageBytes) &&
                                  (place < chunk_begin || place >= chunk_begin + sizeof(chunk));
        if (is_elsewhere && matches(Bytes(chunk + i, size_bytes))) ++places;
      }
    }
  }
  return places;
}

}  // namespace edgeward
