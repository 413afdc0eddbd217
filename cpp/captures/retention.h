// Retention: which files of a directory of captures stay, by a budget. It deletes sealed segments, and damaged ones; it
// counts statistics, whose writers delete them, and leaves every other file alone. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "captures/budget.h"
#include "captures/moment.h"

namespace edgeward {

inline constexpr std::string_view kDamagedSuffix = ".damaged";  // behind the name of a segment without a head

class Retention {
 public:
  Retention(std::string directory, const Budget& budget) : directory_(std::move(directory)), budget_(budget) {}

  struct Evicted {
    uint64_t segments = 0;
    uint64_t records = 0;
    uint64_t bytes = 0;
  };
  // Deletes what the budget has no room for; so many segments stay all the same, unless they are too old. What cannot
  // be read or deleted stays. Throws std::bad_alloc alone.
  Evicted enforce(const Moment& now, size_t least_count = 0);

 private:
  Moment moment_of(const std::string& path);

  std::string directory_;
  Budget budget_;
  std::map<std::string, Moment> moments_;  // by path: each head is read once
};

}  // namespace edgeward
