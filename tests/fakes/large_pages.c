/* Preloaded, plays a kernel whose pages have FAKE_PAGE_BYTES, which sysconf() tells the core: no multiple of that for an
 * address or an offset is EINVAL, new mappings begin at one, and lengths are rounded up to one. fake_page_refusals() counts
 * what was refused, but for advice, which engines give unasked for and which keeps no memory. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

long sysconf(int name) {
  static long (*real)(int);
  /* Others protect parts of libraries, which are laid out for this machine's pages. */
  Dl_info caller;
  if (name == _SC_PAGESIZE && dladdr(__builtin_return_address(0), &caller) != 0 &&
      strstr(caller.dli_fname, "/_core.") != NULL) {
    return (long)page_bytes();
  }
  if (real == NULL) real = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
  return real(name);
}

/* Where `mapped` bytes, whole pages, can begin; nothing can be read there. MAP_FAILED when there is no room. */
static void *reserve(size_t mapped) {
  const size_t more = mapped + page_bytes();
  const long first = syscall(SYS_mmap, NULL, more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (first == -1) return MAP_FAILED;
  const uintptr_t begin = whole_pages((size_t)first);
  if (begin != (uintptr_t)first) syscall(SYS_munmap, first, begin - (uintptr_t)first);
  syscall(SYS_munmap, begin + mapped, (uintptr_t)first + more - (begin + mapped));
  return (void *)begin;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  const size_t mapped = whole_pages(length);
  if (is_refused((uintptr_t)offset)) return MAP_FAILED;
  if ((flags & MAP_FIXED) != 0) {
    if (is_refused((uintptr_t)address)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, mapped, protection, flags, file, offset);
  }
  void *begin = reserve(mapped);
  if (begin == MAP_FAILED) return MAP_FAILED;
  return (void *)syscall(SYS_mmap, begin, mapped, protection, flags | MAP_FIXED, file, offset);
}

/* Of what keeps its size and is moved. */
void *mremap(void *address, size_t length, size_t wanted, int flags, ...) {
  if (is_refused((uintptr_t)address)) return MAP_FAILED;
  if (length != wanted || (flags & MREMAP_MAYMOVE) == 0) return (void *)syscall(SYS_mremap, address, length, wanted, flags);
  va_list rest;
  va_start(rest, flags);
  void *begin = (flags & MREMAP_FIXED) != 0 ? va_arg(rest, void *) : reserve(whole_pages(length));
  va_end(rest);
  if (begin == MAP_FAILED || is_refused((uintptr_t)begin)) return MAP_FAILED;
  return (void *)syscall(SYS_mremap, address, whole_pages(length), whole_pages(length), flags | MREMAP_FIXED, begin);
}

int mincore(void *address, size_t length, unsigned char *states) {
  if (is_refused((uintptr_t)address)) return -1;
  const long real_bytes = 4096;
  for (size_t i = 0; i * page_bytes() < length; ++i) {
    states[i] = 0;
    for (uintptr_t part = 0; part < page_bytes(); part += real_bytes) {
      unsigned char state;
      if (syscall(SYS_mincore, (char *)address + i * page_bytes() + part, real_bytes, &state) != 0) return -1;
      states[i] |= state;
    }
  }
  return 0;
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

/* The core opens one page of a library to write, and seals it. Parts of other rights lie in it, since libraries are laid
 * out for this machine's pages: what may only be read is opened, and stays open. */
int mprotect(void *address, size_t length, int protection) {
  if (length != page_bytes() || page_bytes() == 4096) return (int)syscall(SYS_mprotect, address, length, protection);
  if (is_refused((uintptr_t)address)) return -1;
  if (protection == PROT_READ) return 0;
  FILE *maps = fopen("/proc/self/maps", "re");
  const uintptr_t page = (uintptr_t)address;
  uintptr_t first, end;
  char rights[8];
  while (maps != NULL && fscanf(maps, "%lx-%lx %7s%*[^\n]", &first, &end, rights) == 3) {
    if (first < page) first = page;
    if (end > page + length) end = page + length;
    if (first < end && strcmp(rights, "r--p") == 0) syscall(SYS_mprotect, first, end - first, protection);
  }
  if (maps != NULL) fclose(maps);
  return 0;
}
