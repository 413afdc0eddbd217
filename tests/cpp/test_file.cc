#include "file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "refusal.h"

namespace edgeward {
namespace {

class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "edgeward-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string at(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace

TEST_CASE("a file is read whole") {
  const Directory directory;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{1'000'003}}) {
    CAPTURE(size);
    std::string content(size, '\0');
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31 + i / 256);
    const Block block = read_file(write(directory.at("model"), content));
    CHECK(block.size_bytes() == size);
    CHECK(std::memcmp(block.data(), content.data(), size) == 0);
  }
}

TEST_CASE("bytes that were read do not change with the file") {
  const Directory directory;
  const std::string path = write(directory.at("model"), "first");
  const Block block = read_file(path);
  write(path, "other");
  CHECK(std::memcmp(block.data(), "first", 5) == 0);
}

TEST_CASE("what the system refuses is the system's error, and leaves nothing open") {
  const Directory directory;
  const std::string file = write(directory.at("file"), "content");
  struct Row {
    std::string path;
    std::errc expected;
  };
  const Row rows[] = {{directory.at("missing"), std::errc::no_such_file_or_directory},
                      {directory.at("."), std::errc::is_a_directory},
                      {file + "/below", std::errc::not_a_directory},
                      {std::string(5000, 'x'), std::errc::filename_too_long},
                      {"", std::errc::no_such_file_or_directory}};
  const size_t open_before = open_descriptors();
  for (const Row& row : rows) {
    CAPTURE(row.path);
    try {
      (void)read_file(row.path);
      FAIL_CHECK("expected std::system_error, got none");
    } catch (const std::system_error& error) {
      CHECK(error.code() == std::make_error_code(row.expected));
    }
  }
  CHECK(open_descriptors() == open_before);
}

TEST_CASE("a FIFO is refused at once, with no writer to wait for") {
  const Directory directory;
  const std::string path = directory.at("fifo");
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  const size_t open_before = open_descriptors();
  check_refusal(Code::bad_input, {path, "regular file"}, [&] { (void)read_file(path); });
  CHECK(open_descriptors() == open_before);
}

TEST_CASE("a device is refused") {
  check_refusal(Code::bad_input, {"/dev/null", "regular file"}, [] { (void)read_file("/dev/null"); });
}

TEST_CASE("a symbolic link is followed") {
  const Directory directory;
  write(directory.at("model"), "content");
  REQUIRE(symlink(directory.at("model").c_str(), directory.at("link").c_str()) == 0);
  CHECK(read_file(directory.at("link")).size_bytes() == 7);
}

}  // namespace edgeward
