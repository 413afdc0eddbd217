#include "captures/segment_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>

#include "captures/moment.h"
#include "crypto/hpke.h"
#include "system/process_locks.h"

namespace edgeward {
namespace {

// What is lost by a machine that stops is at most what was not synced; a block this large costs little for its head.
constexpr uint64_t kBlockBytes = uint64_t{512} << 10;

[[noreturn]] void refuse(const std::string& path) {
  throw std::filesystem::filesystem_error("segment", path, {errno, std::generic_category()});
}

void write_all(const Descriptor& file, const std::string& path, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(file.number(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) refuse(path);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

// With `recipient`, `cipher` seals payloads under a content key that is wrapped for it.
SegmentHead new_head(const std::optional<PublicKey>& recipient, std::optional<Aead>& cipher) {
  uint64_t salt = 0;
  fill_random(std::as_writable_bytes(std::span(&salt, 1)));
  SegmentHead head = segment_head(salt);
  const Moment now = moment_now();
  head.created_ns = now.wall_ns;
  head.boot_id = now.boot;
  head.monotonic_ns = static_cast<uint64_t>(now.monotonic_ns);
  if (recipient) {
    Secret content_key;
    fill_random(content_key.bytes());
    const HpkeMessage wrapped =
        hpke_seal(HpkeAead::chacha20_poly1305, recipient->bytes, info_of(head), {}, content_key.bytes());
    head.flags = kEncryptedFlag;
    head.encapsulated = wrapped.encapsulated;
    std::copy(wrapped.ciphertext.begin(), wrapped.ciphertext.end(), head.wrapped_key.begin());
    head.recipient = key_id(*recipient);
    cipher.emplace(AeadAlgorithm::chacha20_poly1305, content_key.bytes(), Aead::Direction::seal);
  }
  head.crc = crc_of(head);
  return head;
}

}  // namespace

SegmentWriter::SegmentWriter(const std::string& directory, int64_t number, const std::optional<PublicKey>& recipient)
    : file_([&] {
        const SegmentHead head = new_head(recipient, cipher_);
        const Bytes bytes = std::as_bytes(std::span(&head, 1));
        salt_ = head.salt;
        path_ = open_segment_path(directory, number, head.salt);
        Descriptor file(ProcessLocks::of_this_process().open_file(path_, O_WRONLY | O_CREAT | O_EXCL, 0640), path_);
        // A lock says that the writer lives. A file system without locks has the names in the drain's lock instead.
        flock(file.number(), LOCK_EX | LOCK_NB);
        try {
          write_all(file, path_, bytes);
        } catch (...) {
          unlink(path_.c_str());
          ProcessLocks::of_this_process().remove(file.number());
          throw;
        }
        hash_.add(bytes);
        head_digest_ = sha256(bytes);
        size_bytes_ = bytes.size();
        return file;
      }()) {}

SegmentWriter::~SegmentWriter() { ProcessLocks::of_this_process().remove(file_.number()); }

void SegmentWriter::write(Bytes bytes) {
  require_whole();
  has_failed_ = true;
  write_all(file_, path_, bytes);
  has_failed_ = false;
}

// A frame behind one that is cut short would never be read. A sync that failed is not retried: the kernel has dropped
// the pages and would report success.
void SegmentWriter::require_whole() const {
  if (!has_failed_) return;
  errno = EIO;
  refuse(path_);
}

uint64_t SegmentWriter::size_bytes() const {
  if (block_.is_empty()) return size_bytes_;
  return size_bytes_ + frame_bytes(2, static_cast<uint32_t>(block_.size_bytes()));
}

void SegmentWriter::add(uint64_t ring_id, const Record& record) {
  require_whole();
  if (!block_.admits(ring_id, record)) write_block();
  block_.add(ring_id, record);
  if (block_.size_bytes() >= kBlockBytes) write_block();
}

void SegmentWriter::write_block() {
  if (block_.is_empty()) return;
  block_.lay_out(payload_);
  const RecordSpan span = RecordBlock::try_read(payload_)->span();
  const uint64_t ring_id = block_.ring_id();
  block_.clear();
  append(FrameType::block, ring_id, payload_, span);
}

void SegmentWriter::append(FrameType type, uint64_t ring_id, Bytes payload, const RecordSpan& span) {
  write_block();
  const FrameRow row = row_of(type, ring_id, span, size_bytes_);
  FrameHead head = head_of(row);
  rows_.push_back(row);
  record_count_ += span.record_count;
  write(head, payload);
}

// Seals the payload when there is a recipient.
void SegmentWriter::write(FrameHead head, Bytes payload) {
  head.salt = salt_;
  head.index = frame_count_;
  head.payload_bytes = static_cast<uint32_t>(payload.size());
  std::vector<std::byte> stored;
  if (cipher_) {
    stored.resize(payload.size());
    cipher_->seal(nonce_of(frame_count_), associated_data(head_digest_, head), payload, stored, head.tag);
    payload = stored;
  }
  lay_frame(head, payload, frame_);
  write(frame_);
  hash_.add(frame_);
  size_bytes_ += frame_.size();
  ++frame_count_;
}

void SegmentWriter::sync() {
  require_whole();
  write_block();
  has_failed_ = true;
  if (fdatasync(file_.number()) != 0) refuse(path_);
  require_reachable();
  has_failed_ = false;
}

// Throws when the file is no longer what is at its path: a directory that was removed, or lies under another mount now.
void SegmentWriter::require_reachable() const {
  struct stat own {};
  struct stat there {};
  if (fstat(file_.number(), &own) != 0 || stat(path_.c_str(), &there) != 0) refuse(path_);
  if (own.st_dev == there.st_dev && own.st_ino == there.st_ino) return;
  errno = ESTALE;
  refuse(path_);
}

std::string SegmentWriter::seal() {
  write_block();
  const uint64_t index_offset = size_bytes_;
  write(head_of({.type = static_cast<uint32_t>(FrameType::index)}), std::as_bytes(std::span(rows_)));
  FrameHead head = head_of({.type = static_cast<uint32_t>(FrameType::footer)});
  head.record_count = record_count_;
  const SegmentFooter footer{frame_count_, size_bytes_, 0, 0, index_offset, hash_.finish()};
  write(head, std::as_bytes(std::span(&footer, 1)));
  sync();
  std::string sealed = sealed_segment_path(path_);
  if (rename(path_.c_str(), sealed.c_str()) != 0) refuse(sealed);
  sync_directory_of(sealed);
  return sealed;
}

}  // namespace edgeward
