#include "engines/weight_cache.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "rigs/child.h"
#include "rigs/mapping.h"

namespace edgeward {
namespace {

constexpr size_t kSizeBytes = 3 * 4096;

void write_to(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
  REQUIRE(file >= 0);
  const std::string bytes(kSizeBytes, 'w');
  CHECK(write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(kSizeBytes));
  close(file);
}

std::unique_ptr<WeightCache> written() {
  auto cache = WeightCache::try_make();
  REQUIRE(cache != nullptr);
  write_to(cache->path());
  return cache;
}

// As the library maps it.
const char* map(const WeightCache& cache) {
  const int file = open(cache.path().c_str(), O_RDONLY);
  REQUIRE(file >= 0);
  void* pages = mmap(nullptr, kSizeBytes, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  REQUIRE(pages != MAP_FAILED);
  return static_cast<const char*>(pages);
}

void unmap(const char* pages) { munmap(const_cast<char*>(pages), kSizeBytes); }

bool is_all(const char* pages, char byte) {
  return std::all_of(pages, pages + kSizeBytes, [&](char other) { return other == byte; });
}

int number_of(const WeightCache& cache) { return std::stoi(cache.path().substr(cache.path().rfind('/') + 1)); }

}  // namespace

TEST_CASE("what is written is read, and nobody writes once it is sealed") {
  for (const bool is_secret : {false, true}) {
    CAPTURE(is_secret);
    const auto cache = written();
    const int before = open(cache->path().c_str(), O_RDWR);
    REQUIRE((is_secret ? cache->try_seal_secret() : cache->try_seal()));
    CHECK(cache->size_bytes() == kSizeBytes);
    CHECK(write(before, "x", 1) == -1);
    CHECK(ftruncate(before, 0) == -1);
    CHECK(ftruncate(before, 2 * kSizeBytes) == -1);
    CHECK(mmap(nullptr, kSizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED, before, 0) == MAP_FAILED);
    CHECK(open(cache->path().c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644) == -1);
    close(before);
    const char* pages = map(*cache);
    CHECK(is_all(pages, 'w'));
    CHECK(mprotect(const_cast<char*>(pages), kSizeBytes, PROT_READ | PROT_WRITE) == -1);
    unmap(pages);
  }
}

TEST_CASE("a cache that nothing was written to is not sealed") {
  const auto cache = WeightCache::try_make();
  REQUIRE(cache != nullptr);
  CHECK_FALSE(cache->try_seal());
  CHECK_FALSE(cache->try_seal_secret());
}

TEST_CASE("a cache that somebody still has mapped to write is not sealed for others than its owner") {
  const auto cache = written();
  const int file = open(cache->path().c_str(), O_RDWR);
  void* pages = mmap(nullptr, kSizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  CHECK_FALSE(cache->try_seal());
  munmap(pages, kSizeBytes);
  CHECK(cache->try_seal());
}

TEST_CASE("a secret is zeros in the end, and no child ends it") {
  auto cache = written();
  REQUIRE(cache->try_seal_secret());
  const char* pages = map(*cache);
  CHECK(outcome_in_child([&] {
          cache.reset();
          return is_all(pages, 'w');
        }) == "");
  CHECK(is_all(pages, 'w'));
  cache.reset();
  CHECK(is_all(pages, '\0'));
  unmap(pages);
}

TEST_CASE("what is mapped is in no core dump, nor what is mapped to wipe it") {
  const auto cache = written();
  REQUIRE(cache->try_seal_secret());
  CHECK_FALSE(cache->try_keep_from_dumps());
  const char* first = map(*cache);
  const char* second = map(*cache);
  CHECK(cache->try_keep_from_dumps());
  size_t count = 0;
  for (const Mapping& mapping : mappings()) {
    if (mapping.name.find("edgeward-weights") == std::string::npos) continue;
    ++count;
    CHECK(mapping.flags.count("dd") == 1);
  }
  CHECK(count >= 2);
  unmap(first);
  unmap(second);
}

TEST_CASE("a descriptor that somebody has closed leads to no other file") {
  const auto cache = written();
  const int number = number_of(*cache);
  const int kept = fcntl(number, F_DUPFD_CLOEXEC, 0);
  close(number);
  CHECK(cache->path().empty());
  REQUIRE(open("/dev/null", O_RDONLY) == number);
  CHECK(cache->path().empty());
  CHECK_FALSE(cache->try_seal());
  REQUIRE(dup2(kept, number) == number);
  CHECK_FALSE(cache->path().empty());
  close(kept);
}

TEST_CASE("there is none where a write to it may fail") {
  CHECK(outcome_in_child([] {
          const rlimit limit{1 << 30, RLIM_INFINITY};
          return setrlimit(RLIMIT_FSIZE, &limit) == 0 && WeightCache::try_make() == nullptr;
        }) == "");
  CHECK(outcome_in_child([] {
          const rlimit limit{0, 0};
          return setrlimit(RLIMIT_NOFILE, &limit) == 0 && WeightCache::try_make() == nullptr;
        }) == "");
}

}  // namespace edgeward
