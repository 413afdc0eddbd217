// Files: one that is read at offsets, one that appears whole or not at all. Nothing is mapped: a file that is
// overwritten or cut short while it serves must not reach the engine (docs/decisions/0002).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

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
  uint64_t size_bytes() const { return size_bytes_; }    // when it was opened
  uint32_t permissions() const { return permissions_; }  // the mode's lowest nine bits, then

  // Fills `out` from `offset`. Throws std::filesystem::filesystem_error, Error(bad_input) when the file ends before: it
  // changed.
  void read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  std::string kind_;
  std::string path_;
  Descriptor descriptor_;
  uint64_t size_bytes_;
  uint32_t permissions_;
};

// The whole of a model file.
Block read_file(const std::string& path);

// Makes the name of `path` durable, or that it is gone. Throws std::filesystem::filesystem_error.
void sync_directory_of(const std::string& path);

// A file under construction beside its place, there only after commit(); without it, gone. One thread.
class NewFile {
 public:
  // Behind the name of the file while it is under construction.
  static constexpr std::string_view kDraftSuffix = ".draft";
  // Permissions are 0666 less the umask. Throws std::filesystem::filesystem_error, as do the others.
  explicit NewFile(std::string path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write_at(uint64_t offset, Bytes bytes);
  // On the disk, then in its place, replacing what was there.
  void commit();

 private:
  std::string path_;
  std::string draft_path_;
  Descriptor descriptor_;
  bool is_committed_ = false;
};

}  // namespace edgeward
