// WeightDirectory: packed weights in files that the processes of one user map, each weight once for all of them.
// Decision: docs/decisions/0025.
//
// A file's name says what the weights depend on, and has a digest of that and of the contents, under a key that the
// directory keeps: a file whose contents are others is deleted and counts for nothing. Files get their name when they
// are complete, and nobody writes to a file that has one. The directory and what is in it must be this user's alone.
// Any thread, any process. Nothing here throws but std::bad_alloc and Error(out_of_memory).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "crypto/crypto.h"
#include "engines/weight_cache.h"
#include "system/file.h"

namespace edgeward {

class WeightDirectory {
 public:
  // How many files that no process uses stay when another one is kept. Those that were used last stay.
  static constexpr size_t kMaxIdleFiles = 8;

  // Null when the directory does not exist, when others than this user may enter it, and when it has no key and has no
  // room for one.
  static std::unique_ptr<WeightDirectory> try_open(const std::string& path);

  // Everything that packed weights depend on.
  struct Origin {
    Bytes model;                 // as the engine reads it
    std::vector<Bytes> library;  // the engine's own code
    std::string settings;        // the processor, options of the engine
  };
  // The same for the same origin, as long as the directory keeps its key: 32 hexadecimal digits.
  std::string name_of(const Origin& origin) const;

  // Weights that were kept by this name; null when there are none that are whole.
  std::unique_ptr<WeightCache> try_find(const std::string& name) const;

  // Keeps what `cache` holds, which is sealed, or finds that another process has kept it meanwhile. Deletes files that
  // no process uses for it, see kMaxIdleFiles. Null when there is no room, or the file system has no files without
  // names.
  std::unique_ptr<WeightCache> try_keep(const std::string& name, const WeightCache& cache) const;

 private:
  WeightDirectory(Descriptor descriptor, const Digest& key);
  std::string file_name(const std::string& name, const Descriptor& file, const Descriptor* copy) const;
  std::unique_ptr<WeightCache> try_open_file(const std::string& name, const std::string& file_name) const;
  std::vector<std::string> names() const;
  void delete_idle(size_t kept_count) const;

  Descriptor descriptor_;
  Digest chunk_key_;
  Digest name_key_;
};

}  // namespace edgeward
