#include "engines/weight_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "bytes/hex.h"
#include "system/memory.h"

namespace edgeward {
namespace {

constexpr const char* kKeyName = "key";
constexpr std::string_view kSuffix = ".weights";
constexpr size_t kDigits = 32;             // of a name, and of a digest
constexpr mode_t kMode = S_IRUSR;          // of every file: nobody writes to one that has a name
constexpr size_t kChunkBytes = 256 << 10;  // read, digested and written at once: it stays in the processor's cache

// A digest under a key of 32 bytes each for chunks and for the result: GMAC of each chunk, HMAC-SHA256 of the tags.
// Many times as fast as SHA-256, and no model can be made to collide with another one by who does not know the key. The
// tags stay here, so that chunks of different contents may have the same nonce.
class KeyedDigest {
 public:
  KeyedDigest(const Digest& chunk_key, const Digest& name_key)
      : aead_(AeadAlgorithm::aes_256_gcm, chunk_key, Aead::Direction::seal), name_key_(name_key) {}

  // All chunks but the last of some contents are kChunkBytes long.
  void add_chunk(Bytes chunk) {
    Nonce nonce{};
    std::memcpy(nonce.data(), &count_, sizeof count_);
    ++count_;
    Tag tag;
    aead_.seal(nonce, chunk, {}, {}, tag);
    add_text({reinterpret_cast<const char*>(tag.data()), tag.size()});
    size_bytes_ += chunk.size();
  }
  void add(Bytes contents) {
    for (size_t offset = 0; offset < contents.size(); offset += kChunkBytes)
      add_chunk(contents.subspan(offset, std::min(kChunkBytes, contents.size() - offset)));
    end_contents();
  }
  // What follows is of other contents: no two lists of contents run into one.
  void end_contents() { add_text(std::to_string(std::exchange(size_bytes_, 0)) + "\n"); }
  void add_text(std::string_view text) { text_ += text; }

  std::string finish() const {
    const Digest digest = hmac_sha256(name_key_, std::as_bytes(std::span(text_)));
    return hex(digest).substr(0, kDigits);
  }

 private:
  Aead aead_;
  Digest name_key_;
  uint64_t count_ = 0;
  uint64_t size_bytes_ = 0;
  std::string text_;
};

// How many bytes were read; fewer than wanted at the end of the file, and after a failure.
size_t read_up_to(int file, uint64_t offset, std::span<std::byte> out) {
  size_t filled = 0;
  while (filled < out.size()) {
    const ssize_t got = pread(file, out.data() + filled, out.size() - filled, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<size_t>(got);
  }
  return filled;
}

bool try_write(int file, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(file, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(put));
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

// Gives a file without a name one, unless there is a file by that name: errno is EEXIST then.
bool try_name(int file, int directory, const std::string& name) {
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  return linkat(AT_FDCWD, path.c_str(), directory, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

// The directory's key, made if there is none that is whole.
std::optional<Digest> read_key(int directory) {
  for (int attempts = 0; attempts < 2; ++attempts) {
    Digest key{};
    std::array<std::byte, 1> more{};
    if (const int number = open_own(directory, kKeyName); number >= 0) {
      const Descriptor file(number, kKeyName);
      if (read_up_to(number, 0, key) == key.size() && read_up_to(number, key.size(), more) == 0) return key;
    }
    const int number = make_nameless(directory);
    if (number < 0) return std::nullopt;
    const Descriptor file(number, kKeyName);
    fill_random(key);
    if (!try_write(number, key)) return std::nullopt;
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

std::unique_ptr<WeightDirectory> WeightDirectory::try_open(const std::string& path) {
  const int number = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (number < 0) return nullptr;
  Descriptor descriptor(number, path);
  struct stat facts {};
  if (fstat(number, &facts) != 0 || facts.st_uid != geteuid() || (facts.st_mode & 0077) != 0) return nullptr;
  const std::optional<Digest> key = read_key(number);
  if (!key) return nullptr;
  return std::unique_ptr<WeightDirectory>(new WeightDirectory(std::move(descriptor), *key));
}

WeightDirectory::WeightDirectory(Descriptor descriptor, const Digest& key)
    : descriptor_(std::move(descriptor)), chunk_key_(hmac_sha256(key, std::as_bytes(std::span("chunks")))),
      name_key_(hmac_sha256(key, std::as_bytes(std::span("names")))) {}

std::string WeightDirectory::name_of(const Origin& origin) const {
  KeyedDigest digest(chunk_key_, name_key_);
  digest.add(origin.model);
  for (const Bytes& segment : origin.library) digest.add(segment);
  digest.add_text(origin.settings);
  return digest.finish();
}

// The name of a file with the contents of `file`, which go into `copy` too, if there is one. Empty when that fails.
std::string WeightDirectory::file_name(const std::string& name, const Descriptor& file, const Descriptor* copy) const {
  KeyedDigest digest(chunk_key_, name_key_);
  const Block block = Block::uninitialized(kChunkBytes);
  uint64_t offset = 0;
  size_t size_bytes = kChunkBytes;
  while (size_bytes == kChunkBytes) {
    size_bytes = read_up_to(file.number(), offset, {block.data(), kChunkBytes});
    offset += size_bytes;
    const Bytes chunk{block.data(), size_bytes};
    digest.add_chunk(chunk);
    if (copy != nullptr && !try_write(copy->number(), chunk)) return "";
  }
  digest.end_contents();
  digest.add_text(name);
  return name + "-" + digest.finish() + std::string(kSuffix);
}

std::vector<std::string> WeightDirectory::names() const {
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
    if (name.size() == 2 * kDigits + 1 + kSuffix.size() && name.ends_with(kSuffix)) all.emplace_back(name);
  }
  std::sort(all.begin(), all.end());
  return all;
}

// Deletes the file when it is not what its name says.
std::unique_ptr<WeightCache> WeightDirectory::try_open_file(const std::string& name,
                                                            const std::string& expected) const {
  const int number = open_own(descriptor_.number(), expected);
  if (number < 0) {
    const bool may_be_whole = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    if (!may_be_whole) (void)unlinkat(descriptor_.number(), expected.c_str(), 0);
    return nullptr;
  }
  Descriptor file(number, expected);
  // Held as long as the weights are in use: delete_idle() leaves the file alone.
  (void)flock(number, LOCK_SH | LOCK_NB);
  if (file_name(name, file, nullptr) != expected) {
    (void)unlinkat(descriptor_.number(), expected.c_str(), 0);
    return nullptr;
  }
  (void)futimens(number, nullptr);  // the time of the last use
  return WeightCache::try_adopt(std::move(file));
}

std::unique_ptr<WeightCache> WeightDirectory::try_find(const std::string& name) const {
  for (const std::string& other : names()) {
    if (!other.starts_with(name)) continue;
    if (auto cache = try_open_file(name, other)) return cache;
  }
  return nullptr;
}

std::unique_ptr<WeightCache> WeightDirectory::try_keep(const std::string& name, const WeightCache& cache) const {
  const std::optional<Descriptor> source = cache.try_open();
  if (!source) return nullptr;
  delete_idle(kMaxIdleFiles - 1);
  for (int attempts = 0; attempts < 2; ++attempts) {
    const int number = make_nameless(descriptor_.number());
    if (number < 0) return nullptr;
    const Descriptor file(number, name);
    const std::string full_name = file_name(name, *source, &file);
    if (full_name.empty()) {  // no room: what nobody uses makes some
      delete_idle(0);
      continue;
    }
    // One whose descriptor cannot write, on which the lock is not shared with this one.
    if (!try_name(number, descriptor_.number(), full_name) && errno != EEXIST) return nullptr;
    if (auto kept = try_open_file(name, full_name)) return kept;
  }
  return nullptr;
}

void WeightDirectory::delete_idle(size_t kept_count) const {
  struct Idle {
    timespec used;
    std::string name;
  };
  std::vector<Idle> idle;
  for (const std::string& name : names()) {
    const int number = open_own(descriptor_.number(), name);
    if (number < 0) continue;
    const Descriptor file(number, name);
    struct stat facts {};
    if (flock(number, LOCK_EX | LOCK_NB) == 0 && fstat(number, &facts) == 0) idle.push_back({facts.st_mtim, name});
  }
  std::sort(idle.begin(), idle.end(), [](const Idle& a, const Idle& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) > std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  for (size_t i = kept_count; i < idle.size(); ++i) (void)unlinkat(descriptor_.number(), idle[i].name.c_str(), 0);
}

}  // namespace edgeward
