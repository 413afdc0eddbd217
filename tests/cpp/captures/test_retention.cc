#include "captures/retention.h"

#include <doctest/doctest.h>

#include <vector>

#include "captures/sealed_statistics.h"
#include "rigs/segment_octets.h"

namespace edgeward {
namespace {

constexpr int64_t kMinute_ns = 60'000'000'000;
const Moment kNow{{}, 0, kLeastWall_ns + 1000 * kMinute_ns};

// A sealed segment of `count` records that was begun so long ago.
std::string segment_of_age(const Directory& directory, int64_t number, int64_t age_ns, uint64_t count = 1) {
  SegmentWriter writer(directory.at(""), number, std::nullopt);
  for (uint64_t sequence = 1; sequence <= count; ++sequence)
    append(writer, {FrameType::block, 1, sequence, from_text("x")});
  const std::string path = writer.seal();
  Octets octets = octets_of(path);
  put(octets, 16, kNow.wall_ns - age_ns);
  mend_head(octets);
  return write_octets(path, octets);
}

// Segments of the same size, whose ages in minutes are these, as far as they stay.
std::vector<int64_t> left_of(const std::vector<int64_t>& ages_min, Budget budget, uint64_t count = 100) {
  const Directory directory("/dev/shm");
  std::map<std::string, int64_t> paths;
  uint64_t size_bytes = 0;
  for (const int64_t age_min : ages_min) {
    const std::string path = segment_of_age(directory, static_cast<int64_t>(paths.size()), age_min * kMinute_ns);
    paths[path] = age_min;
    size_bytes = std::filesystem::file_size(path);
  }
  budget.most_bytes = count * size_bytes;
  const auto evicted = Retention(directory.at(""), budget).enforce(kNow);
  std::vector<int64_t> left;
  for (const auto& [path, age_min] : paths) {
    if (std::filesystem::exists(path)) left.push_back(age_min);
  }
  CHECK(evicted.segments == ages_min.size() - left.size());
  CHECK(evicted.records == evicted.segments);
  CHECK(evicted.bytes == evicted.segments * size_bytes);
  return left;
}

using Ages = std::vector<int64_t>;

}  // namespace

TEST_CASE("segments that are too old go, and are counted") {
  CHECK(left_of({40, 30, 20, 10}, {.most_age_ns = 25 * kMinute_ns}) == Ages{20, 10});
  CHECK(left_of({40, 30, 20, 10}, {.most_age_ns = 5 * kMinute_ns}).empty());
  CHECK(left_of({40, 30, 20, 10}, {.most_age_ns = 50 * kMinute_ns}) == Ages{40, 30, 20, 10});
  CHECK(left_of({40, 30, 20, 10}, {}) == Ages{40, 30, 20, 10});
}

TEST_CASE("the first by its name goes first, whatever the clock said") {
  CHECK(left_of({10, -5000, 30, 0}, {}, 2) == Ages{30, 0});
}

TEST_CASE("of segments that are close in time one goes first, where the rest shall stay spread") {
  const Ages ages{100, 90, 89, 80, 70, 60};
  const Budget budget{.evict = Evict::closest};
  CHECK(left_of(ages, budget, 6) == Ages{100, 90, 89, 80, 70, 60});
  CHECK(left_of(ages, budget, 5) == Ages{100, 90, 80, 70, 60});
  CHECK(left_of(ages, budget, 3) == Ages{100, 80, 60});
  CHECK(left_of(ages, budget, 1) == Ages{60});
}

TEST_CASE("statistics leave less for segments, and nothing else counts or goes") {
  const Directory directory("/dev/shm");
  const std::string first = segment_of_age(directory, 1, 5, 7);
  const std::string last = segment_of_age(directory, 2, 5, 7);
  const uint64_t size_bytes = std::filesystem::file_size(first);
  for (const std::string_view suffix :
       {kStatisticsSuffix, kJsonStatisticsSuffix, kSealedStatisticsSuffix, kOpenSuffix, std::string_view(".txt")})
    write_file(directory.at("x" + std::string(suffix)), std::string(100, 'x'));
  const auto left = [&](uint64_t most_bytes) {
    Retention(directory.at(""), {.most_bytes = most_bytes}).enforce(kNow);
    return std::filesystem::exists(first) + std::filesystem::exists(last);
  };
  CHECK(left(2 * size_bytes + 300) == 2);
  CHECK(left(2 * size_bytes + 299) == 1);
  CHECK(left(100) == 0);
  CHECK(directory.names() == std::set<std::string>{"x.stats", "x.stats.json", "x.stats.sealed", "x.open", "x.txt"});
}

TEST_CASE("a segment that is damaged counts, and goes in its turn") {
  const Directory directory("/dev/shm");
  write_file(directory.at("00000000000000000001-00.open.damaged"), std::string(5000, 'x'));
  write_file(directory.at("00000000000000000002-00.ewc"), std::string(300, 'x'));
  const std::string whole = segment_of_age(directory, 3, 5);
  const uint64_t size_bytes = std::filesystem::file_size(whole);
  const auto evicted = Retention(directory.at(""), {.most_bytes = size_bytes + 300}).enforce(kNow);
  CHECK(evicted.segments == 1);
  CHECK(evicted.bytes == 5000);
  CHECK(evicted.records == 0);
  CHECK(directory.names().size() == 2);
}

TEST_CASE("where less of the file system is free than shall be, all go") {
  const Directory directory("/dev/shm");
  segment_of_age(directory, 1, 5, 3);
  const auto evicted = Retention(directory.at(""), {.least_free_bytes = UINT64_MAX}).enforce(kNow);
  CHECK(evicted.segments == 1);
  CHECK(evicted.records == 3);
  CHECK(directory.names().empty());
}

TEST_CASE("a directory that is not there is empty") {
  const Directory directory("/dev/shm");
  CHECK(Retention(directory.at("missing"), {.most_bytes = 0}).enforce(kNow).segments == 0);
}

}  // namespace edgeward
