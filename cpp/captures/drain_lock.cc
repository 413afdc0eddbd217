#include "captures/drain_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "system/file.h"

namespace edgeward {
namespace {

// A field is a line: a name, a space, the value.
constexpr std::string_view kProcess = "process ";
constexpr std::string_view kCaptures = "captures ";
constexpr std::string_view kOpen = "open ";
constexpr size_t kMaxBytes = size_t{64} << 10;

std::string line(std::string_view name, std::string value) {
  std::replace(value.begin(), value.end(), '\n', '?');
  return std::string(name) + value + "\n";
}

// Of the lines that begin with `name`, what is behind it.
std::vector<std::string> fields_of(int number, std::string_view name) {
  std::string text(kMaxBytes, '\0');
  const ssize_t size = pread(number, text.data(), text.size(), 0);
  text.resize(size < 0 ? 0 : static_cast<size_t>(size));
  std::vector<std::string> values;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view row = std::string_view(text).substr(begin, end - begin);
    if (row.starts_with(name)) values.emplace_back(row.substr(name.size()));
    begin = end + 1;
  }
  return values;
}

std::string first_of(std::vector<std::string> values) { return values.empty() ? "" : std::move(values.front()); }

}  // namespace

DrainLock::DrainLock(const std::string& ring_directory)
    : path_(ring_directory + "/" + std::string(kDrainLockName)), lock_(path_) {}

bool DrainLock::try_acquire() {
  if (!lock_.try_acquire()) return false;
  struct stat locked {};
  struct stat current {};
  return fstat(lock_.descriptor(), &locked) == 0 && stat(path_.c_str(), &current) == 0 &&
         locked.st_ino == current.st_ino && locked.st_dev == current.st_dev;
}

void DrainLock::remove() { unlink(path_.c_str()); }

std::string DrainLock::holder() const {
  const std::string process = first_of(fields_of(lock_.descriptor(), kProcess));
  const std::string directory = captures();
  if (process.empty() || directory.empty()) return "a process that has not said which";
  return "process " + process + ", which drains into \"" + directory + "\"";
}

std::string DrainLock::captures() const { return first_of(fields_of(lock_.descriptor(), kCaptures)); }

std::vector<std::string> DrainLock::open_segments() const { return fields_of(lock_.descriptor(), kOpen); }

void DrainLock::write(const std::string& capture_directory, const std::vector<std::string>& open_segments) {
  std::string text = line(kProcess, std::to_string(getpid())) + line(kCaptures, capture_directory);
  for (const std::string& name : open_segments) text += line(kOpen, name);
  // One write, then the cut: whoever reads in between sees the lines above first.
  const bool is_written =
      pwrite(lock_.descriptor(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
      ftruncate(lock_.descriptor(), static_cast<off_t>(text.size())) == 0;
  if (!is_written) throw std::filesystem::filesystem_error("lock", path_, {errno, std::generic_category()});
}

std::string drained_into(const std::string& ring_directory) {
  const std::string path = ring_directory + "/" + std::string(kDrainLockName);
  const int number = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (number < 0 && errno == ENOENT) return "";
  const Descriptor file(number, path);
  return first_of(fields_of(number, kCaptures));
}

}  // namespace edgeward
