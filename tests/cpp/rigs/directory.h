// A directory of a test's own, gone with it.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

namespace edgeward {

class Directory {
 public:
  Directory() : Directory(std::filesystem::temp_directory_path()) {}
  explicit Directory(const std::filesystem::path& parent) {
    std::string pattern = (parent / "edgeward-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string at(const std::string& name) const { return (path_ / name).string(); }

  std::set<std::string> names() const {
    std::set<std::string> filenames;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) filenames.insert(entry.path().filename());
    return filenames;
  }

 private:
  std::filesystem::path path_;
};

inline std::string write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline unsigned mode_of(const std::string& path) {
  return static_cast<unsigned>(std::filesystem::symlink_status(path).permissions());
}

}  // namespace edgeward
