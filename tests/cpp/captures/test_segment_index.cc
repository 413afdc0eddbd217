#include "captures/segment_index.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "captures/segment_recovery.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/segment_octets.h"

namespace edgeward {
namespace {

SegmentIndex index_of(const std::string& path, const PrivateKey* key = nullptr) {
  SegmentReader reader(path, key);
  return read_index(reader);
}

// Whether the rows are those of `frames`.
bool are_of(const SegmentIndex& index, const std::vector<KeptFrame>& frames) {
  if (index.rows.size() != frames.size()) return false;
  for (size_t i = 0; i < frames.size(); ++i) {
    const FrameRow& row = index.rows[i];
    if (row.type != static_cast<uint32_t>(frames[i].type) || row.ring_id != frames[i].ring_id ||
        row.last_sequence != frames[i].sequence)
      return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a sealed segment says what it holds, with its key and without") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  const auto frames = some_frames();
  const std::string plain = sealed_segment(directory, frames);
  const std::string secret = sealed_segment(directory, frames, public_key(owner));
  for (const auto& [path, key] :
       std::vector<std::pair<std::string, const PrivateKey*>>{{plain, nullptr}, {secret, &owner}, {secret, nullptr}}) {
    const SegmentIndex index = index_of(path, key);
    CHECK(index.state == SegmentState::sealed);
    CHECK(index.fault.empty());
    CHECK(are_of(index, frames));
    CHECK(index.record_count == 7);
    CHECK(record_count(path) == 7);
  }
}

TEST_CASE("an open segment, and what recovery makes of it, say so") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  const auto frames = some_frames();
  for (const bool is_encrypted : {false, true}) {
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    const PrivateKey* key = is_encrypted ? &owner : nullptr;
    const std::string path = open_segment(directory, frames, recipient);
    CHECK(index_of(path, key).state == SegmentState::open);
    CHECK(are_of(index_of(path, key), frames));
    CHECK(record_count(path) == 7);
    const std::string recovered = recover_segment(path).path;
    for (const PrivateKey* held : {key, static_cast<const PrivateKey*>(nullptr)}) {
      const SegmentIndex index = index_of(recovered, held);
      CHECK(index.state == SegmentState::recovered);
      CHECK(index.fault.empty());
      CHECK(are_of(index, frames));
    }
    CHECK(record_count(recovered) == 7);
  }
}

TEST_CASE("a head or an end with one bit turned over is not called sealed, and the fault is named") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  const std::vector<KeptFrame> frames = {some_frames()[0], some_frames()[2], some_frames()[9]};
  for (const bool is_encrypted : {false, true}) {
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    const PrivateKey* key = is_encrypted ? &owner : nullptr;
    Octets octets = octets_of(sealed_segment(directory, frames, recipient));
    const auto offsets = frame_offsets(octets);
    const std::string path = directory.at("flipped.ewc");
    for (size_t frame = 0; frame + 1 < offsets.size(); ++frame) {
      const bool is_end = frame >= frames.size();
      // Of a frame before the end what its row repeats; of the end all.
      const size_t end = is_end ? offsets[frame + 1] : offsets[frame] + kPayloadBytesAt;
      for (size_t bit = 8 * offsets[frame]; bit < 8 * end; ++bit) {
        CAPTURE(bit);
        const auto mask = static_cast<std::byte>(1u << bit % 8);
        octets[bit / 8] ^= mask;
        const SegmentIndex index = index_of(write_octets(path, octets), key);
        octets[bit / 8] ^= mask;
        REQUIRE(index.state == SegmentState::damaged);
        REQUIRE_FALSE(index.fault.empty());
        if (!is_end) REQUIRE(index.fault == "frame " + std::to_string(frame));
        REQUIRE(index.rows.size() <= frames.size());
      }
    }
  }
}

TEST_CASE("what an index says of offsets is not believed when it leads elsewhere") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets whole = octets_of(sealed_segment(directory, frames));
  const size_t index = frame_offsets(whole)[frames.size()];
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{191}, uint64_t{64}, UINT64_MAX, UINT64_MAX - 63,
                                static_cast<uint64_t>(whole.size())}) {
    for (const size_t row : {size_t{0}, size_t{3}, frames.size() - 1}) {
      CAPTURE(offset);
      CAPTURE(row);
      Octets octets = whole;
      put(octets, index + kFrameHeadBytes + row * sizeof(FrameRow), offset);
      mend_frame(octets, index);
      const SegmentIndex read = index_of(write_octets(directory.at("elsewhere.ewc"), octets));
      CHECK(read.state == SegmentState::damaged);
      CHECK(are_of(read, frames));  // from the frames themselves
    }
  }
}

}  // namespace edgeward
