#include "crypto/secret.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "error.h"
#include "system/memory.h"

namespace edgeward {
namespace {

// Returns null where the kernel has no memfd_secret, was started without it, or RLIMIT_MEMLOCK is used up.
void* map_unseen() {
#ifdef SYS_memfd_secret
  const auto file = static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC));
  if (file < 0) return nullptr;
  void* page = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(page_bytes())) == 0)
    page = mmap(nullptr, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (page == MAP_FAILED) return nullptr;
  // Linux 6.12 holds the limit against the page when it is first touched, with SIGBUS. A call of the system that writes
  // there fails instead.
  if (syscall(SYS_getrandom, page, 1, GRND_NONBLOCK) == 1) {
    *static_cast<std::byte*>(page) = {};
    return page;
  }
  munmap(page, page_bytes());
#endif
  return nullptr;
}

void* map_locked() {
  void* page = mmap(nullptr, page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw Error(Code::out_of_memory, "key memory: expected a page, got none");
  // Locking is best effort: where RLIMIT_MEMLOCK refuses it, the other protections still apply.
  mlock(page, page_bytes());
  madvise(page, page_bytes(), MADV_DONTDUMP);
  return page;
}

// The slots of one process, in pages that are never unmapped: mapping such a page costs more than any use of a key. A
// forked child inherits none of the pages and starts with an empty pool.
class Slots {
 public:
  static Slots& of_this_process() {
    static std::atomic<Slots*> current{new Slots};
    Slots* slots = current.load(std::memory_order_acquire);
    if (slots->home_.is_foreign()) {
      // The parent's pool is abandoned: a thread that does not exist here may hold its lock.
      auto* fresh = new Slots;
      if (current.compare_exchange_strong(slots, fresh)) return *fresh;
      delete fresh;
    }
    return *slots;
  }

  // Zeros.
  std::byte* take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) add_page();
    std::byte* slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give_back(std::byte* slot) {
    wipe({slot, kSecretBytes});
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }

 private:
  void add_page() {
    const size_t slot_count = page_bytes() / kSecretBytes;
    // Reserve room for every slot, so that returning one cannot fail.
    free_.reserve((page_count_ + 1) * slot_count);
    void* page = map_unseen();
    if (page == nullptr) page = map_locked();
    madvise(page, page_bytes(), MADV_DONTFORK);
    ++page_count_;
    for (size_t i = slot_count; i-- > 0;) free_.push_back(static_cast<std::byte*>(page) + i * kSecretBytes);
  }

  ForkMark home_;
  std::mutex mutex_;
  std::vector<std::byte*> free_;
  size_t page_count_ = 0;
};

}  // namespace

void wipe(std::span<std::byte> bytes) {
  if (!bytes.empty()) explicit_bzero(bytes.data(), bytes.size());
}

Secret::Secret() : data_(Slots::of_this_process().take()) {}

Secret::Secret(Bytes bytes) : Secret() {
  if (bytes.size() != kSecretBytes)
    throw Error(Code::malformed_key, "key: expected ", kSecretBytes, " bytes, got ", bytes.size());
  std::memcpy(data_, bytes.data(), kSecretBytes);
}

std::span<std::byte> Secret::bytes() {
  home_.require_same_process("key");
  return {data_, kSecretBytes};
}

Bytes Secret::bytes() const {
  home_.require_same_process("key");
  return {data_, kSecretBytes};
}

Secret::~Secret() {
  // A forked child does not have the page.
  if (data_ != nullptr && !home_.is_foreign()) Slots::of_this_process().give_back(data_);
}

Secret::Secret(Secret&& other) noexcept : home_(other.home_), data_(std::exchange(other.data_, nullptr)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  std::swap(home_, other.home_);
  std::swap(data_, other.data_);
  return *this;
}

}  // namespace edgeward
