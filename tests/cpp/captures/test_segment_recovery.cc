#include "captures/segment_recovery.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/segment_octets.h"

namespace edgeward {

TEST_CASE("whatever was cut off, recovery seals what is whole, and the open file is gone") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const PrivateKey owner = device_key('a');
  for (const bool is_encrypted : {false, true}) {
    CAPTURE(is_encrypted);
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    const PrivateKey* key = is_encrypted ? &owner : nullptr;
    const Octets whole = octets_of(sealed_segment(directory, frames, recipient));
    const auto offsets = frame_offsets(whole);
    for (size_t size = 0; size <= whole.size(); ++size) {
      // Each place where something changes, its neighbours, and some of the others.
      const bool is_near = std::any_of(offsets.begin(), offsets.end(),
                                       [&](size_t offset) { return size + 1 >= offset && size <= offset + 1; });
      if (!is_near && size % 37 != 0) continue;
      CAPTURE(size);
      const Directory captures("/dev/shm");
      const std::string path = write_octets(captures.at("one.open"), Bytes(whole).first(size));
      if (size < kSegmentHeadBytes) {
        check_refusal(Code::malformed_capture, {path}, [&] { recover_segment(path); });
        CHECK(captures.names() == std::set<std::string>{"one.open"});
        continue;
      }
      const size_t expected = std::min(frames_before(offsets, size), frames.size());
      const Recovered recovered = recover_segment(path);
      REQUIRE(recovered.frame_count == expected);
      REQUIRE(recovered.hole_count == 0);
      REQUIRE(recovered.lost_bytes == size - offsets[frames_before(offsets, size)]);
      if (expected == 0) {
        REQUIRE(recovered.path.empty());
        REQUIRE(captures.names().empty());
        continue;
      }
      REQUIRE(recovered.path == captures.at("one.ewc"));
      REQUIRE(captures.names() == std::set<std::string>{"one.ewc"});
      const SegmentContent content = content_of_segment(recovered.path, key);
      REQUIRE(content.is_complete);
      REQUIRE(content.frames.size() == expected);
      REQUIRE(is_beginning(content.frames, frames));
    }
  }
}

TEST_CASE("a segment that was sealed but for its name keeps its bytes") {
  const Directory directory("/dev/shm");
  const Octets whole = octets_of(sealed_segment(directory, some_frames()));
  const std::string path = write_octets(directory.at("one.open"), whole);
  const Recovered recovered = recover_segment(path);
  CHECK(recovered.frame_count == some_frames().size());
  CHECK(octets_of(recovered.path) == whole);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("whole frames behind a hole are counted by recovery, and not taken") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  Octets bytes = octets_of(open_segment(directory, frames));
  const auto offsets = frame_offsets(bytes);
  bytes[offsets[3] + kFrameHeadBytes] ^= std::byte{1};
  const Recovered recovered = recover_segment(write_octets(directory.at("one.open"), bytes));
  CHECK(recovered.frame_count == 3);
  CHECK(recovered.hole_count == frames.size() - 4);
  CHECK(recovered.lost_bytes == bytes.size() - offsets[3]);
  CHECK(is_beginning(content_of_segment(recovered.path).frames, frames));
}

TEST_CASE("heads that claim all that follows are not all believed, however many there are") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  Octets bytes = octets_of(open_segment(directory, frames));
  const auto offsets = frame_offsets(bytes);
  const Octets head(bytes.begin() + static_cast<ptrdiff_t>(offsets[0]),
                    bytes.begin() + static_cast<ptrdiff_t>(offsets[0] + 64));
  const Octets whole(bytes.begin() + static_cast<ptrdiff_t>(offsets[4]),
                     bytes.begin() + static_cast<ptrdiff_t>(offsets[5]));
  bytes[offsets[3] + kFrameHeadBytes] ^= std::byte{1};
  constexpr size_t kHeads = 1000;
  const size_t end = bytes.size() + kHeads * 64 + whole.size();
  for (size_t i = 0; i < kHeads; ++i) {
    const size_t at = bytes.size();
    bytes.insert(bytes.end(), head.begin(), head.end());
    put(bytes, at + kPayloadBytesAt, static_cast<uint32_t>(end - at - kFrameHeadBytes));
  }
  bytes.insert(bytes.end(), whole.begin(), whole.end());
  CHECK(recover_segment(write_octets(directory.at("one.open"), bytes)).hole_count == frames.size() - 4);
}

TEST_CASE("a recovery for which there is no room leaves the open file as it was, and goes well later") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets bytes = octets_of(open_segment(directory, frames));
  const Directory captures("/dev/shm");
  const std::string path = write_octets(captures.at("one.open"), bytes);
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          const rlimit limit{bytes.size() / 2, bytes.size() / 2};
          return setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                 is_refused_by_system([&] { recover_segment(path); }, std::errc::file_too_large);
        }) == "");
  CHECK(captures.names() == std::set<std::string>{"one.open"});
  CHECK(octets_of(path) == bytes);
  const Recovered recovered = recover_segment(path);
  CHECK(content_of_segment(recovered.path).frames == frames);
}

TEST_CASE("a recovery that was ended before the open file was gone is done again") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets bytes = octets_of(open_segment(directory, frames));
  const Directory captures("/dev/shm");
  const Recovered first = recover_segment(write_octets(captures.at("one.open"), bytes));
  const Recovered second = recover_segment(write_octets(captures.at("one.open"), bytes));
  CHECK(first.path == second.path);
  CHECK(captures.names() == std::set<std::string>{"one.ewc"});
  CHECK(content_of_segment(second.path).frames == frames);
}

}  // namespace edgeward
