#include "captures/segment.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <system_error>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/segment_octets.h"

namespace edgeward {
namespace {

constexpr uint64_t kRing = 0x1122334455667788;
constexpr uint64_t kOtherRing = 0x99AABBCCDDEEFF00;

// One frame of each type that is written, and records whose payloads end everywhere around a multiple of 64.
std::vector<KeptFrame> some_frames(uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<KeptFrame> frames = {{FrameType::ring, kRing, 0, from_text("{\"model\": \"demo\"}")},
                                   {FrameType::ring, kOtherRing, 0, {}}};
  uint64_t sequence = 0;
  for (const size_t size : {1, 63, 64, 65, 128, 200})
    frames.push_back({FrameType::record, kRing, ++sequence, random_octets(random, size)});
  frames.push_back({FrameType::record, kOtherRing, UINT64_MAX, random_octets(random, 7)});
  frames.push_back({FrameType::counters, kRing, 0, random_octets(random, 56)});
  return frames;
}

PrivateKey device(char name) { return {KeyAlgorithm::x25519, Secret(Octets(32, static_cast<std::byte>(name)))}; }

std::string sealed_segment(const Directory& directory, const std::vector<KeptFrame>& frames,
                           const std::optional<PublicKey>& recipient = std::nullopt) {
  SegmentWriter writer(directory.at(""), recipient);
  append(writer, frames);
  return writer.seal();
}

// Left open, as by a crash.
std::string open_segment(const Directory& directory, const std::vector<KeptFrame>& frames,
                         const std::optional<PublicKey>& recipient = std::nullopt) {
  SegmentWriter writer(directory.at(""), recipient);
  append(writer, frames);
  writer.sync();
  return writer.path();
}

// Whether `some` are the first of `all`, each of them the same.
bool is_beginning(const std::vector<KeptFrame>& some, const std::vector<KeptFrame>& all) {
  return some.size() <= all.size() && std::equal(some.begin(), some.end(), all.begin());
}

// How many frames lie before `size_bytes`.
size_t frames_before(const std::vector<size_t>& offsets, size_t size_bytes) {
  size_t count = 0;
  while (count + 1 < offsets.size() && offsets[count + 1] <= size_bytes) ++count;
  return count;
}

// Nothing when the head is refused.
std::optional<SegmentContent> try_content(const std::string& path, const PrivateKey* key = nullptr) {
  try {
    return content_of_segment(path, key);
  } catch (const Error& error) {
    const bool is_expected = error.code() == Code::malformed_capture || error.code() == Code::wrong_key;
    CHECK(is_expected);
    return std::nullopt;
  }
}

bool is_refused_by_system(auto&& call, std::errc expected) {
  try {
    call();
    return false;
  } catch (const std::filesystem::filesystem_error& error) {
    return error.code() == expected;
  }
}

}  // namespace

TEST_CASE("frames of each type come back in order, from an open segment and from a sealed one") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  SegmentWriter writer(directory.at(""), std::nullopt);
  append(writer, frames);
  writer.sync();
  CHECK(writer.frame_count() == frames.size());
  CHECK(writer.size_bytes() == std::filesystem::file_size(writer.path()));
  CHECK(writer.path().ends_with(".open"));
  const SegmentContent before = content_of_segment(writer.path());
  CHECK(before.frames == frames);
  CHECK_FALSE(before.is_complete);
  CHECK(before.whole_bytes == writer.size_bytes());
  CHECK(before.hole_count == 0);

  const std::string sealed = writer.seal();
  CHECK(sealed == writer.path().substr(0, writer.path().size() - 5) + ".ewc");
  CHECK(directory.names() == std::set<std::string>{std::filesystem::path(sealed).filename()});
  const SegmentContent after = content_of_segment(sealed);
  CHECK(after.frames == frames);
  CHECK(after.is_complete);
  CHECK(after.hole_count == 0);
  CHECK_FALSE(SegmentReader(sealed, nullptr).is_encrypted());
}

TEST_CASE("a sealed segment's last frame is its footer, and nothing comes behind it") {
  const Directory directory("/dev/shm");
  SegmentReader reader(sealed_segment(directory, some_frames()), nullptr);
  std::vector<FrameType> types;
  while (const auto frame = reader.next()) {
    CHECK(reader.is_complete() == (frame->type == FrameType::footer));
    types.push_back(frame->type);
  }
  CHECK(types.size() == some_frames().size() + 1);
  CHECK(types.back() == FrameType::footer);
  CHECK_FALSE(reader.next());
  CHECK(reader.is_complete());
}

TEST_CASE("a segment without frames is complete once it is sealed") {
  const Directory directory("/dev/shm");
  const SegmentContent content = content_of_segment(sealed_segment(directory, {}));
  CHECK(content.frames.empty());
  CHECK(content.is_complete);
}

TEST_CASE("names of segments sort in the order in which they were made, however fast") {
  const Directory directory("/dev/shm");
  std::string before;
  for (int i = 0; i < 100; ++i) {
    const SegmentWriter writer(directory.at(""), std::nullopt);
    CHECK(before < writer.path());
    before = writer.path();
  }
  CHECK(directory.names().size() == 100);
}

TEST_CASE("a segment is its owner's and group's business alone") {
  const Directory directory("/dev/shm");
  const mode_t before = umask(0);
  const std::string path = sealed_segment(directory, {});
  umask(before);
  CHECK(mode_of(path) == 0640);
}

TEST_CASE("an encrypted segment is read with its recipient's key alone") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device('a');
  const PrivateKey other = device('b');
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
  frames.push_back({FrameType::record, kRing, 99, secret});
  const std::string path = sealed_segment(directory, frames, public_key(device('a')));
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

TEST_CASE("two segments of the same frames for the same recipient share no payload") {
  const Directory directory("/dev/shm");
  const auto recipient = public_key(device('a'));
  const auto one = content_of_segment(sealed_segment(directory, some_frames(), recipient));
  const auto two = content_of_segment(sealed_segment(directory, some_frames(), recipient));
  for (size_t i = 0; i < one.frames.size(); ++i) {
    if (one.frames[i].payload.size() >= 16) CHECK(one.frames[i].payload != two.frames[i].payload);
  }
}

TEST_CASE("a segment that was cut anywhere gives its first whole frames, and never a bad one") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const PrivateKey owner = device('a');
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
        REQUIRE(content->whole_bytes == offsets[expected]);
        REQUIRE_FALSE(content->is_complete);
        REQUIRE(content->hole_count == 0);
      }
    }
  }
}

TEST_CASE("a segment with one bit turned over gives no frame that was not written, and is not complete") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device('a');
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
      REQUIRE(content->frames.size() == expected);
      REQUIRE(is_beginning(content->frames, frames));
      REQUIRE(content->hole_count == offsets.size() - 2 - expected);
    }
  }
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
  const PrivateKey owner = device('a');
  for (const bool is_encrypted : {false, true}) {
    CAPTURE(is_encrypted);
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    const PrivateKey* key = is_encrypted ? &owner : nullptr;
    // Frames of the same sizes, so that one of them fits into the place of any other.
    std::vector<KeptFrame> frames;
    for (uint64_t i = 1; i <= 5; ++i) frames.push_back({FrameType::record, kRing, i, from_text("record")});
    const Octets ours = octets_of(open_segment(directory, frames, recipient));
    const Octets theirs = octets_of(open_segment(directory, frames, recipient));
    const auto offsets = frame_offsets(ours);
    const auto frame_of = [&](const Octets& from, size_t index) {
      return Octets(from.begin() + static_cast<std::ptrdiff_t>(offsets[index]),
                    from.begin() + static_cast<std::ptrdiff_t>(offsets[index + 1]));
    };
    const auto with = [&](const std::vector<Octets>& parts) {
      Octets made(ours.begin(), ours.begin() + kSegmentHeadBytes);
      for (const Octets& part : parts) made.insert(made.end(), part.begin(), part.end());
      return content_of_segment(write_octets(directory.at("spliced"), made), key);
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

TEST_CASE("an encrypted frame whose CRC was made to fit is refused all the same") {
  const Directory directory("/dev/shm");
  const PrivateKey owner = device('a');
  const auto frames = some_frames();
  const Octets whole = octets_of(sealed_segment(directory, frames, public_key(owner)));
  const auto offsets = frame_offsets(whole);
  for (const size_t place : {size_t{40}, size_t{55}, kFrameHeadBytes}) {
    for (size_t index = 0; index < frames.size(); ++index) {
      if (place == kFrameHeadBytes && frames[index].payload.empty()) continue;
      CAPTURE(place);
      CAPTURE(index);
      Octets bytes = whole;
      bytes[offsets[index] + place] ^= std::byte{1};
      mend_frame(bytes, offsets[index]);
      const SegmentContent content = content_of_segment(write_octets(directory.at("mended"), bytes), &owner);
      CHECK(content.frames.size() == index);
      CHECK(is_beginning(content.frames, frames));
      CHECK_FALSE(content.is_complete);
    }
  }
}

TEST_CASE("a footer that disagrees with what is before it does not make a segment complete, though its CRC fits") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets whole = octets_of(sealed_segment(directory, frames));
  const size_t footer = frame_offsets(whole)[frames.size()];
  // Its frame count, its size, its digest; and one byte of a record, whose own CRC was made to fit.
  for (const size_t place : {size_t{0}, size_t{8}, size_t{24}, size_t{55}}) {
    CAPTURE(place);
    Octets bytes = whole;
    bytes[footer + kFrameHeadBytes + place] ^= std::byte{1};
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
  const Row rows[] = {{1, 0, 0x52465746}, {1, 4, 0},  {1, 4, 5},  {1, 4, UINT32_MAX}, {1, 8, 1}, {1, 24, 0}, {1, 24, 2},
                      {0, 56, 1},         {0, 60, 1}, {2, 56, 1}, {0, 4, 4},          {1, 4, 4}, {1, 28, 1}};
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
  const std::vector<KeptFrame> frames = {{FrameType::record, kRing, 1, Octets(10, std::byte{1})}};
  const Octets whole = octets_of(open_segment(directory, frames));
  for (size_t at = kSegmentHeadBytes + kFrameHeadBytes + 10; at < whole.size(); ++at) {
    Octets bytes = whole;
    bytes[at] = std::byte{1};
    CHECK(content_of_segment(write_octets(directory.at("padded"), bytes)).frames.empty());
  }
}

TEST_CASE("a payload that claims more bytes than the file has costs no memory") {
  const Directory directory("/dev/shm");
  const Octets whole = octets_of(open_segment(directory, {some_frames()[2]}));
  const std::string path = directory.at("mended");
  for (const uint32_t claimed : {129U, 1U << 20, 1U << 30, (1U << 31) - 1, 1U << 31, (1U << 31) + 1, UINT32_MAX}) {
    CAPTURE(claimed);
    Octets bytes = whole;
    put(bytes, kSegmentHeadBytes + 32, claimed);
    write_octets(path, bytes);
    // Whoever tried to make room for it would get none.
    CHECK(outcome_in_child([&] {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
            const rlimit most{uint64_t{256} << 20, uint64_t{256} << 20};
            if (setrlimit(RLIMIT_AS, &most) != 0) return false;
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
  CHECK(is_refused_by_system([&] { SegmentWriter(directory.at("missing"), std::nullopt); },
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

TEST_CASE("a write that fails is an error, and so is whatever follows it") {
  const Directory directory("/dev/shm");
  std::string path;
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          SegmentWriter writer(directory.at(""), std::nullopt);
          const Octets record(1000, std::byte{1});
          writer.append(FrameType::record, kRing, 1, record);
          const rlimit before{RLIM_INFINITY, RLIM_INFINITY};
          const rlimit most{writer.size_bytes() + 100, RLIM_INFINITY};
          if (setrlimit(RLIMIT_FSIZE, &most) != 0) return false;
          const auto more = [&] { writer.append(FrameType::record, kRing, 2, record); };
          if (!is_refused_by_system(more, std::errc::file_too_large)) return false;
          // Behind a frame that is cut short no other would be found.
          if (setrlimit(RLIMIT_FSIZE, &before) != 0) return false;
          return is_refused_by_system(more, std::errc::io_error) &&
                 is_refused_by_system([&] { writer.sync(); }, std::errc::io_error) &&
                 is_refused_by_system([&] { writer.seal(); }, std::errc::io_error);
        }) == "");
  REQUIRE(directory.names().size() == 1);
  const Recovered recovered = recover_segment(directory.at(*directory.names().begin()));
  CHECK(recovered.frame_count == 1);
  CHECK(recovered.lost_bytes == 100);
  CHECK(recovered.hole_count == 0);
  CHECK(content_of_segment(recovered.path).frames.size() == 1);
}

TEST_CASE("a segment for whose head there is no room leaves no file") {
  const Directory directory("/dev/shm");
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          const rlimit most{100, 100};
          return setrlimit(RLIMIT_FSIZE, &most) == 0 &&
                 is_refused_by_system([&] { SegmentWriter(directory.at(""), std::nullopt); },
                                      std::errc::file_too_large);
        }) == "");
  CHECK(directory.names().empty());
}

TEST_CASE("whatever was cut off, recovery seals what is whole, and the open file is gone") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const PrivateKey owner = device('a');
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
      const Directory place("/dev/shm");
      const std::string path = write_octets(place.at("one.open"), Bytes(whole).first(size));
      if (size < kSegmentHeadBytes) {
        check_refusal(Code::malformed_capture, {path}, [&] { recover_segment(path); });
        CHECK(place.names() == std::set<std::string>{"one.open"});
        continue;
      }
      const size_t expected = std::min(frames_before(offsets, size), frames.size());
      const Recovered recovered = recover_segment(path);
      REQUIRE(recovered.frame_count == expected);
      REQUIRE(recovered.hole_count == 0);
      REQUIRE(recovered.lost_bytes == (size == whole.size() ? 0 : size - offsets[expected]));
      if (expected == 0) {
        REQUIRE(recovered.path.empty());
        REQUIRE(place.names().empty());
        continue;
      }
      REQUIRE(recovered.path == place.at("one.ewc"));
      REQUIRE(place.names() == std::set<std::string>{"one.ewc"});
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
    put(bytes, at + 32, static_cast<uint32_t>(end - at - kFrameHeadBytes));
  }
  bytes.insert(bytes.end(), whole.begin(), whole.end());
  CHECK(recover_segment(write_octets(directory.at("one.open"), bytes)).hole_count == frames.size() - 4);
}

TEST_CASE("a recovery for which there is no room leaves the open file as it was, and goes well later") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets bytes = octets_of(open_segment(directory, frames));
  const Directory place("/dev/shm");
  const std::string path = write_octets(place.at("one.open"), bytes);
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          const rlimit most{bytes.size() / 2, bytes.size() / 2};
          return setrlimit(RLIMIT_FSIZE, &most) == 0 &&
                 is_refused_by_system([&] { recover_segment(path); }, std::errc::file_too_large);
        }) == "");
  CHECK(place.names() == std::set<std::string>{"one.open"});
  CHECK(octets_of(path) == bytes);
  const Recovered recovered = recover_segment(path);
  CHECK(content_of_segment(recovered.path).frames == frames);
}

TEST_CASE("a recovery that was ended before the open file was gone is done again") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  const Octets bytes = octets_of(open_segment(directory, frames));
  const Directory place("/dev/shm");
  const Recovered first = recover_segment(write_octets(place.at("one.open"), bytes));
  const Recovered second = recover_segment(write_octets(place.at("one.open"), bytes));
  CHECK(first.path == second.path);
  CHECK(place.names() == std::set<std::string>{"one.ewc"});
  CHECK(content_of_segment(second.path).frames == frames);
}

}  // namespace edgeward
