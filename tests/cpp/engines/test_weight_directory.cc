#include "engines/weight_directory.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/killed_child.h"

namespace edgeward {
namespace {

const std::string kName(32, 'a');
const std::string kOther(32, 'b');

std::unique_ptr<WeightCache> cache_of(const std::string& contents) {
  auto cache = WeightCache::try_make();
  REQUIRE(cache != nullptr);
  write_file(cache->path(), contents);
  REQUIRE(cache->try_seal());
  return cache;
}

// Two whole chunks and a part of one.
std::string contents(char start = 'w') {
  std::string bytes(600000, start);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(bytes[i] + i / 1000);
  return bytes;
}

std::string read(const WeightCache& cache) { return content_of(cache.path()); }

struct Weights {
  Weights() : parent("/dev/shm"), path(parent.at("weights")) { REQUIRE(mkdir(path.c_str(), 0700) == 0); }

  std::unique_ptr<WeightDirectory> open() const {
    auto directory = WeightDirectory::try_open(path, 3);
    REQUIRE(directory != nullptr);
    return directory;
  }
  std::set<std::string> names() const {
    std::set<std::string> filenames;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() == ".packed") filenames.insert(entry.path().filename());
    }
    return filenames;
  }
  // Of the only weights in it.
  std::string file() const {
    const auto filenames = names();
    REQUIRE(filenames.size() == 1);
    return path + "/" + *filenames.begin();
  }

  Directory parent;
  std::string path;
};

ino_t inode_of(const std::string& path) {
  struct stat facts {};
  CHECK(stat(path.c_str(), &facts) == 0);
  return facts.st_ino;
}

// Changes a file that nobody may write.
void change(const std::string& path, const std::function<void(int)>& act) {
  REQUIRE(chmod(path.c_str(), 0600) == 0);
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(file >= 0);
  act(file);
  close(file);
  REQUIRE(chmod(path.c_str(), 0400) == 0);
}

void flip(const std::string& path, off_t offset) {
  change(path, [&](int file) {
    char byte = 0;
    REQUIRE(pread(file, &byte, 1, offset) == 1);
    byte = static_cast<char>(byte ^ 0x10);
    REQUIRE(pwrite(file, &byte, 1, offset) == 1);
  });
}

void resize(const std::string& path, off_t size_bytes) {
  change(path, [&](int file) { REQUIRE(ftruncate(file, size_bytes) == 0); });
}

bool is_settled(const std::string& path) {
  struct stat facts {};
  timespec now{};
  REQUIRE(stat(path.c_str(), &facts) == 0);
  REQUIRE(clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0);
  return (now.tv_sec - facts.st_ctim.tv_sec) * 1'000'000'000 + now.tv_nsec - facts.st_ctim.tv_nsec >=
         WeightDirectory::kSettledNs;
}

// Until the kernel's clock tells a change of the file from an earlier one.
void wait_until_settled(const std::string& path) {
  while (!is_settled(path)) {
  }
}

size_t mark_count(const Weights& weights) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(weights.path)) {
    count += entry.path().extension() == ".whole";
  }
  return count;
}

// What is wrong is not found, and what is kept then is whole again.
void check_remade(const Weights& weights) {
  const auto directory = weights.open();
  CHECK(directory->try_find(kName) == nullptr);
  const auto kept = directory->try_keep(kName, *cache_of(contents()));
  REQUIRE(kept != nullptr);
  CHECK(read(*kept) == contents());
  const auto again = directory->try_find(kName);
  REQUIRE(again != nullptr);
  CHECK(read(*again) == contents());
}

}  // namespace

TEST_CASE("what is kept is found by its name, and by no other") {
  const Weights weights;
  const auto directory = weights.open();
  CHECK(directory->try_find(kName) == nullptr);
  const auto kept = directory->try_keep(kName, *cache_of(contents()));
  REQUIRE(kept != nullptr);
  CHECK(kept->is_file());
  CHECK(kept->size_bytes() == contents().size());
  const auto again = weights.open()->try_find(kName);
  REQUIRE(again != nullptr);
  CHECK(read(*again) == contents());
  CHECK(directory->try_find(kOther) == nullptr);
  CHECK(mode_of(weights.file()) == 0400);
  CHECK(mode_of(weights.path + "/key") == 0400);
}

TEST_CASE("bytes are kept by a name as packed weights are, and are found whole or not at all") {
  const Weights weights;
  const auto directory = weights.open();
  const std::string bytes = contents();
  const auto text = [](const Block& block) {
    return std::string(reinterpret_cast<const char*>(block.data()), block.size_bytes());
  };
  CHECK(!directory->try_map_prepared(kName));
  {
    const Block kept = directory->try_keep_prepared(kName, std::as_bytes(std::span(bytes)));
    CHECK(kept.is_mapped());
    CHECK(text(kept) == bytes);
  }
  CHECK(text(weights.open()->try_map_prepared(kName)) == bytes);
  CHECK(!directory->try_map_prepared(kOther));
  CHECK(mode_of(weights.file()) == 0400);
  REQUIRE(chmod(weights.file().c_str(), 0600) == 0);
  std::filesystem::resize_file(weights.file(), bytes.size() - 1);
  REQUIRE(chmod(weights.file().c_str(), 0400) == 0);
  CHECK(!directory->try_map_prepared(kName));
  CHECK(!std::filesystem::exists(weights.path + "/" + kName));
}

TEST_CASE("a file that is larger than a large page is kept as it is, in no more memory than it has bytes") {
  const Weights weights;
  std::string bytes(5 * (size_t{1} << 20) + 3, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + i / 4096);
  const auto directory = weights.open();
  const Block kept = directory->try_keep_prepared(kName, std::as_bytes(std::span(bytes)));
  REQUIRE(kept);
  CHECK(std::memcmp(kept.data(), bytes.data(), bytes.size()) == 0);
  CHECK(content_of(weights.file()) == bytes);
  struct stat facts {};
  REQUIRE(stat(weights.file().c_str(), &facts) == 0);
  CHECK(facts.st_blocks * 512 < static_cast<int64_t>(bytes.size()) + 65536);
  CHECK(directory->try_map_prepared(kName));
}

TEST_CASE("of two contents that are kept by one name, all use the first") {
  const Weights weights;
  const std::string first = contents();
  std::string second = first;
  second.back() = 'x';
  const auto directory = weights.open();
  const auto keep = [&](const std::string& bytes) {
    const Block kept = directory->try_keep_prepared(kName, std::as_bytes(std::span(bytes)));
    return std::string(reinterpret_cast<const char*>(kept.data()), kept.size_bytes());
  };
  CHECK(keep(first) == first);
  CHECK(keep(second) == first);
}

TEST_CASE("who keeps the same twice finds the first file") {
  const Weights weights;
  const auto first = weights.open()->try_keep(kName, *cache_of(contents()));
  const ino_t inode = inode_of(weights.file());
  const auto second = weights.open()->try_keep(kName, *cache_of(contents()));
  REQUIRE(second != nullptr);
  CHECK(inode_of(weights.file()) == inode);
  CHECK(inode_of(second->path()) == inode);
}

TEST_CASE("a model's bytes are kept once, and what is written to them is seen by nobody else") {
  const Weights weights;
  const File file("model file", write_file(weights.parent.at("model"), contents()), File::Links::refused);
  const std::string digest = weights.open()->digest_of(file);
  const std::string bytes = contents();
  CHECK(digest == weights.open()->digest_of(std::as_bytes(std::span(bytes))));
  CHECK(weights.open()->try_map_model(digest).data() == nullptr);
  const Block first = weights.open()->try_keep_model(digest, file);
  REQUIRE(first);
  const Block second = weights.open()->try_map_model(digest);
  REQUIRE(second);
  const auto text = [](const Block& block) {
    return std::string(reinterpret_cast<const char*>(block.data()), block.size_bytes());
  };
  first.data()[0] = std::byte{'x'};
  CHECK(text(second) == contents());
  CHECK(text(weights.open()->try_map_model(digest)) == contents());
  const std::string kept = weights.path + "/" + digest + ".model";
  CHECK(mode_of(kept) == 0400);
  flip(kept, 300000);
  CHECK_FALSE(weights.open()->try_map_model(digest));
  CHECK_FALSE(std::filesystem::exists(kept));
  write_file(file.path(), contents('x'));
  CHECK_FALSE(weights.open()->try_keep_model(digest, file));
}

TEST_CASE("a file that was found whole is not read again, until somebody touches it or the machine restarts") {
  const Weights weights;
  weights.open()->try_keep(kName, *cache_of(contents()));
  const std::string file = weights.file();
  wait_until_settled(file);
  CHECK(mark_count(weights) == 0);
  REQUIRE(weights.open()->try_find(kName) != nullptr);
  CHECK(mark_count(weights) == 1);
  REQUIRE(weights.open()->try_find(kName) != nullptr);
  CHECK(mark_count(weights) == 1);
  SUBCASE("a bit is another") { flip(file, 300000); }
  SUBCASE("it ends early") { resize(file, 300000); }
  SUBCASE("another file has its name") {
    const std::string other = write_file(weights.parent.at("other"), contents('x'));
    REQUIRE(chmod(other.c_str(), 0400) == 0);
    REQUIRE(rename(other.c_str(), file.c_str()) == 0);
  }
  check_remade(weights);
}

TEST_CASE("a file that was changed a moment ago gets no mark") {
  const Weights weights;
  const auto directory = weights.open();
  directory->try_keep(kName, *cache_of(contents()));
  flip(weights.file(), 1);
  flip(weights.file(), 1);
  CHECK(directory->try_find(kName) != nullptr);
  const bool has_mark = mark_count(weights) != 0;
  CHECK((!has_mark || is_settled(weights.file())));  // a slow machine may be that late
}

TEST_CASE("marks do not become many") {
  const Weights weights;
  const auto directory = weights.open();
  directory->try_keep(kName, *cache_of("packed"));
  for (int i = 0; i < 64; ++i) write_file(weights.path + "/" + std::string(31, 'd') + std::to_string(i) + ".whole", "");
  wait_until_settled(weights.file());
  CHECK(directory->try_find(kName) != nullptr);
  CHECK(mark_count(weights) == 1);
}

TEST_CASE("a name depends on each part of the origin and on the directory's key") {
  const Weights weights;
  const auto directory = weights.open();
  const std::string text = contents();
  const Bytes bytes = std::as_bytes(std::span(text));
  const auto name = [&](Bytes model, std::vector<Bytes> library, const char* settings) {
    return directory->name_of({directory->digest_of(model), std::move(library), settings});
  };
  const std::string name_here = name(bytes, {bytes}, "one thread");
  CHECK(name_here.size() == 32);
  CHECK(name(bytes, {bytes}, "one thread") == name_here);
  const auto again = WeightDirectory::try_open(weights.path, 1);
  CHECK(again->name_of({again->digest_of(bytes), {bytes}, "one thread"}) == name_here);
  CHECK(name(bytes.first(bytes.size() - 1), {bytes}, "one thread") != name_here);
  CHECK(name(bytes, {bytes.subspan(1)}, "one thread") != name_here);
  CHECK(name(bytes, {bytes.first(1000), bytes.subspan(1000)}, "one thread") != name_here);
  CHECK(name(bytes, {bytes}, "two threads") != name_here);
  CHECK(Weights().open()->digest_of(bytes) != directory->digest_of(bytes));
}

TEST_CASE("a file that is damaged goes") {
  const auto size = static_cast<off_t>(contents().size());
  for (const off_t offset : {off_t{0}, off_t{1}, off_t{262143}, off_t{262144}, size / 2, size - 1}) {
    CAPTURE(offset);
    const Weights weights;
    weights.open()->try_keep(kName, *cache_of(contents()));
    SUBCASE("a bit is another") { flip(weights.file(), offset); }
    SUBCASE("it ends early") { resize(weights.file(), offset); }
    check_remade(weights);
  }
  for (const off_t more : {1, 262144}) {
    const Weights weights;
    weights.open()->try_keep(kName, *cache_of(contents()));
    resize(weights.file(), size + more);
    check_remade(weights);
  }
}

TEST_CASE("a file of another name, model or directory counts for nothing") {
  const Weights weights;
  const auto directory = weights.open();
  directory->try_keep(kName, *cache_of(contents()));
  const std::string file = weights.file();
  SUBCASE("of another model under its name") {
    const std::string renamed = weights.path + "/" + kOther + file.substr(file.rfind('-'));
    REQUIRE(rename(file.c_str(), renamed.c_str()) == 0);
    CHECK(directory->try_find(kOther) == nullptr);
    CHECK(weights.names().empty());
  }
  SUBCASE("what another model's weights are") {
    change(file, [](int number) {
      const std::string other = contents('x');
      REQUIRE(pwrite(number, other.data(), other.size(), 0) == static_cast<ssize_t>(other.size()));
    });
    check_remade(weights);
  }
  SUBCASE("with the key of another directory") {
    const Weights others;
    others.open()->try_keep(kName, *cache_of(contents()));
    REQUIRE(rename(others.file().c_str(), (weights.path + "/" + *others.names().begin()).c_str()) == 0);
    REQUIRE(unlink(file.c_str()) == 0);
    check_remade(weights);
  }
}

TEST_CASE("what is not a file of ours alone goes") {
  const Weights weights;
  weights.open()->try_keep(kName, *cache_of(contents()));
  const std::string file = weights.file();
  const std::string elsewhere = weights.parent.at("elsewhere");
  SUBCASE("others may write it") { REQUIRE(chmod(file.c_str(), 0422) == 0); }
  SUBCASE("its owner may write it") { REQUIRE(chmod(file.c_str(), 0600) == 0); }
  SUBCASE("it has another name") { REQUIRE(link(file.c_str(), elsewhere.c_str()) == 0); }
  SUBCASE("it is a link") {
    REQUIRE(rename(file.c_str(), elsewhere.c_str()) == 0);
    REQUIRE(symlink(elsewhere.c_str(), file.c_str()) == 0);
  }
  SUBCASE("it is a pipe") {
    REQUIRE(unlink(file.c_str()) == 0);
    REQUIRE(mkfifo(file.c_str(), 0400) == 0);
  }
  SUBCASE("it is somebody else's") {
    if (chown(file.c_str(), 12345, 12345) != 0) return;  // for root alone
  }
  check_remade(weights);
}

TEST_CASE("a directory in a file's place is in the way, and harms nobody") {
  const Weights weights;
  weights.open()->try_keep(kName, *cache_of(contents()));
  const std::string file = weights.file();
  REQUIRE(unlink(file.c_str()) == 0);
  REQUIRE(mkdir(file.c_str(), 0700) == 0);
  CHECK(weights.open()->try_find(kName) == nullptr);
  CHECK(weights.open()->try_keep(kName, *cache_of(contents())) == nullptr);
}

TEST_CASE("a key that is damaged is made anew, and what it named counts for nothing") {
  const Weights weights;
  weights.open()->try_keep(kName, *cache_of(contents()));
  const std::string key = weights.path + "/key";
  SUBCASE("a bit is another") { flip(key, 7); }
  SUBCASE("it ends early") { resize(key, 31); }
  SUBCASE("it is empty") { resize(key, 0); }
  SUBCASE("it goes on") { resize(key, 33); }
  SUBCASE("others may read it") { REQUIRE(chmod(key.c_str(), 0444) == 0); }
  SUBCASE("it is a link") {
    REQUIRE(unlink(key.c_str()) == 0);
    REQUIRE(symlink("/dev/zero", key.c_str()) == 0);
  }
  SUBCASE("it is a pipe") {
    REQUIRE(unlink(key.c_str()) == 0);
    REQUIRE(mkfifo(key.c_str(), 0400) == 0);
  }
  check_remade(weights);
}

TEST_CASE("a directory that is not this user's alone is not opened") {
  const Weights weights;
  for (const mode_t mode : {0750, 0701, 0777}) {
    REQUIRE(chmod(weights.path.c_str(), mode) == 0);
    CHECK(WeightDirectory::try_open(weights.path, 1) == nullptr);
  }
  REQUIRE(chmod(weights.path.c_str(), 0700) == 0);
  const std::string link = weights.parent.at("link");
  REQUIRE(symlink(weights.path.c_str(), link.c_str()) == 0);
  CHECK(WeightDirectory::try_open(link, 1) == nullptr);
  CHECK(WeightDirectory::try_open(weights.parent.at("none"), 1) == nullptr);
  CHECK(WeightDirectory::try_open(write_file(weights.parent.at("file"), ""), 1) == nullptr);
  if (chown(weights.path.c_str(), 12345, 12345) == 0) CHECK(WeightDirectory::try_open(weights.path, 1) == nullptr);
}

TEST_CASE("a kill at any step leaves all of a file or none") {
  if (!can_trace()) {
    MESSAGE("children may not be traced here: kills are not tested");
    return;
  }
  const auto cache = cache_of(contents());
  size_t kill_count = 0;
  for (bool is_killed = true; is_killed; ++kill_count) {
    CAPTURE(kill_count);
    const Weights weights;
    is_killed = is_killed_at(kill_count, [&] {
      const auto directory = WeightDirectory::try_open(weights.path, 1);
      if (directory == nullptr || directory->try_keep(kName, *cache) == nullptr) _exit(1);
    });
    CHECK(weights.names().size() <= 1);
    const auto directory = weights.open();
    if (const auto kept = directory->try_find(kName)) {
      CHECK(read(*kept) == contents());
    } else {
      CHECK(weights.names().empty());
    }
    const auto kept = directory->try_keep(kName, *cache);
    REQUIRE(kept != nullptr);
    CHECK(read(*kept) == contents());
  }
  CHECK(kill_count > 50);
}

TEST_CASE("where there is no room, what nobody uses goes, and then nothing is kept") {
  const Weights weights;
  const auto act = [&] {
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("tmpfs", weights.path.c_str(), "tmpfs", 0, "size=1m,mode=0700") == 0;
  };
  if (outcome_in_child(act) != "") {
    MESSAGE("no file system can be mounted here: a full one is not tested");
    return;
  }
  CHECK(outcome_in_child([&] {
          if (!act()) return false;
          const auto directory = WeightDirectory::try_open(weights.path, 1);
          if (directory == nullptr || directory->try_keep(kName, *cache_of(contents())) == nullptr) return false;
          // The first one is idle, and goes; then the second one is in use, and stays.
          const auto other = directory->try_keep(kOther, *cache_of(contents()));
          if (other == nullptr || directory->try_find(kName) != nullptr) return false;
          const bool is_refused = directory->try_keep(kName, *cache_of(contents())) == nullptr;
          return is_refused && directory->try_find(kOther) != nullptr && weights.names().size() == 1;
        }) == "");
  CHECK(outcome_in_child([&] {
          if (!act()) return false;
          write_file(weights.path + "/filler", std::string(1 << 20, 'f'));
          return WeightDirectory::try_open(weights.path, 1) == nullptr;
        }) == "");
}

TEST_CASE("of the files that nobody uses, those that were used last stay") {
  const Weights weights;
  const auto directory = weights.open();
  const auto name = [](size_t i) { return std::string(30, 'c') + std::to_string(10 + i); };
  const auto used = directory->try_keep(name(0), *cache_of("in use"));
  constexpr size_t kCount = 2 * WeightDirectory::kMaxIdleFiles;
  for (size_t i = 1; i <= kCount; ++i) {
    REQUIRE(directory->try_keep(name(i), *cache_of("idle")) != nullptr);
    if (i == 1) wait_until_settled(weights.path + "/" + *std::next(weights.names().begin()));
    // Found again: the first of them was used last.
    CHECK(directory->try_find(name(1)) != nullptr);
  }
  CHECK(weights.names().size() <= WeightDirectory::kMaxIdleFiles + 1);
  CHECK(directory->try_find(name(0)) != nullptr);
  CHECK(directory->try_find(name(1)) != nullptr);
  CHECK(directory->try_find(name(2)) == nullptr);
  CHECK(directory->try_find(name(kCount)) != nullptr);
}

TEST_CASE("an empty file is no weights") {
  const Weights weights;
  const int number = open(write_file(weights.parent.at("empty"), "").c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(WeightCache::try_adopt(Descriptor(number, "empty")) == nullptr);
}

}  // namespace edgeward
