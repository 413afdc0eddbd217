/* A file system without locks, which network file systems are: see __init__.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int flock(int descriptor, int operation) {
  char link[64];
  char path[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  const char* files = getenv("NO_LOCKS_FOR");
  path[length > 0 ? length : 0] = '\0';
  if (files != NULL && strstr(path, files) != NULL) {
    errno = atoi(getenv("NO_LOCKS_ERROR"));
    return -1;
  }
  int (*real)(int, int) = NULL;
  *(void**)&real = dlsym(RTLD_NEXT, "flock");
  return real(descriptor, operation);
}
