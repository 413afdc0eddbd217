// Relay: bytes between pairs of connected stream sockets, in both directions, by one thread for all pairs.
//
// The end of one side's bytes is passed on to the other; a pair ends when both sides have ended, or with the first
// error of either. Bytes wait in memory only while their target takes none; until it does their source is not read, so
// that a slow reader holds up no other pair and costs a pair at most kChunkBytes in each direction. Any thread may call
// it; the thread calls nobody. In a forked child it refuses calls, and its destruction touches no pair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "system/file.h"
#include "system/fork.h"

namespace edgeward {

class Relay {
 public:
  static constexpr size_t kChunkBytes = size_t{1} << 18;  // read at once

  // Starts the thread. Throws std::filesystem::filesystem_error without descriptors, std::system_error without threads.
  Relay();
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Passes bytes on between the two sockets until their pair ends; they are closed then, and also when this throws:
  // std::filesystem::filesystem_error, Error(closed) after end(), Error(forked). `tag` names the pair in take_ended().
  void add(Descriptor outer, Descriptor inner, uint64_t tag);
  // The tags of the pairs that have ended since the last call.
  std::vector<uint64_t> take_ended();
  // Ends all pairs, and the thread.
  void end();

 private:
  struct Loop;

  ForkMark fork_mark_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace edgeward
