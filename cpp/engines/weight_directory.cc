#include "engines/weight_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <future>
#include <optional>
#include <string_view>

#include "bytes/hex.h"
#include "system/boot_id.h"

namespace edgeward {
namespace {

constexpr const char* kKeyName = "key";
constexpr std::string_view kPackedSuffix = ".packed";
constexpr std::string_view kModelSuffix = ".model";
constexpr std::string_view kMarkSuffix = ".whole";
constexpr size_t kMaxMarks = 64;           // all go, and are made again, when there are more
constexpr size_t kDigits = 32;             // of a name, and of a digest
constexpr mode_t kMode = S_IRUSR;          // of every file: nobody writes to one that has a name
constexpr size_t kChunkBytes = 256 << 10;  // read, digested and written at once: it stays in the processor's cache

// GMACs of chunks, in their order, by some threads. `chunk_at(index, buffer)` gives a chunk, which may lie in the
// buffer, and an empty one when there is none: then there are no tags. The tags stay in this process, so that chunks of
// different contents may have the same nonce.
template <class ChunkAt>
std::string tags_of(const Digest& key, size_t count, int threads, ChunkAt chunk_at) {
  std::vector<Tag> tags(count);
  const auto part = [&](size_t first, size_t step) {
    Aead aead(AeadAlgorithm::aes_256_gcm, key, Aead::Direction::seal);
    const Block buffer = Block::uninitialized(kChunkBytes);
    for (uint64_t i = first; i < count; i += step) {
      const Bytes chunk = chunk_at(i, std::span(buffer.data(), kChunkBytes));
      if (chunk.empty()) return false;
      Nonce nonce{};
      std::memcpy(nonce.data(), &i, sizeof i);
      aead.seal(nonce, chunk, {}, {}, tags[i]);
    }
    return true;
  };
  std::vector<std::future<bool>> parts;
  const auto step = static_cast<size_t>(std::max(threads, 1));
  for (size_t first = 1; first < step; ++first) {
    // Also deferred: where there is no room for a thread, get() does its part.
    parts.push_back(std::async(std::launch::async | std::launch::deferred, part, first, step));
  }
  bool is_whole = part(0, step);
  for (auto& other : parts) is_whole = other.get() && is_whole;
  return is_whole ? std::string(reinterpret_cast<const char*>(tags.data()), tags.size() * sizeof(Tag)) : "";
}

std::string model_name(const std::string& digest) { return digest + std::string(kModelSuffix); }

std::string packed_name(const std::string& name, const std::string& digest) {
  return name + "-" + digest + std::string(kPackedSuffix);
}

// How many bytes were read; fewer than wanted at the end of the file, and after a failure.
size_t read_up_to(int file, off_t offset, std::span<std::byte> out) {
  size_t filled = 0;
  while (filled < out.size()) {
    const ssize_t got = pread(file, out.data() + filled, out.size() - filled, offset + static_cast<off_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<size_t>(got);
  }
  return filled;
}

bool try_write(int file, off_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(file, bytes.data(), bytes.size(), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += put;
  }
  return true;
}

// Whether a file is one that this class makes: of this user, who alone may read it, and by no other name.
bool is_own(int file) {
  struct stat facts {};
  return fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == geteuid() &&
         (facts.st_mode & 07777) == kMode && facts.st_nlink <= 1;
}

// A file that is this class's own; -1 when there is none. Never waits for a pipe, follows no link.
int open_own(int directory, const std::string& name) {
  const int file = openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0 || is_own(file)) return file;
  close(file);
  errno = EINVAL;
  return -1;
}

// A file without a name, which goes with its last descriptor; -1 when the file system has none.
int make_nameless(int directory) {
  const int file = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kMode);
  if (file < 0 || fchmod(file, kMode) == 0) return file;
  close(file);
  return -1;
}

// Gives an empty file on tmpfs large pages, which processes map in fewer steps, for so many bytes to come. Where the
// system refuses, it gets small ones.
void try_enlarge_pages(int file, uint64_t size_bytes) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which the C library's headers may lack
  struct statfs facts {};
  const auto large_bytes = static_cast<size_t>(size_bytes / kLargePageBytes * kLargePageBytes);
  if (large_bytes == 0 || fstatfs(file, &facts) != 0 || facts.f_type != TMPFS_MAGIC) return;
  // The system makes a large page of small ones, of which there has to be one.
  const std::byte zero{};
  for (size_t offset = 0; offset < large_bytes; offset += kLargePageBytes)
    if (!try_write(file, static_cast<off_t>(offset), {&zero, 1})) return;
  if (ftruncate(file, static_cast<off_t>(large_bytes)) != 0) return;
  const size_t reserved_bytes = large_bytes + kLargePageBytes;
  void* reserved = mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return;
  const uintptr_t begin = round_up(reinterpret_cast<uintptr_t>(reserved), kLargePageBytes);
  void* pages = mmap(std::bit_cast<void*>(begin), large_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0);
  if (pages != MAP_FAILED) (void)madvise(pages, large_bytes, kCollapse);
  munmap(reserved, reserved_bytes);
}

// Gives a file without a name one, unless there is a file by that name: errno is EEXIST then.
bool try_name(int file, int directory, const std::string& name) {
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  return linkat(AT_FDCWD, path.c_str(), directory, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

Block mapped(Descriptor file) {
  struct stat facts {};
  if (fstat(file.number(), &facts) != 0) return {};
  const int number = file.number();
  return Block::mapped(number, static_cast<size_t>(facts.st_size), std::make_shared<Descriptor>(std::move(file)));
}

// The directory's key, made if there is none that is whole.
std::optional<Digest> read_key(int directory) {
  for (int attempts = 0; attempts < 2; ++attempts) {
    Digest key{};
    std::array<std::byte, 1> more{};
    if (const int number = open_own(directory, kKeyName); number >= 0) {
      const Descriptor file(number, kKeyName);
      if (read_up_to(number, 0, key) == key.size() && read_up_to(number, static_cast<off_t>(key.size()), more) == 0)
        return key;
    }
    const int number = make_nameless(directory);
    if (number < 0) return std::nullopt;
    const Descriptor file(number, kKeyName);
    fill_random(key);
    if (!try_write(number, 0, key)) return std::nullopt;
    if (try_name(number, directory, kKeyName)) return key;
    // Another process has made one, or what is there is damaged: then it goes.
    const int other = open_own(directory, kKeyName);
    struct stat facts {};
    const bool is_whole = other >= 0 && fstat(other, &facts) == 0 && facts.st_size == static_cast<off_t>(key.size());
    if (other >= 0) close(other);
    if (!is_whole) (void)unlinkat(directory, kKeyName, 0);
  }
  return std::nullopt;
}

}  // namespace

std::unique_ptr<WeightDirectory> WeightDirectory::try_open(const std::string& path, int threads) {
  const int number = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (number < 0) return nullptr;
  Descriptor descriptor(number, path);
  struct stat facts {};
  if (fstat(number, &facts) != 0 || facts.st_uid != geteuid() || (facts.st_mode & 0077) != 0) return nullptr;
  const std::optional<Digest> key = read_key(number);
  if (!key) return nullptr;
  return std::unique_ptr<WeightDirectory>(new WeightDirectory(std::move(descriptor), *key, threads));
}

WeightDirectory::WeightDirectory(Descriptor descriptor, const Digest& key, int threads)
    : descriptor_(std::move(descriptor)), threads_(threads),
      chunk_key_(hmac_sha256(key, std::as_bytes(std::span("chunks")))),
      name_key_(hmac_sha256(key, std::as_bytes(std::span("names")))) {}

std::string WeightDirectory::short_digest(const std::string& text) const {
  return hex(hmac_sha256(name_key_, std::as_bytes(std::span(text)))).substr(0, kDigits);
}

// `read(offset, buffer)` gives a chunk, or an empty one when it cannot: then the digest is empty.
template <class Read>
std::string WeightDirectory::content_digest(uint64_t size_bytes, const Read& read) const {
  const auto count = static_cast<size_t>((size_bytes + kChunkBytes - 1) / kChunkBytes);
  const std::string tags = tags_of(chunk_key_, count, threads_, [&](uint64_t i, std::span<std::byte> buffer) {
    const uint64_t offset = i * kChunkBytes;
    return read(offset, buffer.first(static_cast<size_t>(std::min<uint64_t>(kChunkBytes, size_bytes - offset))));
  });
  return tags.empty() ? "" : short_digest(std::to_string(size_bytes) + "\n" + tags);
}

std::string WeightDirectory::digest_of(Bytes model) const {
  return content_digest(model.size(), [&](uint64_t offset, std::span<std::byte> chunk) {
    return model.subspan(static_cast<size_t>(offset), chunk.size());
  });
}

std::string WeightDirectory::digest_of(const File& model) const {
  return content_digest(model.size_bytes(), [&](uint64_t offset, std::span<std::byte> chunk) {
    model.read_at(offset, chunk);
    return Bytes(chunk);
  });
}

std::string WeightDirectory::digest_of(const Descriptor& file) const {
  struct stat facts {};
  if (fstat(file.number(), &facts) != 0) return "";
  return content_digest(static_cast<uint64_t>(facts.st_size), [&](uint64_t offset, std::span<std::byte> chunk) {
    const bool is_read = read_up_to(file.number(), static_cast<off_t>(offset), chunk) == chunk.size();
    return is_read ? Bytes(chunk) : Bytes();
  });
}

std::string WeightDirectory::name_of(const Origin& origin) const {
  std::string text = origin.model + "\n" + origin.settings;
  for (const Bytes& segment : origin.library) text += "\n" + digest_of(segment);
  return short_digest(text);
}

std::vector<std::string> WeightDirectory::names(std::string_view suffix) const {
  std::vector<std::string> all;
  // Of its own: a duplicate would share the position in the directory.
  const int number = openat(descriptor_.number(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(number < 0 ? nullptr : fdopendir(number), closedir);
  if (entries == nullptr) {
    if (number >= 0) close(number);
    return all;
  }
  while (const dirent* entry = readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name.size() > kDigits && name.ends_with(suffix)) all.emplace_back(name);
  }
  std::sort(all.begin(), all.end());
  return all;
}

// The name of the mark of a file that is whole, and was found so since the machine started.
std::string WeightDirectory::mark_of(const std::string& name, const struct stat& facts) const {
  std::string text = name + "\n" + hex(boot_id());
  for (const int64_t fact :
       {static_cast<int64_t>(facts.st_dev), static_cast<int64_t>(facts.st_ino), static_cast<int64_t>(facts.st_size),
        int64_t{facts.st_mtim.tv_sec}, int64_t{facts.st_mtim.tv_nsec}, int64_t{facts.st_ctim.tv_sec},
        int64_t{facts.st_ctim.tv_nsec}}) {
    text += "\n" + std::to_string(fact);
  }
  return short_digest(text) + std::string(kMarkSuffix);
}

bool WeightDirectory::is_marked(const std::string& name, const struct stat& facts) const {
  // Tells when the file was used, too.
  return boot_id() != BootId{} &&
         utimensat(descriptor_.number(), mark_of(name, facts).c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0;
}

// `facts` are from before the file was read.
void WeightDirectory::mark(const std::string& name, const struct stat& facts) const {
  timespec now{};
  if (boot_id() == BootId{} || clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) return;
  const int64_t age_ns = (now.tv_sec - facts.st_ctim.tv_sec) * 1'000'000'000 + now.tv_nsec - facts.st_ctim.tv_nsec;
  if (age_ns < kSettledNs) return;
  const std::vector<std::string> marks = names(kMarkSuffix);
  if (marks.size() >= kMaxMarks) {
    for (const std::string& other : marks) (void)unlinkat(descriptor_.number(), other.c_str(), 0);
  }
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const int number = openat(descriptor_.number(), mark_of(name, facts).c_str(), kFlags, kMode);
  if (number >= 0) close(number);
}

// The file, in use as long as it is open; none when it is not what its name says, and then it is deleted.
std::optional<Descriptor> WeightDirectory::try_open_file(const std::string& name) const {
  const int number = open_own(descriptor_.number(), name);
  if (number < 0) {
    const bool may_be_whole = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    if (!may_be_whole) (void)unlinkat(descriptor_.number(), name.c_str(), 0);
    return std::nullopt;
  }
  Descriptor file(number, name);
  (void)flock(number, LOCK_SH | LOCK_NB);  // delete_idle() leaves the file alone
  struct stat facts {};
  if (fstat(number, &facts) != 0) return std::nullopt;
  if (is_marked(name, facts)) return file;
  const std::string digest = digest_of(file);
  const std::string stem = name.substr(0, kDigits);
  const bool is_right =
      name == (name.ends_with(kModelSuffix) ? model_name(digest) : packed_name(stem, short_digest(stem + digest)));
  if (digest.empty() || !is_right) {
    (void)unlinkat(descriptor_.number(), name.c_str(), 0);
    return std::nullopt;
  }
  mark(name, facts);
  return file;
}

// Keeps contents by the name that `name_for(digest)` says, which is empty when they are not the ones that were
// expected.
template <class Read, class NameFor>
std::optional<Descriptor> WeightDirectory::try_keep_file(uint64_t size_bytes, const Read& read,
                                                         const NameFor& name_for) const {
  delete_idle(kMaxIdleFiles - 1);
  for (int attempts = 0; attempts < 2; ++attempts) {
    const int number = make_nameless(descriptor_.number());
    if (number < 0) return std::nullopt;
    const Descriptor file(number, "weights");
    try_enlarge_pages(number, size_bytes);
    const std::string digest = content_digest(size_bytes, [&](uint64_t offset, std::span<std::byte> buffer) -> Bytes {
      const Bytes chunk = read(offset, buffer);
      return try_write(number, static_cast<off_t>(offset), chunk) ? chunk : Bytes();
    });
    if (digest.empty()) {  // no room: what nobody uses makes some
      delete_idle(0);
      continue;
    }
    const std::string name = name_for(digest);
    if (name.empty()) return std::nullopt;
    if (!try_name(number, descriptor_.number(), name)) {
      if (errno != EEXIST) return std::nullopt;
      if (auto other = try_open_file(name)) return other;
      continue;
    }
    // One that cannot write, with a lock of its own, by which tools show the name.
    const int kept = open_own(descriptor_.number(), name);
    if (kept < 0) return std::nullopt;
    (void)flock(kept, LOCK_SH | LOCK_NB);
    return Descriptor(kept, name);
  }
  return std::nullopt;
}

Block WeightDirectory::try_map_model(const std::string& digest) const {
  auto file = try_open_file(model_name(digest));
  return file ? mapped(std::move(*file)) : Block();
}

Block WeightDirectory::try_keep_model(const std::string& digest, const File& model) const {
  const auto read = [&](uint64_t offset, std::span<std::byte> chunk) {
    model.read_at(offset, chunk);
    return Bytes(chunk);
  };
  auto file = try_keep_file(model.size_bytes(), read, [&](const std::string& digest_now) {
    return digest_now == digest ? model_name(digest) : "";
  });
  return file ? mapped(std::move(*file)) : Block();
}

std::optional<Descriptor> WeightDirectory::try_open_prepared(const std::string& name) const {
  for (const std::string& other : names(kPackedSuffix)) {
    if (!other.starts_with(name)) continue;
    if (auto file = try_open_file(other)) return file;
  }
  return std::nullopt;
}

template <class Read>
std::optional<Descriptor> WeightDirectory::try_keep_prepared_file(const std::string& name, uint64_t size_bytes,
                                                                  const Read& read) const {
  return try_keep_file(size_bytes, read,
                       [&](const std::string& digest) { return packed_name(name, short_digest(name + digest)); });
}

std::unique_ptr<WeightCache> WeightDirectory::try_find(const std::string& name) const {
  auto file = try_open_prepared(name);
  return file ? WeightCache::try_adopt(std::move(*file)) : nullptr;
}

std::unique_ptr<WeightCache> WeightDirectory::try_keep(const std::string& name, const WeightCache& cache) const {
  const std::optional<Descriptor> source = cache.try_open();
  if (!source) return nullptr;
  const auto read = [&](uint64_t offset, std::span<std::byte> chunk) {
    const bool is_read = read_up_to(source->number(), static_cast<off_t>(offset), chunk) == chunk.size();
    return is_read ? Bytes(chunk) : Bytes();
  };
  auto file = try_keep_prepared_file(name, cache.size_bytes(), read);
  return file ? WeightCache::try_adopt(std::move(*file)) : nullptr;
}

Block WeightDirectory::try_map_prepared(const std::string& name) const {
  auto file = try_open_prepared(name);
  return file ? mapped(std::move(*file)) : Block();
}

Block WeightDirectory::try_keep_prepared(const std::string& name, Bytes bytes) const {
  if (Block other = try_map_prepared(name)) return other;
  auto file = try_keep_prepared_file(name, bytes.size(), [&](uint64_t offset, std::span<std::byte> chunk) {
    return bytes.subspan(static_cast<size_t>(offset), chunk.size());
  });
  return file ? mapped(std::move(*file)) : Block();
}

void WeightDirectory::delete_idle(size_t kept_count) const {
  struct Idle {
    timespec used;
    std::string name;
  };
  std::vector<Idle> idle;
  for (const std::string_view suffix : {kPackedSuffix, kModelSuffix}) {
    for (const std::string& name : names(suffix)) {
      const int number = open_own(descriptor_.number(), name);
      if (number < 0) continue;
      const Descriptor file(number, name);
      struct stat facts {};
      struct stat marked {};
      if (flock(number, LOCK_EX | LOCK_NB) != 0 || fstat(number, &facts) != 0) continue;
      const bool has_mark =
          fstatat(descriptor_.number(), mark_of(name, facts).c_str(), &marked, AT_SYMLINK_NOFOLLOW) == 0;
      idle.push_back({has_mark ? marked.st_mtim : facts.st_mtim, name});
    }
  }
  std::sort(idle.begin(), idle.end(), [](const Idle& a, const Idle& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) > std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  for (size_t i = kept_count; i < idle.size(); ++i) (void)unlinkat(descriptor_.number(), idle[i].name.c_str(), 0);
}

}  // namespace edgeward
