// Where this process's own memory holds something: for what must be in one place only.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "rigs/mapping.h"
#include "rigs/octets.h"
#include "system/file.h"

namespace edgeward {

inline Octets complement_of(Bytes bytes) {
  Octets octets(bytes.begin(), bytes.end());
  for (std::byte& byte : octets) byte = ~byte;
  return octets;
}

// How often the bytes whose complement is `complement` lie in writable memory: their complement, so that the question
// is not among the answers. What the kernel hides is not looked at, nor the page of `except`, nor the vast mappings
// that sanitizers make.
inline size_t places_in_own_memory(Bytes complement, const void* except) {
  constexpr size_t kVastBytes = size_t{1} << 30;
  constexpr size_t kPageBytes = 4096;
  constexpr size_t kWords = kPageBytes * 2;
  static uint64_t words[kWords];
  auto* const chunk = reinterpret_cast<std::byte*>(words);
  const auto chunk_begin = reinterpret_cast<uintptr_t>(chunk);
  const auto page = reinterpret_cast<uintptr_t>(except) / kPageBytes * kPageBytes;
  const Descriptor memory(open("/proc/self/mem", O_RDONLY | O_CLOEXEC), "memory");
  size_t places = 0;
  for (const Mapping& mapping : mappings()) {
    if (!mapping.permissions.starts_with("rw") || mapping.end - mapping.begin > kVastBytes) continue;
    // Chunks overlap, so that nothing is missed at their seam.
    for (uintptr_t at = mapping.begin; at < mapping.end; at += sizeof(words) - complement.size() + 1) {
      const ssize_t got =
          pread(memory.number(), chunk, std::min(sizeof(words), mapping.end - at), static_cast<off_t>(at));
      if (got <= 0) break;
      for (uint64_t& word : words) word = ~word;
      const std::byte* from = chunk;
      const std::byte* const end = chunk + got;
      while (const void* match = memmem(from, static_cast<size_t>(end - from), complement.data(), complement.size())) {
        from = static_cast<const std::byte*>(match) + 1;
        const uintptr_t address = at + static_cast<uintptr_t>(from - 1 - chunk);
        const bool is_elsewhere = (address < page || address >= page + kPageBytes) &&
                                  (address < chunk_begin || address >= chunk_begin + sizeof(words));
        if (is_elsewhere) ++places;
      }
    }
  }
  return places;
}

}  // namespace edgeward
