// The threads of this process, as the kernel knows them.
#pragma once

#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace edgeward {

inline std::set<int> thread_ids() {
  std::set<int> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.insert(std::stoi(entry.path().filename()));
  return ids;
}

// What the kernel says of a thread: the rest of the line that begins with `field`.
inline std::string told_of(int thread, const std::string& field) {
  std::ifstream status("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return line.substr(field.size());
  }
  return "";
}

// The one thread that `make` makes.
template <class Make>
int thread_made_by(Make&& make) {
  const std::set<int> before = thread_ids();
  make();
  std::set<int> added = thread_ids();
  for (const int id : before) added.erase(id);
  REQUIRE(added.size() == 1);
  return *added.begin();
}

// Requires that all signals that can be blocked are: not 9 and 19, which the kernel does not let be, nor 32 and 33,
// which are the C library's.
inline void check_no_signal_reaches(int thread) {
  const uint64_t blocked = std::stoull(told_of(thread, "SigBlk:"), nullptr, 16);
  for (int number = 1; number < 32; ++number) {
    CAPTURE(number);
    CHECK((blocked >> (number - 1) & 1) == (number == SIGKILL || number == SIGSTOP ? 0 : 1));
  }
}

}  // namespace edgeward
