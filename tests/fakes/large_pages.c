/* Preloaded, plays a kernel whose pages have FAKE_PAGE_BYTES: no multiple of that for an address or an offset is EINVAL,
 * new mappings begin at one, and lengths are rounded up to one. fake_page_refusals() counts what was refused, but for
 * advice, which engines give unasked for and which keeps no memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long refusals;

long fake_page_refusals(void) { return refusals; }

static uintptr_t page_bytes(void) {
  const char *text = getenv("FAKE_PAGE_BYTES");
  return text == NULL ? 4096 : strtoul(text, NULL, 10);
}

static size_t whole_pages(size_t length) { return (length + page_bytes() - 1) / page_bytes() * page_bytes(); }

static int is_refused(uintptr_t address_or_offset) {
  if (address_or_offset % page_bytes() == 0) return 0;
  ++refusals;
  errno = EINVAL;
  return 1;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  const size_t mapped = whole_pages(length);
  if (is_refused((uintptr_t)offset)) return MAP_FAILED;
  if ((flags & MAP_FIXED) != 0) {
    if (is_refused((uintptr_t)address)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, mapped, protection, flags, file, offset);
  }
  const size_t more = mapped + page_bytes();
  const long first = syscall(SYS_mmap, NULL, more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (first == -1) return MAP_FAILED;
  const uintptr_t begin = whole_pages((size_t)first);
  if (begin != (uintptr_t)first) syscall(SYS_munmap, first, begin - (uintptr_t)first);
  syscall(SYS_munmap, begin + mapped, (uintptr_t)first + more - (begin + mapped));
  return (void *)syscall(SYS_mmap, begin, mapped, protection, flags | MAP_FIXED, file, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int file, off64_t offset) {
  return mmap(address, length, protection, flags, file, offset);
}

int munmap(void *address, size_t length) {
  if (is_refused((uintptr_t)address)) return -1;
  return (int)syscall(SYS_munmap, address, whole_pages(length));
}

int madvise(void *address, size_t length, int advice) {
  if ((uintptr_t)address % page_bytes() != 0) {
    errno = EINVAL;
    return -1;
  }
  return (int)syscall(SYS_madvise, address, whole_pages(length), advice);
}
