#include "file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "error.h"

namespace edgeward {
namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : number_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (number_ < 0) throw std::system_error(errno, std::generic_category(), path);
  }
  ~Descriptor() { close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

Block read_file(const std::string& path) {
  // O_NONBLOCK: a FIFO must not hold the caller before it is refused below.
  const Descriptor file(path);
  struct stat facts {};
  if (fstat(file.number(), &facts) != 0) throw std::system_error(errno, std::generic_category(), path);
  if (S_ISDIR(facts.st_mode)) throw std::system_error(EISDIR, std::generic_category(), path);
  if (!S_ISREG(facts.st_mode))
    throw Error(Code::bad_input, "model file \"", path, "\": expected a regular file, got a device, pipe or socket");

  Block block = Block::uninitialized(static_cast<size_t>(facts.st_size));
  size_t filled = 0;
  while (filled < block.size_bytes()) {
    constexpr size_t kMostPerRead = size_t{1} << 30;
    const size_t wanted = std::min(block.size_bytes() - filled, kMostPerRead);
    const ssize_t got = pread(file.number(), block.data() + filled, wanted, static_cast<off_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw std::system_error(errno, std::generic_category(), path);
    if (got == 0) {
      throw Error(Code::bad_input, "model file \"", path, "\": expected ", block.size_bytes(), " bytes, got ", filled,
                  ": it changed while it was read");
    }
    filled += static_cast<size_t>(got);
  }
  return block;
}

}  // namespace edgeward
