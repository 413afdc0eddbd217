#include "captures/segment_recovery.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <span>
#include <vector>

#include "captures/segment_format.h"
#include "captures/segment_reader.h"
#include "crypto/crypto.h"
#include "error.h"
#include "system/file.h"

namespace edgeward {
namespace {

constexpr size_t kCopiedBytes = size_t{1} << 20;

[[noreturn]] void refuse(const std::string& path) {
  throw std::filesystem::filesystem_error("segment", path, {errno, std::generic_category()});
}

// Copies the whole frames that `reader` stopped behind, and puts a footer behind them.
void copy_whole(const File& source, const SegmentReader& reader, uint64_t frame_count, const std::string& sealed_path) {
  NewFile sealed(sealed_path);
  Sha256 hash;
  std::vector<std::byte> buffer(kCopiedBytes);
  for (uint64_t offset = 0; offset < reader.whole_bytes(); offset += buffer.size()) {
    const auto bytes = std::span(buffer).first(std::min<uint64_t>(buffer.size(), reader.whole_bytes() - offset));
    source.read_at(offset, bytes);
    hash.add(bytes);
    sealed.write_at(offset, bytes);
  }
  std::vector<std::byte> footer;
  lay_footer(reader.head().salt, {frame_count, reader.whole_bytes(), kRecoveredFlag, 0, hash.finish()}, footer);
  sealed.write_at(reader.whole_bytes(), footer);
  sealed.commit();
}

}  // namespace

Recovered recover_segment(const std::string& path, Unlockable unlockable) {
  Recovered recovered{{}, 0, 0, 0};
  const Descriptor lock(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), path);
  if (flock(lock.number(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      throw Error(Code::busy, "segment \"", path, "\": expected to have it alone, got a process that writes it");
    if (unlockable == Unlockable::refused) refuse(path);
  }
  SegmentReader reader(path, nullptr);
  while (reader.next()) ++recovered.frame_count;
  recovered.hole_count = reader.hole_count();
  const File source("segment", path, File::Links::refused);
  if (reader.is_complete()) {
    // The writer died between the footer and the rename. The footer itself is no frame of the caller's.
    --recovered.frame_count;
    recovered.path = sealed_segment_path(path);
    if (rename(path.c_str(), recovered.path.c_str()) != 0) refuse(path);
    sync_directory_of(path);
    return recovered;
  }
  recovered.lost_bytes = source.size_bytes() - reader.whole_bytes();
  if (recovered.frame_count > 0) {
    recovered.path = sealed_segment_path(path);
    copy_whole(source, reader, recovered.frame_count, recovered.path);
  }
  if (unlink(path.c_str()) != 0) refuse(path);
  sync_directory_of(path);
  return recovered;
}

}  // namespace edgeward
