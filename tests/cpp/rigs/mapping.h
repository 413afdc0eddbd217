// What the kernel says of this process's memory.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace edgeward {

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  std::string permissions;      // "rw-p"
  std::string name;             // "[heap]", "/secretmem (deleted)", empty
  std::set<std::string> flags;  // VmFlags of proc_pid_smaps(5): "dd" is in no core dump, "dc" not in a forked child
};

inline std::vector<Mapping> mappings() {
  std::ifstream smaps("/proc/self/smaps");
  std::vector<Mapping> all;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (first == "VmFlags:") {
      all.back().flags = {std::istream_iterator<std::string>(words), {}};
    } else if (const size_t dash = first.find('-'); dash != std::string::npos) {
      Mapping mapping;
      mapping.begin = std::stoul(first.substr(0, dash), nullptr, 16);
      mapping.end = std::stoul(first.substr(dash + 1), nullptr, 16);
      std::string offset, device, inode;
      words >> mapping.permissions >> offset >> device >> inode >> std::ws;
      std::getline(words, mapping.name);
      all.push_back(mapping);
    }
  }
  return all;
}

inline std::optional<Mapping> try_mapping_of(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  for (const Mapping& mapping : mappings()) {
    if (mapping.begin <= wanted && wanted < mapping.end) return mapping;
  }
  return std::nullopt;
}

}  // namespace edgeward
