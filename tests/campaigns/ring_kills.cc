// Kills a ring's writer, its reader or both at random moments, and counts the records that are there afterwards: a
// campaign, not a unit test. Prints a tally; ends with status 1 when a record was torn, out of order, there twice, or
// lost without being counted.
//
//   ring_kills CYCLES [writer|reader|both] [SEED]   without a mode: each of them in turn
//
// The producer reports the fate of each record in a page that it shares with the campaign, by a store that follows the
// call: so the record during which it was killed has none. The reader does what a drain does: it notes what it read in
// a file, and frees it only then.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "captures/ring_reader.h"
#include "captures/ring_writer.h"
#include "rigs/numbered_record.h"

using namespace edgeward;

namespace {

constexpr uint64_t kMaxRecords = uint64_t{1} << 20;  // of one cycle
constexpr unsigned kLimitS = 30;                     // for a child, long after any that works is done

enum class Mode : uint8_t {
  writer,
  reader,
  both
};

enum Fate : uint8_t {
  kUnfinished,
  kSampledOut,
  kCommitted,
  kAborted,
  kLost
};

// What the processes tell each other, and what outlives each of them.
struct Page {
  std::atomic<bool> is_ready;       // the ring is made
  std::atomic<bool> is_over;        // the producer shall close its ring
  std::atomic<bool> has_no_writer;  // its process was waited for
  std::atomic<uint64_t> begun;      // the last number that the producer began with
  std::atomic<uint64_t> torn;
  std::atomic<uint64_t> broken;
  std::atomic<Fate> fates[kMaxRecords];  // by number
};

// What a reader notes of a record, in one write.
struct Note {
  uint64_t number;
  uint64_t reader;  // one for each life
};

struct Tally {
  uint64_t cycles = 0;
  uint64_t unmade = 0;  // killed before there was a ring
  uint64_t seen = 0;
  uint64_t committed = 0;
  uint64_t unreturned = 0;  // noted, though the call that committed it did not return
  uint64_t sampled_out = 0;
  uint64_t aborted = 0;
  uint64_t lost = 0;         // and counted
  uint64_t overwritten = 0;  // and counted
  uint64_t repeated = 0;     // noted by a reader that was killed, and again by the next
  uint64_t reader_kills = 0;
  uint64_t writer_kills = 0;
  // Violations.
  uint64_t torn = 0;
  uint64_t out_of_order = 0;
  uint64_t duplicated = 0;
  uint64_t uncounted = 0;
  uint64_t miscounted = 0;  // the ring's own counters
  uint64_t broken = 0;      // the reader refused the ring
  uint64_t unexpected = 0;  // a child that ended otherwise than it should

  bool is_right() const { return torn + out_of_order + duplicated + uncounted + miscounted + broken + unexpected == 0; }
};

Page& shared_page() {
  void* room = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) abort();
  return *new (room) Page();
}

std::string ring_in(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string path = entry.path().string();
    if (path.ends_with(kRingSuffix)) return path;
  }
  return "";
}

// Writes at full speed until it is told to stop, or killed.
void produce(const std::string& directory, Keep keep, uint64_t seed, Page& page) {
  std::mt19937_64 random(seed);
  const uint64_t capacity = kMinRingBytes << random() % 3;
  RingWriter writer(directory, capacity, keep, "a campaign");
  page.is_ready.store(true);
  for (uint64_t number = 1; number < kMaxRecords && !page.is_over.load(std::memory_order_relaxed); ++number) {
    page.begun.store(number, std::memory_order_relaxed);
    const auto tell = [&](Fate fate) { page.fates[number].store(fate, std::memory_order_release); };
    const uint64_t what = random();
    if (what % 64 == 0) {
      writer.count_sampled_out();
      tell(kSampledOut);
      continue;
    }
    // Most are small; a few are half the ring, or more than that.
    const uint64_t max_bytes = what % 64 == 1 ? capacity * 5 / 8 : what % 8 == 2 ? 20'000 : 1500;
    const auto size_bytes = static_cast<uint32_t>(kMinNumberedBytes + (what >> 32) % max_bytes);
    const std::span<std::byte> room = writer.try_claim(size_bytes);
    if (room.empty()) {
      tell(kLost);
      // On a machine of few processors the reader would wait for the writer's turn to end.
      sched_yield();
      continue;
    }
    write_numbered(room, size_bytes, number);
    if (what % 64 == 3) {
      writer.abort();
      tell(kAborted);
      continue;
    }
    writer.commit();
    tell(kCommitted);
  }
}

// Reads until the ring has ended and is empty, or until it is killed.
void consume(const std::string& directory, uint64_t life, uint64_t seed, Page& page) {
  std::mt19937_64 random(seed);
  const int bell = open((directory + "/" + std::string(kBellName)).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const int notes = open((directory + "/notes").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (bell < 0 || notes < 0) abort();
  std::string path;
  while (path.empty()) {
    // Load it before the look: a ring that was made before its writer's end is then seen.
    const bool has_no_writer = page.has_no_writer.load();
    path = ring_in(directory);
    if (path.empty() && has_no_writer) return;
    if (path.empty()) sched_yield();
  }
  auto reader = RingReader::try_open(path);
  if (!reader) {
    ++page.broken;
    return;
  }
  std::vector<Note> unwritten;
  const auto free_noted = [&] {
    const size_t size_bytes = unwritten.size() * sizeof(Note);
    if (size_bytes != 0 && write(notes, unwritten.data(), size_bytes) != static_cast<ssize_t>(size_bytes)) abort();
    unwritten.clear();
    if (random() % 4 == 0) sched_yield();  // a drain waits for its disk here
    reader->free_read();
  };
  for (;;) {
    const bool has_ended = reader->has_ended();
    uint64_t batch = 1 + random() % 32;
    bool is_empty = false;
    while (batch-- > 0 && !is_empty) {
      const auto record = reader->next(kMinNumberedBytes);
      is_empty = !record;
      if (!record) continue;
      const auto number = try_read_number(record->bytes);
      page.torn += number ? 0 : 1;
      if (number) unwritten.push_back({*number, life});
    }
    free_noted();
    if (reader->is_broken()) {
      ++page.broken;
      return;
    }
    if (is_empty && has_ended) return;
    if (is_empty) sched_yield();
  }
}

template <class Act>
pid_t start(Act&& act) {
  const pid_t process = fork();
  if (process < 0) abort();
  if (process == 0) {
    // Let a closed pipe end it, as it ends a program that does not care.
    alarm(kLimitS);
    signal(SIGPIPE, SIG_DFL);
    try {
      act();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "a child: %s\n", error.what());
      _exit(1);
    }
    _exit(0);
  }
  return process;
}

// How a child ended that may have been killed.
bool is_expected(pid_t process, bool was_killed) {
  int status = 0;
  if (waitpid(process, &status, 0) != process) abort();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;  // it was faster
  if (was_killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
  std::fprintf(stderr, "a child ended with status %#x\n", static_cast<unsigned>(status));
  return false;
}

bool is_gone(pid_t process) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

void wait_us(uint64_t time_us) {
  const timespec time{0, static_cast<long>(time_us * 1000)};
  nanosleep(&time, nullptr);
}

std::vector<Note> notes_in(const std::string& directory) {
  std::vector<Note> notes;
  const int file = open((directory + "/notes").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return notes;
  struct stat facts {};
  if (fstat(file, &facts) != 0) abort();
  notes.resize(static_cast<size_t>(facts.st_size) / sizeof(Note));
  const size_t size_bytes = notes.size() * sizeof(Note);
  if (pread(file, notes.data(), size_bytes, 0) != static_cast<ssize_t>(size_bytes)) abort();
  close(file);
  return notes;
}

// Compares what the producer reported, what the reader noted and what the ring counted.
void check(const std::string& directory, Keep keep, const Page& page, Tally& tally) {
  const uint64_t begun = page.begun.load();
  std::vector<uint8_t> times(begun + 1, 0);
  uint64_t last = 0;
  Note before{};
  uint64_t first_noted = 0;
  for (const Note& note : notes_in(directory)) {
    if (note.number == 0 || note.number > begun) {
      ++tally.torn;
      continue;
    }
    tally.out_of_order += note.reader == before.reader && note.number <= before.number ? 1 : 0;
    before = note;
    // As a drain does: what is not newer than the newest is there already.
    if (note.number <= last) {
      tally.repeated += times[note.number] != 0 ? 1 : 0;
      tally.out_of_order += times[note.number] == 0 ? 1 : 0;
      continue;
    }
    last = note.number;
    if (first_noted == 0) first_noted = last;
    ++times[last];
  }
  RingCounters expected;
  uint64_t unfinished = 0;
  uint64_t noted = 0;
  for (uint64_t number = 1; number <= begun; ++number) {
    const Fate fate = page.fates[number].load();
    noted += times[number];
    tally.duplicated += times[number] > 1 ? 1 : 0;
    switch (fate) {
      case kSampledOut: ++expected.sampled_out; break;
      case kLost: ++expected.lost_full; break;
      case kAborted: ++tally.aborted; break;
      case kCommitted:
        ++expected.committed;
        if (times[number] != 0) break;
        // A ring of the newest gives up the oldest, and nothing between two that it keeps.
        if (keep == Keep::newest && (first_noted == 0 || number < first_noted)) {
          ++expected.overwritten;
        } else {
          ++tally.uncounted;
        }
        break;
      case kUnfinished:
        ++unfinished;
        tally.unreturned += times[number];
        tally.uncounted += number != begun ? 1 : 0;  // only the last one can be
        break;
    }
    const bool may_be_there = fate == kCommitted || (fate == kUnfinished && number == begun);
    tally.duplicated += times[number] != 0 && !may_be_there ? 1 : 0;
  }
  tally.seen += begun;
  tally.committed += expected.committed;
  tally.sampled_out += expected.sampled_out;
  tally.lost += expected.lost_full;
  tally.overwritten += expected.overwritten;
  tally.torn += page.torn.load();
  tally.broken += page.broken.load();
  const std::string path = ring_in(directory);
  if (path.empty()) {
    ++tally.unmade;
    tally.uncounted += begun;
    return;
  }
  const auto reader = RingReader::try_open(path);
  if (!reader) {
    ++tally.broken;
    return;
  }
  const RingCounters counted = reader->counters();
  const uint64_t lost = counted.lost_full + counted.lost_large;
  const auto is_at_most_one_more = [&](uint64_t has, uint64_t wanted) {
    return has == wanted || has == wanted + unfinished;
  };
  const uint64_t all_expected = expected.sampled_out + expected.committed + expected.lost_full;
  const bool is_right =
      is_at_most_one_more(counted.sampled_out, expected.sampled_out) &&
      is_at_most_one_more(counted.committed, expected.committed) && is_at_most_one_more(lost, expected.lost_full) &&
      is_at_most_one_more(counted.sampled_out + counted.committed + lost, all_expected) && counted.committed >= noted &&
      // Records are counted before they are overwritten: one claim may have been between the two.
      (unfinished == 0 ? counted.overwritten == expected.overwritten : counted.overwritten >= expected.overwritten);
  tally.miscounted += is_right ? 0 : 1;
}

void run_cycle(const std::string& directory, Mode mode, std::mt19937_64& random, Page& page, Tally& tally) {
  const uint64_t begun = page.begun.load();
  for (uint64_t number = 0; number <= begun; ++number) page.fates[number].store(kUnfinished);
  page.is_ready = page.is_over = page.has_no_writer = false;
  page.begun = page.torn = page.broken = 0;
  if (mkfifo((directory + "/" + std::string(kBellName)).c_str(), 0600) != 0) abort();
  // Only what outlives its writer can be a black box.
  const Keep keep = mode == Mode::writer && random() % 3 == 0 ? Keep::newest : Keep::oldest;

  uint64_t life = 0;
  const auto start_reader = [&] {
    return start([&, seed = random(), own = ++life] { consume(directory, own, seed, page); });
  };
  const pid_t writer = start([&, seed = random()] { produce(directory, keep, seed, page); });
  pid_t reader = start_reader();
  // Now and then while the ring is made; else when it is written to, to some times around it.
  const bool is_early = mode != Mode::reader && random() % 8 == 0;
  while (!is_early && !page.is_ready.load() && !is_gone(writer)) wait_us(20);
  const auto wait_at_random = [&] { wait_us(random() % (random() % 4 == 0 ? 100 : 1500)); };
  if (mode != Mode::writer) {
    const uint64_t kills = mode == Mode::both ? random() % 2 : 1 + random() % 4;
    for (uint64_t i = 0; i < kills; ++i) {
      wait_at_random();
      kill(reader, SIGKILL);
      tally.unexpected += is_expected(reader, true) ? 0 : 1;
      ++tally.reader_kills;
      reader = start_reader();
    }
  }
  wait_at_random();
  if (mode == Mode::reader) {
    page.is_over = true;
    tally.unexpected += is_expected(writer, false) ? 0 : 1;
  } else {
    const bool reader_too = mode == Mode::both;
    const bool reader_first = random() % 2 == 0;
    if (reader_too && reader_first) kill(reader, SIGKILL);
    kill(writer, SIGKILL);
    ++tally.writer_kills;
    if (reader_too && !reader_first) {
      wait_us(random() % 100);  // while it reads what is left
      kill(reader, SIGKILL);
    }
    tally.unexpected += is_expected(writer, true) ? 0 : 1;
    page.has_no_writer = true;
    if (reader_too) {
      tally.unexpected += is_expected(reader, true) ? 0 : 1;
      ++tally.reader_kills;
      reader = start_reader();
    }
  }
  page.has_no_writer = true;
  tally.unexpected += is_expected(reader, false) ? 0 : 1;
  check(directory, keep, page, tally);
  for (const auto& entry : std::filesystem::directory_iterator(directory)) std::filesystem::remove(entry.path());
  ++tally.cycles;
}

bool run(const char* name, Mode mode, uint64_t cycles, uint64_t seed, Page& page) {
  std::string directory = "/dev/shm/edgeward-kills-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) abort();
  std::mt19937_64 random(seed);
  Tally tally;
  while (tally.cycles < cycles && tally.is_right()) run_cycle(directory, mode, random, page, tally);
  std::filesystem::remove_all(directory);
  std::printf("%s, seed %lu: %lu cycles, %lu kills of the writer (%lu before there was a ring), %lu of the reader\n",
              name, seed, tally.cycles, tally.writer_kills, tally.unmade, tally.reader_kills);
  std::printf("  %lu seen = %lu committed, %lu lost and counted, %lu sampled out, %lu aborted, the rest under way\n",
              tally.seen, tally.committed, tally.lost, tally.sampled_out, tally.aborted);
  std::printf("  %lu given up for newer ones, %lu found though not returned, %lu read again after a kill\n",
              tally.overwritten, tally.unreturned, tally.repeated);
  std::printf(
      "  %lu torn, %lu out of order, %lu there twice, %lu lost uncounted, %lu miscounted, %lu broken, %lu unexpected\n",
      tally.torn, tally.out_of_order, tally.duplicated, tally.uncounted, tally.miscounted, tally.broken,
      tally.unexpected);
  std::fflush(stdout);
  return tally.is_right() && tally.cycles == cycles && tally.committed > 0;
}

}  // namespace

int main(int count, char** words) {
  const uint64_t cycles = count > 1 ? std::strtoul(words[1], nullptr, 10) : 0;
  const std::string wanted = count > 2 ? words[2] : "";
  const uint64_t seed = count > 3 ? std::strtoul(words[3], nullptr, 10) : std::random_device()();
  if (cycles == 0) return 2;
  Page& page = shared_page();
  bool is_known = false;
  bool is_right = true;
  const std::pair<const char*, Mode> modes[] = {
      {"writer", Mode::writer}, {"reader", Mode::reader}, {"both", Mode::both}};
  for (const auto& [name, mode] : modes) {
    if (!wanted.empty() && wanted != name) continue;
    is_known = true;
    is_right = run(name, mode, cycles, seed, page) && is_right;
  }
  return !is_known ? 2 : is_right ? 0 : 1;
}
