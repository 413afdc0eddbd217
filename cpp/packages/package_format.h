// The package format: its layout, its limits, and PackageHead, which parses the bytes before the chunk table. Rules:
// the numbered sections of docs/package-format.md. Decides what bytes say, never whether to believe them:
// package_reader.h does. Reads no clock and holds no key. Any thread.
#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/crypto.h"
#include "error.h"
#include "packages/trust_root.h"
#include "system/file.h"

namespace edgeward {

enum class MemberType : uint16_t {
  tflite = 1,
  onnx = 2,  // .onnx or .ort
  onnx_external = 3,
  labels = 4,
  auxiliary = 5,
};

// A named range of the payload.
struct Member {
  std::string name;
  MemberType type;
  bool is_entry;  // the model itself: exactly one member is
  uint64_t offset;
  uint64_t size_bytes;
  Digest digest;  // of the plaintext
};

// What the signed body says.
struct PackageFacts {
  Digest package_id;
  std::string name;
  std::string version;
  std::string target;     // "any", or the one kind of machine it is for
  std::string publisher;  // the role whose keys sign it
  uint64_t release_counter;
  uint64_t min_counter;
  uint64_t created_s;                 // Unix seconds; informative
  uint64_t hard_expiry_s;             // Unix seconds; 0: never
  std::optional<Digest> binding;      // the only device it may run on
  std::optional<AeadAlgorithm> aead;  // none: not encrypted
  uint32_t chunk_bytes;
  uint64_t chunk_count;
  uint64_t payload_offset;
  uint64_t payload_bytes;
  std::vector<Member> members;
  std::string metadata;         // JSON, informative: no decision may rest on it
  std::vector<Digest> signers;  // the key ids that the signatures claim, in their order
};

namespace package_format {

// What signatures are over, by the name that DSSE gives it.
inline constexpr std::string_view kBodyType = "application/vnd.edgeward.ewp.body.v1";

// Section 1: the preamble.
inline constexpr size_t kPreambleBytes = 64;
inline constexpr std::array<uint8_t, 8> kMagic = {'E', 'W', 'P', 'K', 0x0D, 0x0A, 0x1A, 0x01};
inline constexpr uint16_t kMajor = 1;
inline constexpr uint16_t kMinor = 0;
inline constexpr uint64_t kMinBodyBytes = 608;
inline constexpr uint64_t kMaxBodyBytes = uint64_t{2} << 20;

struct PreambleAt {
  static constexpr size_t kMajor = 8, kMinor = 10, kBodyBytes = 12, kSignatureCount = 16, kZero = 20, kFileBytes = 24,
                          kPackageId = 32;
};

// Section 2: the body's record and member rows.
inline constexpr std::array<uint8_t, 8> kBodyMagic = {'E', 'W', 'B', 'O', 'D', 'Y', '0', '1'};
inline constexpr size_t kRecordBytes = 448;
inline constexpr size_t kMemberBytes = 160;
inline constexpr size_t kMaxMembers = 256;
inline constexpr uint64_t kMaxMetadataBytes = uint64_t{1} << 20;
inline constexpr uint32_t kMinChunkBytes = uint32_t{1} << 16;
inline constexpr uint32_t kMaxChunkBytes = uint32_t{1} << 22;
inline constexpr uint32_t kDefaultChunkBytes = uint32_t{1} << 18;
inline constexpr uint64_t kMaxChunks = uint64_t{1} << 24;
inline constexpr uint64_t kMaxPayloadBytes = uint64_t{1} << 40;
inline constexpr uint64_t kMemberAlignment = 4096;
inline constexpr uint32_t kEncryptedFlag = 1;
inline constexpr uint16_t kSha256 = 1;
inline constexpr uint16_t kEntryFlag = 1;
inline constexpr unsigned kEpochShift = 48;
inline constexpr uint64_t kCountMask = (uint64_t{1} << kEpochShift) - 1;
inline constexpr size_t kNameBytes = 64;
inline constexpr size_t kTextBytes = 32;
inline constexpr size_t kZerosBytes = 64;

struct BodyAt {
  static constexpr size_t kMajor = 8, kMinor = 10, kBodyBytes = 12, kFlags = 16, kHash = 20, kAead = 22,
                          kChunkBytes = 24, kMemberCount = 28, kChunkCount = 32, kPayloadOffset = 40,
                          kPayloadBytes = 48, kReleaseCounter = 56, kMinCounter = 64, kCreated = 72, kHardExpiry = 80,
                          kMetadataBytes = 88, kZero = 92, kTableDigest = 96, kSalt = 128, kCommitment = 160,
                          kName = 192, kVersion = 256, kTarget = 288, kPublisher = 320, kZeros = 352, kBinding = 416;
};
static_assert(BodyAt::kBinding + sizeof(Digest) == kRecordBytes);

struct MemberAt {
  static constexpr size_t kName = 0, kType = 64, kFlags = 66, kZero = 68, kOffset = 72, kSize = 80, kDigest = 88,
                          kZeros = 120;
};

// Section 3: the signature slots.
inline constexpr size_t kSlotCount = 16;
inline constexpr size_t kSlotBytes = 144;
inline constexpr size_t kSlotsBytes = kSlotCount * kSlotBytes;
inline constexpr size_t kSignatureBytes = 64;
static_assert(kSignatureBytes == std::tuple_size_v<SignatureBytes>);

struct SlotAt {
  static constexpr size_t kAlgorithm = 0, kZero = 2, kSize = 4, kKeyId = 8, kSignature = 40, kZeros = 104;
};
static_assert(SlotAt::kSignature + kSignatureBytes == SlotAt::kZeros);

// Section 4: the rows of the chunk table.
struct RowAt {
  static constexpr size_t kDigest = 0, kTag = 32;
};
inline constexpr size_t kRowBytes = RowAt::kTag + sizeof(Tag);
static_assert(kRowBytes == 48);

// Where the parts of a file are.
struct Layout {
  uint64_t chunk_count;
  uint64_t table_offset;
  uint64_t payload_offset;
};
Layout layout(uint64_t body_bytes, uint64_t payload_bytes, uint64_t chunk_bytes);

// The length of a chunk; only the last may be shorter than `chunk_bytes`, and chunk 0 is as long as any.
size_t chunk_size_bytes(const PackageFacts& facts, uint64_t chunk);

// The 32 bytes at `offset`, which must be there.
Digest digest_at(Bytes bytes, size_t offset);

// What the text of a version looks like.
bool is_version(std::string_view text);
// The text of a field that is padded with NULs; none when anything else follows the first NUL.
std::optional<std::string> try_text(Bytes field);

// Section 5: the payload's key and the commitment to the content key, both derived from that key and the salt.
struct Derived {
  Secret key;
  Secret commitment;
};
// Of `facts`, uses aead (which must be there), chunk_bytes, payload_bytes, release_counter and name.
Derived derive(const Secret& content_key, Bytes salt, const PackageFacts& facts);
Nonce nonce_of(uint64_t chunk, uint64_t chunk_count);

// The part of a file that a check is about, for its message: `package "x.ewp": body`. Borrows `path`. Each check throws
// Error(malformed_package).
class Section {
 public:
  Section(const std::string& path, std::string_view name) : path_(path), name_(name) {}
  Section(const std::string& path, std::string_view name, size_t index)
      : path_(path), name_(std::string(name) + " " + std::to_string(index)) {}

  template <class... Parts>
  [[noreturn]] void malformed(const Parts&... parts) const {
    throw Error(Code::malformed_package, "package \"", path_, "\": ", name_, ": ", parts...);
  }
  template <class T>
  void require_equal(std::string_view what, T expected, T got) const {
    if (got != expected) malformed(what, ": expected ", +expected, ", got ", +got);
  }
  template <class T>
  void require_within(std::string_view what, T min, T max, T got) const {
    if (got < min || got > max) malformed(what, ": expected ", +min, " to ", +max, ", got ", +got);
  }
  void require_zero(std::string_view what, Bytes bytes) const {
    if (!is_zero(bytes)) malformed(what, ": expected zeros, got others");
  }

 private:
  const std::string& path_;
  std::string name_;
};

}  // namespace package_format

// Preamble, body and signature slots, read once into private memory: what is checked is what is used. Borrows the
// file's path. Construction is steps 1 to 3 of section 7: lengths, hash and slots are right, and no field of the body
// has been read.
class PackageHead {
 public:
  // Throws Error(malformed_package), and what File::read_at throws.
  explicit PackageHead(const File& file);

  Bytes body() const { return Bytes(bytes_).first(bytes_.size() - package_format::kSlotsBytes); }
  // Views into this head.
  const std::vector<ClaimedSignature>& signatures() const { return signatures_; }

  // Step 5: every field of the body. Throws Error(malformed_package).
  PackageFacts facts() const;

 private:
  void read_slots();
  void read_members(PackageFacts& facts) const;

  const std::string& path_;
  uint64_t file_bytes_;
  uint16_t major_ = 0;
  uint16_t minor_ = 0;
  size_t signature_count_ = 0;
  std::vector<std::byte> bytes_;  // body and signature slots
  Digest package_id_{};
  std::vector<ClaimedSignature> signatures_;
};

}  // namespace edgeward
