/* A wall clock that somebody else sets: see __init__.py. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

static const volatile int64_t* ahead_ns;

/* Before anything asks for the time. */
__attribute__((constructor)) static void map_clock(void) {
  const char* path = getenv("WALL_AHEAD");
  const int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void* page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) ahead_ns = page;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec* time) {
  const int answer = (int)syscall(SYS_clock_gettime, clock, time);
  if (answer != 0 || ahead_ns == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return answer;
  const int64_t total = time->tv_sec * SECOND_NS + time->tv_nsec + *ahead_ns;
  time->tv_sec = total / SECOND_NS;
  time->tv_nsec = total % SECOND_NS;
  return 0;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* target) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (target != NULL) *target = now.tv_sec;
  return now.tv_sec;
}
