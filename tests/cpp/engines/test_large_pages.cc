#include "engines/large_pages.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "rigs/directory.h"

namespace edgeward {
namespace {

using Allocate = void* (*)(size_t);
using Memory = std::unique_ptr<void, void (*)(void*)>;

// A library that nothing has called yet: each has a copy of the file, which the loader takes for another.
struct Fake {
  Fake() : library(write_file(directory.at("engine.so"), content_of(FAKE_LITERT_PATH))) {}
  Memory allocate(size_t size_bytes) const {
    return {library.symbol<Allocate>("fake_litert_allocate")(size_bytes), std::free};
  }
  Directory directory;
  Library library;
};

// Whether large pages were asked for in the middle of what was allocated.
bool is_advised(const Memory& memory, size_t size_bytes) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/smaps", "re"), std::fclose);
  REQUIRE(file != nullptr);
  const uintptr_t middle = reinterpret_cast<uintptr_t>(memory.get()) + size_bytes / 2;
  bool is_there = false;
  char line[512];
  while (std::fgets(line, sizeof line, file.get()) != nullptr) {
    uintptr_t first = 0;
    uintptr_t end = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &first, &end) == 2) is_there = first <= middle && middle < end;
    if (is_there && std::strncmp(line, "VmFlags:", 8) == 0) return std::strstr(line, " hg") != nullptr;
  }
  FAIL("not mapped");
  return false;
}

bool has_large_pages() { return access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0; }

}  // namespace

TEST_CASE("a large piece that a library takes while it packs is asked for in large pages, and no other") {
  if (!has_large_pages()) return;
  for (const bool was_called : {false, true}) {  // the loader looks a function up at its first call
    CAPTURE(was_called);
    const Fake fake;
    if (was_called) CHECK(fake.allocate(64) != nullptr);
    advise_large_pages(fake.library);
    const auto is_large = [&](size_t size_bytes) { return is_advised(fake.allocate(size_bytes), size_bytes); };
    CHECK_FALSE(is_large(kMinLargeAllocationBytes));
    {
      const LargePages packed;
      CHECK(is_large(kMinLargeAllocationBytes));
      { const LargePages inner; }
      CHECK(is_large(2 * kMinLargeAllocationBytes + 1));
      CHECK_FALSE(is_large(kMinLargeAllocationBytes / 2));
      std::thread([&] { CHECK_FALSE(is_large(kMinLargeAllocationBytes)); }).join();
      const Memory own(std::aligned_alloc(64, kMinLargeAllocationBytes), std::free);
      CHECK_FALSE(is_advised(own, kMinLargeAllocationBytes));
    }
    CHECK_FALSE(is_large(kMinLargeAllocationBytes));
  }
}

}  // namespace edgeward
