// The format of a segment: its names, its head, its frames and its footer as bytes. Layout: docs/capture-format.md,
// section 3. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "captures/record_block.h"
#include "crypto/crypto.h"
#include "crypto/hpke.h"
#include "system/boot_id.h"

namespace edgeward {

// Names in a directory of captures.
inline constexpr std::string_view kOpenSuffix = ".open";   // while its writer lives, and after a crash
inline constexpr std::string_view kSealedSuffix = ".ewc";  // once it is sealed
// DIRECTORY/NAME.open. Names sort by `number` (segment_name.h); the salt tells apart what two drains number alike.
std::string open_segment_path(const std::string& directory, int64_t number, uint64_t salt);
// NAME.ewc for NAME.open.
std::string sealed_segment_path(const std::string& open_path);

inline constexpr size_t kSegmentHeadBytes = 192;
inline constexpr uint64_t kFrameAlignment = 64;
inline constexpr uint32_t kMaxPayloadBytes = uint32_t{1} << 31;

enum class FrameType : uint32_t {
  ring = 1,       // a ring's description: comes before its records
  record = 2,     // record.h; in format 1 alone
  counters = 3,   // a ring's counters so far
  footer = 4,     // the last frame of a sealed segment
  block = 5,      // record_block.h; this and what follows in format 2 alone
  index = 6,      // a FrameRow for each frame before it; the last but one of a sealed segment
  recovered = 7,  // the last frame of a segment that a crash left open: never encrypted, proves nothing
};

// Whether a frame of this type ends a segment.
constexpr bool is_last_frame(FrameType type) { return type == FrameType::footer || type == FrameType::recovered; }

struct SegmentHead {
  std::array<char, 8> magic;
  uint64_t salt;
  int64_t created_ns;  // Unix time
  uint32_t flags;
  uint32_t zero;
  std::array<std::byte, kEncapsulatedBytes> encapsulated;
  std::array<std::byte, kSecretBytes + 16> wrapped_key;
  Digest recipient;       // key id
  BootId boot_id;         // of the writer; zero in format 1, as is the time below
  uint64_t monotonic_ns;  // created, CLOCK_MONOTONIC of that boot
  std::byte zeros[20];
  uint32_t crc;  // of the bytes before it
};
static_assert(sizeof(SegmentHead) == kSegmentHeadBytes);

// Of format 2. One of format 1 is brought into this form when it is read.
struct FrameHead {
  uint32_t magic;
  uint32_t type;
  uint64_t salt;
  uint64_t ring_id;
  uint64_t index;           // of the frame, from 0
  uint64_t first_sequence;  // of a block's records; else zero
  uint64_t last_sequence;
  uint64_t record_count;  // of a block; of a last frame, those of the segment; else zero
  uint32_t payload_bytes;
  uint32_t crc;  // of this head with zero here, and the payload as it is stored
  Tag tag;
};
static_assert(sizeof(FrameHead) == 80);

// What an index says of a frame.
struct FrameRow {
  uint64_t offset;  // in the file
  uint64_t ring_id;
  uint64_t first_sequence;
  uint64_t last_sequence;
  int64_t least_wall_ns;  // of a block's records, as is what follows; else zero
  int64_t most_wall_ns;
  uint64_t least_monotonic_ns;
  uint64_t most_monotonic_ns;
  uint32_t type;
  uint32_t record_count;
  uint32_t reasons;  // those of any of them
  uint32_t flags;
};
static_assert(sizeof(FrameRow) == 80);

// The payload of a last frame.
struct SegmentFooter {
  uint64_t frame_count;  // before it
  uint64_t size_bytes;   // of all before its frame
  uint32_t flags;        // kRecoveredFlag, in format 1 alone
  uint32_t zero;
  uint64_t index_offset;  // of the index; 0: there is none
  Digest digest;          // of all before its frame
};
static_assert(sizeof(SegmentFooter) == 64);

inline constexpr uint32_t kEncryptedFlag = 1;  // of a head
inline constexpr uint32_t kRecoveredFlag = 1;  // of a footer
inline constexpr uint32_t kReplacingFlag = 1;  // of a row: a record replaces another in a reservoir
inline constexpr uint32_t kOddFlag = 2;        // of a row: a tensor has a shape that no array has

// A head of format 2 with its magic and its salt; its crc is the caller's to set when all else is.
SegmentHead segment_head(uint64_t salt);
uint32_t crc_of(const SegmentHead& head);
// Whether these are the bytes of a whole head.
bool is_segment_head(const SegmentHead& head);
// 1 or 2, of a whole head.
uint32_t format_of(const SegmentHead& head);

// What a frame's head takes in a segment of this format.
size_t frame_head_bytes(uint32_t format);
// What a frame takes in the file.
uint64_t frame_bytes(uint32_t format, uint32_t payload_bytes);
// The head that `frame` begins with, when it may stand in the segment of `head`. Its CRC is not looked at.
std::optional<FrameHead> try_frame_head(Bytes frame, const SegmentHead& head);
// Whether the CRC and the padding fit; `frame` has the size that its head says.
bool is_whole_frame(Bytes frame, const SegmentHead& head, const FrameHead& frame_head);

// The row of a frame: of a block with what is known of its records, of another one with an empty `span`.
FrameRow row_of(FrameType type, uint64_t ring_id, const RecordSpan& span, uint64_t offset);
// The head of the frame that a row describes; salt, index, size, CRC and tag are the caller's to set.
FrameHead head_of(const FrameRow& row);
// Whether a frame's head says what its row does.
bool fits(const FrameHead& head, const FrameRow& row);

// The footer that a payload of format 1 or 2 holds, in the form of format 2.
std::optional<SegmentFooter> try_read_footer(Bytes payload, uint32_t format);

// Replaces `frame` by the bytes of a frame of format 2, padding included. Sets the head's magic, size and CRC.
void lay_frame(FrameHead head, Bytes stored_payload, std::vector<std::byte>& frame);
// Replaces `frame` by the last one of a segment that is recovered, in the format of that segment.
void lay_recovered_frame(const SegmentHead& segment, const SegmentFooter& footer, uint64_t record_count,
                         std::vector<std::byte>& frame);
// What is authenticated beside a frame's payload: the digest of the segment's head, and the frame's own head.
std::vector<std::byte> associated_data(const Digest& head_digest, FrameHead head);

// For the payload of a frame, and for the content key.
Nonce nonce_of(uint64_t frame_index);
std::vector<std::byte> info_of(const SegmentHead& head);

}  // namespace edgeward
