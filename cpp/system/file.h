// Files: File is read at offsets, NewFile appears whole or not at all. Nothing is mapped: a file that is overwritten or
// truncated while its model runs must not change what the engine reads (docs/decisions/0002).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "system/memory.h"

namespace edgeward {

// An open descriptor, closed with its owner.
class Descriptor {
 public:
  // Throws std::filesystem::filesystem_error for -1, with errno and `path`.
  Descriptor(int number, const std::string& path);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

// A regular file, open to read. Any thread.
class File {
 public:
  enum class Links : uint8_t {
    followed,
    refused  // a symbolic link as the last part of the path is Error(bad_input)
  };
  // `kind` names it in messages: "model file". Throws std::filesystem::filesystem_error when the system refuses,
  // Error(bad_input) when it is not a regular file.
  File(std::string kind, std::string path, Links links);

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }    // at opening
  uint32_t permissions() const { return permissions_; }  // at opening: the mode's lowest nine bits

  // Fills `out` from `offset`. Throws std::filesystem::filesystem_error, and Error(bad_input) when the file has become
  // shorter.
  void read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  std::string kind_;
  std::string path_;
  Descriptor descriptor_;
  uint64_t size_bytes_;
  uint32_t permissions_;
};

// Bytes of a file, or of what is in it, and where they go.
struct FilePart {
  uint64_t offset;
  std::span<std::byte> bytes;
};

// Reads a whole model file, a large one with up to `threads` threads, which end before this returns. Both throw
// as File does.
Block read_file(const File& file, int threads);
Block read_file(const std::string& path, int threads);

// Makes durable that the name `path` exists, or that it does not. Throws std::filesystem::filesystem_error.
void sync_directory_of(const std::string& path);

// The paths in a directory that end with `suffix`, in order; as many as can be read. Throws std::bad_alloc alone.
std::vector<std::string> paths_in(const std::string& directory, std::string_view suffix);

// What the file system of a directory has left; UINT64_MAX when it does not say.
uint64_t free_bytes(const std::string& directory);

// A file that is written under a draft's name in the same directory. commit() gives it its own name; without commit()
// it is deleted. One thread.
class NewFile {
 public:
  // Follows the file's name in that of its draft.
  static constexpr std::string_view kDraftSuffix = ".draft";
  // Permissions are 0666 less the umask. All functions throw std::filesystem::filesystem_error.
  explicit NewFile(std::string path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write_at(uint64_t offset, Bytes bytes);
  // Flushes the contents to the disk, then renames the draft to `path`, replacing any file of that name.
  void commit();

 private:
  std::string path_;
  std::string draft_path_;
  Descriptor descriptor_;
  bool is_committed_ = false;
};

}  // namespace edgeward
