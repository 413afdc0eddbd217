#include "system/growth.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include "system/fork.h"
#include "system/resident.h"

namespace edgeward {

// Those of this process.
struct Growths {
  std::mutex mutex;             // guards what follows
  std::vector<Growth*> active;  // the innermost of each thread, but for those that wait; has room for all
  size_t growth_count = 0;
  uint64_t last_bytes = 0;  // of the process, when it was last looked at

  // Gives what the process grew by since the last look to those that are active.
  void settle() {
    const uint64_t now_bytes = anonymous_bytes();
    const double grown = static_cast<double>(now_bytes) - static_cast<double>(last_bytes);
    for (Growth* growth : active) growth->bytes_ += grown / static_cast<double>(active.size());
    last_bytes = now_bytes;
  }
};

namespace {

thread_local Growth* innermost = nullptr;

}  // namespace

Growth::Growth() : outer_(innermost) {
  auto& growths = of_this_process<Growths>();
  const std::lock_guard lock(growths.mutex);
  ++growths.growth_count;
  growths.active.reserve(growths.growth_count);
  growths.settle();
  std::erase(growths.active, outer_);
  growths.active.push_back(this);
  innermost = this;
}

Growth::~Growth() {
  auto& growths = of_this_process<Growths>();
  const std::lock_guard lock(growths.mutex);
  growths.settle();
  std::replace(growths.active.begin(), growths.active.end(), this, outer_);
  std::erase(growths.active, nullptr);
  --growths.growth_count;
  innermost = outer_;
}

Waiting::Waiting() : growth_(innermost) {
  if (growth_ == nullptr) return;
  auto& growths = of_this_process<Growths>();
  const std::lock_guard lock(growths.mutex);
  growths.settle();
  std::erase(growths.active, growth_);
}

Waiting::~Waiting() {
  if (growth_ == nullptr) return;
  auto& growths = of_this_process<Growths>();
  const std::lock_guard lock(growths.mutex);
  growths.settle();
  growths.active.push_back(growth_);  // has room: see Growth()
}

Unmeasured::Unmeasured() {
  auto& growths = of_this_process<Growths>();
  growths.mutex.lock();
  growths.settle();
}

Unmeasured::~Unmeasured() {
  auto& growths = of_this_process<Growths>();
  growths.last_bytes = anonymous_bytes();
  growths.mutex.unlock();
}

int64_t Growth::bytes() {
  auto& growths = of_this_process<Growths>();
  const std::lock_guard lock(growths.mutex);
  growths.settle();
  return std::llround(bytes_);
}

}  // namespace edgeward
