// The format of a segment: its names, its head, its frames and its footer as bytes. Layout: docs/capture-format.md,
// section 3. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
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

inline constexpr size_t kFrameHeadBytes = 64;
inline constexpr size_t kSegmentHeadBytes = 192;
inline constexpr uint64_t kFrameAlignment = 64;
inline constexpr uint32_t kMaxPayloadBytes = uint32_t{1} << 31;

enum class FrameType : uint32_t {
  ring = 1,      // a ring's description: comes before its records
  record = 2,    // record.h
  counters = 3,  // a ring's counters so far
  footer = 4,    // the last frame of a sealed segment
};

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

struct FrameHead {
  uint32_t magic;
  uint32_t type;
  uint64_t salt;
  uint64_t ring_id;
  uint64_t index;  // of the frame, from 0
  uint32_t payload_bytes;
  uint32_t crc;  // of this head with zero here, and the payload as it is stored
  Tag tag;
  uint64_t sequence;  // of a record; else zero
};
static_assert(sizeof(FrameHead) == kFrameHeadBytes);

struct SegmentFooter {
  uint64_t frame_count;
  uint64_t size_bytes;  // of all before the footer's frame
  uint32_t flags;
  uint32_t zero;
  Digest digest;  // of the same bytes
};
static_assert(sizeof(SegmentFooter) == 56);

inline constexpr uint32_t kEncryptedFlag = 1;  // of a head
inline constexpr uint32_t kRecoveredFlag = 1;  // of a footer

// A head of format 2 with its magic and its salt; its crc is the caller's to set when all else is.
SegmentHead segment_head(uint64_t salt);
uint32_t crc_of(const SegmentHead& head);
// Whether these are the bytes of a whole head.
bool is_segment_head(const SegmentHead& head);
// 1 or 2, of a whole head.
uint32_t format_of(const SegmentHead& head);

// Whether a frame's head may stand in the segment of this salt. Its CRC is not looked at.
bool is_frame_head(const FrameHead& head, uint64_t salt);
uint32_t crc_of(FrameHead head, Bytes stored_payload);
// What a frame takes in the file.
uint64_t frame_bytes(uint32_t payload_bytes);

// Replaces `frame` by the bytes of a frame, padding included. Sets the head's magic, size and CRC.
void lay_frame(FrameHead head, Bytes stored_payload, std::vector<std::byte>& frame);
void lay_footer(uint64_t salt, const SegmentFooter& footer, std::vector<std::byte>& frame);

// For the payload of a frame, and for the content key.
Nonce nonce_of(uint64_t frame_index);
std::vector<std::byte> info_of(const SegmentHead& head);

}  // namespace edgeward
