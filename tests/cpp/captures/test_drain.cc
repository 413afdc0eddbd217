#include "captures/drain.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <span>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/drained.h"
#include "rigs/killed_child.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr uint64_t kCapacity = kMinRingBytes;
constexpr uint64_t kSecond_ns = 1'000'000'000;
constexpr uint64_t kRetry_ns = 5 * kSecond_ns;

// Two directories of a test's own, for rings and for segments. In memory: to sync costs nothing there.
struct Directories {
  Directory rings_at{"/dev/shm"};
  Directory captures_at{"/dev/shm"};
  std::string rings = rings_at.at("rings");
  std::string captures = captures_at.at("captures");

  Directories() { std::filesystem::create_directory(rings); }
  std::unique_ptr<Drain> drain(const Budget& budget = {}) const {
    return std::make_unique<Drain>(rings, captures, budget);
  }
  std::unique_ptr<RingWriter> ring(uint64_t capacity = kCapacity, Keep keep = Keep::oldest,
                                   const std::optional<PublicKey>& recipient = std::nullopt) const {
    return std::make_unique<RingWriter>(rings, capacity, keep, "{}", recipient);
  }
};

Budget sealed_at_once() {
  Budget budget;
  budget.segment_bytes = 1;
  return budget;
}

// A clock that the test turns.
class Clock {
 public:
  uint64_t now_ns() const { return now_ns_; }
  uint64_t after(uint64_t span_ns) { return now_ns_ += span_ns; }

 private:
  uint64_t now_ns_ = 100 * kSecond_ns;
};

// Brings all that there is to the disk.
void drain_all(Drain& drain, Clock& clock) {
  while (drain.step(clock.after(kRetry_ns)) > 0) {
  }
  drain.close();
}

// How much of a ring its writer may not use, as a reader that comes to it sees it.
uint64_t used_bytes(const std::string& path) {
  const auto reader = RingReader::try_open(path);
  return reader ? reader->used_bytes() : 0;
}

size_t ring_count(const Directories& directories) { return paths_in(directories.rings, ".ring").size(); }

// A child that does `act` and dies at once, with no destructor run.
void kill_after(const std::function<void()>& act) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    act();
    kill(getpid(), SIGKILL);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  const bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  REQUIRE(is_killed);
}

// Memory that a child shares with us.
template <class Value>
class Shared {
 public:
  Shared() {
    void* page = mmap(nullptr, sizeof(Value), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(page != MAP_FAILED);
    value_ = new (page) Value();
  }
  ~Shared() { munmap(value_, sizeof(Value)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  Value& operator*() const { return *value_; }
  Value* operator->() const { return value_; }

 private:
  Value* value_;
};

// From here on the program decides which system calls of this process fail. True when it is so.
bool is_filtered_by(std::span<sock_filter> program) {
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// From here on every sync of this process fails, as on a disk that is broken. True when it is so.
bool break_syncs() {
  sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return is_filtered_by(program);
}

// The same for the syncs of one descriptor.
bool break_syncs_of(int number) {
  sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 3),
                           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return is_filtered_by(program);
}

// The descriptor with which this process has a file open; -1 without.
int descriptor_of(const std::string& path) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone) == path) return std::stoi(entry.path().filename());
  }
  return -1;
}

void make_older(const std::string& path, time_t age_s) {
  const timespec then{time(nullptr) - age_s, 0};
  const timespec times[2] = {then, then};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

// In a child: a small file system of its own in a directory.
bool try_mount(const Directory& directory, const char* options) {
  const bool is_alone = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  return is_alone && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", directory.at("").c_str(), "tmpfs", 0, options) == 0;
}

// In a child that has a small file system at `disk`, and a directory for rings: `act` must return true.
void check_on_small_disk(const char* options,
                         const std::function<bool(const Directory& disk, const Directory& rings)>& act) {
  const Directory disk("/dev/shm");
  if (outcome_in_child([&] { return try_mount(disk, options); }) != "") {
    MESSAGE("no file system can be mounted here: a small one is not tested");
    return;
  }
  const Directory rings("/dev/shm");
  CHECK(outcome_in_child([&] { return try_mount(disk, options) && act(disk, rings); }) == "");
}

PrivateKey device(char name) { return {KeyAlgorithm::x25519, Secret(Octets(32, static_cast<std::byte>(name)))}; }

}  // namespace

TEST_CASE("records of several rings come to the disk, each ring's whole and in order") {
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain();
  std::vector<std::unique_ptr<RingWriter>> rings;
  for (int i = 0; i < 3; ++i) rings.push_back(directories.ring(kCapacity << i));
  uint64_t sequence = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 20; ++i) {
      ++sequence;
      for (size_t k = 0; k < rings.size(); ++k)
        REQUIRE(try_put_record(*rings[k], sequence, static_cast<uint32_t>(100 * k + sequence % 700)));
    }
    CHECK(drain->step(clock.after(kSecond_ns)) == 60);
  }
  CHECK(drain->step(clock.after(kSecond_ns)) == 0);
  drain->close();
  CHECK(drain->complaint() == "");
  CHECK(drain->counters().records == 1200);
  CHECK(drain->counters().duplicates == 0);
  CHECK_FALSE(drain->is_idle());
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.size() == 3);
  for (const auto& ring : rings) CHECK(all.sequences.at(ring->ring_id()) == from_to(1, 400));
}

TEST_CASE("a ring's description is in each segment that has its records, before them") {
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain(sealed_at_once());
  RingWriter ring(directories.rings, kCapacity, Keep::oldest, "{\"model\": \"demo\"}");
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) {
    REQUIRE(try_put_record(ring, sequence, 10));
    drain->step(clock.after(kSecond_ns));
  }
  const auto paths = paths_in(directories.captures, ".ewc");
  CHECK(paths.size() == 5);
  for (const std::string& path : paths) {
    SegmentReader reader(path, nullptr);
    const auto first = reader.next();
    REQUIRE(first);
    CHECK(first->type() == FrameType::ring);
    CHECK(first->head.ring_id == ring.ring_id());
    CHECK(to_text(first->payload) == "{\"model\": \"demo\"}");
  }
}

TEST_CASE("room in a ring is given back when what was in it is on the disk, not when it is read") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  const auto drain = directories.drain();
  drain->step(clock.now_ns());
  REQUIRE(try_put_record(*ring, 1, 100));
  drain->step(clock.after(kSecond_ns));  // synced
  CHECK(used_bytes(ring->path()) == 0);
  REQUIRE(put_records(*ring, 2, 10));
  CHECK(drain->step(clock.after(1)) == 9);  // read, not synced
  CHECK(used_bytes(ring->path()) == ring->position() - 384);
  CHECK(drain->step(clock.after(1)) == 0);
  CHECK(used_bytes(ring->path()) == ring->position() - 384);
  CHECK(drain->step(clock.after(kSecond_ns)) == 0);
  CHECK(used_bytes(ring->path()) == 0);
  REQUIRE(put_records(*ring, 11, 20));
  drain->step(clock.after(1));
  CHECK(used_bytes(ring->path()) > 0);
  drain->flush();
  CHECK(used_bytes(ring->path()) == 0);
}

TEST_CASE("a ring of which more than half was read is given its room back at once") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  const auto drain = directories.drain();
  drain->step(clock.after(kSecond_ns));
  uint64_t sequence = 0;
  for (int round = 0; round < 50; ++round) {
    // Three of four quarters; with the clock all but standing still.
    for (int i = 0; i < 3; ++i) REQUIRE(try_put_record(*ring, ++sequence, kCapacity / 4 - 300));
    drain->step(clock.after(1));
  }
  CHECK(ring->lost() == 0);
  drain_all(*drain, clock);
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, sequence));
}

TEST_CASE("a ring that holds more than is read at once is read to its end, and others beside it") {
  const Directories directories;
  Clock clock;
  const auto large = directories.ring(uint64_t{32} << 20);
  const auto small = directories.ring();
  REQUIRE(put_records(*large, 1, 20, uint32_t{1} << 20));
  REQUIRE(put_records(*small, 1, 20));
  const auto drain = directories.drain();
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.segment_count == 2);
  CHECK(all.sequences.at(large->ring_id()) == from_to(1, 20));
  CHECK(all.sequences.at(small->ring_id()) == from_to(1, 20));
}

TEST_CASE("a ring whose writer ended is removed, with its last counters on the disk") {
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain();
  auto ring = directories.ring();
  const uint64_t ring_id = ring->ring_id();
  REQUIRE(put_records(*ring, 1, 7));
  ring->count_sampled_out();
  ring->count_lost();
  drain->step(clock.now_ns());
  CHECK(ring_count(directories) == 1);
  ring.reset();
  drain->step(clock.after(1));
  CHECK(ring_count(directories) == 0);
  CHECK(drain->is_idle());
  // Already now, in the segment that is open.
  Drained all;
  for (const std::string& path : paths_in(directories.captures, ".open")) add_segment(all, path, nullptr);
  CHECK(all.sequences.at(ring_id) == from_to(1, 7));
  CHECK(all.counters.at(ring_id) == Sequences{1, 7, 0, 1, 0, 7, 0});
}

TEST_CASE("where no sync goes well no room is given back, no ring removed, and nothing said to be on the disk") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  auto ended = directories.ring();
  const uint64_t ended_id = ended->ring_id();
  REQUIRE(put_records(*ring, 1, 5));
  REQUIRE(put_records(*ended, 1, 5));
  const uint64_t used = used_bytes(ring->path());
  ended.reset();
  CHECK(outcome_in_child([&] {
          const auto drain = directories.drain();
          if (!break_syncs()) return false;
          for (uint64_t failures = 1; failures <= 3; ++failures) {
            if (drain->step(clock.after(kRetry_ns)) != 0) return false;
            if (drain->complaint().find("Input/output") == std::string::npos) return false;
            if (drain->counters().failures != failures || drain->counters().records != 0) return false;
            if (!paths_in(directories.captures, ".open").empty()) return false;
            // Not asked again before it is time.
            if (drain->step(clock.after(kRetry_ns - 1)) != 0 || drain->counters().failures != failures) return false;
          }
          drain->close();
          return used_bytes(ring->path()) == used && ring_count(directories) == 2 &&
                 paths_in(directories.captures, ".ewc").empty();
        }) == "");
  const auto drain = directories.drain();
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(ring->ring_id()) == from_to(1, 5));
  CHECK(all.sequences.at(ended_id) == from_to(1, 5));
  CHECK(ring_count(directories) == 1);
}

TEST_CASE("what was synced before the sync of another segment failed is there once, though the drain is killed then") {
  const Directories directories;
  Clock clock;
  const PrivateKey owner = device('a');
  const auto plain = directories.ring();
  const auto encrypted = directories.ring(kCapacity, Keep::oldest, public_key(owner));
  REQUIRE(put_records(*plain, 1, 5));
  REQUIRE(put_records(*encrypted, 1, 5));
  Shared<bool> has_failed;
  kill_after([&] {
    // Numbers for what is opened after the failure: that of the segment would be taken again, and its syncs still fail.
    std::vector<Descriptor> spare;
    for (int i = 0; i < 4; ++i) spare.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null");
    const auto drain = directories.drain();
    drain->step(1);  // too early for a sync
    for (const std::string& path : paths_in(directories.captures, ".open")) {
      // That of the plain segment comes first: the key of its recipient is all zeros.
      if (SegmentReader(path, nullptr).is_encrypted() && !break_syncs_of(descriptor_of(path))) return;
    }
    spare.clear();
    drain->step(2 * kSecond_ns);
    *has_failed = drain->counters().failures == 1;
  });
  REQUIRE(*has_failed);
  const auto drain = directories.drain();
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures, &owner);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(plain->ring_id()) == from_to(1, 5));
  CHECK(all.sequences.at(encrypted->ring_id()) == from_to(1, 5));
}

TEST_CASE("what a writer committed before it was killed comes to the disk, and what it was at does not") {
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain();
  for (int i = 0; i < 5; ++i) {
    kill_after([&] {
      const auto ring = directories.ring();
      put_records(*ring, 1, 30);
      ring->try_claim(1000);
    });
  }
  CHECK(ring_count(directories) == 5);
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.size() == 5);
  for (const auto& [ring_id, sequences] : all.sequences) {
    CHECK(sequences == from_to(1, 30));
    CHECK(all.counters.at(ring_id) == Sequences{0, 30, 0, 0, 0, 30, 0});
  }
  CHECK(ring_count(directories) == 0);
  CHECK(drain->is_idle());
}

TEST_CASE("writers that are killed at any moment lose nothing that they had committed") {
  struct Progress {
    std::atomic<uint64_t> committed{0};
    std::atomic<uint64_t> ring_id{0};
  };
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain();
  std::mt19937_64 random(11);
  std::map<uint64_t, uint64_t> least;
  for (int round = 0; round < 30; ++round) {
    Shared<Progress> progress;
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      const auto ring = directories.ring();
      progress->ring_id = ring->ring_id();
      for (uint64_t sequence = 1;;) {
        if (!try_put_record(*ring, sequence, 200)) {
          sched_yield();
          continue;
        }
        progress->committed = sequence++;
      }
    }
    REQUIRE(child > 0);
    const uint64_t wanted = random() % 500;
    while (progress->committed <= wanted) drain->step(clock.after(kSecond_ns));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    least[progress->ring_id] = progress->committed;
  }
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.size() == least.size());
  for (const auto& [ring_id, committed] : least) {
    const Sequences& sequences = all.sequences.at(ring_id);
    // The last one may have been committed, and not yet told to us.
    const bool is_all = sequences.size() == committed || sequences.size() == committed + 1;
    CHECK(is_all);
    CHECK(sequences == from_to(1, sequences.size()));
  }
  CHECK(ring_count(directories) == 0);
}

TEST_CASE("what is no ring is set aside, counted once, and the others are read") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  REQUIRE(put_records(*ring, 1, 5));
  const std::string whole = content_of(ring->path());
  write_file(directories.rings + "/empty.ring", "");
  write_file(directories.rings + "/other.ring", std::string(10'000, 'x'));
  write_file(directories.rings + "/cut.ring", whole.substr(0, whole.size() - 1));
  write_file(directories.rings + "/flipped.ring", [&] {
    std::string flipped = whole;
    flipped[30] ^= 1;
    return flipped;
  }());
  REQUIRE(symlink(ring->path().c_str(), (directories.rings + "/link.ring").c_str()) == 0);
  REQUIRE(mkfifo((directories.rings + "/fifo.ring").c_str(), 0600) == 0);
  const auto drain = directories.drain();
  drain_all(*drain, clock);
  CHECK(drain->counters().refused_rings == 6);
  for (const std::string name : {"empty", "other", "cut", "flipped", "link", "fifo"}) {
    CAPTURE(name);
    CHECK(std::filesystem::symlink_status(directories.rings + "/" + name + ".ring.refused").type() !=
          std::filesystem::file_type::not_found);
  }
  CHECK(paths_in(directories.rings, ".ring") == std::vector<std::string>{ring->path()});
  const Drained all = drained(directories.captures);
  CHECK(all.sequences.at(ring->ring_id()) == from_to(1, 5));
  CHECK(all.counters.at(0)[7] == 6);
}

TEST_CASE("a ring whose bytes break the protocol gives what was whole, and is set aside") {
  constexpr uint64_t kTailAt = uint64_t{64} << 10;
  constexpr uint64_t kDataAt = uint64_t{192} << 10;
  struct Row {
    uint64_t offset;
    uint64_t value;
    uint64_t whole;  // records before the damage
  };
  // Each record takes 256 bytes and a tensor that begins at 256.
  const Row rows[] = {{kDataAt + 3 * 384, 0, 3},
                      {kDataAt + 3 * 384, 127, 3},
                      {kDataAt + 3 * 384 + 8, 99, 3},
                      {kDataAt + 3 * 384 + 16, 0, 3},
                      {kDataAt, 1, 0},
                      {kTailAt, 10 * 384 + 64, 10},
                      {kTailAt, kCapacity + 64, 0},
                      {kTailAt, UINT64_MAX, 0}};
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    const Directories directories;
    Clock clock;
    auto ring = directories.ring();
    const auto other = directories.ring();
    REQUIRE(put_records(*ring, 1, 10));
    REQUIRE(put_records(*other, 1, 10));
    REQUIRE(ring->position() == 10 * 384);
    const Descriptor file(open(ring->path().c_str(), O_WRONLY | O_CLOEXEC), ring->path());
    REQUIRE(pwrite(file.number(), &row.value, 8, static_cast<off_t>(row.offset)) == 8);
    const auto drain = directories.drain();
    drain_all(*drain, clock);
    CHECK(drain->counters().refused_rings == 1);
    CHECK(std::filesystem::exists(ring->path() + ".refused"));
    CHECK_FALSE(std::filesystem::exists(ring->path()));
    const Drained all = drained(directories.captures);
    CHECK(all.complaint == "");
    const auto entry = all.sequences.find(ring->ring_id());
    if (row.whole == 0) {
      CHECK(entry == all.sequences.end());
    } else {
      CHECK(entry->second == from_to(1, row.whole));
    }
    CHECK(all.counters.at(ring->ring_id()) == Sequences{0, 10, 0, 0, 0, row.whole, 1});
    CHECK(all.sequences.at(other->ring_id()) == from_to(1, 10));
    // Its writer goes on and harms nobody.
    put_records(*ring, 11, 500);
    CHECK(drain->step(clock.after(kSecond_ns)) == 0);
    CHECK(drain->counters().refused_rings == 1);
  }
}

TEST_CASE("a broken ring whose segment failed is read again up to where it breaks, and counted once") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  REQUIRE(put_records(*ring, 1, 10));
  const Descriptor file(open(ring->path().c_str(), O_WRONLY | O_CLOEXEC), ring->path());
  REQUIRE(pwrite(file.number(), "broken", 6, (192 << 10) + 9 * 384) == 6);
  const auto drain = directories.drain();
  // No directory to write to.
  std::filesystem::rename(directories.captures, directories.captures + ".away");
  for (int i = 0; i < 3; ++i) CHECK(drain->step(clock.after(kRetry_ns)) == 0);
  CHECK(drain->counters().failures == 3);
  std::filesystem::rename(directories.captures + ".away", directories.captures);
  drain_all(*drain, clock);
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, 9));
  CHECK(drain->counters().refused_rings == 1);
  CHECK(drain->counters().records == 9);
}

TEST_CASE("a ring for which there is no descriptor now is not set aside, but read later") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  REQUIRE(put_records(*ring, 1, 5));
  CHECK(outcome_in_child([&] {
          const auto other = Directories();
          const auto drain = std::make_unique<Drain>(other.rings, directories.captures, Budget());
          std::filesystem::rename(ring->path(), other.rings + "/writer.ring");
          // One more may be opened: enough to see that there is a ring.
          const int next = dup(0);
          close(next);
          rlimit limit{};
          if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
          const rlim_t before = limit.rlim_cur;
          limit.rlim_cur = static_cast<rlim_t>(next) + 1;
          if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
          for (int i = 0; i < 3; ++i) drain->step(clock.after(kRetry_ns));
          if (drain->counters().refused_rings != 0 || ring_count(other) != 1) return false;
          limit.rlim_cur = before;
          if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
          drain_all(*drain, clock);
          return drain->counters().refused_rings == 0 && drain->counters().records == 5;
        }) == "");
}

TEST_CASE("rings that keep the newest are read after their writer's end only") {
  for (const bool is_killed : {false, true}) {
    CAPTURE(is_killed);
    const Directories directories;
    Clock clock;
    const auto drain = directories.drain();
    constexpr uint64_t kCount = 1000;
    const auto put = [&](Keep keep) {
      const auto ring = directories.ring(kCapacity, keep);
      for (uint64_t sequence = 1; sequence <= kCount; ++sequence) {
        if (!try_put_record(*ring, sequence, 100)) abort();
        if (!is_killed) CHECK(drain->step(clock.after(kSecond_ns)) == 0);
      }
      if (is_killed) kill(getpid(), SIGKILL);
    };
    if (is_killed) {
      kill_after([&] { put(Keep::newest); });
    } else {
      put(Keep::newest);
    }
    drain_all(*drain, clock);
    const Drained all = drained(directories.captures);
    CHECK(all.complaint == "");
    REQUIRE(all.sequences.size() == 1);
    const auto& [ring_id, sequences] = *all.sequences.begin();
    const uint64_t held = kCapacity / 384;
    CHECK(sequences == from_to(kCount - held + 1, kCount));
    CHECK(all.counters.at(ring_id) == Sequences{0, kCount, 0, 0, kCount - held, kCount, 0});
    CHECK(ring_count(directories) == 0);
  }
}

TEST_CASE("a large ring that keeps the newest is not begun again by the drain that follows one that was killed") {
  const Directories directories;
  Clock clock;
  auto ring = directories.ring(uint64_t{16} << 20, Keep::newest);
  const uint64_t ring_id = ring->ring_id();
  REQUIRE(put_records(*ring, 1, 15, uint32_t{1} << 20));
  ring.reset();
  for (uint64_t passes = 0; passes < 5; ++passes) {
    // Each ends as by a crash, with what it read sealed.
    const auto drain = directories.drain(sealed_at_once());
    drain->step(clock.after(kSecond_ns));
    CHECK(drain->counters().duplicates == 0);
  }
  const auto drain = directories.drain();
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(ring_id) == from_to(1, 15));
  CHECK(ring_count(directories) == 0);
}

TEST_CASE("encrypted segments are read with the recipient's key, and hold the same") {
  const Directories directories;
  Clock clock;
  const PrivateKey owner = device('a');
  const PrivateKey other = device('b');
  const auto ring = directories.ring(kCapacity, Keep::oldest, public_key(owner));
  const auto drain = directories.drain(sealed_at_once());
  for (uint64_t round = 0; round < 4; ++round) {
    REQUIRE(put_records(*ring, 10 * round + 1, 10 * round + 10));
    drain->step(clock.after(kSecond_ns));
  }
  drain->close();
  const Drained all = drained(directories.captures, &owner);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(ring->ring_id()) == from_to(1, 40));
  CHECK(all.segment_count == 4);
  for (const std::string& path : paths_in(directories.captures, ".ewc"))
    check_refusal(Code::wrong_key, {path}, [&] { SegmentReader(path, &other); });
}

TEST_CASE("each ring's records reach the disk for its own recipient alone, whoever drains") {
  const Directories directories;
  Clock clock;
  const PrivateKey owner = device('a');
  const PrivateKey other = device('b');
  const auto first = directories.ring(kCapacity, Keep::oldest, public_key(owner));
  const auto second = directories.ring(kCapacity, Keep::oldest, public_key(other));
  const auto open = directories.ring();
  const auto again = directories.ring(kCapacity, Keep::newest, public_key(owner));
  REQUIRE(put_records(*again, 1, 2));
  again->end();
  const auto drain = directories.drain();
  for (uint64_t round = 0; round < 3; ++round) {
    for (const auto& ring : {first.get(), second.get(), open.get()})
      REQUIRE(put_records(*ring, 10 * round + 1, 10 * round + 10));
    drain->step(clock.after(kSecond_ns));
  }
  CHECK(paths_in(directories.captures, ".open").size() == 3);
  drain->close();
  using Rings = std::set<uint64_t>;
  const std::vector<std::string> paths = paths_in(directories.captures, ".ewc");
  REQUIRE(paths.size() == 3);
  std::map<std::string, Rings> rings_of;  // by whose they are
  for (const std::string& path : paths) {
    const SegmentReader reader(path, nullptr);
    std::string whose = reader.is_encrypted() ? "" : "anybody";
    for (const auto& [name, key] : {std::pair("owner", &owner), std::pair("other", &other)}) {
      if (!reader.is_encrypted()) continue;
      try {
        SegmentReader(path, key);
        whose += name;
      } catch (const Error& error) {
        CHECK(error.code() == Code::wrong_key);
      }
    }
    Drained all;
    add_segment(all, path, whose == "owner" ? &owner : whose == "other" ? &other : nullptr);
    CHECK(all.complaint == "");
    for (const auto& [ring_id, sequences] : all.sequences) rings_of[whose].insert(ring_id);
  }
  CHECK(rings_of["owner"] == Rings{first->ring_id(), again->ring_id()});
  CHECK(rings_of["other"] == Rings{second->ring_id()});
  CHECK(rings_of["anybody"] == Rings{open->ring_id()});
}

TEST_CASE("drains of several directories of rings write to one directory, and recover what a dead one left") {
  const Directories directories;
  Clock clock;
  const Directory elsewhere("/dev/shm");
  const auto near = directories.ring();
  RingWriter far(elsewhere.at(""), kCapacity, Keep::oldest, "{}");
  const auto drain = directories.drain();
  REQUIRE(put_records(*near, 1, 3));
  drain->step(clock.after(kSecond_ns));
  REQUIRE(put_records(far, 1, 3));
  kill_after([&] {
    auto* other = new Drain(elsewhere.at(""), directories.captures, {});
    other->step(clock.after(kSecond_ns));
  });
  {
    // What is open and whose writer lives stays; what the dead one left is sealed.
    Drain other(elsewhere.at(""), directories.captures, {});
    CHECK(paths_in(directories.captures, ".open").size() == 1);
    CHECK(other.refusal() == "");
    REQUIRE(put_records(far, 4, 5));
    drain_all(other, clock);
  }
  REQUIRE(put_records(*near, 4, 5));
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(near->ring_id()) == from_to(1, 5));
  CHECK(all.sequences.at(far.ring_id()) == from_to(1, 5));
}

TEST_CASE("the draft of a recovery is removed, unless another process is at that recovery") {
  const Directories directories;
  std::filesystem::create_directory(directories.captures);
  const std::string open_path = write_file(directories.captures + "/1-a.open", "no segment");
  const std::string draft_path = write_file(directories.captures + "/1-a.ewc.7.draft", "half of one");
  {
    const Descriptor recovery(open(open_path.c_str(), O_RDONLY | O_CLOEXEC), open_path);
    REQUIRE(flock(recovery.number(), LOCK_EX | LOCK_NB) == 0);
    directories.drain();
    CHECK(std::filesystem::exists(open_path));
    CHECK(std::filesystem::exists(draft_path));
  }
  directories.drain();
  CHECK_FALSE(std::filesystem::exists(draft_path));
}

TEST_CASE("any number of rings is drained with few of them open, live ones in their turn") {
  const Directories directories;
  Clock clock;
  constexpr size_t kRings = 3 * Drain::kMaxOpenRings + 5;
  std::vector<std::unique_ptr<RingWriter>> rings;
  for (size_t i = 0; i < kRings; ++i) rings.push_back(directories.ring());
  for (const auto& ring : rings) REQUIRE(put_records(*ring, 1, 2));
  for (size_t i = 0; i < kRings; i += 3) rings[i]->end();
  const auto drain = directories.drain();
  const auto open_files = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
  const auto before = open_files();
  for (size_t turns = drain->turn_count(); turns > 0; --turns) drain->step(clock.after(kSecond_ns));
  CHECK(open_files() <= before + 1);  // a segment
  for (size_t i = 0; i < kRings; ++i) CHECK(rings[i]->drained_count() == 2);
  for (size_t i = 0; i < kRings; ++i) {
    if (i % 3 != 0) REQUIRE(put_records(*rings[i], 3, 4));
  }
  for (size_t turns = drain->turn_count() + 1; turns > 0; --turns) drain->step(clock.after(kSecond_ns));
  CHECK_FALSE(drain->is_idle());
  rings.clear();
  for (size_t turns = drain->turn_count() + 1; turns > 0; --turns) drain->step(clock.after(kSecond_ns));
  CHECK(drain->is_idle());
  drain->close();
  CHECK(ring_count(directories) == 0);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.size() == kRings);
  size_t longer = 0;
  for (const auto& [ring_id, sequences] : all.sequences) longer += sequences == from_to(1, 4) ? 1 : 0;
  CHECK(longer == kRings - kRings / 3 - 1);
}

TEST_CASE("whenever a drain ended without a word, the next one loses nothing and writes nothing twice") {
  const PrivateKey owner = device('a');
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const Directories directories;
    Clock clock;
    const auto recipient = seed % 2 == 0 ? std::optional(public_key(owner)) : std::nullopt;
    Budget budget;
    if (seed % 3 == 0) budget.segment_bytes = 20'000;
    struct Writer {
      std::unique_ptr<RingWriter> ring;
      uint64_t ring_id;
      uint64_t committed;
    };
    std::vector<Writer> writers;
    auto drain = directories.drain(budget);
    for (int act = 0; act < 60; ++act) {
      const auto live = [&]() -> Writer* {
        if (writers.empty()) return nullptr;
        Writer& writer = writers[random() % writers.size()];
        return writer.ring ? &writer : nullptr;
      };
      switch (random() % 8) {
        case 0:
          if (writers.size() < 4) {
            auto ring = directories.ring(kCapacity, random() % 4 == 0 ? Keep::newest : Keep::oldest, recipient);
            const uint64_t ring_id = ring->ring_id();
            writers.push_back({std::move(ring), ring_id, 0});
          }
          break;
        case 1:
        case 2:
          if (Writer* writer = live()) {
            for (uint64_t i = random() % 10; i > 0; --i) {
              if (writer->ring->counters().committed >= 150) break;  // of the newest none shall be given up
              REQUIRE(try_put_record(*writer->ring, ++writer->committed, 100));
            }
          }
          break;
        case 3:
          if (Writer* writer = live(); writer != nullptr && random() % 3 == 0) writer->ring.reset();
          break;
        case 4: drain->step(clock.after(1)); break;
        case 5: drain->step(clock.after(kSecond_ns)); break;
        case 6: random() % 2 == 0 ? drain->flush() : drain->close(); break;
        case 7:
          drain.reset();
          drain = directories.drain(budget);
          break;
      }
    }
    for (Writer& writer : writers) writer.ring.reset();
    drain_all(*drain, clock);
    const Drained all = drained(directories.captures, &owner);
    CHECK(all.complaint == "");
    for (const Writer& writer : writers) {
      const auto entry = all.sequences.find(writer.ring_id);
      const Sequences sequences = entry == all.sequences.end() ? Sequences() : entry->second;
      CHECK(sequences == (writer.committed == 0 ? Sequences() : from_to(1, writer.committed)));
      CHECK(all.counters.at(writer.ring_id)[1] == writer.committed);
    }
    CHECK(ring_count(directories) == 0);
    CHECK(paths_in(directories.captures, ".open").empty());
  }
}

TEST_CASE("a drain that is killed between any two calls of the system leaves all to the next one, and nothing twice") {
  if (!can_trace()) {
    MESSAGE("no process can be traced here: not every moment to be killed at is tested");
    return;
  }
  const PrivateKey owner = device('a');
  for (const bool is_encrypted : {false, true}) {
    CAPTURE(is_encrypted);
    const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
    bool is_killed = true;
    size_t stops = 0;
    for (; is_killed; ++stops) {
      CAPTURE(stops);
      const Directories directories;
      Clock clock;
      const auto ring = directories.ring(kCapacity, Keep::oldest, recipient);
      auto ended = directories.ring(kCapacity, Keep::oldest, recipient);
      const uint64_t ended_id = ended->ring_id();
      REQUIRE(put_records(*ring, 1, 3));
      REQUIRE(put_records(*ended, 1, 3));
      {
        // Some is on the disk, some is on its way, in a segment that is open.
        const auto drain = directories.drain();
        drain->step(clock.after(kSecond_ns));
        REQUIRE(put_records(*ring, 4, 6));
        REQUIRE(put_records(*ended, 4, 6));
        drain->step(clock.after(1));
      }
      ended.reset();
      REQUIRE(put_records(*ring, 7, 9));
      is_killed = is_killed_at(stops, [&] {
        const auto drain = directories.drain(sealed_at_once());
        drain->step(clock.after(kSecond_ns));
        drain->step(clock.after(kSecond_ns));
        drain->close();
      });
      const auto drain = directories.drain();
      drain_all(*drain, clock);
      const Drained all = drained(directories.captures, &owner);
      REQUIRE(all.complaint == "");
      REQUIRE(all.sequences.at(ring->ring_id()) == from_to(1, 9));
      REQUIRE(all.sequences.at(ended_id) == from_to(1, 6));
      const Sequences& counters = all.counters.at(ended_id);
      const bool is_counted = counters == Sequences{0, 6, 0, 0, 0, 6, 0} || counters == Sequences{0, 6, 0, 0, 0, 0, 0};
      REQUIRE(is_counted);
      REQUIRE(ring_count(directories) == 1);
      REQUIRE(drain->complaint() == "");
      // Nothing is left lying about but segments.
      for (const auto& entry : std::filesystem::directory_iterator(directories.captures)) {
        const std::string name = entry.path().filename();
        const bool is_expected = name.ends_with(".ewc");
        CAPTURE(name);
        REQUIRE((is_expected || name.ends_with(".open.damaged")));
      }
    }
    CHECK(stops > 60);
  }
}

TEST_CASE("drains that are killed at any moment while a writer writes lose nothing and write nothing twice") {
  std::mt19937_64 random(23);
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  uint64_t sequence = 0;
  Budget budget;
  budget.segment_bytes = 30'000;
  for (int round = 0; round < 40; ++round) {
    Shared<std::atomic<uint64_t>> steps;
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      const auto drain = directories.drain(budget);
      for (;;) {
        drain->step(clock.after(kSecond_ns / 3));
        ++*steps;
      }
    }
    REQUIRE(child > 0);
    const uint64_t wanted = sequence + 1 + random() % 100;
    const uint64_t least_steps = random() % 20;
    while (sequence < wanted || *steps < least_steps) {
      if (sequence < wanted + 100 && used_bytes(ring->path()) < kCapacity / 2)
        REQUIRE(try_put_record(*ring, ++sequence, 300));
    }
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
  }
  const auto drain = directories.drain(budget);
  drain_all(*drain, clock);
  const Drained all = drained(directories.captures);
  CHECK(all.complaint == "");
  CHECK(all.sequences.at(ring->ring_id()) == from_to(1, sequence));
  CHECK(ring->lost() == 0);
}

TEST_CASE("a second drain into the same directory is refused while the first one lives, in any process") {
  const Directories directories;
  const auto refused = [&] {
    check_refusal(Code::busy,
                  {directories.captures, "expected to be their only drain", "process " + std::to_string(getpid())},
                  [&] { directories.drain(); });
  };
  auto drain = directories.drain();
  refused();
  CHECK(outcome_in_child([&] {
          try {
            directories.drain();
            return false;
          } catch (const Error& error) {
            return error.code() == Code::busy;
          }
        }) == "");
  // What the second one tried leaves the first one as it was.
  refused();
  drain.reset();
  drain = directories.drain();
  drain.reset();
  kill_after([&] { directories.drain().release(); });
  CHECK_NOTHROW(directories.drain());
}

TEST_CASE("a forked child does not keep the lock of a drain that ended") {
  const Directories directories;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  auto drain = directories.drain();
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    close(ends[1]);
    char any = 0;
    _exit(read(ends[0], &any, 1) == 0 ? 0 : 1);
  }
  REQUIRE(child > 0);
  drain.reset();
  CHECK_NOTHROW(directories.drain());
  close(ends[0]);
  close(ends[1]);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
}

TEST_CASE("directories are made, for their owner and group alone") {
  const Directory directory("/dev/shm");
  const mode_t before = umask(0);
  const Drain drain(directory.at("a/rings"), directory.at("b/captures"), {});
  umask(before);
  CHECK(mode_of(directory.at("a/rings")) == 0700);
  CHECK(mode_of(directory.at("b/captures")) == 0750);
  CHECK(mode_of(directory.at("a/rings/bell")) == 0600);
  CHECK(mode_of(directory.at("a/rings/drain.lock")) == 0600);
  CHECK(drain.is_idle());
}

TEST_CASE("a ring that was never finished goes with its writer, unless it is young") {
  const Directories directories;
  const auto draft = [&](const char* name, time_t age_s) {
    std::string path = write_file(directories.rings + "/" + name + ".ring.draft", "half a ring");
    make_older(path, age_s);
    return path;
  };
  draft("dead", 100);
  const std::string young = draft("young", 30);
  const std::string living = draft("living", 100);
  const Descriptor lock(open(living.c_str(), O_RDWR | O_CLOEXEC), living);
  REQUIRE(flock(lock.number(), LOCK_EX) == 0);
  const std::string target = write_file(directories.rings + "/target", "of a link");
  const std::string link = directories.rings + "/link.ring.draft";
  REQUIRE(symlink(target.c_str(), link.c_str()) == 0);
  const auto drain = directories.drain();
  CHECK(paths_in(directories.rings, ".draft") == std::vector<std::string>{link, living, young});
  CHECK(content_of(target) == "of a link");
}

TEST_CASE("a writer that is killed between any two calls of the system leaves no ring that was never finished") {
  if (!can_trace()) {
    MESSAGE("no process can be traced here: not every moment to be killed at is tested");
    return;
  }
  const Directories directories;
  size_t draft_count = 0;
  const auto make = [&] { directories.ring(); };
  for (size_t stops = 0; is_killed_at(stops, make); ++stops) {
    for (const std::string& path : paths_in(directories.rings, ".draft")) {
      make_older(path, 100);
      ++draft_count;
    }
    Clock clock;
    drain_all(*directories.drain(), clock);
    REQUIRE(paths_in(directories.rings, ".draft").empty());
    REQUIRE(ring_count(directories) == 0);
  }
  CHECK(draft_count > 0);
}

TEST_CASE("what a crash left that is no segment is set aside, and holds nobody up") {
  const Directories directories;
  std::filesystem::create_directory(directories.captures);
  write_file(directories.captures + "/empty.open", "");
  write_file(directories.captures + "/other.open", std::string(1000, 'x'));
  write_file(directories.captures + "/one.ewc.12345.draft", "half a recovery");
  write_file(directories.captures + "/statistics.json.1.draft", "another's");
  REQUIRE(mkfifo((directories.captures + "/fifo.open").c_str(), 0600) == 0);
  CHECK(outcome_in_child([&] { return directories.drain() != nullptr; }) == "");
  const auto drain = directories.drain();
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directories.captures))
    names.insert(entry.path().filename());
  CHECK(names == std::set<std::string>{"empty.open.damaged", "other.open.damaged", "fifo.open.damaged",
                                       "statistics.json.1.draft"});
}

TEST_CASE("the directory of rings goes with the last drain, and a writer makes it anew") {
  const Directories directories;
  Clock clock;
  {
    const auto drain = directories.drain();
    auto ring = directories.ring();
    REQUIRE(try_put_record(*ring, 1, 10));
    ring.reset();
    drain_all(*drain, clock);
    drain->close();
    drain->remove_ring_directory();
    CHECK_FALSE(std::filesystem::exists(directories.rings));
    // Who comes while the last one is not gone yet.
    const auto next = directories.drain();
    CHECK(std::filesystem::exists(directories.rings));
    next->remove_ring_directory();
  }
  CHECK_FALSE(std::filesystem::exists(directories.rings));
  const auto ring = directories.ring();
  CHECK(mode_of(directories.rings) == 0700);
  REQUIRE(try_put_record(*ring, 2, 10));
  const auto drain = directories.drain();
  drain_all(*drain, clock);
  drain->remove_ring_directory();
  CHECK(std::filesystem::exists(ring->path()));
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(2, 2));
}

TEST_CASE("a directory of rings stays while there is anything else in it") {
  for (const std::string& name : {std::string("notes"), "1" + std::string(kRingSuffix) + std::string(kRefusedSuffix),
                                  "1" + std::string(kRingDraftSuffix)}) {
    CAPTURE(name);
    const Directories directories;
    write_file(directories.rings + "/" + name, "x");
    directories.drain()->remove_ring_directory();
    CHECK(std::filesystem::exists(directories.rings + "/" + name));
  }
}

TEST_CASE("directories of rings that nobody has used for long are removed, and no other") {
  using namespace std::chrono_literals;
  const Directories directories;
  const auto now = std::filesystem::file_time_type::clock::now();
  const auto make = [&](const std::string& name, const std::vector<std::string_view>& files, std::chrono::hours age) {
    const std::string path = directories.rings_at.at(name);
    std::filesystem::create_directory(path);
    for (const std::string_view file : files) write_file(path + "/" + std::string(file), "");
    std::filesystem::last_write_time(path, now - age);
    return path;
  };
  const std::string deserted = make("deserted", {kDrainLockName, kBellName}, 25h);
  const std::string bare = make("bare", {kDrainLockName}, 25h);
  const std::string kept[] = {
      make("young", {kDrainLockName, kBellName}, 23h), make("used", {kDrainLockName, kBellName, "1.ring"}, 25h),
      make("held", {kDrainLockName}, 25h), make("other", {}, 25h), make("bell", {kBellName}, 25h)};
  DrainLock held(kept[2]);
  REQUIRE(held.try_acquire());
  const auto drain = directories.drain();
  CHECK_FALSE(std::filesystem::exists(deserted));
  CHECK_FALSE(std::filesystem::exists(bare));
  for (const std::string& path : kept) {
    CAPTURE(path);
    CHECK(std::filesystem::exists(path));
  }
}

TEST_CASE("rings that were refused long ago are removed") {
  using namespace std::chrono_literals;
  const Directories directories;
  const auto now = std::filesystem::file_time_type::clock::now();
  const auto make = [&](const std::string& name, std::chrono::hours age) {
    const std::string path = write_file(directories.rings + "/" + name, "noise");
    std::filesystem::last_write_time(path, now - age);
    return path;
  };
  const std::string old = make("1.ring.refused", 25h);
  const std::string ahead = make("2.ring.refused", -25h);
  const std::string young = make("3.ring.refused", 23h);
  const std::string other = make("4.txt", 25h);
  const auto drain = directories.drain();
  CHECK_FALSE(std::filesystem::exists(old));
  CHECK_FALSE(std::filesystem::exists(ahead));
  CHECK(std::filesystem::exists(young));
  CHECK(std::filesystem::exists(other));
}

// ---- Budgets.

TEST_CASE("segments beyond the budget go, the oldest first, and are counted") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  Budget budget = sealed_at_once();
  uint64_t segment_bytes = 0;
  uint64_t sequence = 0;
  const auto make = [&](Drain& drain) {
    REQUIRE(put_records(*ring, sequence + 1, sequence + 3));
    sequence += 3;
    drain.step(clock.after(kSecond_ns));
  };
  {
    const auto drain = directories.drain(budget);
    make(*drain);
    segment_bytes = std::filesystem::file_size(paths_in(directories.captures, ".ewc").at(0));
  }
  budget.most_bytes = 4 * segment_bytes + segment_bytes / 2;
  const auto drain = directories.drain(budget);
  for (uint64_t round = 1; round < 10; ++round) {
    make(*drain);
    const uint64_t left = std::min<uint64_t>(round + 1, 4);
    CHECK(paths_in(directories.captures, ".ewc").size() == left);
    CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(sequence - 3 * left + 1, sequence));
    CHECK(drain->counters().evicted_segments == round + 1 - left);
    CHECK(drain->counters().evicted_records == 3 * (round + 1 - left));
    CHECK(drain->counters().evicted_bytes == segment_bytes * (round + 1 - left));
  }
}

TEST_CASE("a segment that is open is sealed early enough to go as a whole when its first record is too old") {
  const Directories directories;
  Clock clock;
  auto ring = directories.ring();
  Budget budget;
  budget.most_age_ns = 80 * static_cast<int64_t>(kSecond_ns);
  const auto drain = directories.drain(budget);
  drain->step(clock.now_ns());
  for (uint64_t sequence = 1; sequence <= 10; ++sequence) {
    REQUIRE(try_put_record(*ring, sequence, 10));
    drain->step(clock.after(kSecond_ns));
    CHECK(paths_in(directories.captures, ".open").size() == 1);
  }
  drain->step(clock.after(kSecond_ns));
  CHECK(paths_in(directories.captures, ".open").empty());
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, 10));
  CHECK(drain->counters().evicted_segments == 0);
}

TEST_CASE("a segment is sealed when it has been written to for the budget's span, and a later one in its turn") {
  const Directories directories;
  Clock clock;
  auto ring = directories.ring();
  Budget budget;
  budget.most_span_ns = 3 * static_cast<int64_t>(kSecond_ns);
  const auto drain = directories.drain(budget);
  for (uint64_t sequence = 1; sequence <= 8; ++sequence) {
    REQUIRE(try_put_record(*ring, sequence, 10));
    drain->step(clock.after(kSecond_ns));
    CHECK(paths_in(directories.captures, ".ewc").size() == sequence / 4);
  }
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, 8));
  CHECK(drain->counters().evicted_segments == 0);
}

TEST_CASE("names of segments sort in the order in which they were made, though one is of a time to come") {
  const Directories directories;
  Clock clock;
  std::filesystem::create_directory(directories.captures);
  const std::string ahead = write_file(directories.captures + "/04000000000000000000-0000000000000000.ewc", "x");
  const auto ring = directories.ring();
  const auto drain = directories.drain(sealed_at_once());
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) {
    const auto before = paths_in(directories.captures, ".ewc");
    REQUIRE(try_put_record(*ring, sequence, 10));
    drain->step(clock.after(kSecond_ns));
    const auto after = paths_in(directories.captures, ".ewc");
    REQUIRE(after.size() == before.size() + 1);
    CHECK(std::equal(before.begin(), before.end(), after.begin()));
  }
  CHECK(paths_in(directories.captures, ".ewc").front() == ahead);
}

TEST_CASE("where less of the file system is free than shall be, records stay in the ring, and no segment is written") {
  const Directories directories;
  Clock clock;
  const auto ring = directories.ring();
  Budget budget = sealed_at_once();
  budget.least_free_bytes = UINT64_MAX;
  auto drain = directories.drain(budget);
  for (uint64_t sequence = 1; sequence <= 4; ++sequence) {
    REQUIRE(try_put_record(*ring, sequence, 10));
    CHECK(drain->step(clock.after(kRetry_ns)) == 0);
    CHECK(drain->complaint().find("least_free_bytes") != std::string::npos);
  }
  drain->close();
  CHECK(drain->complaint().find("least_free_bytes") != std::string::npos);
  CHECK(drain->counters().records == 0);
  CHECK(drain->counters().evicted_records == 0);
  CHECK(paths_in(directories.captures, "").empty());
  drain.reset();
  drain = directories.drain();
  drain_all(*drain, clock);
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, 4));
}

TEST_CASE("what leaves less free than shall be stays until the next segment is begun, and then goes for it") {
  check_on_small_disk("size=1m", [](const Directory& disk, const Directory& rings) {
    Clock clock;
    const std::string captures = disk.at("captures");
    Budget budget;
    budget.least_free_bytes = 300'000;
    const auto fill = [&](uint64_t last) {
      Drain drain(rings.at(""), captures, budget);
      RingWriter ring(rings.at(""), kCapacity, Keep::oldest, "{}");
      for (uint64_t sequence = 1; sequence <= last; ++sequence) {
        if (!try_put_record(ring, sequence, 1000)) return UINT64_MAX;
        drain.step(clock.after(kSecond_ns));
      }
      drain.close();
      return drain.complaint().empty() ? drain.counters().evicted_records : UINT64_MAX;
    };
    if (fill(750) != 0 || free_bytes(captures) >= 300'000) return false;
    if (drained(captures).record_count() != 750) return false;
    return fill(5) == 750 && drained(captures).record_count() == 5;
  });
}

TEST_CASE("a segment that cannot be read goes like another when there is no room") {
  const Directories directories;
  Clock clock;
  std::filesystem::create_directory(directories.captures);
  write_file(directories.captures + "/000.ewc", std::string(5000, 'x'));
  Budget budget;
  budget.most_bytes = 1000;
  const auto ring = directories.ring();
  REQUIRE(try_put_record(*ring, 1, 10));
  const auto drain = directories.drain(budget);
  drain->step(clock.now_ns());
  CHECK(drain->counters().evicted_segments == 1);
  CHECK(drain->counters().evicted_bytes == 5000);
  CHECK(drain->counters().evicted_records == 0);
}

// ---- A disk that is full.

TEST_CASE("a disk that is full costs what the ring has no room for, counted; with room it goes on") {
  for (const bool is_encrypted : {false, true}) {
    CAPTURE(is_encrypted);
    check_on_small_disk("size=1m", [&](const Directory& disk, const Directory& rings) {
      const PrivateKey owner = device('a');
      const auto recipient = is_encrypted ? std::optional(public_key(owner)) : std::nullopt;
      Clock clock;
      const std::string captures = disk.at("captures");
      Budget budget;
      budget.segment_bytes = 100'000;
      auto drain = std::make_unique<Drain>(rings.at(""), captures, budget);
      RingWriter ring(rings.at(""), kCapacity, Keep::oldest, "{}", recipient);
      // Something else takes most of the room.
      const std::string other = write_file(disk.at("other"), std::string(500'000, 'x'));
      uint64_t sequence = 0;
      const auto put_while = [&](auto&& goes_on) {
        for (int i = 0; i < 5000 && goes_on(); ++i) {
          try_put_record(ring, ++sequence, 1000);
          drain->step(clock.after(kSecond_ns));
        }
      };
      put_while([&] { return drain->complaint().empty(); });
      if (drain->complaint().find("No space left") == std::string::npos || ring.lost() != 0) return false;
      put_while([&] { return ring.lost() < 100; });
      if (ring.lost() != 100 || drain->counters().failures < 2) return false;
      // What is sealed can be read, and nothing piles up beside it.
      if (!drained(captures, &owner).complaint.empty()) return false;
      if (!paths_in(captures, ".damaged").empty() || paths_in(captures, ".open").size() > 1) return false;
      std::filesystem::remove(other);
      drain->step(clock.after(kRetry_ns));
      if (!drain->complaint().empty()) return false;
      const uint64_t lost = ring.lost();
      for (int i = 0; i < 100; ++i) {
        if (!try_put_record(ring, ++sequence, 1000)) return false;
        drain->step(clock.after(kSecond_ns));
      }
      drain_all(*drain, clock);
      const Drained all = drained(captures, &owner);
      const Sequences& sequences = all.sequences.at(ring.ring_id());
      return all.complaint.empty() && ring.lost() == lost && sequences.size() == sequence - lost &&
             sequences.back() == sequence && all.counters.at(ring.ring_id())[2] == lost &&
             drain->counters().records == sequences.size() && paths_in(captures, ".open").empty();
    });
  }
}

TEST_CASE("a disk without an inode for another segment costs what the ring has no room for; with one it goes on") {
  // Of the twelve, the root, the directories and the drain's lock take some.
  check_on_small_disk("size=8m,nr_inodes=12", [](const Directory& disk, const Directory& rings) {
    Clock clock;
    const std::string captures = disk.at("captures");
    Drain drain(rings.at(""), captures, sealed_at_once());
    RingWriter ring(rings.at(""), kCapacity, Keep::oldest, "{}");
    uint64_t sequence = 0;
    for (int i = 0; i < 5000 && ring.lost() < 100; ++i) {
      try_put_record(ring, ++sequence, 1000);
      drain.step(clock.after(kSecond_ns));
    }
    if (drain.complaint().find("No space left") == std::string::npos || ring.lost() != 100) return false;
    const std::vector<std::string> sealed = paths_in(captures, ".ewc");
    const uint64_t records = drained(captures).record_count();
    if (sealed.size() < 2 || records != sealed.size()) return false;
    // One goes: all that the ring holds has room in the next.
    std::filesystem::remove(sealed.front());
    if (drain.step(clock.after(kRetry_ns)) == 0 || !drain.complaint().empty()) return false;
    const uint64_t committed = sequence - ring.lost();
    const Drained all = drained(captures);
    return all.complaint.empty() && all.record_count() + 1 == committed &&
           all.sequences.at(ring.ring_id()).front() == 2 && drain.counters().records == committed &&
           try_put_record(ring, ++sequence, 1000);
  });
}

TEST_CASE("a file system that is read-only for a while costs no record that the ring has room for") {
  check_on_small_disk("size=8m", [](const Directory& disk, const Directory& rings) {
    Clock clock;
    const std::string captures = disk.at("captures");
    Drain drain(rings.at(""), captures, sealed_at_once());
    RingWriter ring(rings.at(""), kCapacity, Keep::oldest, "{}");
    uint64_t sequence = 0;
    const auto put_ten = [&] {
      for (int i = 0; i < 10; ++i) {
        if (!try_put_record(ring, ++sequence, 1000)) return false;
        drain.step(clock.after(kSecond_ns));
      }
      return true;
    };
    if (!put_ten() || !drain.complaint().empty()) return false;
    const bool is_read_only = mount(captures.c_str(), captures.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
                              mount(nullptr, captures.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0;
    if (!is_read_only || !put_ten()) return false;
    if (drain.complaint().find("Read-only") == std::string::npos) return false;
    if (umount(captures.c_str()) != 0) return false;
    drain.step(clock.after(kRetry_ns));
    if (!drain.complaint().empty()) return false;
    drain_all(drain, clock);
    return drained(captures).sequences.at(ring.ring_id()) == from_to(1, 20) && ring.lost() == 0;
  });
}

TEST_CASE("free space is kept on a disk that others fill") {
  check_on_small_disk("size=1m", [](const Directory& disk, const Directory& rings) {
    Clock clock;
    const std::string captures = disk.at("captures");
    Budget budget;
    budget.segment_bytes = 50'000;
    budget.least_free_bytes = 300'000;
    Drain drain(rings.at(""), captures, budget);
    RingWriter ring(rings.at(""), kCapacity, Keep::oldest, "{}");
    const auto free_bytes = [&] {
      struct statvfs facts {};
      return statvfs(captures.c_str(), &facts) == 0 ? facts.f_bavail * facts.f_frsize : 0;
    };
    for (uint64_t sequence = 1; sequence <= 2000; ++sequence) {
      if (!try_put_record(ring, sequence, 1000)) return false;
      drain.step(clock.after(kSecond_ns));
      if (!drain.complaint().empty()) return false;
      // It is looked after once in a segment.
      if (sequence % 100 == 99 && free_bytes() < 200'000) return false;
      if (sequence == 1000) write_file(disk.at("other"), std::string(150'000, 'x'));
    }
    drain.close();
    const Drained all = drained(captures);
    return all.complaint.empty() && drain.counters().evicted_segments > 0 && free_bytes() >= 300'000 &&
           all.record_count() + drain.counters().evicted_records == 2000;
  });
}

TEST_CASE("a segment that may not grow costs no record, and what was synced of it is kept") {
  const Directories directories;
  CHECK(outcome_in_child([&] {
          signal(SIGXFSZ, SIG_IGN);
          Clock clock;
          const auto drain = directories.drain();
          const auto ring = directories.ring();
          // Rings are larger, but for the reader's line in them.
          rlimit limit{200 << 10, RLIM_INFINITY};
          if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
          uint64_t sequence = 0;
          for (int i = 0; i < 1000; ++i) {
            if (!try_put_record(*ring, ++sequence, 1000)) return false;
            drain->step(clock.after(kRetry_ns));
          }
          if (drain->counters().failures == 0) return false;
          limit.rlim_cur = RLIM_INFINITY;
          if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
          drain_all(*drain, clock);
          const Drained all = drained(directories.captures);
          return all.complaint.empty() && all.sequences.at(ring->ring_id()) == from_to(1, 1000) &&
                 drain->counters().records == 1000 && paths_in(directories.captures, ".open").empty();
        }) == "");
}

TEST_CASE("the directory of segments may go and come back") {
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain();
  const auto ring = directories.ring();
  REQUIRE(put_records(*ring, 1, 5));
  std::filesystem::rename(directories.captures, directories.captures + ".away");
  CHECK(drain->step(clock.after(kSecond_ns)) == 0);
  CHECK(drain->complaint().find("No such file") != std::string::npos);
  drain->flush();
  drain->close();
  CHECK(drain->counters().records == 0);
  std::filesystem::rename(directories.captures + ".away", directories.captures);
  CHECK(drain->step(clock.after(kRetry_ns - 1)) == 0);
  CHECK(drain->step(clock.after(1)) == 5);
  CHECK(drain->complaint() == "");
  drain->close();
  CHECK(drained(directories.captures).sequences.at(ring->ring_id()) == from_to(1, 5));
}

// ---- Waiting.

TEST_CASE("a wait ends when it is told to, when a ring fills, and when its time is over") {
  const Directories directories;
  Clock clock;
  const auto drain = directories.drain();
  const auto ring = directories.ring();
  drain->step(clock.now_ns());
  drain->wait(1);
  CHECK(outcome_in_child([&] {
          drain->wake();
          drain->wait(-1);
          return true;
        }) == "");
  const auto fill = [&] {
    for (uint64_t sequence = 1; sequence <= 3; ++sequence) try_put_record(*ring, sequence, kCapacity / 4 - 300);
  };
  fill();
  CHECK(outcome_in_child([&] {
          drain->wait(-1);
          return true;
        }) == "");
}

}  // namespace edgeward
