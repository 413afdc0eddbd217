#include "system/fork.h"

#include <pthread.h>

#include "error.h"

namespace edgeward {

std::atomic<uint32_t> ForkMark::generation_{0};

ForkMark::ForkMark() {
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { generation_.fetch_add(1, std::memory_order_relaxed); });
  if (registered != 0)
    throw Error(Code::out_of_memory, "fork: expected to register a fork handler, got error ", registered);
  mark_ = generation_.load(std::memory_order_relaxed);
}

void ForkMark::refuse(const char* what) {
  throw Error(Code::forked, what,
              ": expected use in the process that loaded it, got a forked child: load it in the child");
}

}  // namespace edgeward
