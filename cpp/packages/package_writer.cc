#include "packages/package_writer.h"

#include <algorithm>
#include <bit>
#include <set>
#include <type_traits>

#include "bytes/utf8.h"
#include "error.h"
#include "packages/dsse.h"
#include "packages/name.h"

namespace edgeward {

using namespace package_format;

namespace {

template <class T>
void put(std::span<std::byte> bytes, size_t offset, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

void put_text(std::span<std::byte> bytes, size_t offset, std::string_view text) {
  std::memcpy(bytes.data() + offset, text.data(), text.size());
}

void require_text(std::string_view what, std::string_view text, size_t most, bool (*is_allowed)(std::string_view),
                  std::string_view characters) {
  if (is_allowed(text) && text.size() <= most) return;
  throw Error(Code::bad_input, what, ": expected 1 to ", most, " characters of ", characters, ", got \"", text, "\"");
}

void require_name(std::string_view what, std::string_view text, size_t most) {
  require_text(what, text, most, is_name, std::string(kNameCharacters) + " and no dot first");
}

void require_sealable(const PackageSource& source) {
  require_name("name", source.name, kNameBytes);
  require_text("version", source.version, kTextBytes, is_version, "printable ASCII without spaces");
  require_text("target", source.target, kTextBytes, is_target, "a-z 0-9 . _ - and no dot first");
  require_name("publisher", source.publisher, kTextBytes);
  const auto refuse = [](const auto&... parts) { throw Error(Code::bad_input, parts...); };
  if ((source.min_counter & kCountMask) == 0 || source.release_counter < source.min_counter) {
    refuse("counters: expected 1 <= min_counter <= release_counter, got ", source.min_counter & kCountMask, " and ",
           source.release_counter & kCountMask);
  }
  if (source.chunk_bytes < kMinChunkBytes || source.chunk_bytes > kMaxChunkBytes ||
      !std::has_single_bit(source.chunk_bytes)) {
    refuse("chunk size: expected a power of two from ", kMinChunkBytes, " to ", kMaxChunkBytes, ", got ",
           source.chunk_bytes);
  }
  if (source.members.empty() || source.members.size() > kMaxMembers)
    refuse("members: expected 1 to ", kMaxMembers, ", got ", source.members.size());
  if (source.metadata.size() > kMaxMetadataBytes)
    refuse("metadata: expected at most ", kMaxMetadataBytes, " bytes, got ", source.metadata.size());
  if (!is_utf8_name(source.metadata)) refuse("metadata: expected UTF-8, got other bytes");
  size_t entry_count = 0;
  std::set<std::string> names;  // folded
  for (const MemberSource& member : source.members) {
    require_name("member name", member.name, kNameBytes);
    if (!names.insert(folded(member.name)).second)
      refuse("member \"", member.name, "\": expected one of this name, in capitals or not, got two");
    if (member.size_bytes() == 0) refuse("member \"", member.name, "\": expected at least one byte, got none");
    if (!member.is_entry) continue;
    ++entry_count;
    if (member.type != MemberType::tflite && member.type != MemberType::onnx)
      refuse("member \"", member.name, "\": expected a model as the entry, got another type");
  }
  if (entry_count != 1) refuse("members: expected one entry, got ", entry_count);
}

// The payload, which is never assembled in memory: read once, from its beginning to its end.
class Payload {
 public:
  explicit Payload(const std::vector<MemberSource>& members) : members_(members) {
    for (const MemberSource& member : members) {
      offsets_.push_back(round_up(size_bytes_, kMemberAlignment));
      size_bytes_ = offsets_.back() + member.size_bytes();
    }
  }
  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t offset(size_t member) const { return offsets_[member]; }
  // Of a member's bytes as they were read; known once all of the payload was.
  const Digest& digest(size_t member) const { return digests_[member]; }

  // Fills `out` with what follows the bytes that were read before.
  void read(std::span<std::byte> out) {
    std::fill(out.begin(), out.end(), std::byte{0});
    const uint64_t end = position_ + out.size();
    while (digests_.size() < members_.size()) {
      const size_t i = digests_.size();
      const uint64_t first = std::max(position_, offsets_[i]);
      const uint64_t member_end = offsets_[i] + members_[i].size_bytes();
      const uint64_t last = std::min(end, member_end);
      if (first < last) copy(i, first - offsets_[i], out.subspan(first - position_, last - first));
      if (end < member_end) break;
      digests_.push_back(hash_.finish());
    }
    position_ = end;
  }

 private:
  void copy(size_t member, uint64_t offset, std::span<std::byte> out) {
    if (const File* file = members_[member].file) {
      file->read_at(offset, out);
    } else {
      std::memcpy(out.data(), members_[member].bytes.data() + offset, out.size());
    }
    hash_.add(out);
  }

  const std::vector<MemberSource>& members_;
  std::vector<uint64_t> offsets_;
  uint64_t size_bytes_ = 0;
  uint64_t position_ = 0;
  Sha256 hash_;  // of the member that is being read
  std::vector<Digest> digests_;
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
    put(row, MemberAt::kSize, member.size_bytes());
    put(row, MemberAt::kDigest, payload.digest(i));
  }
  put_text(body, metadata_offset, source.metadata);
  return body;
}

// Returns preamble, body and slots, signed. The slots in `kept` come first.
std::vector<std::byte> write_head(Bytes body, Bytes kept, const std::vector<Signer>& signers, uint64_t file_bytes) {
  const size_t count = kept.size() / kSlotBytes + signers.size();
  if (count < 1 || count > kSlotCount)
    throw Error(Code::bad_input, "signatures: expected 1 to ", kSlotCount, ", got ", count);
  std::vector<std::byte> head(kPreambleBytes + body.size() + kSlotsBytes);
  put(head, 0, kMagic);
  put(head, PreambleAt::kMajor, kMajor);
  put(head, PreambleAt::kMinor, kMinor);
  put(head, PreambleAt::kBodyBytes, static_cast<uint32_t>(body.size()));
  put(head, PreambleAt::kSignatureCount, static_cast<uint32_t>(count));
  put(head, PreambleAt::kFileBytes, file_bytes);
  put(head, PreambleAt::kPackageId, sha256(body));
  std::copy(body.begin(), body.end(), head.begin() + kPreambleBytes);
  const auto slots = std::span(head).last(kSlotsBytes);
  std::copy(kept.begin(), kept.end(), slots.begin());
  const auto message = pre_authentication_encoding(kBodyType, body);
  for (size_t i = 0; i < signers.size(); ++i) {
    const auto slot = slots.subspan(kept.size() + i * kSlotBytes, kSlotBytes);
    put(slot, SlotAt::kAlgorithm, signers[i].public_key().algorithm);
    put(slot, SlotAt::kSize, static_cast<uint32_t>(kSignatureBytes));
    put(slot, SlotAt::kKeyId, key_id(signers[i].public_key()));
    put(slot, SlotAt::kSignature, signers[i].signature_of(message));
  }
  return head;
}

}  // namespace

Sealed seal_package(const PackageSource& source, const std::vector<Signer>& signers, const std::string& path,
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
                         const std::vector<Signer>& signers, const std::string& path, const SealProgress& progress) {
  require_sealable(source);
  Payload payload(source.members);
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
  if (facts.payload_bytes > kMaxPayloadBytes || facts.chunk_count > kMaxChunks) {
    throw Error(Code::bad_input, "payload: expected at most ", kMaxChunks, " chunks, got ", facts.chunk_count);
  }
  std::optional<Derived> derived;
  std::optional<Aead> cipher;
  if (source.aead) {
    if (content_key == nullptr) throw Error(Code::bad_input, "package: expected a key to encrypt it with, got none");
    derived = derive(*content_key, salt, facts);
    cipher.emplace(*source.aead, derived->key.bytes(), Aead::Direction::seal);
  }
  NewFile file(path);
  std::vector<std::byte> table(facts.payload_offset - where.table_offset);
  std::vector<std::byte> plain(chunk_size_bytes(facts, 0));
  std::vector<std::byte> stored(chunk_size_bytes(facts, 0));
  for (uint64_t i = 0; i < facts.chunk_count; ++i) {
    const uint64_t offset = i * facts.chunk_bytes;
    const size_t size = chunk_size_bytes(facts, i);
    const auto chunk = std::span(stored).first(size);
    if (cipher) {
      Tag tag;
      payload.read(std::span(plain).first(size));
      cipher->seal(nonce_of(i, facts.chunk_count), {}, Bytes(plain).first(size), chunk, tag);
      put(table, i * kRowBytes + RowAt::kTag, tag);
    } else {
      payload.read(chunk);
    }
    put(table, i * kRowBytes + RowAt::kDigest, sha256(chunk));
    file.write_at(facts.payload_offset + offset, chunk);
    if (progress) progress(offset + size, facts.payload_bytes);
  }
  wipe(plain);
  std::vector<std::byte> body = write_body(source, payload, facts);
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

void resign(const PackageReader& package, const std::string& path, const std::vector<Signer>& signers,
            bool keeps_signatures) {
  package.check_stored(1);
  const File& source = package.file();
  const uint64_t slots_offset = kPreambleBytes + package.body().size();
  std::vector<std::byte> kept(keeps_signatures ? package.facts().signers.size() * kSlotBytes : 0);
  source.read_at(slots_offset, kept);
  const auto head = write_head(package.body(), kept, signers, source.size_bytes());
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
