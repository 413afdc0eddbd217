#include "engines/weight_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bit>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace edgeward {
namespace {

// Linux 5.1; older headers lack it.
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

using Stream = std::unique_ptr<FILE, int (*)(FILE*)>;

Stream open_stream(const char* path) { return {std::fopen(path, "re"), std::fclose}; }

// A write may be refused halfway: by a limit on the size of files, or where memory is promised to nobody twice.
bool may_refuse_writes() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY) return true;
  constexpr int kStrict = 2;
  int overcommit = kStrict;
  const Stream file = open_stream("/proc/sys/vm/overcommit_memory");
  return file == nullptr || std::fscanf(file.get(), "%d", &overcommit) != 1 || overcommit == kStrict;
}

}  // namespace

std::unique_ptr<WeightCache> WeightCache::try_make() {
  if (may_refuse_writes()) return nullptr;
  const int number = memfd_create("edgeward-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (number < 0) return nullptr;
  std::unique_ptr<WeightCache> cache(new WeightCache(Descriptor(number, "weights"), false));
  if (cache->path().empty() || access(cache->path().c_str(), R_OK | W_OK) != 0) return nullptr;
  return cache;
}

std::unique_ptr<WeightCache> WeightCache::try_adopt(Descriptor file) {
  std::unique_ptr<WeightCache> cache(new WeightCache(std::move(file), true));
  return cache->try_measure() ? std::move(cache) : nullptr;
}

WeightCache::WeightCache(Descriptor descriptor, bool is_file)
    : descriptor_(std::move(descriptor)), is_file_(is_file), pages_(MAP_FAILED) {
  struct stat status {};
  if (fstat(descriptor_.number(), &status) != 0) status = {};
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

WeightCache::~WeightCache() {
  if (pages_ == MAP_FAILED || fork_mark_.is_foreign()) return;
  if (mprotect(pages_, size_bytes_, PROT_READ | PROT_WRITE) == 0) explicit_bzero(pages_, size_bytes_);
  munmap(pages_, size_bytes_);
}

std::string WeightCache::path() const {
  struct stat status {};
  if (fstat(descriptor_.number(), &status) != 0 || status.st_dev != device_ || status.st_ino != inode_) return "";
  return "/proc/self/fd/" + std::to_string(descriptor_.number());
}

bool WeightCache::has_room(size_t size_bytes) {
  constexpr size_t kMore = size_t{192} << 20;  // the heap of a thread, say, which is 128 MiB at first
  void* pages = mmap(nullptr, size_bytes + kMore, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages != MAP_FAILED && munmap(pages, size_bytes + kMore) == 0;
}

std::string WeightCache::option() const {
  const std::string name = has_room(size_bytes_) ? path() : "";
  if (name.empty() || !is_file_) return name.empty() ? "" : "weight_cache_file_path = \"" + name + "\"";
  constexpr int kFirstNumber = 3;  // the library takes 0 for none
  const int number = fcntl(descriptor_.number(), F_DUPFD_CLOEXEC, kFirstNumber);
  return number < 0 ? "" : "weight_cache_file_descriptor = " + std::to_string(number);
}

std::optional<Descriptor> WeightCache::try_open() const {
  const int number = open(path().c_str(), O_RDONLY | O_CLOEXEC);
  return number < 0 ? std::nullopt : std::optional(Descriptor(number, "weights"));
}

bool WeightCache::try_measure() {
  struct stat status {};
  if (path().empty() || fstat(descriptor_.number(), &status) != 0) return false;
  size_bytes_ = static_cast<size_t>(status.st_size);
  return size_bytes_ != 0;
}

bool WeightCache::try_seal() {
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  return try_measure() && fcntl(descriptor_.number(), F_ADD_SEALS, kSeals) == 0;
}

bool WeightCache::try_seal_secret() {
  if (!try_measure()) return false;
  pages_ = mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_.number(), 0);
  if (pages_ == MAP_FAILED) return false;
  madvise(pages_, size_bytes_, MADV_DONTDUMP);
  madvise(pages_, size_bytes_, MADV_DONTFORK);
  // This seal leaves writable what is mapped already, which is what the wipe needs.
  constexpr int kSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  return fcntl(descriptor_.number(), F_ADD_SEALS, kSeals) == 0 && mprotect(pages_, size_bytes_, PROT_NONE) == 0;
}

uint64_t WeightCache::resident_bytes() const {
  struct stat status {};
  if (fstat(descriptor_.number(), &status) != 0 || status.st_ino != inode_ || status.st_dev != device_) return 0;
  constexpr uint64_t kUnitBytes = 512;  // of st_blocks
  return static_cast<uint64_t>(status.st_blocks) * kUnitBytes;
}

bool WeightCache::try_keep_from_dumps() const {
  const Stream maps = open_stream("/proc/self/maps");
  bool is_mapped = false;
  char line[512];
  while (maps != nullptr && std::fgets(line, sizeof line, maps.get()) != nullptr) {
    uintptr_t first = 0;
    uintptr_t end = 0;
    unsigned major_number = 0;
    unsigned minor_number = 0;
    uintmax_t inode = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %x:%x %" SCNuMAX, &first, &end, &major_number,
                    &minor_number, &inode) != 5) {
      continue;  // the rest of a long line
    }
    auto* pages = std::bit_cast<void*>(first);
    // Some file systems have another device in their maps.
    const bool is_device = is_file_ || makedev(major_number, minor_number) == device_;
    if (inode != inode_ || !is_device || pages == pages_) continue;
    is_mapped = true;
    madvise(pages, end - first, MADV_DONTDUMP);
  }
  return is_mapped;
}

}  // namespace edgeward
