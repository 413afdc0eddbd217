#include "system/file.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

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
    const Block block = read_file(write_file(directory.at("model"), content), 2);
    CHECK(block.size_bytes() == size);
    CHECK(std::memcmp(block.data(), content.data(), size) == 0);
  }
}

TEST_CASE("bytes that were read do not change with the file") {
  const Directory directory;
  const std::string path = write_file(directory.at("model"), "first");
  const Block block = read_file(path, 2);
  write_file(path, "other");
  CHECK(std::memcmp(block.data(), "first", 5) == 0);
}

TEST_CASE("what the system refuses is the system's error, and leaves nothing open") {
  const Directory directory;
  const std::string file = write_file(directory.at("file"), "content");
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
      (void)read_file(row.path, 2);
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
  check_refusal(Code::bad_input, {path, "regular file"}, [&] { (void)read_file(path, 2); });
  CHECK(open_descriptors() == open_before);
}

TEST_CASE("a device is refused") {
  check_refusal(Code::bad_input, {"/dev/null", "regular file"}, [] { (void)read_file("/dev/null", 2); });
}

TEST_CASE("a symbolic link is followed") {
  const Directory directory;
  write_file(directory.at("model"), "content");
  REQUIRE(symlink(directory.at("model").c_str(), directory.at("link").c_str()) == 0);
  CHECK(read_file(directory.at("link"), 1).size_bytes() == 7);
}

TEST_CASE("a symbolic link as the last part is refused where links are, one before it is not") {
  const Directory directory;
  std::filesystem::create_directory(directory.at("real"));
  write_file(directory.at("real/key"), "content");
  REQUIRE(symlink("real/key", directory.at("link").c_str()) == 0);
  REQUIRE(symlink("real", directory.at("folder").c_str()) == 0);
  check_refusal(Code::bad_input, {"key \"" + directory.at("link"), "symbolic link"},
                [&] { File("key", directory.at("link"), File::Links::refused); });
  CHECK(File("key", directory.at("link"), File::Links::followed).size_bytes() == 7);
  CHECK(File("key", directory.at("folder/key"), File::Links::refused).size_bytes() == 7);
}

TEST_CASE("a file tells its size and its permissions, and is read at any offset") {
  const Directory directory;
  const std::string path = write_file(directory.at("file"), "0123456789");
  for (const mode_t mode : {0600U, 0644U, 0400U, 0777U}) {
    REQUIRE(chmod(path.c_str(), mode) == 0);
    CHECK(File("file", path, File::Links::refused).permissions() == mode);
  }
  const File file("file", path, File::Links::refused);
  CHECK(file.size_bytes() == 10);
  CHECK(file.path() == path);
  for (size_t begin = 0; begin <= 10; ++begin) {
    for (size_t size = 0; begin + size <= 10; ++size) {
      Octets out(size);
      file.read_at(begin, out);
      CHECK(to_text(out) == std::string("0123456789").substr(begin, size));
    }
  }
}

TEST_CASE("a file that was cut short since it was opened is an error that says so") {
  const Directory directory;
  const std::string path = write_file(directory.at("file"), "0123456789");
  const File file("model file", path, File::Links::followed);
  REQUIRE(truncate(path.c_str(), 4) == 0);
  Octets out(10);
  check_refusal(Code::bad_input, {"model file \"" + path, "expected 10 bytes", "got 4", "changed"},
                [&] { file.read_at(0, out); });
  Octets past(1);
  check_refusal(Code::bad_input, {"got 20"}, [&] { file.read_at(20, past); });
}

TEST_CASE("a new file is there whole once it is committed, and before that only as a draft") {
  const Directory directory;
  const std::string path = directory.at("made");
  const mode_t before = umask(027);
  {
    NewFile file(path);
    file.write_at(4, from_text("4567"));
    file.write_at(0, from_text("0123"));
    file.write_at(8, {});
    CHECK(directory.names().size() == 1);
    CHECK(directory.names().count("made") == 0);
    file.commit();
    CHECK(content_of(path) == "01234567");
  }
  umask(before);
  CHECK(directory.names() == std::set<std::string>{"made"});
  CHECK(mode_of(path) == 0640);
}

TEST_CASE("a new file that is not committed leaves what was there, and no draft") {
  const Directory directory;
  const std::string path = write_file(directory.at("made"), "old");
  {
    NewFile file(path);
    file.write_at(0, from_text("new"));
  }
  CHECK(content_of(path) == "old");
  CHECK(directory.names().size() == 1);
  NewFile file(path);
  file.write_at(0, from_text("new"));
  file.commit();
  CHECK(content_of(path) == "new");
}

TEST_CASE("a new file beside others of its name has a draft of its own") {
  const Directory directory;
  NewFile first(directory.at("made"));
  NewFile second(directory.at("made"));
  CHECK(directory.names().size() == 2);
  first.write_at(0, from_text("one"));
  second.write_at(0, from_text("two"));
  second.commit();
  CHECK(content_of(directory.at("made")) == "two");
  first.commit();
  CHECK(content_of(directory.at("made")) == "one");
  CHECK(directory.names().size() == 1);
}

TEST_CASE("a new file for which there is no room is the system's error, leaves what was there and no draft") {
  const Directory directory;
  const std::string path = write_file(directory.at("made"), "old");
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          const rlimit most{6, 6};
          if (setrlimit(RLIMIT_FSIZE, &most) != 0) return false;
          try {
            NewFile file(path);
            file.write_at(0, from_text("01234567"));
            return false;
          } catch (const std::system_error& error) {
            return error.code() == std::errc::file_too_large;
          }
        }) == "");
  CHECK(content_of(path) == "old");
  CHECK(directory.names().size() == 1);
  try {
    NewFile(directory.at("missing/made"));
    FAIL_CHECK("expected std::system_error, got none");
  } catch (const std::system_error& error) {
    CHECK(error.code() == std::errc::no_such_file_or_directory);
  }
}

TEST_CASE("the paths in a directory are those that end so, in order; none of one that is not there") {
  const Directory directory;
  for (const char* name : {"b.ring", "a.ring", "c.ring.draft", "ring"}) write_file(directory.at(name), "x");
  using Paths = std::vector<std::string>;
  CHECK(paths_in(directory.at(""), ".ring") == Paths{directory.at("a.ring"), directory.at("b.ring")});
  CHECK(paths_in(directory.at(""), "").size() == 4);
  CHECK(paths_in(directory.at("missing"), "").empty());
}

TEST_CASE("what a file system has left is known where there is one") {
  const Directory directory;
  CHECK(free_bytes(directory.at("")) < UINT64_MAX);
  CHECK(free_bytes(directory.at("missing")) == UINT64_MAX);
}

TEST_CASE("a descriptor is closed with its owner, and moves") {
  const size_t open_before = open_descriptors();
  {
    Descriptor first(dup(0), "standard input");
    CHECK(open_descriptors() == open_before + 1);
    const int number = first.number();
    const Descriptor second(std::move(first));
    CHECK(second.number() == number);
    CHECK(open_descriptors() == open_before + 1);
  }
  CHECK(open_descriptors() == open_before);
}

}  // namespace edgeward
