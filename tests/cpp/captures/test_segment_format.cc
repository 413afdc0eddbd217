#include "captures/segment_format.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/segment_octets.h"

namespace edgeward {

TEST_CASE("a segment that was cut anywhere gives its first whole frames, and never a bad one") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const PrivateKey owner = device_key('a');
  for (const bool is_encrypted : {false, true}) {
    for (const bool is_sealed : {false, true}) {
      CAPTURE(is_encrypted);
      CAPTURE(is_sealed);
      const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
      const PrivateKey* key = is_encrypted ? &owner : nullptr;
      const Octets whole = octets_of(is_sealed ? sealed_segment(directory, frames, recipient)
                                               : open_segment(directory, frames, recipient));
      const auto offsets = frame_offsets(whole);
      const std::string path = directory.at("cut");
      for (size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        write_octets(path, Bytes(whole).first(size));
        const auto content = try_content(path, key);
        REQUIRE(content.has_value() == (size >= kSegmentHeadBytes));
        if (!content) continue;
        const size_t expected = std::min(frames_before(offsets, size), frames.size());
        REQUIRE(content->frames.size() == expected);
        REQUIRE(is_beginning(content->frames, frames));
        REQUIRE(content->whole_bytes == offsets[frames_before(offsets, size)]);
        REQUIRE_FALSE(content->is_complete);
        REQUIRE(content->hole_count == 0);
      }
    }
  }
}

TEST_CASE("a segment with one bit turned over gives no frame that was not written, and is not complete") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  std::vector<KeptFrame> frames = {some_frames()[0], some_frames()[2], some_frames()[9]};
  for (const bool is_encrypted : {false, true}) {
    CAPTURE(is_encrypted);
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    const PrivateKey* key = is_encrypted ? &owner : nullptr;
    Octets bytes = octets_of(sealed_segment(directory, frames, recipient));
    const auto offsets = frame_offsets(bytes);
    const std::string path = directory.at("flipped");
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      CAPTURE(bit);
      const auto mask = static_cast<std::byte>(1u << bit % 8);
      bytes[bit / 8] ^= mask;
      write_octets(path, bytes);
      const auto content = try_content(path, key);
      bytes[bit / 8] ^= mask;
      REQUIRE(content.has_value() == (bit / 8 >= kSegmentHeadBytes));
      if (!content) continue;
      REQUIRE_FALSE(content->is_complete);
      // Those before the one that the bit lies in; the ones behind it are holes.
      const size_t expected = frames_before(offsets, bit / 8);
      REQUIRE(content->frames.size() == std::min(expected, frames.size()));
      REQUIRE(is_beginning(content->frames, frames));
      REQUIRE(content->hole_count == offsets.size() - 2 - expected);
    }
  }
}

TEST_CASE("a footer that disagrees with what is before it does not make a segment complete, though its CRC fits") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets whole = octets_of(sealed_segment(directory, frames));
  const size_t footer = frame_offsets(whole)[frames.size() + 1];
  // Its frame count, its size, its zeros, its index's offset, its digest; and one byte of a record, whose own CRC was
  // made to fit.
  for (const size_t field : {size_t{0}, size_t{8}, size_t{16}, size_t{20}, size_t{24}, size_t{32}, size_t{63}}) {
    CAPTURE(field);
    Octets bytes = whole;
    bytes[footer + kFrameHeadBytes + field] ^= std::byte{1};
    mend_frame(bytes, footer);
    const SegmentContent content = content_of_segment(write_octets(directory.at("mended"), bytes));
    CHECK(content.frames == frames);
    CHECK_FALSE(content.is_complete);
  }
  Octets bytes = whole;
  const size_t record = frame_offsets(whole)[2];
  bytes[record + kFrameHeadBytes] ^= std::byte{1};
  mend_frame(bytes, record);
  const SegmentContent content = content_of_segment(write_octets(directory.at("mended"), bytes));
  CHECK(content.frames.size() == frames.size());
  CHECK_FALSE(content.is_complete);
}

TEST_CASE("a field of a frame with a value that none has is refused, though its CRC fits") {
  const Directory directory("/dev/shm");
  const std::vector<KeptFrame> frames = {some_frames()[0], some_frames()[2], some_frames()[9]};
  const Octets whole = octets_of(open_segment(directory, frames));
  const auto offsets = frame_offsets(whole);
  struct Row {
    size_t index, field;
    uint32_t value;
  };
  // Magic, type, salt, index, sequences, count; of a block, of a ring, of counters.
  const Row rows[] = {{1, 0, 0x32465746}, {1, 4, 0},  {1, 4, 2},  {1, 4, 8},  {1, 4, UINT32_MAX}, {1, 8, 1},
                      {1, 24, 0},         {1, 24, 2}, {1, 28, 1}, {1, 52, 1}, {0, 32, 1},         {0, 36, 1},
                      {0, 40, 1},         {0, 48, 1}, {2, 40, 1}, {2, 48, 1}, {1, 4, 4},          {1, 4, 6}};
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    Octets bytes = whole;
    put(bytes, offsets[row.index] + row.field, row.value);
    mend_frame(bytes, offsets[row.index]);
    const SegmentContent content = content_of_segment(write_octets(directory.at("mended"), bytes));
    CHECK(content.frames.size() == row.index);
    CHECK(is_beginning(content.frames, frames));
  }
}

TEST_CASE("a head with a value that none has is refused, though its CRC fits") {
  const Directory directory("/dev/shm");
  const Octets whole = octets_of(sealed_segment(directory, some_frames()));
  struct Row {
    size_t offset;
    uint32_t value;
  };
  const Row rows[] = {{0, 0}, {4, 0x00313048}, {24, 2}, {24, 3}, {24, UINT32_MAX}, {28, 1}};
  for (const Row& row : rows) {
    CAPTURE(row.offset);
    CAPTURE(row.value);
    Octets bytes = whole;
    put(bytes, row.offset, row.value);
    mend_head(bytes);
    const std::string path = write_octets(directory.at("mended"), bytes);
    check_refusal(Code::malformed_capture, {path, "head of a segment"}, [&] { SegmentReader(path, nullptr); });
  }
  Octets bytes = whole;
  mend_head(bytes);
  CHECK(bytes == whole);  // or the rows above prove nothing
}

TEST_CASE("padding that is not zero is refused") {
  const Directory directory("/dev/shm");
  const std::vector<KeptFrame> frames = {{FrameType::block, kRing, 1, Octets(10, std::byte{1})}};
  const Octets whole = octets_of(open_segment(directory, frames));
  for (size_t at = kSegmentHeadBytes + kFrameHeadBytes + 10; at < whole.size(); ++at) {
    Octets bytes = whole;
    bytes[at] = std::byte{1};
    CHECK(content_of_segment(write_octets(directory.at("padded"), bytes)).frames.empty());
  }
}

}  // namespace edgeward
