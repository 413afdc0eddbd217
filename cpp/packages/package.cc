#include "packages/package.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>

#include "bytes/utf8.h"
#include "error.h"
#include "packages/dsse.h"

namespace edgeward {
namespace {

constexpr std::string_view kBodyType = "application/vnd.edgeward.ewp.body.v1";

// Package-format 1: the preamble.
constexpr size_t kPreambleBytes = 64;
constexpr std::array<uint8_t, 8> kMagic = {'E', 'W', 'P', 'K', 0x0D, 0x0A, 0x1A, 0x01};
constexpr uint16_t kMajor = 1;
constexpr uint16_t kMinor = 0;
constexpr uint64_t kLeastBody = 608;
constexpr uint64_t kMostBody = uint64_t{2} << 20;

// Package-format 2: the body's record and member rows.
constexpr std::array<uint8_t, 8> kBodyMagic = {'E', 'W', 'B', 'O', 'D', 'Y', '0', '1'};
constexpr size_t kRecordBytes = 448;
constexpr size_t kMemberBytes = 160;
constexpr size_t kMostMembers = 256;
constexpr uint64_t kMostMetadata = uint64_t{1} << 20;
constexpr uint32_t kLeastChunk = uint32_t{1} << 16;
constexpr uint32_t kMostChunk = uint32_t{1} << 22;
constexpr uint64_t kMostChunks = uint64_t{1} << 24;
constexpr uint64_t kMostPayload = uint64_t{1} << 40;
constexpr uint64_t kMemberAlignment = 4096;
constexpr uint32_t kEncryptedFlag = 1;
constexpr uint16_t kSha256 = 1;
constexpr uint16_t kEntryFlag = 1;
constexpr unsigned kEpochShift = 48;
constexpr uint64_t kCountMask = (uint64_t{1} << kEpochShift) - 1;

struct BodyAt {
  static constexpr size_t kMajor = 8, kMinor = 10, kBodyBytes = 12, kFlags = 16, kHash = 20, kAead = 22,
                          kChunkBytes = 24, kMemberCount = 28, kChunkCount = 32, kPayloadOffset = 40,
                          kPayloadBytes = 48, kReleaseCounter = 56, kMinCounter = 64, kCreated = 72, kHardExpiry = 80,
                          kMetadataBytes = 88, kZero = 92, kTableDigest = 96, kSalt = 128, kCommitment = 160,
                          kName = 192, kVersion = 256, kTarget = 288, kPublisher = 320, kZeros = 352, kBinding = 416;
};
constexpr size_t kNameBytes = 64;
constexpr size_t kTextBytes = 32;
constexpr size_t kZerosBytes = 64;

struct MemberAt {
  static constexpr size_t kName = 0, kType = 64, kFlags = 66, kZero = 68, kOffset = 72, kSize = 80, kDigest = 88,
                          kZeros = 120;
};

// Package-format 3: the signature slots.
constexpr size_t kSlotCount = 16;
constexpr size_t kSlotBytes = 144;
constexpr size_t kSlotsBytes = kSlotCount * kSlotBytes;
struct SlotAt {
  static constexpr size_t kAlgorithm = 0, kZero = 2, kSize = 4, kKeyId = 8, kSignature = 40, kZeros = 104;
};
constexpr size_t kSignatureBytes = 64;

// Package-format 4: the chunk table.
constexpr size_t kRowBytes = 48;
constexpr size_t kTagBytes = 16;

constexpr uint64_t round_up(uint64_t size, uint64_t to) { return (size + to - 1) / to * to; }

bool is_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte one) { return one == std::byte{0}; });
}

template <size_t kCount>
bool begins_with(Bytes bytes, const std::array<uint8_t, kCount>& magic) {
  return bytes.size() >= kCount && std::memcmp(bytes.data(), magic.data(), kCount) == 0;
}

Digest digest_at(Bytes bytes, size_t offset) {
  Digest digest;
  std::memcpy(digest.data(), bytes.data() + offset, digest.size());
  return digest;
}

// Where a check stands, for its message: `package "x.ewp": body`.
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
  void require_within(std::string_view what, T least, T most, T got) const {
    if (got < least || got > most) malformed(what, ": expected ", +least, " to ", +most, ", got ", +got);
  }
  void require_zero(std::string_view what, Bytes bytes) const {
    if (!is_zero(bytes)) malformed(what, ": expected zeros, got others");
  }

 private:
  const std::string& path_;
  std::string name_;
};

bool is_name_byte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
}

bool is_name(std::string_view text) {
  return !text.empty() && text[0] != '.' && std::all_of(text.begin(), text.end(), is_name_byte);
}

bool is_version(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char byte) { return byte > ' ' && byte < 0x7F; });
}

// The text of a field that is padded with NULs; none when something follows the first NUL.
std::optional<std::string> try_text(Bytes field) {
  const auto* first = reinterpret_cast<const char*>(field.data());
  const std::string_view whole(first, field.size());
  const std::string_view text = whole.substr(0, whole.find('\0'));
  if (!is_zero(field.subspan(text.size()))) return std::nullopt;
  return std::string(text);
}

std::string text_at(const Section& section, std::string_view what, Bytes bytes, size_t offset, size_t size,
                    bool (*is_allowed)(std::string_view)) {
  const auto text = try_text(bytes.subspan(offset, size));
  if (!text || !is_allowed(*text)) section.malformed(what, ": expected a name of allowed characters, got others");
  return *text;
}

struct Layout {
  uint64_t chunk_count;
  uint64_t table_offset;
  uint64_t payload_offset;
};

Layout layout(uint64_t body_bytes, uint64_t payload_bytes, uint64_t chunk_bytes) {
  const uint64_t chunk_count = (payload_bytes + chunk_bytes - 1) / chunk_bytes;
  const uint64_t table_offset = kPreambleBytes + body_bytes + kSlotsBytes;
  return {chunk_count, table_offset, round_up(table_offset + kRowBytes * chunk_count, kMemberAlignment)};
}

// Package-format 5: the payload's key, and the commitment to the content key, from it and the salt.
struct Derived {
  Secret key;
  Secret commitment;
};

Derived derive(const Secret& content_key, Bytes salt, const PackageFacts& facts) {
  std::vector<std::byte> info;
  const auto add = [&](Bytes bytes) { info.insert(info.end(), bytes.begin(), bytes.end()); };
  const auto add_number = [&](uint64_t number, size_t size) {
    for (size_t i = size; i-- > 0;) info.push_back(static_cast<std::byte>(number >> (8 * i)));
  };
  constexpr char kLabel[] = "edgeward/ewp/v1";  // with its zero
  add(std::as_bytes(std::span(kLabel)));
  add_number(static_cast<uint16_t>(*facts.aead), 2);
  add_number(facts.chunk_bytes, 4);
  add_number(facts.payload_bytes, 8);
  add_number(facts.release_counter, 8);
  add(std::as_bytes(std::span(facts.name)));
  info.resize(info.size() + kNameBytes - facts.name.size());

  Derived derived;
  Secret pseudo_random_key;
  hkdf_extract(salt, content_key.bytes(), pseudo_random_key.bytes().first<kSecretBytes>());
  std::array<std::byte, 2 * kSecretBytes> output;
  hkdf_expand(pseudo_random_key.bytes(), info, output);
  std::memcpy(derived.key.bytes().data(), output.data(), kSecretBytes);
  std::memcpy(derived.commitment.bytes().data(), output.data() + kSecretBytes, kSecretBytes);
  wipe(output);
  return derived;
}

Nonce nonce_of(uint64_t chunk, uint64_t chunk_count) {
  Nonce nonce{};
  for (size_t i = 0; i < 8; ++i) nonce[3 + i] = static_cast<std::byte>(chunk >> (8 * (7 - i)));
  nonce[11] = std::byte{chunk + 1 == chunk_count};
  return nonce;
}

// How many chunks in a row a thread takes at once: those of one large page, so that two threads do not touch a new one
// at the same time, when both would clear it; fewer when that left a thread without work.
uint64_t chunks_at_once(const PackageFacts& facts, uint64_t threads) {
  const uint64_t fair = std::bit_floor(std::max<uint64_t>(facts.chunk_count / (4 * threads), 1));
  return std::clamp<uint64_t>(kLargePageBytes / facts.chunk_bytes, 1, fair);
}

// Runs `work(tools, index)` for each chunk on up to `most` threads, each with tools of its own; the error of the lowest
// chunk that has one is thrown, after all have stopped.
template <class MakeTools, class Work>
void for_each_chunk(const PackageFacts& facts, int most, const MakeTools& make_tools, const Work& work) {
  const uint64_t threads = std::min<uint64_t>(facts.chunk_count, static_cast<uint64_t>(std::max(most, 1)));
  const uint64_t step = chunks_at_once(facts, threads);
  std::atomic<uint64_t> next{0};
  std::atomic<bool> has_failed{false};
  std::mutex mutex;
  std::exception_ptr failure;
  uint64_t failed_chunk = facts.chunk_count;
  const auto run = [&] {
    uint64_t index = 0;
    try {
      auto tools = make_tools();
      // What was taken is finished, also when a later one has failed: the lowest error is then always found.
      while (!has_failed.load(std::memory_order_relaxed)) {
        index = next.fetch_add(step, std::memory_order_relaxed);
        const uint64_t end = std::min(index + step, facts.chunk_count);
        if (index >= end) return;
        for (; index < end; ++index) work(tools, index);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      has_failed.store(true, std::memory_order_relaxed);
      if (failure != nullptr && index > failed_chunk) return;
      failure = std::current_exception();
      failed_chunk = index;
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      while (others.size() + 1 < threads) others.emplace_back(run);
    } catch (const std::system_error&) {
      // No more threads to be had: those that are there do it.
    }
    run();
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace

// ---- Reading the head.

// The bytes before the table, read once into private memory: what is checked is what is used.
class Package::Head {
 public:
  explicit Head(const File& file) : path_(file.path()) {
    const Section section(path_, "preamble");
    std::array<std::byte, kPreambleBytes> preamble;
    if (file.size_bytes() < kPreambleBytes)
      section.malformed("expected at least ", kPreambleBytes, " bytes, got ", file.size_bytes());
    file.read_at(0, preamble);
    if (!begins_with(preamble, kMagic)) section.malformed("expected the magic bytes EWPK 0D 0A 1A 01, got others");
    major_ = *try_read<uint16_t>(preamble, 8);
    minor_ = *try_read<uint16_t>(preamble, 10);
    section.require_equal("major version", kMajor, major_);
    const uint64_t body_bytes = *try_read<uint32_t>(preamble, 12);
    section.require_within("body length", kLeastBody, kMostBody, body_bytes);
    if (body_bytes % 8 != 0) section.malformed("body length: expected a multiple of 8, got ", body_bytes);
    signature_count_ = *try_read<uint32_t>(preamble, 16);
    section.require_within<size_t>("signature count", 1, kSlotCount, signature_count_);
    section.require_zero("bytes 20 to 23", Bytes(preamble).subspan(20, 4));
    section.require_equal("file length", file.size_bytes(), *try_read<uint64_t>(preamble, 24));
    if (file.size_bytes() - kPreambleBytes < body_bytes + kSlotsBytes)
      section.malformed("body length: expected one that fits a file of ", file.size_bytes(), " bytes, got ",
                        body_bytes);
    bytes_.resize(body_bytes + kSlotsBytes);
    file.read_at(kPreambleBytes, bytes_);
    package_id_ = sha256(body());
    if (package_id_ != digest_at(preamble, 32))
      Section(path_, "body").malformed("expected the body whose hash is the package id, got another");
    read_slots();
  }

  Bytes body() const { return Bytes(bytes_).first(bytes_.size() - kSlotsBytes); }
  const std::vector<ClaimedSignature>& signatures() const { return signatures_; }

  // Step 4. Publisher and name are the only fields that are read before the body is believed; both are compared, and
  // neither is parsed.
  void require_trusted(const TrustRoot& root) const {
    const auto publisher = try_text(body().subspan(BodyAt::kPublisher, kTextBytes));
    const auto name = try_text(body().subspan(BodyAt::kName, kNameBytes));
    if (!publisher || !name || !is_name(*publisher) || !is_name(*name)) {
      throw Error(Code::untrusted_package, "package \"", path_,
                  "\": expected the names of a model and of its publisher, got none");
    }
    try {
      root.require_publisher(*publisher, *name, pre_authentication_encoding(kBodyType, body()), signatures_);
    } catch (const Error& error) {
      throw Error(error.code(), "package \"", path_, "\": ", error.what());
    }
  }

  // Step 5.
  PackageFacts facts(uint64_t file_bytes) const;

 private:
  void read_slots();
  void read_members(PackageFacts& facts) const;

  const std::string& path_;
  uint16_t major_ = 0;
  uint16_t minor_ = 0;
  size_t signature_count_ = 0;
  std::vector<std::byte> bytes_;  // body and signature slots
  Digest package_id_{};
  std::vector<ClaimedSignature> signatures_;
};

void Package::Head::read_slots() {
  for (size_t i = 0; i < kSlotCount; ++i) {
    const Section section(path_, "signature slot", i);
    const Bytes slot = Bytes(bytes_).last(kSlotsBytes).subspan(i * kSlotBytes, kSlotBytes);
    if (i >= signature_count_) {
      section.require_zero("unused", slot);
      continue;
    }
    const uint16_t algorithm = *try_read<uint16_t>(slot, SlotAt::kAlgorithm);
    section.require_within<uint16_t>("algorithm", 1, 2, algorithm);
    section.require_zero("bytes 2 and 3", slot.subspan(SlotAt::kZero, 2));
    section.require_equal<uint32_t>("signature length", kSignatureBytes, *try_read<uint32_t>(slot, SlotAt::kSize));
    section.require_zero("padding", slot.subspan(SlotAt::kZeros));
    signatures_.push_back({digest_at(slot, SlotAt::kKeyId), slot.subspan(SlotAt::kSignature, kSignatureBytes),
                           static_cast<KeyAlgorithm>(algorithm)});
  }
}

PackageFacts Package::Head::facts(uint64_t file_bytes) const {
  const Section section(path_, "body");
  const Bytes all = body();
  const auto u16 = [&](size_t offset) { return *try_read<uint16_t>(all, offset); };
  const auto u32 = [&](size_t offset) { return *try_read<uint32_t>(all, offset); };
  const auto u64 = [&](size_t offset) { return *try_read<uint64_t>(all, offset); };

  if (!begins_with(all, kBodyMagic)) section.malformed("expected the magic bytes EWBODY01, got others");
  section.require_equal("major version", major_, u16(BodyAt::kMajor));
  section.require_equal("minor version", minor_, u16(BodyAt::kMinor));
  section.require_equal("minor version", kMinor, minor_);
  section.require_equal<uint64_t>("body length", all.size(), u32(BodyAt::kBodyBytes));

  PackageFacts facts;
  facts.package_id = package_id_;
  const uint32_t flags = u32(BodyAt::kFlags);
  section.require_within<uint32_t>("flags", 0, kEncryptedFlag, flags);
  section.require_equal("hash", kSha256, u16(BodyAt::kHash));
  const uint16_t aead = u16(BodyAt::kAead);
  const bool is_encrypted = flags == kEncryptedFlag;
  section.require_within<uint16_t>("aead", is_encrypted ? 1 : 0, is_encrypted ? 2 : 0, aead);
  if (is_encrypted) facts.aead = static_cast<AeadAlgorithm>(aead);
  facts.chunk_bytes = u32(BodyAt::kChunkBytes);
  section.require_within("chunk size", kLeastChunk, kMostChunk, facts.chunk_bytes);
  if (!std::has_single_bit(facts.chunk_bytes))
    section.malformed("chunk size: expected a power of two, got ", facts.chunk_bytes);
  facts.payload_bytes = u64(BodyAt::kPayloadBytes);
  section.require_within<uint64_t>("payload length", 1, kMostPayload, facts.payload_bytes);
  const Layout expected = layout(all.size(), facts.payload_bytes, facts.chunk_bytes);
  facts.chunk_count = u64(BodyAt::kChunkCount);
  section.require_within<uint64_t>("chunk count", 1, kMostChunks, facts.chunk_count);
  section.require_equal("chunk count", expected.chunk_count, facts.chunk_count);
  facts.payload_offset = u64(BodyAt::kPayloadOffset);
  section.require_equal("payload offset", expected.payload_offset, facts.payload_offset);
  section.require_equal("file length", facts.payload_offset + facts.payload_bytes, file_bytes);
  facts.release_counter = u64(BodyAt::kReleaseCounter);
  facts.min_counter = u64(BodyAt::kMinCounter);
  if ((facts.min_counter & kCountMask) == 0) section.malformed("min_counter: expected at least 1, got 0");
  if (facts.release_counter < facts.min_counter) {
    section.malformed("release_counter: expected at least min_counter ", facts.min_counter, ", got ",
                      facts.release_counter);
  }
  facts.created_s = u64(BodyAt::kCreated);
  facts.hard_expiry_s = u64(BodyAt::kHardExpiry);
  section.require_zero("bytes 92 to 95", all.subspan(BodyAt::kZero, 4));
  if (!is_encrypted)
    section.require_zero("salt and commitment", all.subspan(BodyAt::kSalt, BodyAt::kName - BodyAt::kSalt));
  facts.name = text_at(section, "name", all, BodyAt::kName, kNameBytes, is_name);
  facts.version = text_at(section, "version", all, BodyAt::kVersion, kTextBytes, is_version);
  facts.target = text_at(section, "target", all, BodyAt::kTarget, kTextBytes, is_name);
  facts.publisher = text_at(section, "publisher", all, BodyAt::kPublisher, kTextBytes, is_name);
  section.require_zero("bytes 352 to 415", all.subspan(BodyAt::kZeros, kZerosBytes));
  const Digest binding = digest_at(all, BodyAt::kBinding);
  if (!is_zero(binding)) facts.binding = binding;
  for (const ClaimedSignature& signature : signatures_) facts.signers.push_back(signature.key_id);
  read_members(facts);
  return facts;
}

void Package::Head::read_members(PackageFacts& facts) const {
  const Section section(path_, "body");
  const Bytes all = body();
  const size_t count = *try_read<uint32_t>(all, BodyAt::kMemberCount);
  section.require_within<size_t>("member count", 1, kMostMembers, count);
  const uint64_t metadata_bytes = *try_read<uint32_t>(all, BodyAt::kMetadataBytes);
  section.require_within<uint64_t>("metadata length", 0, kMostMetadata, metadata_bytes);
  const uint64_t metadata_offset = kRecordBytes + count * kMemberBytes;
  section.require_equal<uint64_t>("body length", metadata_offset + round_up(metadata_bytes, 8), all.size());

  std::set<std::string_view> names;
  uint64_t end = 0;
  size_t entry_count = 0;
  facts.members.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Section member_section(path_, "member row", i);
    const Bytes row = all.subspan(kRecordBytes + i * kMemberBytes, kMemberBytes);
    Member member;
    member.name = text_at(member_section, "name", row, MemberAt::kName, kNameBytes, is_name);
    const uint16_t type = *try_read<uint16_t>(row, MemberAt::kType);
    member_section.require_within<uint16_t>("type", 1, 5, type);
    member.type = static_cast<MemberType>(type);
    const uint16_t flags = *try_read<uint16_t>(row, MemberAt::kFlags);
    member_section.require_within<uint16_t>("flags", 0, kEntryFlag, flags);
    member.is_entry = flags == kEntryFlag;
    entry_count += flags;
    if (member.is_entry) member_section.require_within<uint16_t>("type of the entry", 1, 2, type);
    member_section.require_zero("bytes 68 to 71", row.subspan(MemberAt::kZero, 4));
    member.offset = *try_read<uint64_t>(row, MemberAt::kOffset);
    member_section.require_equal("offset", round_up(end, kMemberAlignment), member.offset);
    member.size_bytes = *try_read<uint64_t>(row, MemberAt::kSize);
    if (member.size_bytes == 0 || member.offset > facts.payload_bytes ||
        member.size_bytes > facts.payload_bytes - member.offset) {
      member_section.malformed("length: expected 1 to the end of a payload of ", facts.payload_bytes, " bytes, got ",
                               member.size_bytes, " at ", member.offset);
    }
    member.digest = digest_at(row, MemberAt::kDigest);
    member_section.require_zero("padding", row.subspan(MemberAt::kZeros));
    end = member.offset + member.size_bytes;
    facts.members.push_back(std::move(member));
    if (!names.insert(facts.members.back().name).second)
      member_section.malformed("name: expected one that no other member has, got \"", facts.members.back().name, "\"");
  }
  section.require_equal<size_t>("entry count", 1, entry_count);
  section.require_equal("payload length", end, facts.payload_bytes);

  const Section metadata_section(path_, "metadata");
  const Bytes metadata = all.subspan(metadata_offset, metadata_bytes);
  facts.metadata.assign(reinterpret_cast<const char*>(metadata.data()), metadata.size());
  if (!is_utf8_name(facts.metadata)) metadata_section.malformed("expected UTF-8, got other bytes");
  metadata_section.require_zero("padding", all.subspan(metadata_offset + metadata_bytes));
}

// ---- Package.

Package::Package(std::unique_ptr<File> file, const Head& head)
    : file_(std::move(file)), facts_(head.facts(file_->size_bytes())), body_(head.body().begin(), head.body().end()) {}

Package::Package(const std::string& path, const TrustRoot& root, const Policy& policy)
    : file_(std::make_unique<File>("package", path, File::Links::refused)) {
  const Head head(*file_);
  head.require_trusted(root);
  facts_ = head.facts(file_->size_bytes());
  body_.assign(head.body().begin(), head.body().end());

  const auto refuse = [&](Code code, const auto&... parts) { throw Error(code, "package \"", path, "\": ", parts...); };
  for (const auto& [what, counter] :
       {std::pair("release_counter", facts_.release_counter), std::pair("min_counter", facts_.min_counter)}) {
    if (counter >> kEpochShift != root.epoch())
      refuse(Code::rollback_refused, what, ": expected epoch ", root.epoch(), " of the trust root, got ",
             counter >> kEpochShift);
  }
  const auto floor = policy.floors.find(facts_.name);
  if (floor != policy.floors.end() && facts_.release_counter < floor->second) {
    refuse(Code::rollback_refused, "release_counter: expected at least ", floor->second & kCountMask,
           ", the floor that a release on this device has set, got ", facts_.release_counter & kCountMask);
  }
  if (facts_.target != "any" && facts_.target != policy.target) {
    refuse(Code::wrong_target, "target: expected \"any\" or this machine's \"", policy.target, "\", got \"",
           facts_.target, "\"");
  }
  if (facts_.binding && facts_.binding != policy.device_id)
    refuse(Code::wrong_target, "device: expected one that is bound to this device's key, got one bound to another");
  if (facts_.hard_expiry_s != 0 && static_cast<uint64_t>(std::max<int64_t>(policy.now_s, 0)) >= facts_.hard_expiry_s) {
    refuse(Code::expired_package, "hard_expiry: expected a time after ", policy.now_s, ", got ", facts_.hard_expiry_s);
  }
}

Package Package::unverified(const std::string& path) {
  auto file = std::make_unique<File>("package", path, File::Links::refused);
  const Head head(*file);
  return {std::move(file), head};
}

const Member& Package::entry() const {
  return *std::find_if(facts_.members.begin(), facts_.members.end(), [](const Member& one) { return one.is_entry; });
}

// Step 7. The rows, in the memory that `table` is given.
Bytes Package::checked_table(std::vector<std::byte>& table) const {
  const Layout where = layout(body_.size(), facts_.payload_bytes, facts_.chunk_bytes);
  // With the zeros after it, up to the payload.
  table.resize(facts_.payload_offset - where.table_offset);
  file_->read_at(where.table_offset, table);
  const Section section(path(), "table");
  const Bytes rows = Bytes(table).first(kRowBytes * facts_.chunk_count);
  section.require_zero("bytes after it", Bytes(table).subspan(rows.size()));
  if (sha256(rows) != digest_at(body_, BodyAt::kTableDigest))
    section.malformed("expected the table that was signed, got another");
  if (!facts_.aead) {
    for (uint64_t i = 0; i < facts_.chunk_count; ++i)
      Section(path(), "table row", i).require_zero("tag", rows.subspan(i * kRowBytes + sizeof(Digest), kTagBytes));
  }
  return rows;
}

namespace {

// What the largest chunk of a package needs.
size_t scratch_bytes(const PackageFacts& facts) { return std::min<uint64_t>(facts.chunk_bytes, facts.payload_bytes); }

// One thread's part in reading chunks: its own hash state, and scratch that stays in the cache nearest to it.
class ChunkReader {
 public:
  ChunkReader(const File& file, const PackageFacts& facts, Bytes rows)
      : file_(file), facts_(facts), rows_(rows), scratch_(Block::uninitialized(scratch_bytes(facts))) {}

  // The stored bytes of a chunk in `place`, which is as long as the chunk.
  void read(uint64_t chunk, std::span<std::byte> place) {
    file_.read_at(facts_.payload_offset + chunk * facts_.chunk_bytes, place);
    hash_.add(place);
    if (hash_.finish() != digest_at(rows_, chunk * kRowBytes))
      Section(file_.path(), "chunk", chunk).malformed("expected the bytes that were signed, got others");
  }
  // The same in scratch, until the next one.
  Bytes read(uint64_t chunk) {
    const auto place = std::span(scratch_.data(), size_bytes(chunk));
    read(chunk, place);
    return place;
  }
  Bytes tag(uint64_t chunk) const { return rows_.subspan(chunk * kRowBytes + sizeof(Digest), kTagBytes); }
  size_t size_bytes(uint64_t chunk) const {
    return std::min<uint64_t>(facts_.chunk_bytes, facts_.payload_bytes - chunk * facts_.chunk_bytes);
  }

 private:
  const File& file_;
  const PackageFacts& facts_;
  Bytes rows_;
  Block scratch_;  // a block: the kernel copies to where a cache line begins up to five times as fast
  Sha256 hash_;
};

}  // namespace

void Package::check_stored(int threads) const {
  std::vector<std::byte> table;
  const Bytes rows = checked_table(table);
  for_each_chunk(
      facts_, threads, [&] { return ChunkReader(*file_, facts_, rows); },
      [](ChunkReader& reader, uint64_t chunk) { reader.read(chunk); });
}

Block Package::open_payload(const Secret* content_key, int threads) const {
  std::vector<std::byte> table;
  const Bytes rows = checked_table(table);
  const auto place = [&](const Block& payload, uint64_t chunk, size_t size_bytes) {
    return std::span(payload.data() + chunk * facts_.chunk_bytes, size_bytes);
  };
  const auto checked = [&](Block payload) {
    // Package-format 5: what lies between members is zero, so that nothing can hide there.
    uint64_t end = 0;
    for (const Member& member : facts_.members) {
      Section(path(), "payload").require_zero("between members", Bytes(payload.data() + end, member.offset - end));
      end = member.offset + member.size_bytes;
    }
    return payload;
  };

  if (!facts_.aead) {
    Block payload = Block::pages(facts_.payload_bytes);
    for_each_chunk(
        facts_, threads, [&] { return ChunkReader(*file_, facts_, rows); },
        [&](ChunkReader& reader, uint64_t chunk) {
          reader.read(chunk, place(payload, chunk, reader.size_bytes(chunk)));
        });
    return checked(std::move(payload));
  }

  if (content_key == nullptr) {
    throw Error(Code::wrong_key, "package \"", path(), "\": expected a device key for an encrypted package, got none");
  }
  const Derived derived = derive(*content_key, Bytes(body_).subspan(BodyAt::kSalt, sizeof(Digest)), facts_);
  if (!is_equal_secretly(derived.commitment.bytes(), Bytes(body_).subspan(BodyAt::kCommitment, sizeof(Digest)))) {
    throw Error(Code::wrong_key, "package \"", path(),
                "\": expected the content key that its publisher committed to, got another");
  }
  Block payload = Block::secret(facts_.payload_bytes);
  struct Opener {
    ChunkReader reader;
    Aead cipher;
  };
  for_each_chunk(
      facts_, threads,
      [&] {
        return Opener{ChunkReader(*file_, facts_, rows),
                      Aead(*facts_.aead, derived.key.bytes(), Aead::Direction::open)};
      },
      [&](Opener& opener, uint64_t chunk) {
        // The bytes that are decrypted are the very ones that were hashed, whatever happens to the file.
        const Bytes stored = opener.reader.read(chunk);
        if (!opener.cipher.open(nonce_of(chunk, facts_.chunk_count), {}, stored, opener.reader.tag(chunk),
                                place(payload, chunk, stored.size())))
          Section(path(), "chunk", chunk).malformed("expected a tag that fits, got another");
      });
  return checked(std::move(payload));
}

// ---- Writing.

namespace {

template <class T>
void put(std::span<std::byte> bytes, size_t offset, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

void put_text(std::span<std::byte> bytes, size_t offset, std::string_view text) {
  std::memcpy(bytes.data() + offset, text.data(), text.size());
}

void require_text(std::string_view what, std::string_view text, size_t most, bool (*is_allowed)(std::string_view)) {
  if (is_allowed(text) && text.size() <= most) return;
  throw Error(Code::bad_input, what, ": expected 1 to ", most, " characters of ",
              is_allowed == is_version ? "printable ASCII without spaces" : "a-z 0-9 . _ - and no dot first",
              ", got \"", text, "\"");
}

void require_sealable(const PackageSource& source) {
  require_text("name", source.name, kNameBytes, is_name);
  require_text("version", source.version, kTextBytes, is_version);
  require_text("target", source.target, kTextBytes, is_name);
  require_text("publisher", source.publisher, kTextBytes, is_name);
  const auto refuse = [](const auto&... parts) { throw Error(Code::bad_input, parts...); };
  if ((source.min_counter & kCountMask) == 0 || source.release_counter < source.min_counter) {
    refuse("counters: expected 1 <= min_counter <= release_counter, got ", source.min_counter & kCountMask, " and ",
           source.release_counter & kCountMask);
  }
  if (source.chunk_bytes < kLeastChunk || source.chunk_bytes > kMostChunk || !std::has_single_bit(source.chunk_bytes)) {
    refuse("chunk size: expected a power of two from ", kLeastChunk, " to ", kMostChunk, ", got ", source.chunk_bytes);
  }
  if (source.members.empty() || source.members.size() > kMostMembers)
    refuse("members: expected 1 to ", kMostMembers, ", got ", source.members.size());
  if (source.metadata.size() > kMostMetadata)
    refuse("metadata: expected at most ", kMostMetadata, " bytes, got ", source.metadata.size());
  if (!is_utf8_name(source.metadata)) refuse("metadata: expected UTF-8, got other bytes");
  size_t entry_count = 0;
  std::set<std::string_view> names;
  for (const MemberSource& member : source.members) {
    require_text("member name", member.name, kNameBytes, is_name);
    if (!names.insert(member.name).second) refuse("member \"", member.name, "\": expected one of this name, got two");
    if (member.bytes.empty()) refuse("member \"", member.name, "\": expected at least one byte, got none");
    if (!member.is_entry) continue;
    ++entry_count;
    if (member.type != MemberType::tflite && member.type != MemberType::onnx)
      refuse("member \"", member.name, "\": expected a model as the entry, got another type");
  }
  if (entry_count != 1) refuse("members: expected one entry, got ", entry_count);
}

// The payload as it is laid out, without being there in one piece.
class Payload {
 public:
  explicit Payload(const std::vector<MemberSource>& members) : members_(members) {
    for (const MemberSource& member : members) {
      offsets_.push_back(round_up(size_bytes_, kMemberAlignment));
      size_bytes_ = offsets_.back() + member.bytes.size();
    }
  }
  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t offset(size_t member) const { return offsets_[member]; }

  // The bytes from `offset`.
  void copy(uint64_t offset, std::span<std::byte> out) const {
    std::fill(out.begin(), out.end(), std::byte{0});
    for (size_t i = 0; i < members_.size(); ++i) {
      const Bytes bytes = members_[i].bytes;
      const uint64_t first = std::max(offset, offsets_[i]);
      const uint64_t last = std::min(offset + out.size(), offsets_[i] + bytes.size());
      if (first < last) std::memcpy(out.data() + (first - offset), bytes.data() + (first - offsets_[i]), last - first);
    }
  }

 private:
  const std::vector<MemberSource>& members_;
  std::vector<uint64_t> offsets_;
  uint64_t size_bytes_ = 0;
};

std::vector<std::byte> write_body(const PackageSource& source, const Payload& payload, const PackageFacts& facts) {
  const uint64_t metadata_offset = kRecordBytes + source.members.size() * kMemberBytes;
  std::vector<std::byte> body(metadata_offset + round_up(source.metadata.size(), 8));
  put(body, 0, kBodyMagic);
  put(body, BodyAt::kMajor, kMajor);
  put(body, BodyAt::kMinor, kMinor);
  put(body, BodyAt::kBodyBytes, static_cast<uint32_t>(body.size()));
  put(body, BodyAt::kFlags, source.aead ? kEncryptedFlag : uint32_t{0});
  put(body, BodyAt::kHash, kSha256);
  put(body, BodyAt::kAead, source.aead ? static_cast<uint16_t>(*source.aead) : uint16_t{0});
  put(body, BodyAt::kChunkBytes, source.chunk_bytes);
  put(body, BodyAt::kMemberCount, static_cast<uint32_t>(source.members.size()));
  put(body, BodyAt::kChunkCount, facts.chunk_count);
  put(body, BodyAt::kPayloadOffset, facts.payload_offset);
  put(body, BodyAt::kPayloadBytes, facts.payload_bytes);
  put(body, BodyAt::kReleaseCounter, source.release_counter);
  put(body, BodyAt::kMinCounter, source.min_counter);
  put(body, BodyAt::kCreated, source.created_s);
  put(body, BodyAt::kHardExpiry, source.hard_expiry_s);
  put(body, BodyAt::kMetadataBytes, static_cast<uint32_t>(source.metadata.size()));
  put_text(body, BodyAt::kName, source.name);
  put_text(body, BodyAt::kVersion, source.version);
  put_text(body, BodyAt::kTarget, source.target);
  put_text(body, BodyAt::kPublisher, source.publisher);
  if (source.binding) put(body, BodyAt::kBinding, *source.binding);
  for (size_t i = 0; i < source.members.size(); ++i) {
    const MemberSource& member = source.members[i];
    const auto row = std::span(body).subspan(kRecordBytes + i * kMemberBytes, kMemberBytes);
    put_text(row, MemberAt::kName, member.name);
    put(row, MemberAt::kType, member.type);
    put(row, MemberAt::kFlags, member.is_entry ? kEntryFlag : uint16_t{0});
    put(row, MemberAt::kOffset, payload.offset(i));
    put(row, MemberAt::kSize, static_cast<uint64_t>(member.bytes.size()));
    put(row, MemberAt::kDigest, sha256(member.bytes));
  }
  put_text(body, metadata_offset, source.metadata);
  return body;
}

// Preamble, body and slots, signed. `kept` are slots that stay in front.
std::vector<std::byte> write_head(Bytes body, Bytes kept, const std::vector<const PrivateKey*>& signers,
                                  uint64_t file_bytes) {
  const size_t count = kept.size() / kSlotBytes + signers.size();
  if (count < 1 || count > kSlotCount)
    throw Error(Code::bad_input, "signatures: expected 1 to ", kSlotCount, ", got ", count);
  std::vector<std::byte> head(kPreambleBytes + body.size() + kSlotsBytes);
  put(head, 0, kMagic);
  put(head, 8, kMajor);
  put(head, 10, kMinor);
  put(head, 12, static_cast<uint32_t>(body.size()));
  put(head, 16, static_cast<uint32_t>(count));
  put(head, 24, file_bytes);
  put(head, 32, sha256(body));
  std::copy(body.begin(), body.end(), head.begin() + kPreambleBytes);
  const auto slots = std::span(head).last(kSlotsBytes);
  std::copy(kept.begin(), kept.end(), slots.begin());
  const auto message = pre_authentication_encoding(kBodyType, body);
  for (size_t i = 0; i < signers.size(); ++i) {
    const auto slot = slots.subspan(kept.size() + i * kSlotBytes, kSlotBytes);
    put(slot, SlotAt::kAlgorithm, signers[i]->algorithm);
    put(slot, SlotAt::kSize, static_cast<uint32_t>(kSignatureBytes));
    put(slot, SlotAt::kKeyId, key_id(public_key(*signers[i])));
    put(slot, SlotAt::kSignature, sign(*signers[i], message));
  }
  return head;
}

}  // namespace

Sealed seal_package(const PackageSource& source, const std::vector<const PrivateKey*>& signers, const std::string& path,
                    const SealProgress& progress) {
  Digest salt{};
  std::optional<Secret> content_key;
  if (source.aead) {
    fill_random(salt);
    content_key.emplace();
    fill_random(content_key->bytes());
  }
  const Digest package_id =
      seal_package_with(content_key ? &*content_key : nullptr, salt, source, signers, path, progress);
  return {package_id, std::move(content_key)};
}

Digest seal_package_with(const Secret* content_key, const Digest& salt, const PackageSource& source,
                         const std::vector<const PrivateKey*>& signers, const std::string& path,
                         const SealProgress& progress) {
  require_sealable(source);
  const Payload payload(source.members);
  PackageFacts facts;
  facts.name = source.name;
  facts.aead = source.aead;
  facts.release_counter = source.release_counter;
  facts.chunk_bytes = source.chunk_bytes;
  facts.payload_bytes = payload.size_bytes();
  const uint64_t body_bytes = kRecordBytes + source.members.size() * kMemberBytes + round_up(source.metadata.size(), 8);
  const Layout where = layout(body_bytes, facts.payload_bytes, facts.chunk_bytes);
  facts.chunk_count = where.chunk_count;
  facts.payload_offset = where.payload_offset;
  if (facts.payload_bytes > kMostPayload || facts.chunk_count > kMostChunks) {
    throw Error(Code::bad_input, "payload: expected at most ", kMostChunks, " chunks, got ", facts.chunk_count);
  }
  std::vector<std::byte> body = write_body(source, payload, facts);

  std::optional<Derived> derived;
  std::optional<Aead> cipher;
  if (source.aead) {
    if (content_key == nullptr) throw Error(Code::bad_input, "package: expected a key to encrypt it with, got none");
    derived = derive(*content_key, salt, facts);
    cipher.emplace(*source.aead, derived->key.bytes(), Aead::Direction::seal);
  }
  NewFile file(path);
  std::vector<std::byte> table(facts.payload_offset - where.table_offset);
  std::vector<std::byte> plain(scratch_bytes(facts));
  std::vector<std::byte> stored(scratch_bytes(facts));
  for (uint64_t i = 0; i < facts.chunk_count; ++i) {
    const uint64_t offset = i * facts.chunk_bytes;
    const size_t size = std::min<uint64_t>(facts.chunk_bytes, facts.payload_bytes - offset);
    const auto chunk = std::span(stored).first(size);
    if (cipher) {
      Tag tag;
      payload.copy(offset, std::span(plain).first(size));
      cipher->seal(nonce_of(i, facts.chunk_count), {}, Bytes(plain).first(size), chunk, tag);
      put(table, i * kRowBytes + sizeof(Digest), tag);
    } else {
      payload.copy(offset, chunk);
    }
    put(table, i * kRowBytes, sha256(chunk));
    file.write_at(facts.payload_offset + offset, chunk);
    if (progress) progress(offset + size, facts.payload_bytes);
  }
  wipe(plain);
  put(body, BodyAt::kTableDigest, sha256(Bytes(table).first(kRowBytes * facts.chunk_count)));
  if (source.aead) {
    put(body, BodyAt::kSalt, salt);
    std::memcpy(body.data() + BodyAt::kCommitment, derived->commitment.bytes().data(), kSecretBytes);
  }
  file.write_at(0, write_head(body, {}, signers, facts.payload_offset + facts.payload_bytes));
  file.write_at(where.table_offset, table);
  file.commit();
  return sha256(body);
}

void resign(const Package& package, const std::string& path, const std::vector<const PrivateKey*>& keys,
            bool keeps_signatures) {
  package.check_stored(1);
  const File& source = *package.file_;
  const uint64_t slots_offset = kPreambleBytes + package.body_.size();
  std::vector<std::byte> kept(keeps_signatures ? package.facts_.signers.size() * kSlotBytes : 0);
  source.read_at(slots_offset, kept);
  const auto head = write_head(package.body_, kept, keys, source.size_bytes());
  NewFile file(path);
  file.write_at(0, head);
  std::vector<std::byte> part(kDefaultChunkBytes);
  for (uint64_t offset = head.size(); offset < source.size_bytes(); offset += part.size()) {
    const auto bytes = std::span(part).first(std::min<uint64_t>(part.size(), source.size_bytes() - offset));
    source.read_at(offset, bytes);
    file.write_at(offset, bytes);
  }
  file.commit();
}

}  // namespace edgeward
