#include "captures/segment_reader.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/segment_octets.h"

namespace edgeward {

TEST_CASE("a sealed segment's last frame is its footer, and nothing comes behind it") {
  const Directory directory("/dev/shm");
  SegmentReader reader(sealed_segment(directory, some_frames()), nullptr);
  std::vector<FrameType> types;
  while (const auto frame = reader.next()) {
    CHECK(reader.is_complete() == (frame->type() == FrameType::footer));
    types.push_back(frame->type());
  }
  CHECK(types.size() == some_frames().size() + 2);
  CHECK(types[types.size() - 2] == FrameType::index);
  CHECK(types.back() == FrameType::footer);
  CHECK_FALSE(reader.next());
  CHECK(reader.is_complete());
}

TEST_CASE("an encrypted segment is read with its recipient's key alone") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  const PrivateKey other = device_key('b');
  const auto frames = some_frames();
  const std::string path = sealed_segment(directory, frames, public_key(owner));
  const SegmentContent content = content_of_segment(path, &owner);
  CHECK(content.frames == frames);
  CHECK(content.is_complete);
  CHECK(SegmentReader(path, &owner).is_encrypted());
  check_refusal(Code::wrong_key, {path, "expected the private key of"}, [&] { SegmentReader(path, &other); });
}

TEST_CASE("without a key an encrypted segment shows types, rings, sequences and sizes, and no byte of a payload") {
  const Directory directory("/dev/shm");
  const Octets secret = from_text("a face that nobody but the recipient may see");
  std::vector<KeptFrame> frames = some_frames();
  frames.push_back({FrameType::block, kRing, 99, secret});
  const std::string path = sealed_segment(directory, frames, public_key(device_key('a')));
  const SegmentContent content = content_of_segment(path);
  CHECK(content.is_complete);
  REQUIRE(content.frames.size() == frames.size());
  for (size_t i = 0; i < frames.size(); ++i) {
    CAPTURE(i);
    CHECK(content.frames[i].type == frames[i].type);
    CHECK(content.frames[i].ring_id == frames[i].ring_id);
    CHECK(content.frames[i].sequence == frames[i].sequence);
    CHECK(content.frames[i].payload.size() == frames[i].payload.size());
    if (frames[i].payload.size() >= 16) CHECK(content.frames[i].payload != frames[i].payload);
  }
  const std::string bytes = content_of(path);
  CHECK(bytes.find("nobody but") == std::string::npos);
  CHECK(bytes.find("demo") == std::string::npos);
}

TEST_CASE("a segment with something behind its footer is not complete") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const std::string whole = content_of(sealed_segment(directory, frames));
  for (const size_t more : {1, 64, 4096}) {
    CAPTURE(more);
    const std::string path = write_file(directory.at("longer"), whole + std::string(more, '\0'));
    const SegmentContent content = content_of_segment(path);
    CHECK(content.frames == frames);
    CHECK_FALSE(content.is_complete);
  }
}

TEST_CASE("frames of another segment, in another order, or twice are refused") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  for (const bool is_encrypted : {false, true}) {
    CAPTURE(is_encrypted);
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    const PrivateKey* key = is_encrypted ? &owner : nullptr;
    // Frames of the same sizes, so that each fits where any other was.
    std::vector<KeptFrame> frames;
    for (uint64_t i = 1; i <= 5; ++i) frames.push_back({FrameType::block, kRing, i, from_text("record")});
    const Octets ours = octets_of(open_segment(directory, frames, recipient));
    const Octets theirs = octets_of(open_segment(directory, frames, recipient));
    const auto offsets = frame_offsets(ours);
    const auto frame_of = [&](const Octets& from, size_t index) {
      return Octets(from.begin() + static_cast<std::ptrdiff_t>(offsets[index]),
                    from.begin() + static_cast<std::ptrdiff_t>(offsets[index + 1]));
    };
    const auto with = [&](const std::vector<Octets>& parts) {
      Octets spliced(ours.begin(), ours.begin() + kSegmentHeadBytes);
      for (const Octets& part : parts) spliced.insert(spliced.end(), part.begin(), part.end());
      return content_of_segment(write_octets(directory.at("spliced"), spliced), key);
    };
    const auto o = [&](size_t index) { return frame_of(ours, index); };
    const auto t = [&](size_t index) { return frame_of(theirs, index); };
    struct Row {
      std::vector<Octets> parts;
      size_t frames, holes;
    };
    const Row rows[] = {{{o(0), o(1), o(2), o(3), o(4)}, 5, 0},
                        {{o(0), o(1), t(2), o(3), o(4)}, 2, 2},
                        {{o(0), o(1), o(2), t(3), t(4)}, 3, 0},
                        {{t(0), t(1)}, 0, 0},
                        {{o(1), o(0)}, 0, 1},
                        {{o(0), o(2), o(1), o(3)}, 1, 2},
                        {{o(0), o(0), o(1)}, 1, 1},
                        {{o(0), o(1), o(1), o(2)}, 2, 1},
                        {{o(0), o(2), o(3), o(4)}, 1, 2}};
    for (const Row& row : rows) {
      CAPTURE(&row - rows);
      const SegmentContent content = with(row.parts);
      CHECK(content.frames.size() == row.frames);
      CHECK(is_beginning(content.frames, frames));
      CHECK_FALSE(content.is_complete);
      CHECK(content.hole_count == row.holes);
    }
  }
}

TEST_CASE("whole frames are holes however far behind the damage they lie") {
  const Directory directory("/dev/shm");
  const Octets whole = octets_of(sealed_segment(directory, some_frames()));
  const auto offsets = frame_offsets(whole);
  const auto frame_of = [&](size_t index) {
    return Bytes(whole).subspan(offsets[index], offsets[index + 1] - offsets[index]);
  };
  for (const size_t window : {size_t{64} << 10, size_t{192} << 10}) {
    for (size_t gap = window - 320; gap <= window + 320; gap += kFrameAlignment) {
      CAPTURE(gap);
      Octets bytes(whole.begin(), whole.begin() + kSegmentHeadBytes);
      for (const size_t index : {1, 2}) {
        bytes.resize(bytes.size() + gap);
        const Bytes frame = frame_of(index);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
      }
      const SegmentContent content = content_of_segment(write_octets(directory.at("damaged"), bytes), nullptr);
      CHECK(content.frames.empty());
      CHECK(content.hole_count == 2);
    }
  }
}

TEST_CASE("an encrypted frame whose CRC was made to fit is refused all the same") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device_key('a');
  const auto frames = some_frames();
  const Octets whole = octets_of(sealed_segment(directory, frames, public_key(owner)));
  const auto offsets = frame_offsets(whole);
  for (const size_t offset : {offsetof(FrameHead, tag), offsetof(FrameHead, tag) + 15, kFrameHeadBytes}) {
    for (size_t index = 0; index < frames.size(); ++index) {
      if (offset == kFrameHeadBytes && frames[index].payload.empty()) continue;
      CAPTURE(offset);
      CAPTURE(index);
      Octets bytes = whole;
      bytes[offsets[index] + offset] ^= std::byte{1};
      mend_frame(bytes, offsets[index]);
      const SegmentContent content = content_of_segment(write_octets(directory.at("mended"), bytes), &owner);
      CHECK(content.frames.size() == index);
      CHECK(is_beginning(content.frames, frames));
      CHECK_FALSE(content.is_complete);
    }
  }
}

TEST_CASE("a payload that claims more bytes than the file has costs no memory") {
  const Directory directory("/dev/shm");
  const Octets whole = octets_of(open_segment(directory, {some_frames()[2]}));
  const std::string path = directory.at("mended");
  for (const uint32_t claimed : {129U, 1U << 20, 1U << 30, (1U << 31) - 1, 1U << 31, (1U << 31) + 1, UINT32_MAX}) {
    CAPTURE(claimed);
    Octets bytes = whole;
    put(bytes, kSegmentHeadBytes + kPayloadBytesAt, claimed);
    write_octets(path, bytes);
    // Whoever tried to make room for it would get none.
    CHECK(outcome_in_child([&] {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
            const rlimit limit{uint64_t{256} << 20, uint64_t{256} << 20};
            if (setrlimit(RLIMIT_AS, &limit) != 0) return false;
#endif
            SegmentReader reader(path, nullptr);
            return !reader.next() && reader.hole_count() == 0;
          }) == "");
  }
}

TEST_CASE("what is no segment is refused, and the message says what it is") {
  const Directory directory("/dev/shm");
  check_refusal(Code::malformed_capture, {"at least 192 bytes", "got 0"},
                [&] { SegmentReader(write_file(directory.at("empty"), ""), nullptr); });
  check_refusal(Code::malformed_capture, {"head of a segment"},
                [&] { SegmentReader(write_file(directory.at("other"), std::string(500, 'x')), nullptr); });
  const std::string path = sealed_segment(directory, {});
  REQUIRE(symlink(path.c_str(), directory.at("link").c_str()) == 0);
  check_refusal(Code::bad_input, {"symbolic link"}, [&] { SegmentReader(directory.at("link"), nullptr); });
  CHECK(is_refused_by_system([&] { SegmentReader(directory.at("missing"), nullptr); },
                             std::errc::no_such_file_or_directory));
  CHECK(is_refused_by_system([&] { SegmentWriter(directory.at("missing"), 1, std::nullopt); },
                             std::errc::no_such_file_or_directory));
}

TEST_CASE("a file that shrinks while it is read ends where it is whole") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const std::string path = sealed_segment(directory, frames);
  SegmentReader reader(path, nullptr);
  REQUIRE(reader.next());
  REQUIRE(truncate(path.c_str(), kSegmentHeadBytes + 70) == 0);
  CHECK_FALSE(reader.next());
  CHECK_FALSE(reader.is_complete());
  CHECK(reader.hole_count() == 0);
}

}  // namespace edgeward
