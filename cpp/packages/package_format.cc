#include "packages/package_format.h"

#include <algorithm>
#include <bit>
#include <set>

#include "bytes/utf8.h"
#include "packages/name.h"

namespace edgeward {
namespace package_format {

Layout layout(uint64_t body_bytes, uint64_t payload_bytes, uint64_t chunk_bytes) {
  const uint64_t chunk_count = (payload_bytes + chunk_bytes - 1) / chunk_bytes;
  const uint64_t table_offset = kPreambleBytes + body_bytes + kSlotsBytes;
  return {chunk_count, table_offset, round_up(table_offset + kRowBytes * chunk_count, kMemberAlignment)};
}

size_t chunk_size_bytes(const PackageFacts& facts, uint64_t chunk) {
  return std::min<uint64_t>(facts.chunk_bytes, facts.payload_bytes - chunk * facts.chunk_bytes);
}

Digest digest_at(Bytes bytes, size_t offset) {
  Digest digest;
  std::memcpy(digest.data(), bytes.data() + offset, digest.size());
  return digest;
}

bool is_version(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char byte) { return byte > ' ' && byte < 0x7F; });
}

std::optional<std::string> try_text(Bytes field) {
  const auto* first = reinterpret_cast<const char*>(field.data());
  const std::string_view whole(first, field.size());
  const std::string_view text = whole.substr(0, whole.find('\0'));
  if (!is_zero(field.subspan(text.size()))) return std::nullopt;
  return std::string(text);
}

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

}  // namespace package_format

using namespace package_format;

namespace {

template <size_t kCount>
bool begins_with(Bytes bytes, const std::array<uint8_t, kCount>& magic) {
  return bytes.size() >= kCount && std::memcmp(bytes.data(), magic.data(), kCount) == 0;
}

std::string text_at(const Section& section, std::string_view what, Bytes bytes, size_t offset, size_t size,
                    bool (*is_allowed)(std::string_view)) {
  const auto text = try_text(bytes.subspan(offset, size));
  if (!text || !is_allowed(*text)) section.malformed(what, ": expected a name of allowed characters, got others");
  return *text;
}

}  // namespace

PackageHead::PackageHead(const File& file) : path_(file.path()), file_bytes_(file.size_bytes()) {
  const Section section(path_, "preamble");
  std::array<std::byte, kPreambleBytes> preamble;
  if (file_bytes_ < kPreambleBytes)
    section.malformed("expected at least ", kPreambleBytes, " bytes, got ", file_bytes_);
  file.read_at(0, preamble);
  if (!begins_with(preamble, kMagic)) section.malformed("expected the magic bytes EWPK 0D 0A 1A 01, got others");
  major_ = *try_read<uint16_t>(preamble, PreambleAt::kMajor);
  minor_ = *try_read<uint16_t>(preamble, PreambleAt::kMinor);
  section.require_equal("major version", kMajor, major_);
  const uint64_t body_bytes = *try_read<uint32_t>(preamble, PreambleAt::kBodyBytes);
  section.require_within("body length", kMinBodyBytes, kMaxBodyBytes, body_bytes);
  if (body_bytes % 8 != 0) section.malformed("body length: expected a multiple of 8, got ", body_bytes);
  signature_count_ = *try_read<uint32_t>(preamble, PreambleAt::kSignatureCount);
  section.require_within<size_t>("signature count", 1, kSlotCount, signature_count_);
  section.require_zero("bytes 20 to 23", Bytes(preamble).subspan(PreambleAt::kZero, 4));
  section.require_equal("file length", file_bytes_, *try_read<uint64_t>(preamble, PreambleAt::kFileBytes));
  if (file_bytes_ - kPreambleBytes < body_bytes + kSlotsBytes)
    section.malformed("body length: expected one that fits a file of ", file_bytes_, " bytes, got ", body_bytes);
  bytes_.resize(body_bytes + kSlotsBytes);
  file.read_at(kPreambleBytes, bytes_);
  package_id_ = sha256(body());
  if (package_id_ != digest_at(preamble, PreambleAt::kPackageId))
    Section(path_, "body").malformed("expected the body whose hash is the package id, got another");
  read_slots();
}

void PackageHead::read_slots() {
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

PackageFacts PackageHead::facts() const {
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
  section.require_within("chunk size", kMinChunkBytes, kMaxChunkBytes, facts.chunk_bytes);
  if (!std::has_single_bit(facts.chunk_bytes))
    section.malformed("chunk size: expected a power of two, got ", facts.chunk_bytes);
  facts.payload_bytes = u64(BodyAt::kPayloadBytes);
  section.require_within<uint64_t>("payload length", 1, kMaxPayloadBytes, facts.payload_bytes);
  const Layout expected = layout(all.size(), facts.payload_bytes, facts.chunk_bytes);
  facts.chunk_count = u64(BodyAt::kChunkCount);
  section.require_within<uint64_t>("chunk count", 1, kMaxChunks, facts.chunk_count);
  section.require_equal("chunk count", expected.chunk_count, facts.chunk_count);
  facts.payload_offset = u64(BodyAt::kPayloadOffset);
  section.require_equal("payload offset", expected.payload_offset, facts.payload_offset);
  section.require_equal("file length", facts.payload_offset + facts.payload_bytes, file_bytes_);
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
  facts.target = text_at(section, "target", all, BodyAt::kTarget, kTextBytes, is_target);
  facts.publisher = text_at(section, "publisher", all, BodyAt::kPublisher, kTextBytes, is_name);
  section.require_zero("bytes 352 to 415", all.subspan(BodyAt::kZeros, kZerosBytes));
  const Digest binding = digest_at(all, BodyAt::kBinding);
  if (!is_zero(binding)) facts.binding = binding;
  for (const ClaimedSignature& signature : signatures_) facts.signers.push_back(signature.key_id);
  read_members(facts);
  return facts;
}

void PackageHead::read_members(PackageFacts& facts) const {
  const Section section(path_, "body");
  const Bytes all = body();
  const size_t count = *try_read<uint32_t>(all, BodyAt::kMemberCount);
  section.require_within<size_t>("member count", 1, kMaxMembers, count);
  const uint64_t metadata_bytes = *try_read<uint32_t>(all, BodyAt::kMetadataBytes);
  section.require_within<uint64_t>("metadata length", 0, kMaxMetadataBytes, metadata_bytes);
  const uint64_t metadata_offset = kRecordBytes + count * kMemberBytes;
  section.require_equal<uint64_t>("body length", metadata_offset + round_up(metadata_bytes, 8), all.size());

  std::set<std::string> names;  // folded
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
    const std::string& name = facts.members.back().name;
    if (!names.insert(folded(name)).second)
      member_section.malformed("name: expected one that no other member has, in capitals or not, got \"", name, "\"");
  }
  section.require_equal<size_t>("entry count", 1, entry_count);
  section.require_equal("payload length", end, facts.payload_bytes);

  const Section metadata_section(path_, "metadata");
  const Bytes metadata = all.subspan(metadata_offset, metadata_bytes);
  facts.metadata.assign(reinterpret_cast<const char*>(metadata.data()), metadata.size());
  if (!is_utf8_name(facts.metadata)) metadata_section.malformed("expected UTF-8, got other bytes");
  metadata_section.require_zero("padding", all.subspan(metadata_offset + metadata_bytes));
}

}  // namespace edgeward
