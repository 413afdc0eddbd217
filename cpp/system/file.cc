#include "system/file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "error.h"
#include "system/shared_loop.h"

namespace edgeward {
namespace {

constexpr size_t kMaxBytesPerCall = size_t{1} << 30;

[[noreturn]] void refuse(const std::string& path, int number = errno) {
  throw std::filesystem::filesystem_error("file", path, {number, std::generic_category()});
}

int open_to_read(const std::string& kind, const std::string& path, File::Links links) {
  // O_NONBLOCK: opening a FIFO must not block before it is refused.
  const int refused_links = links == File::Links::refused ? O_NOFOLLOW : 0;
  const int number = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | refused_links);
  if (number < 0 && errno == ELOOP && refused_links != 0) {
    throw Error(Code::bad_input, kind, " \"", path,
                "\": expected a regular file, got a symbolic link: name the file that it leads to");
  }
  return number;
}

// The draft is located in the same directory, because a rename does not cross file systems.
int create_draft(std::string& path) {
  const size_t stem_size = path.size();
  int number = -1;
  do {
    uint32_t salt = 0;
    if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt)) return -1;
    path.resize(stem_size);
    path += "." + std::to_string(salt) + std::string(NewFile::kDraftSuffix);
    number = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (number < 0 && errno == EEXIST);
  return number;
}

}  // namespace

Descriptor::Descriptor(int number, const std::string& path) : number_(number) {
  if (number_ < 0) refuse(path);
}

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

File::File(std::string kind, std::string path, Links links)
    : kind_(std::move(kind)), path_(std::move(path)), descriptor_(open_to_read(kind_, path_, links), path_) {
  struct stat facts {};
  if (fstat(descriptor_.number(), &facts) != 0) refuse(path_);
  if (S_ISDIR(facts.st_mode)) refuse(path_, EISDIR);
  if (!S_ISREG(facts.st_mode)) {
    throw Error(Code::bad_input, kind_, " \"", path_, "\": expected a regular file, got a device, pipe or socket");
  }
  size_bytes_ = static_cast<uint64_t>(facts.st_size);
  permissions_ = facts.st_mode & 0777;
}

void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  size_t filled = 0;
  while (filled < out.size()) {
    const size_t wanted = std::min(out.size() - filled, kMaxBytesPerCall);
    const ssize_t got = pread(descriptor_.number(), out.data() + filled, wanted, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(path_);
    if (got == 0) {
      throw Error(Code::bad_input, kind_, " \"", path_, "\": expected ", size_bytes_, " bytes, got ", offset + filled,
                  ": it changed while it was read");
    }
    filled += static_cast<size_t>(got);
  }
}

Block read_file(const File& file, int threads) {
  const uint64_t size_bytes = file.size_bytes();
  // Pages of its own, which an engine may give back to the system one by one.
  constexpr uint64_t kMinPagesBytes = uint64_t{1} << 20;
  Block block = size_bytes >= kMinPagesBytes ? Block::pages(size_bytes) : Block::uninitialized(size_bytes);
  // Whole large pages, each of which one thread clears.
  constexpr uint64_t kPartBytes = 2 * kLargePageBytes;
  for_each_shared((size_bytes + kPartBytes - 1) / kPartBytes, 1, threads, [&] {
    return [&](uint64_t part) {
      const uint64_t offset = part * kPartBytes;
      file.read_at(offset, {block.data() + offset, std::min(kPartBytes, size_bytes - offset)});
    };
  });
  return block;
}

Block read_file(const std::string& path, int threads) {
  return read_file(File("model file", path, File::Links::followed), threads);
}

void sync_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor descriptor(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), directory);
  if (fsync(descriptor.number()) != 0) refuse(directory);
}

NewFile::NewFile(std::string path)
    : path_(std::move(path)), draft_path_(path_), descriptor_(create_draft(draft_path_), path_) {}

NewFile::~NewFile() {
  if (!is_committed_) unlink(draft_path_.c_str());
}

std::vector<std::string> paths_in(const std::string& directory, std::string_view suffix) {
  std::vector<std::string> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().string();
    if (path.ends_with(suffix)) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

uint64_t free_bytes(const std::string& directory) {
  struct statvfs facts {};
  return statvfs(directory.c_str(), &facts) == 0 ? facts.f_bavail * facts.f_frsize : UINT64_MAX;
}

void NewFile::write_at(uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(descriptor_.number(), bytes.data(), std::min(bytes.size(), kMaxBytesPerCall),
                               static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) refuse(path_);
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
}

void NewFile::commit() {
  if (fsync(descriptor_.number()) != 0 || rename(draft_path_.c_str(), path_.c_str()) != 0) refuse(path_);
  is_committed_ = true;
  sync_directory_of(path_);
}

}  // namespace edgeward
