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
#include "captures/segment_index.h"
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

// What a segment has of whole frames.
struct Whole {
  std::vector<FrameRow> rows;  // without an index
  uint64_t end = kSegmentHeadBytes;
  uint64_t record_count = 0;
};

Whole read_whole(SegmentReader& reader) {
  Whole whole;
  uint64_t offset = whole.end;
  bool has_index = false;  // nothing of the writer's comes behind it
  while (const auto frame = reader.next()) {
    has_index |= frame->type() == FrameType::index;
    if (!has_index && !reader.is_complete()) {
      whole.rows.push_back(row_of(*frame, offset, reader.is_readable()));
      whole.record_count += frame->head.record_count;
      whole.end = reader.whole_bytes();
    }
    offset = reader.whole_bytes();
  }
  return whole;
}

// Copies the whole frames, and puts an end behind them: with an index, where the payloads can be read.
void copy_whole(const File& source, const SegmentReader& reader, const Whole& whole, const std::string& sealed_path) {
  NewFile sealed(sealed_path);
  Sha256 hash;
  std::vector<std::byte> buffer(std::min<uint64_t>(kCopiedBytes, whole.end));
  for (uint64_t offset = 0; offset < whole.end; offset += buffer.size()) {
    const auto bytes = std::span(buffer).first(std::min<uint64_t>(buffer.size(), whole.end - offset));
    source.read_at(offset, bytes);
    hash.add(bytes);
    sealed.write_at(offset, bytes);
  }
  SegmentFooter footer{whole.rows.size(), whole.end, 0, 0, 0, {}};
  if (format_of(reader.head()) == 2 && reader.is_readable()) {
    FrameHead head{};
    head.type = static_cast<uint32_t>(FrameType::index);
    head.salt = reader.head().salt;
    head.index = footer.frame_count;
    lay_frame(head, std::as_bytes(std::span(whole.rows)), buffer);
    hash.add(buffer);
    sealed.write_at(whole.end, buffer);
    footer.index_offset = whole.end;
    footer.size_bytes += buffer.size();
    ++footer.frame_count;
  }
  footer.digest = hash.finish();
  lay_recovered_frame(reader.head(), footer, whole.record_count, buffer);
  sealed.write_at(footer.size_bytes, buffer);
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
  const Whole whole = read_whole(reader);
  recovered.frame_count = whole.rows.size();
  recovered.hole_count = reader.hole_count();
  const File source("segment", path, File::Links::refused);
  if (reader.is_complete()) {
    // The writer died between the last frame and the rename.
    recovered.path = sealed_segment_path(path);
    if (rename(path.c_str(), recovered.path.c_str()) != 0) refuse(path);
    sync_directory_of(path);
    return recovered;
  }
  recovered.lost_bytes = source.size_bytes() - reader.whole_bytes();
  if (recovered.frame_count > 0) {
    recovered.path = sealed_segment_path(path);
    copy_whole(source, reader, whole, recovered.path);
  }
  if (unlink(path.c_str()) != 0) refuse(path);
  sync_directory_of(path);
  return recovered;
}

}  // namespace edgeward
