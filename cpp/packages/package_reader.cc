#include "packages/package_reader.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <mutex>

#include "error.h"
#include "packages/date.h"
#include "packages/dsse.h"
#include "packages/name.h"
#include "system/shared_loop.h"

namespace edgeward {

using namespace package_format;

namespace {

// How many consecutive chunks a thread takes at a time: those of one large page, since two threads that fault the same
// page in would both clear it; fewer when a thread would be left without work.
uint64_t chunks_at_once(const PackageFacts& facts, uint64_t threads) {
  const uint64_t fair = std::bit_floor(std::max<uint64_t>(facts.chunk_count / (4 * threads), 1));
  return std::clamp<uint64_t>(kLargePageBytes / facts.chunk_bytes, 1, fair);
}

// Calls the work that `make_work()` gives each of up to `max_threads` threads, for each chunk.
template <class MakeWork>
void for_each_chunk(const PackageFacts& facts, int max_threads, const MakeWork& make_work) {
  const uint64_t threads = std::min<uint64_t>(facts.chunk_count, static_cast<uint64_t>(std::max(max_threads, 1)));
  for_each_shared(facts.chunk_count, chunks_at_once(facts, threads), max_threads, make_work);
}

// Step 4. Publisher and name are the only fields that are used before the signatures are verified; both are compared
// and neither is parsed.
void require_trusted(const PackageHead& head, const std::string& path, const TrustRoot& root) {
  const auto publisher = try_text(head.body().subspan(BodyAt::kPublisher, kTextBytes));
  const auto name = try_text(head.body().subspan(BodyAt::kName, kNameBytes));
  if (!publisher || !name || !is_name(*publisher) || !is_name(*name)) {
    throw Error(Code::untrusted_package, "package \"", path,
                "\": expected the names of a model and of its publisher, got none");
  }
  try {
    root.require_publisher(*publisher, *name, pre_authentication_encoding(kBodyType, head.body()), head.signatures());
  } catch (const Error& error) {
    throw Error(error.code(), "package \"", path, "\": ", error.what());
  }
}

// Step 6.
void hold_against_policy(const PackageFacts& facts, const std::string& path, const TrustRoot& root,
                         const Policy& policy) {
  const auto refuse = [&](Code code, const auto&... parts) { throw Error(code, "package \"", path, "\": ", parts...); };
  for (const auto& [what, counter] :
       {std::pair("release_counter", facts.release_counter), std::pair("min_counter", facts.min_counter)}) {
    if (counter >> kEpochShift != root.epoch())
      refuse(Code::rollback_refused, what, ": expected epoch ", root.epoch(), " of the trust root, got ",
             counter >> kEpochShift);
  }
  const auto floor = policy.floors.find(facts.name);
  if (floor != policy.floors.end() && facts.release_counter < floor->second) {
    refuse(Code::rollback_refused, "release_counter: expected at least ", floor->second & kCountMask,
           ", the floor that a release on this device has set, got ", facts.release_counter & kCountMask);
  }
  if (facts.target != "any" && facts.target != policy.target) {
    refuse(Code::wrong_target, "target: expected \"any\" or this machine's \"", policy.target, "\", got \"",
           facts.target, "\"");
  }
  if (facts.binding && facts.binding != policy.device_id)
    refuse(Code::wrong_target, "device: expected one that is bound to this device's key, got one bound to another");
  const int64_t now_s = policy.now_s_for(facts.publisher);
  if (facts.hard_expiry_s != 0 && static_cast<uint64_t>(std::max<int64_t>(now_s, 0)) >= facts.hard_expiry_s) {
    refuse(Code::expired_package, "hard_expiry: expected a time after ", date_text(static_cast<uint64_t>(now_s)),
           ", which it is on this device, got ", date_text(facts.hard_expiry_s));
  }
}

// What one thread needs to read chunks: a hash state, and scratch memory that stays in its nearest cache.
class ChunkReader {
 public:
  ChunkReader(const File& file, const PackageFacts& facts, Bytes rows)
      : file_(file), facts_(facts), rows_(rows), scratch_(Block::uninitialized(chunk_size_bytes(facts, 0))) {}

  // Copies the stored bytes of a chunk to `target`, which is as long as the chunk, and holds them against their hash.
  void read(uint64_t chunk, std::span<std::byte> target) {
    file_.read_at(facts_.payload_offset + chunk * facts_.chunk_bytes, target);
    hash_.add(target);
    if (hash_.finish() != digest_at(rows_, chunk * kRowBytes + RowAt::kDigest))
      Section(file_.path(), "chunk", chunk).malformed("expected the bytes that were signed, got others");
  }
  // The same in scratch, valid until the next read.
  Bytes read(uint64_t chunk) {
    const auto stored = std::span(scratch_.data(), chunk_size_bytes(facts_, chunk));
    read(chunk, stored);
    return stored;
  }
  Bytes tag(uint64_t chunk) const { return rows_.subspan(chunk * kRowBytes + RowAt::kTag, sizeof(Tag)); }

 private:
  const File& file_;
  const PackageFacts& facts_;
  Bytes rows_;
  Block scratch_;  // a Block, because the kernel copies faster to memory that is aligned to a cache line
  Sha256 hash_;
};

}  // namespace

// Steps 7 and 8: what chunks are held against, and what they are decrypted with.
struct PackageReader::Opening {
  std::vector<std::byte> table;
  Bytes rows;
  std::optional<Derived> derived;  // of an encrypted package
};

namespace {

// Opens chunks: verified, and decrypted where they are encrypted. One thread.
class ChunkOpener {
 public:
  ChunkOpener(const File& file, const PackageFacts& facts, Bytes rows, const std::optional<Derived>& derived)
      : path_(file.path()), facts_(facts), reader_(file, facts, rows) {
    if (derived) cipher_.emplace(*facts.aead, derived->key.bytes(), Aead::Direction::open);
  }

  // `target` is as long as the chunk.
  void open(uint64_t chunk, std::span<std::byte> target) {
    if (!cipher_) return reader_.read(chunk, target);
    // The bytes that are decrypted are the very ones that were hashed, whatever happens to the file.
    const Bytes stored = reader_.read(chunk);
    if (!cipher_->open(nonce_of(chunk, facts_.chunk_count), {}, stored, reader_.tag(chunk), target))
      Section(path_, "chunk", chunk).malformed("expected a tag that fits, got another");
  }

 private:
  const std::string& path_;
  const PackageFacts& facts_;
  ChunkReader reader_;
  std::optional<Aead> cipher_;
};

}  // namespace

int64_t Policy::now_s_for(const std::string& publisher) const {
  const auto shown = publisher_times_s.find(publisher);
  return shown == publisher_times_s.end() ? now_s : std::max(now_s, shown->second);
}

PackageReader::PackageReader(std::unique_ptr<File> file, const PackageHead& head)
    : file_(std::move(file)), facts_(head.facts()), body_(head.body().begin(), head.body().end()) {}

PackageReader::PackageReader(const std::string& path, const TrustRoot& root, const Policy& policy)
    : PackageReader(authentic(path, root)) {
  hold_against_policy(facts_, path, root, policy);
}

PackageReader PackageReader::authentic(const std::string& path, const TrustRoot& root) {
  auto file = std::make_unique<File>("package", path, File::Links::refused);
  const PackageHead head(*file);
  require_trusted(head, path, root);
  return {std::move(file), head};
}

PackageReader PackageReader::unverified(const std::string& path) {
  auto file = std::make_unique<File>("package", path, File::Links::refused);
  const PackageHead head(*file);
  return {std::move(file), head};
}

void PackageReader::require_allowed(const TrustRoot& root, const Policy& policy) const {
  const PackageHead head(*file_);
  if (!std::ranges::equal(head.body(), body_))
    Section(path(), "body").malformed("expected the one that was read when it was opened, got another");
  require_trusted(head, path(), root);
  hold_against_policy(facts_, path(), root, policy);
}

const Member& PackageReader::entry() const {
  return *std::find_if(facts_.members.begin(), facts_.members.end(),
                       [](const Member& member) { return member.is_entry; });
}

// Step 7. Reads the table into `table` and returns a view of its rows.
Bytes PackageReader::checked_table(std::vector<std::byte>& table) const {
  const Layout where = layout(body_.size(), facts_.payload_bytes, facts_.chunk_bytes);
  // The zeros between table and payload are read with it.
  table.resize(facts_.payload_offset - where.table_offset);
  file_->read_at(where.table_offset, table);
  const Section section(path(), "table");
  const Bytes rows = Bytes(table).first(kRowBytes * facts_.chunk_count);
  section.require_zero("bytes after it", Bytes(table).subspan(rows.size()));
  if (sha256(rows) != digest_at(body_, BodyAt::kTableDigest))
    section.malformed("expected the table that was signed, got another");
  if (!facts_.aead) {
    for (uint64_t i = 0; i < facts_.chunk_count; ++i)
      Section(path(), "table row", i).require_zero("tag", rows.subspan(i * kRowBytes + RowAt::kTag, sizeof(Tag)));
  }
  return rows;
}

void PackageReader::check_table() const {
  std::vector<std::byte> table;
  checked_table(table);
}

void PackageReader::check_stored(int threads) const {
  std::vector<std::byte> table;
  const Bytes rows = checked_table(table);
  for_each_chunk(facts_, threads, [&] {
    return [reader = ChunkReader(*file_, facts_, rows)](uint64_t chunk) mutable { reader.read(chunk); };
  });
}

PackageReader::Opening PackageReader::opening(const Secret* content_key) const {
  Opening opening;
  opening.rows = checked_table(opening.table);
  if (!facts_.aead) return opening;
  if (content_key == nullptr) {
    throw Error(Code::wrong_key, "package \"", path(), "\": expected a device key for an encrypted package, got none");
  }
  opening.derived = derive(*content_key, Bytes(body_).subspan(BodyAt::kSalt, sizeof(Digest)), facts_);
  if (!is_equal_secretly(opening.derived->commitment.bytes(),
                         Bytes(body_).subspan(BodyAt::kCommitment, sizeof(Digest)))) {
    throw Error(Code::wrong_key, "package \"", path(),
                "\": expected the content key that its publisher committed to, got another");
  }
  return opening;
}

// The digests of the members of a payload whose chunks are opened in any order. One thread at a time goes on from where
// the last one was, as far as chunks are open.
class PackageReader::MemberDigests {
 public:
  explicit MemberDigests(const PackageFacts& facts) : facts_(facts), is_open_(facts.chunk_count) {}

  // Any thread, once for each chunk, when it lies open in `payload`.
  void add(uint64_t chunk, const Block& payload) {
    is_open_[chunk].store(true, std::memory_order_release);  // pairs with the acquire in go_on
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock) go_on(payload);
  }
  // When all are.
  std::vector<Digest> finish(const Block& payload) {
    go_on(payload);
    return std::move(digests_);
  }

 private:
  void go_on(const Block& payload) {
    while (next_chunk_ < facts_.chunk_count && is_open_[next_chunk_].load(std::memory_order_acquire)) {
      const uint64_t end = next_chunk_ * facts_.chunk_bytes + chunk_size_bytes(facts_, next_chunk_);
      while (digests_.size() < facts_.members.size()) {
        const Member& member = facts_.members[digests_.size()];
        const uint64_t member_end = member.offset + member.size_bytes;
        position_ = std::max(position_, member.offset);
        if (position_ > end) break;
        const uint64_t until = std::min(end, member_end);
        hash_.add({payload.data() + position_, static_cast<size_t>(until - position_)});
        position_ = until;
        if (until < member_end) break;
        digests_.push_back(hash_.finish());
      }
      ++next_chunk_;
    }
  }

  const PackageFacts& facts_;
  std::vector<std::atomic<bool>> is_open_;  // by chunk
  std::mutex mutex_;                        // guards what follows
  uint64_t next_chunk_ = 0;
  uint64_t position_ = 0;
  Sha256 hash_;
  std::vector<Digest> digests_;
};

Block PackageReader::open_payload(const Secret* content_key, int threads) const {
  return open_chunks(content_key, threads, nullptr);
}

PackageReader::DigestedPayload PackageReader::open_digested_payload(const Secret* content_key, int threads) const {
  MemberDigests digests(facts_);
  Block payload = open_chunks(content_key, threads, &digests);
  std::vector<Digest> finished = digests.finish(payload);
  return {std::move(payload), std::move(finished)};
}

Block PackageReader::open_chunks(const Secret* content_key, int threads, MemberDigests* digests) const {
  const Opening opening = this->opening(content_key);
  Block payload = new_block(facts_.payload_bytes);
  for_each_chunk(facts_, threads, [&] {
    return [&, opener = ChunkOpener(*file_, facts_, opening.rows, opening.derived)](uint64_t chunk) mutable {
      opener.open(chunk, std::span(payload.data() + chunk * facts_.chunk_bytes, chunk_size_bytes(facts_, chunk)));
      if (digests != nullptr) digests->add(chunk, payload);
    };
  });
  uint64_t end = 0;
  for (const Member& member : facts_.members) {
    require_padding(Bytes(payload.data() + end, member.offset - end));
    end = member.offset + member.size_bytes;
  }
  return payload;
}

void PackageReader::check_digests(const std::vector<Digest>& digests) const {
  for (size_t i = 0; i < facts_.members.size(); ++i) require_digest(facts_.members[i], digests.at(i));
}

void PackageReader::check_payload(const Block& payload) const {
  for (const Member& member : facts_.members)
    require_digest(member, sha256(Bytes(payload.data() + member.offset, member.size_bytes)));
}

Block PackageReader::read_member(const Member& member, const Secret* content_key) const {
  const Opening opening = this->opening(content_key);
  ChunkOpener opener(*file_, facts_, opening.rows, opening.derived);
  const uint64_t end = member.offset + member.size_bytes;
  const Block chunk = new_block(chunk_size_bytes(facts_, 0));
  Block bytes = new_block(member.size_bytes);
  for (uint64_t i = member.offset / facts_.chunk_bytes; i * facts_.chunk_bytes < end; ++i) {
    const uint64_t offset = i * facts_.chunk_bytes;
    const size_t size_bytes = chunk_size_bytes(facts_, i);
    opener.open(i, std::span(chunk.data(), size_bytes));
    const uint64_t first = std::max(offset, member.offset);
    const uint64_t last = std::min(offset + size_bytes, end);
    std::memcpy(bytes.data() + (first - member.offset), chunk.data() + (first - offset), last - first);
  }
  require_digest(member, sha256(Bytes(bytes.data(), member.size_bytes)));
  return bytes;
}

void PackageReader::read_parts(const Member& member, std::span<const FilePart> parts, const Secret* content_key,
                               int threads) const {
  const Opening opening = this->opening(content_key);
  std::vector<uint64_t> chunks;  // those that the parts lie in
  for (const FilePart& part : parts) {
    const uint64_t begin = member.offset + part.offset;
    for (uint64_t i = begin / facts_.chunk_bytes; i * facts_.chunk_bytes < begin + part.bytes.size(); ++i)
      if (chunks.empty() || chunks.back() < i) chunks.push_back(i);
  }
  for_each_shared(chunks.size(), 1, threads, [&] {
    return [&, opener = ChunkOpener(*file_, facts_, opening.rows, opening.derived),
            block = new_block(chunk_size_bytes(facts_, 0))](uint64_t index) mutable {
      const std::span chunk(block.data(), chunk_size_bytes(facts_, chunks[index]));
      opener.open(chunks[index], chunk);
      const uint64_t chunk_begin = chunks[index] * facts_.chunk_bytes;
      const uint64_t chunk_end = chunk_begin + chunk.size();
      const auto begin_of = [&](const FilePart& part) { return member.offset + part.offset; };
      auto part = std::partition_point(parts.begin(), parts.end(), [&](const FilePart& other) {
        return begin_of(other) + other.bytes.size() <= chunk_begin;
      });
      for (; part != parts.end() && begin_of(*part) < chunk_end; ++part) {
        const uint64_t first = std::max(chunk_begin, begin_of(*part));
        const uint64_t last = std::min(chunk_end, begin_of(*part) + part->bytes.size());
        std::memcpy(part->bytes.data() + (first - begin_of(*part)), chunk.data() + (first - chunk_begin), last - first);
      }
    };
  });
}

void PackageReader::check_members(const Secret* content_key) const {
  const Opening opening = this->opening(content_key);
  ChunkOpener opener(*file_, facts_, opening.rows, opening.derived);
  const Block block = new_block(chunk_size_bytes(facts_, 0));
  Sha256 hash;
  auto member = facts_.members.begin();
  for (uint64_t i = 0; i < facts_.chunk_count; ++i) {
    uint64_t offset = i * facts_.chunk_bytes;
    const Bytes chunk(block.data(), chunk_size_bytes(facts_, i));
    opener.open(i, std::span(block.data(), chunk.size()));
    for (Bytes rest = chunk; !rest.empty();) {
      // Behind the last member there is nothing.
      const bool is_member = offset >= member->offset;
      const uint64_t until = is_member ? member->offset + member->size_bytes : member->offset;
      const Bytes bytes = rest.first(std::min<uint64_t>(rest.size(), until - offset));
      offset += bytes.size();
      rest = rest.subspan(bytes.size());
      if (!is_member) {
        require_padding(bytes);
        continue;
      }
      hash.add(bytes);
      if (offset < until) continue;
      require_digest(*member, hash.finish());
      ++member;
    }
  }
}

Block PackageReader::new_block(uint64_t size_bytes) const {
  return facts_.aead ? Block::secret(size_bytes) : Block::pages(size_bytes);
}

// Package-format 2: the bytes between members are zero, so that nothing can be hidden there.
void PackageReader::require_padding(Bytes between) const {
  Section(path(), "payload").require_zero("between members", between);
}

void PackageReader::require_digest(const Member& member, const Digest& digest) const {
  if (digest != member.digest)
    Section(path(), "member \"" + member.name + "\"").malformed("expected the digest in its row, got another");
}

}  // namespace edgeward
