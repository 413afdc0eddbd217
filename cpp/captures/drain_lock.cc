#include "captures/drain_lock.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

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

std::vector<std::string> DrainLock::fields(std::string_view name) const {
  std::string text(kMaxBytes, '\0');
  const ssize_t size = pread(lock_.descriptor(), text.data(), text.size(), 0);
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

std::string DrainLock::holder() const {
  const auto process = fields(kProcess);
  const auto captures = fields(kCaptures);
  if (process.empty() || captures.empty()) return "a process that has not said which";
  return "process " + process.front() + ", which drains into \"" + captures.front() + "\"";
}

std::vector<std::string> DrainLock::open_segments() const { return fields(kOpen); }

void DrainLock::write(const std::string& capture_directory, const std::vector<std::string>& open_segments) {
  std::string text = line(kProcess, std::to_string(getpid())) + line(kCaptures, capture_directory);
  for (const std::string& name : open_segments) text += line(kOpen, name);
  // One write, then the cut: whoever reads in between sees the lines above first.
  const bool is_written =
      pwrite(lock_.descriptor(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
      ftruncate(lock_.descriptor(), static_cast<off_t>(text.size())) == 0;
  if (!is_written) throw std::filesystem::filesystem_error("lock", path_, {errno, std::generic_category()});
}

}  // namespace edgeward
