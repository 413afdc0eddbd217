// WeightDirectory: the weights of models in files that the processes of one user map, each once for all of them: as the
// model's file has them, and as an engine has prepared them. Decisions: docs/decisions/0025, 0027.
//
// A file's name has a digest of the contents and of what they depend on, under a key that the directory keeps: a file
// whose contents are others is deleted and counts for nothing. Files get their name when they are complete, and nobody
// writes to a file that has one. The directory and what is in it must be this user's alone. Any thread, any process.
// But where it is said, nothing here throws but std::bad_alloc and Error(out_of_memory).
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "crypto/crypto.h"
#include "engines/weight_cache.h"
#include "system/file.h"
#include "system/memory.h"

namespace edgeward {

class WeightDirectory {
 public:
  // How many files that no process uses stay when another one is kept. Those that were used last stay.
  static constexpr size_t kMaxIdleFiles = 16;

  // A file that was checked is not checked again until the machine restarts, if the kernel says that nobody has changed
  // it. Its clock has ticks: only a change that is older than this can be told from a later one.
  static constexpr int64_t kSettledNs = 50'000'000;

  // Null when the directory does not exist, when others than this user may enter it, and when it has no key and has no
  // room for one. Digests are computed by `threads` threads, which end with each function.
  static std::unique_ptr<WeightDirectory> try_open(const std::string& path, int threads);

  // Of a model's bytes, the same as long as the directory keeps its key: 32 hexadecimal digits. Throws as
  // File::read_at does.
  std::string digest_of(const File& model) const;
  std::string digest_of(Bytes model) const;

  // Bytes with this digest, mapped: what is written to them is this process's alone. Empty when they are not kept
  // whole.
  Block try_map_model(const std::string& digest) const;
  // Keeps the bytes of `model`, which has this digest, and maps them. Empty when they have another one by now, and as
  // try_keep is null. Throws as File::read_at does.
  Block try_keep_model(const std::string& digest, const File& model) const;

  // Everything that prepared weights depend on.
  struct Origin {
    std::string model;           // its digest
    std::vector<Bytes> library;  // the engine's identity
    std::string settings;        // the processor, options of the engine
  };
  // The same for the same origin, as a digest is.
  std::string name_of(const Origin& origin) const;

  // Packed weights that were kept by this name; null when there are none that are whole.
  std::unique_ptr<WeightCache> try_find(const std::string& name) const;

  // Keeps what `cache` holds, which is sealed, or finds that another process has kept it meanwhile. Deletes files that
  // no process uses for it, see kMaxIdleFiles. Null when there is no room, or the file system has no files without
  // names.
  std::unique_ptr<WeightCache> try_keep(const std::string& name, const WeightCache& cache) const;

  // The same for bytes, which are mapped as a model's are; empty where those are null. Bytes that are kept by the name
  // already are used in place of others: two programs that make them at once need not make the same.
  Block try_map_prepared(const std::string& name) const;
  Block try_keep_prepared(const std::string& name, Bytes bytes) const;

 private:
  WeightDirectory(Descriptor descriptor, const Digest& key, int threads);
  std::string short_digest(const std::string& text) const;
  template <class Read>
  std::string content_digest(uint64_t size_bytes, const Read& read) const;
  std::string digest_of(const Descriptor& file) const;
  std::optional<Descriptor> try_open_file(const std::string& name) const;
  template <class Read, class NameFor>
  std::optional<Descriptor> try_keep_file(uint64_t size_bytes, const Read& read, const NameFor& name_for) const;
  std::optional<Descriptor> try_open_prepared(const std::string& name) const;
  template <class Read>
  std::optional<Descriptor> try_keep_prepared_file(const std::string& name, uint64_t size_bytes,
                                                   const Read& read) const;
  std::string mark_of(const std::string& name, const struct stat& facts) const;
  bool is_marked(const std::string& name, const struct stat& facts) const;
  void mark(const std::string& name, const struct stat& facts) const;
  std::vector<std::string> names(std::string_view suffix) const;
  void delete_idle(size_t kept_count) const;

  Descriptor descriptor_;
  int threads_;
  Digest chunk_key_;
  Digest name_key_;
};

}  // namespace edgeward
