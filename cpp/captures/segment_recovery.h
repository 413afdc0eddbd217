// Recovery of a segment that its writer left open: its whole frames, with an end that says so. What each crash leaves:
// docs/capture-format.md, section 3. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace edgeward {

struct Recovered {
  std::string path;         // of the sealed file; empty when it had no whole frame
  uint64_t frame_count;     // whole ones, which the sealed file has; without an index
  uint64_t lost_bytes;      // behind them
  uint64_t hole_count = 0;  // whole frames among the lost bytes: a crash alone leaves none
};

// Whose segments may be recovered on a file system without locks, where nobody can tell whether a writer lives.
enum class Unlockable {
  refused,
  recovered,  // the caller knows that it is dead
};

// Makes a sealed segment of NAME.open, and removes that. A recovery that is interrupted is done again by the next call.
// Throws std::filesystem::filesystem_error, Error(malformed_capture), Error(busy) when its writer lives or another
// process recovers it.
Recovered recover_segment(const std::string& path, Unlockable unlockable = Unlockable::recovered);

}  // namespace edgeward
