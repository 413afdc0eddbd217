// WeightCache: one model's weights as LiteRT's XNNPACK packs them for this processor, in memory that every session of
// the model maps instead of packing a copy of its own. A memfd: it has a descriptor and no name in any file system.
// Decision: docs/decisions/0022.
//
// The library writes it once, through path(). Sealed, nobody writes to it any more, whatever they have open. It is
// wiped before its pages return to the system, and the mappings of this process are left out of core dumps. Any thread,
// once it is sealed. A forked child wipes nothing.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>

#include "system/file.h"
#include "system/fork.h"

namespace edgeward {

class WeightCache {
 public:
  // An empty one. Null where the system lacks such memory or its seals, and where a write to it may fail, because the
  // library ends the process when one does.
  static std::unique_ptr<WeightCache> try_make();
  ~WeightCache();
  WeightCache(const WeightCache&) = delete;
  WeightCache& operator=(const WeightCache&) = delete;

  // By which this process opens the cache, as long as it lives. Empty when somebody has closed its descriptor: another
  // file may have the number by now.
  std::string path() const;

  // Ends all writing. False when nothing was written, or the system does not seal: the cache is of no use then.
  bool try_seal();
  // The same, for weights that are wiped in the end.
  bool try_seal_secret();

  // Leaves what this process has mapped of the cache out of core dumps. False when nothing is mapped.
  bool try_keep_from_dumps() const;

  size_t size_bytes() const { return size_bytes_; }  // 0 until it is sealed

 private:
  explicit WeightCache(Descriptor descriptor);
  bool try_measure();

  ForkMark fork_mark_;
  Descriptor descriptor_;
  dev_t device_;
  ino_t inode_;
  size_t size_bytes_ = 0;
  void* pages_;  // a mapping to wipe by, of no access until then; MAP_FAILED when there is nothing to wipe
};

}  // namespace edgeward
