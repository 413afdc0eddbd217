#include "captures/segment_writer.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "captures/segment_recovery.h"
#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/segment_octets.h"

namespace edgeward {

TEST_CASE("frames of each type come back in order, from an open segment and from a sealed one") {
  const Directory directory("/dev/shm");
  const auto frames = some_frames();
  SegmentWriter writer(directory.at(""), 1, std::nullopt);
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

TEST_CASE("a segment without frames is complete once it is sealed") {
  const Directory directory("/dev/shm");
  const SegmentContent content = content_of_segment(sealed_segment(directory, {}));
  CHECK(content.frames.empty());
  CHECK(content.is_complete);
}

TEST_CASE("names begin with the number, and those of one number differ") {
  const Directory directory("/dev/shm");
  std::string before;
  for (int64_t number = 1; number < 100; ++number) {
    const SegmentWriter writer(directory.at(""), number, std::nullopt);
    CHECK(before < writer.path());
    before = writer.path();
    const SegmentWriter same(directory.at(""), number, std::nullopt);
    CHECK(same.path() != writer.path());
    before = std::max(before, same.path());
  }
  CHECK(directory.names().size() == 198);
}

TEST_CASE("a segment is its owner's and group's business alone") {
  const Directory directory("/dev/shm");
  const mode_t before = umask(0);
  const std::string path = sealed_segment(directory, {});
  umask(before);
  CHECK(mode_of(path) == 0640);
}

TEST_CASE("two segments of the same frames for the same recipient share no payload") {
  const Directory directory("/dev/shm");
  const auto recipient = public_key(device_key('a'));
  const auto first = content_of_segment(sealed_segment(directory, some_frames(), recipient));
  const auto second = content_of_segment(sealed_segment(directory, some_frames(), recipient));
  for (size_t i = 0; i < first.frames.size(); ++i) {
    if (first.frames[i].payload.size() >= 16) CHECK(first.frames[i].payload != second.frames[i].payload);
  }
}

TEST_CASE("a write that fails is an error, and so is whatever follows it") {
  const Directory directory("/dev/shm");
  std::string path;
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          SegmentWriter writer(directory.at(""), 1, std::nullopt);
          const Octets record(1000, std::byte{1});
          append(writer, {FrameType::block, kRing, 1, record});
          const rlimit before{RLIM_INFINITY, RLIM_INFINITY};
          const rlimit limit{writer.size_bytes() + 100, RLIM_INFINITY};
          if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
          const auto more = [&] { append(writer, {FrameType::block, kRing, 2, record}); };
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

TEST_CASE("a segment says when and in which boot of the machine it was begun") {
  const Directory directory("/dev/shm");
  const Moment before = moment_now();
  const SegmentReader reader(sealed_segment(directory, some_frames()), nullptr);
  const Moment after = moment_now();
  CHECK(format_of(reader.head()) == 2);
  CHECK(reader.moment().boot == before.boot);
  CHECK(reader.moment().monotonic_ns >= before.monotonic_ns);
  CHECK(reader.moment().monotonic_ns <= after.monotonic_ns);
  CHECK(reader.moment().wall_ns >= before.wall_ns);
  CHECK(reader.moment().wall_ns <= after.wall_ns);
}

TEST_CASE("a segment for whose head there is no room leaves no file") {
  const Directory directory("/dev/shm");
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          const rlimit limit{100, 100};
          return setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                 is_refused_by_system([&] { SegmentWriter(directory.at(""), 1, std::nullopt); },
                                      std::errc::file_too_large);
        }) == "");
  CHECK(directory.names().empty());
}

}  // namespace edgeward
