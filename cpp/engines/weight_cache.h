// WeightCache: one model's weights as LiteRT's XNNPACK packs them for this processor, in memory that every session of
// the model maps instead of packing a copy of its own. Either a memfd, which has a descriptor and no name in any file
// system, or a file of a WeightDirectory, which other processes map too. Decisions: docs/decisions/0022, 0025.
//
// The library writes a memfd once, through option(). Sealed, nobody writes to it any more, whatever they have open. It
// is wiped before its pages return to the system, and the mappings of this process are left out of core dumps. Any
// thread, once it is sealed. A forked child wipes nothing.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "system/file.h"
#include "system/fork.h"

namespace edgeward {

// Of a model's file. Below, packed weights are not worth the time that sharing takes.
inline constexpr size_t kMinPackedBytes = size_t{1} << 20;

class WeightCache {
 public:
  // An empty one. Null where the system lacks such memory or its seals, and where a write to it may fail, because the
  // library ends the process when one does.
  static std::unique_ptr<WeightCache> try_make();
  // One that a file holds, open to read, to which nobody writes. Null when it is empty.
  static std::unique_ptr<WeightCache> try_adopt(Descriptor file);
  ~WeightCache();
  WeightCache(const WeightCache&) = delete;
  WeightCache& operator=(const WeightCache&) = delete;

  // By which this process opens the cache, as long as it lives. Empty when somebody has closed its descriptor: another
  // file may have the number by now.
  std::string path() const;

  // Whether this process may map so much more: the library ends the process when it cannot map a cache.
  static bool has_room(size_t size_bytes);

  // What tells the library of the cache, in its TOML; empty as path() is, and when there is no room to map it. For one
  // compiled model: of a file it has a descriptor that the library closes. By a path, the library would truncate a file
  // that it cannot load.
  std::string option() const;

  // The cache, open to read at a position of its own.
  std::optional<Descriptor> try_open() const;
  // Whether other processes may map it.
  bool is_file() const { return is_file_; }

  // Ends all writing. False when nothing was written, or the system does not seal: the cache is of no use then.
  bool try_seal();
  // The same, for weights that are wiped in the end.
  bool try_seal_secret();

  // Leaves what this process has mapped of the cache out of core dumps. False when nothing is mapped.
  bool try_keep_from_dumps() const;

  size_t size_bytes() const { return size_bytes_; }  // 0 until it is sealed
  // What the system has taken for it.
  uint64_t resident_bytes() const;

 private:
  WeightCache(Descriptor descriptor, bool is_file);
  bool try_measure();

  ForkMark fork_mark_;
  Descriptor descriptor_;
  bool is_file_;
  dev_t device_;
  ino_t inode_;
  size_t size_bytes_ = 0;
  void* pages_;  // a mapping to wipe by, of no access until then; MAP_FAILED when there is nothing to wipe
};

}  // namespace edgeward
