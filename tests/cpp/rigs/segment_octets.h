// Segments as tests make them and read them: bytes in memory, frames one by one, and what damage must keep.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "bytes/crc32c.h"
#include "captures/segment_reader.h"
#include "captures/segment_writer.h"
#include "error.h"
#include "rigs/directory.h"
#include "rigs/octets.h"

namespace edgeward {

// A frame that was read, or is to be written.
struct KeptFrame {
  FrameType type;
  uint64_t ring_id;
  uint64_t sequence;  // of a block's only record
  Octets payload;
  bool operator==(const KeptFrame&) const = default;
};

inline KeptFrame kept(const Frame& frame) {
  return {frame.type(), frame.head.ring_id, frame.head.last_sequence, {frame.payload.begin(), frame.payload.end()}};
}

// What a reader gives of a file, to its end.
struct SegmentContent {
  std::vector<KeptFrame> frames;  // but the index and the last
  bool is_complete = false;
  uint64_t whole_bytes = 0;
  uint64_t hole_count = 0;
};

inline SegmentContent content_of_segment(const std::string& path, const PrivateKey* key = nullptr) {
  SegmentContent content;
  SegmentReader reader(path, key);
  while (const auto frame = reader.next()) {
    if (frame->type() != FrameType::index && !reader.is_complete()) content.frames.push_back(kept(*frame));
  }
  CHECK_FALSE(reader.next());
  content.is_complete = reader.is_complete();
  content.whole_bytes = reader.whole_bytes();
  content.hole_count = reader.hole_count();
  return content;
}

inline void append(SegmentWriter& writer, const KeptFrame& frame) {
  RecordSpan span;
  if (frame.type == FrameType::block) {
    span.record_count = 1;
    span.first_sequence = span.last_sequence = frame.sequence;
  }
  writer.append(frame.type, frame.ring_id, frame.payload, span);
}

inline void append(SegmentWriter& writer, const std::vector<KeptFrame>& frames) {
  for (const KeptFrame& frame : frames) append(writer, frame);
}

inline Octets octets_of(const std::string& path) { return from_text(content_of(path)); }

inline std::string write_octets(const std::string& path, Bytes bytes) { return write_file(path, to_text(bytes)); }

// Where a field of a frame's head is located.
inline constexpr size_t kPayloadBytesAt = offsetof(FrameHead, payload_bytes);
inline constexpr size_t kCrcAt = offsetof(FrameHead, crc);
inline constexpr size_t kFrameHeadBytes = sizeof(FrameHead);

// Where the frames of a segment begin, and behind them its end.
inline std::vector<size_t> frame_offsets(Bytes segment) {
  std::vector<size_t> offsets;
  size_t at = kSegmentHeadBytes;
  while (at < segment.size()) {
    offsets.push_back(at);
    const auto payload_bytes = try_read<uint32_t>(segment, at + kPayloadBytesAt);
    REQUIRE(payload_bytes);
    at += frame_bytes(2, *payload_bytes);
  }
  REQUIRE(at == segment.size());
  offsets.push_back(at);
  return offsets;
}

template <class Value>
void put(Octets& bytes, size_t offset, Value value) {
  REQUIRE(contains(bytes, offset, sizeof(value)));
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

// Makes the CRCs fit what was changed: of the segment's head, of the frame at `offset`.
inline void mend_head(Octets& segment) {
  put(segment, kSegmentHeadBytes - 4, crc32c(Bytes(segment).first(kSegmentHeadBytes - 4)));
}
inline void mend_frame(Octets& segment, size_t offset) {
  put(segment, offset + kCrcAt, uint32_t{0});
  const auto payload_bytes = *try_read<uint32_t>(segment, offset + kPayloadBytesAt);
  put(segment, offset + kCrcAt, crc32c(Bytes(segment).subspan(offset, kFrameHeadBytes + payload_bytes)));
}

inline constexpr uint64_t kRing = 0x1122334455667788;
inline constexpr uint64_t kOtherRing = 0x99AABBCCDDEEFF00;

// One frame of each type that is written, and records whose payloads end everywhere around a multiple of 64.
inline std::vector<KeptFrame> some_frames(uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<KeptFrame> frames = {{FrameType::ring, kRing, 0, from_text("{\"model\": \"demo\"}")},
                                   {FrameType::ring, kOtherRing, 0, {}}};
  uint64_t sequence = 0;
  for (const size_t size : {1, 63, 64, 65, 128, 200})
    frames.push_back({FrameType::block, kRing, ++sequence, random_octets(random, size)});
  frames.push_back({FrameType::block, kOtherRing, UINT64_MAX, random_octets(random, 7)});
  frames.push_back({FrameType::counters, kRing, 0, random_octets(random, 56)});
  return frames;
}

inline PrivateKey device_key(char name) {
  return {KeyAlgorithm::x25519, Secret(Octets(32, static_cast<std::byte>(name)))};
}

inline std::string sealed_segment(const Directory& directory, const std::vector<KeptFrame>& frames,
                                  const std::optional<PublicKey>& recipient = std::nullopt) {
  SegmentWriter writer(directory.at(""), 1, recipient);
  append(writer, frames);
  return writer.seal();
}

// Left open, as by a crash.
inline std::string open_segment(const Directory& directory, const std::vector<KeptFrame>& frames,
                                const std::optional<PublicKey>& recipient = std::nullopt) {
  SegmentWriter writer(directory.at(""), 1, recipient);
  append(writer, frames);
  writer.sync();
  return writer.path();
}

// Whether `some` are the first of `all`, each of them the same.
inline bool is_beginning(const std::vector<KeptFrame>& some, const std::vector<KeptFrame>& all) {
  return some.size() <= all.size() && std::equal(some.begin(), some.end(), all.begin());
}

// How many frames lie before `size_bytes`.
inline size_t frames_before(const std::vector<size_t>& offsets, size_t size_bytes) {
  size_t count = 0;
  while (count + 1 < offsets.size() && offsets[count + 1] <= size_bytes) ++count;
  return count;
}

// Nothing when the head is refused.
inline std::optional<SegmentContent> try_content(const std::string& path, const PrivateKey* key = nullptr) {
  try {
    return content_of_segment(path, key);
  } catch (const Error& error) {
    const bool is_expected = error.code() == Code::malformed_capture || error.code() == Code::wrong_key;
    CHECK(is_expected);
    return std::nullopt;
  }
}

inline bool is_refused_by_system(auto&& call, std::errc expected) {
  try {
    call();
    return false;
  } catch (const std::filesystem::filesystem_error& error) {
    return error.code() == expected;
  }
}

}  // namespace edgeward
