#include "captures/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "crypto/hpke.h"
#include "error.h"

namespace edgeward {
namespace {

// Capture-format 3.
constexpr std::array<char, 8> kMagic = {'E', 'W', 'S', 'E', 'G', '0', '1', '\0'};
constexpr uint32_t kFrameMagic = 0x52465745;  // "EWFR"
constexpr uint32_t kEncryptedFlag = 1;
// How often a byte is looked at, on average, for frames behind a hole: any number of heads could claim all that
// follows.
constexpr uint64_t kLooks = 4;
constexpr uint32_t kRecoveredFlag = 1;
constexpr uint64_t kFrameAlignment = 64;
constexpr uint32_t kMostPayloadBytes = uint32_t{1} << 31;
constexpr char kInfo[] = "edgeward/ewc/v1";  // with its zero

struct SegmentHead {
  std::array<char, 8> magic;
  uint64_t salt;
  int64_t created_ns;  // Unix time
  uint32_t flags;
  uint32_t zero;
  std::array<std::byte, kEncapsulatedBytes> encapsulated;
  std::array<std::byte, kSecretBytes + 16> wrapped_key;
  Digest recipient;  // key id
  std::byte zeros[44];
  uint32_t crc;  // of what is before it
};
static_assert(sizeof(SegmentHead) == kSegmentHeadBytes);

struct FrameHead {
  uint32_t magic;
  uint32_t type;
  uint64_t salt;
  uint64_t ring_id;
  uint64_t index;  // of the frame, from 0
  uint32_t payload_bytes;
  uint32_t crc;  // of this head with zero here, and the payload as it is stored
  Tag tag;
  uint64_t sequence;  // of a record; else zero
};
static_assert(sizeof(FrameHead) == kFrameHeadBytes);

struct Footer {
  uint64_t frame_count;
  uint64_t size_bytes;  // of all before the footer's frame
  uint32_t flags;
  uint32_t zero;
  Digest digest;  // of the same bytes
};
static_assert(sizeof(Footer) == 56);

template <class T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

uint32_t head_crc(const SegmentHead& head) { return crc32c(bytes_of(head).first(sizeof(head) - sizeof(head.crc))); }

uint32_t frame_crc(FrameHead head, Bytes payload) {
  head.crc = 0;
  return crc32c(payload, crc32c(bytes_of(head)));
}

uint64_t round_up(uint64_t size) { return (size + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment; }

Nonce nonce_of(uint64_t index) {
  Nonce nonce{};
  for (size_t i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::byte>(index >> (8 * (7 - i)));
  return nonce;
}

std::array<std::byte, sizeof(kInfo) + sizeof(uint64_t)> info_of(uint64_t salt) {
  std::array<std::byte, sizeof(kInfo) + sizeof(salt)> info;
  std::memcpy(info.data(), kInfo, sizeof(kInfo));
  std::memcpy(info.data() + sizeof(kInfo), &salt, sizeof(salt));
  return info;
}

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

void sync_directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path();
  const Descriptor place(open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                         directory);
  if (fsync(place.number()) != 0) refuse(directory);
}

// A frame as it is stored, with its padding.
void lay_frame(FrameHead head, Bytes payload, std::vector<std::byte>& frame) {
  head.crc = frame_crc(head, payload);
  frame.assign(round_up(sizeof(head) + payload.size()), std::byte{0});
  std::memcpy(frame.data(), &head, sizeof(head));
  if (!payload.empty()) std::memcpy(frame.data() + sizeof(head), payload.data(), payload.size());
}

void lay_footer(uint64_t salt, uint64_t frame_count, uint64_t size_bytes, uint32_t flags, const Digest& digest,
                std::vector<std::byte>& frame) {
  const Footer footer{frame_count, size_bytes, flags, 0, digest};
  const FrameHead head{
      kFrameMagic, static_cast<uint32_t>(FrameType::footer), salt, 0, frame_count, sizeof(footer), 0, Tag{}, 0};
  lay_frame(head, bytes_of(footer), frame);
}

std::string sealed_path(const std::string& open_path) {
  return open_path.substr(0, open_path.size() - std::string_view(".open").size()) + ".ewc";
}

SegmentHead new_head(const std::optional<PublicKey>& recipient, std::optional<Aead>& cipher) {
  SegmentHead head{};
  head.magic = kMagic;
  fill_random(std::as_writable_bytes(std::span(&head.salt, 1)));
  head.created_ns = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  if (recipient) {
    Secret content_key;
    fill_random(content_key.bytes());
    const HpkeMessage wrapped =
        hpke_seal(HpkeAead::chacha20_poly1305, recipient->bytes, info_of(head.salt), {}, content_key.bytes());
    head.flags = kEncryptedFlag;
    head.encapsulated = wrapped.encapsulated;
    std::copy(wrapped.ciphertext.begin(), wrapped.ciphertext.end(), head.wrapped_key.begin());
    head.recipient = key_id(*recipient);
    cipher.emplace(AeadAlgorithm::chacha20_poly1305, content_key.bytes(), Aead::Direction::seal);
  }
  head.crc = head_crc(head);
  return head;
}

std::string new_path(const std::string& directory, const SegmentHead& head) {
  // Names in order of time, to the nanosecond: what one drain makes is in order though it makes it fast. The salt tells
  // apart what two clocks do not.
  std::string time = std::to_string(head.created_ns);
  time.insert(0, time.size() < 20 ? 20 - time.size() : 0, '0');
  return directory + "/" + time + "-" + hex(bytes_of(head.salt)) + ".open";
}

}  // namespace

// ---- Writing.

SegmentWriter::SegmentWriter(const std::string& directory, const std::optional<PublicKey>& recipient)
    : file_([&] {
        const SegmentHead head = new_head(recipient, cipher_);
        salt_ = head.salt;
        path_ = new_path(directory, head);
        Descriptor made(open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640), path_);
        try {
          write_all(made, path_, bytes_of(head));
        } catch (...) {
          unlink(path_.c_str());
          throw;
        }
        hash_.add(bytes_of(head));
        size_bytes_ = sizeof(head);
        return made;
      }()) {}

SegmentWriter::~SegmentWriter() = default;

void SegmentWriter::write(Bytes bytes) {
  require_whole();
  has_failed_ = true;
  write_all(file_, path_, bytes);
  has_failed_ = false;
}

// A frame behind one that is cut short would never be read; a sync that failed is not asked again: the kernel has
// dropped the pages and would say yes.
void SegmentWriter::require_whole() const {
  if (!has_failed_) return;
  errno = EIO;
  refuse(path_);
}

void SegmentWriter::append(FrameType type, uint64_t ring_id, uint64_t sequence, Bytes payload) {
  FrameHead head{kFrameMagic,  static_cast<uint32_t>(type),           salt_, ring_id,
                 frame_count_, static_cast<uint32_t>(payload.size()), 0,     Tag{},
                 sequence};
  std::vector<std::byte> stored;
  if (cipher_) {
    stored.resize(payload.size());
    cipher_->seal(nonce_of(frame_count_), {}, payload, stored, head.tag);
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
  has_failed_ = fdatasync(file_.number()) != 0;
  if (has_failed_) refuse(path_);
}

std::string SegmentWriter::seal() {
  lay_footer(salt_, frame_count_, size_bytes_, 0, hash_.finish(), frame_);
  write(frame_);
  sync();
  std::string sealed = sealed_path(path_);
  if (rename(path_.c_str(), sealed.c_str()) != 0) refuse(sealed);
  sync_directory_of(sealed);
  return sealed;
}

// ---- Reading.

SegmentReader::SegmentReader(const std::string& path, const PrivateKey* key)
    : file_("segment", path, File::Links::refused) {
  SegmentHead head;
  const auto malformed = [&](const auto&... parts) {
    throw Error(Code::malformed_capture, "segment \"", path, "\": ", parts...);
  };
  if (file_.size_bytes() < sizeof(head))
    malformed("expected at least ", sizeof(head), " bytes, got ", file_.size_bytes());
  file_.read_at(0, std::as_writable_bytes(std::span(&head, 1)));
  if (head.magic != kMagic || head.crc != head_crc(head) || head.flags > kEncryptedFlag || head.zero != 0)
    malformed("expected the head of a segment, got other bytes");
  hash_.add(bytes_of(head));
  salt_ = head.salt;
  is_encrypted_ = head.flags == kEncryptedFlag;
  if (!is_encrypted_ || key == nullptr) return;
  content_key_ = std::make_unique<Secret>();
  if (!hpke_open(HpkeAead::chacha20_poly1305, key->secret, head.encapsulated, info_of(salt_), {}, head.wrapped_key,
                 content_key_->bytes())) {
    throw Error(Code::wrong_key, "segment \"", path, "\": expected the private key of ", hex(head.recipient),
                ", got another");
  }
}

// The whole frame that begins at `offset`, and where the next one does.
std::optional<Frame> SegmentReader::frame_at(uint64_t offset, std::vector<std::byte>& buffer, uint64_t& end) const {
  FrameHead head;
  if (file_.size_bytes() < sizeof(head) || offset > file_.size_bytes() - sizeof(head)) return std::nullopt;
  const auto is_plausible = [&] {
    return head.magic == kFrameMagic && head.salt == salt_ && head.type >= 1 && head.type <= 4 &&
           (head.sequence == 0 || head.type == static_cast<uint32_t>(FrameType::record)) &&
           head.payload_bytes <= kMostPayloadBytes;
  };
  try {
    file_.read_at(offset, std::as_writable_bytes(std::span(&head, 1)));
    if (!is_plausible()) return std::nullopt;
    end = offset + round_up(sizeof(head) + head.payload_bytes);
    if (end > file_.size_bytes()) return std::nullopt;
    buffer.resize(end - offset);
    file_.read_at(offset, buffer);
  } catch (const Error&) {
    return std::nullopt;  // it was cut short meanwhile
  }
  // What is used is what was compared: the head is taken from the bytes that the CRC is of.
  std::memcpy(&head, buffer.data(), sizeof(head));
  if (!is_plausible() || end != offset + round_up(sizeof(head) + head.payload_bytes)) return std::nullopt;
  const auto stored = std::span(buffer).subspan(sizeof(head), head.payload_bytes);
  if (frame_crc(head, stored) != head.crc) return std::nullopt;
  const auto padding = std::span(buffer).subspan(sizeof(head) + head.payload_bytes);
  if (std::any_of(padding.begin(), padding.end(), [](std::byte one) { return one != std::byte{0}; }))
    return std::nullopt;
  return Frame{static_cast<FrameType>(head.type), head.ring_id, head.sequence, stored};
}

std::optional<Frame> SegmentReader::next() {
  if (is_complete_) return std::nullopt;
  uint64_t end = 0;
  auto frame = frame_at(offset_, buffer_, end);
  if (!frame) return std::nullopt;
  FrameHead head;
  std::memcpy(&head, buffer_.data(), sizeof(head));
  if (head.index != frame_count_) return std::nullopt;
  if (frame->type == FrameType::footer) {
    const auto footer = try_read<Footer>(frame->payload, 0);
    is_complete_ = footer && frame->payload.size() == sizeof(Footer) && footer->frame_count == frame_count_ &&
                   footer->size_bytes == offset_ && end == file_.size_bytes() && hash_.finish() == footer->digest;
    if (!is_complete_) return std::nullopt;
    return frame;
  }
  hash_.add(buffer_);
  if (content_key_ != nullptr) {
    const auto payload = std::span(buffer_).subspan(sizeof(head), head.payload_bytes);
    Aead cipher(AeadAlgorithm::chacha20_poly1305, content_key_->bytes(), Aead::Direction::open);
    if (!cipher.open(nonce_of(head.index), {}, payload, head.tag, payload)) return std::nullopt;
  }
  offset_ = end;
  ++frame_count_;
  return frame;
}

uint64_t SegmentReader::hole_count() const {
  if (is_complete_) return 0;
  uint64_t count = 0;
  uint64_t left = kLooks * file_.size_bytes();
  std::vector<std::byte> buffer;
  for (uint64_t offset = offset_ + kFrameAlignment; offset < file_.size_bytes();) {
    uint64_t end = 0;
    const bool is_whole = frame_at(offset, buffer, end).has_value();
    count += is_whole ? 1 : 0;
    const uint64_t looked_at = end > file_.size_bytes() ? 0 : std::max(end, offset) - offset;
    if (looked_at > left) break;
    left -= looked_at;
    offset = is_whole ? end : offset + kFrameAlignment;
  }
  return count;
}

// ---- Recovery.

Recovered recover_segment(const std::string& path) {
  Recovered recovered{{}, 0, 0, 0};
  SegmentReader reader(path, nullptr);
  while (reader.next()) ++recovered.frame_count;
  recovered.hole_count = reader.hole_count();
  const File source("segment", path, File::Links::refused);
  if (reader.is_complete()) {
    // The writer died between the footer and the rename.
    --recovered.frame_count;
    recovered.path = sealed_path(path);
    if (rename(path.c_str(), recovered.path.c_str()) != 0) refuse(path);
    sync_directory_of(path);
    return recovered;
  }
  recovered.lost_bytes = source.size_bytes() - reader.whole_bytes();
  if (recovered.frame_count > 0) {
    recovered.path = sealed_path(path);
    NewFile sealed(recovered.path);
    Sha256 hash;
    uint64_t salt = 0;
    std::vector<std::byte> part(size_t{1} << 20);
    for (uint64_t offset = 0; offset < reader.whole_bytes(); offset += part.size()) {
      const auto bytes = std::span(part).first(std::min<uint64_t>(part.size(), reader.whole_bytes() - offset));
      source.read_at(offset, bytes);
      if (offset == 0) salt = *try_read<uint64_t>(bytes, offsetof(SegmentHead, salt));
      hash.add(bytes);
      sealed.write_at(offset, bytes);
    }
    std::vector<std::byte> footer;
    lay_footer(salt, recovered.frame_count, reader.whole_bytes(), kRecoveredFlag, hash.finish(), footer);
    sealed.write_at(reader.whole_bytes(), footer);
    sealed.commit();
  }
  if (unlink(path.c_str()) != 0) refuse(path);
  sync_directory_of(path);
  return recovered;
}

}  // namespace edgeward
