// SegmentIndex: what a segment holds, a row for each frame, and whether it is whole. Read from the segment's end where
// that can be believed, else from all of it. Layout: docs/capture-format.md, section 3. One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "captures/segment_format.h"
#include "captures/segment_reader.h"

namespace edgeward {

enum class SegmentState : uint8_t {
  sealed,           // its end was written when it was whole, and fits; of an encrypted one, proved with the key
  recovered,        // a crash left it open: nothing shows what followed
  open,             // being written, or left by a crash
  damaged,          // fault says where
  unauthenticated,  // an encrypted one of format 1: whole, but anybody could have changed heads and end
};

struct SegmentIndex {
  std::vector<FrameRow> rows;  // of frame 0, 1 and so on; without index and last frame
  SegmentState state = SegmentState::damaged;
  std::string fault;        // "frame 7", "end"; empty where nothing is wrong
  uint64_t hole_count = 0;  // whole frames behind the first broken one, which have no rows
  uint64_t record_count = 0;
};

// `reader` has read nothing yet. Without the key of an encrypted segment rows have no times and no reasons, and what
// its end says is believed.
SegmentIndex read_index(SegmentReader& reader);

// The row of a frame that begins at `offset`; the payload is looked into when it is readable.
FrameRow row_of(const Frame& frame, uint64_t offset, bool is_readable);

// The same number as the index has, from the last frame alone where there is one. The path is that of any file.
uint64_t record_count(const std::string& path);

}  // namespace edgeward
