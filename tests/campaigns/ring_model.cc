// Every run of a ring's protocol on weak memory (weak_memory.h), by the code of ring_writer.cc and ring_reader.cc
// itself: what they call an atomic, a fence, a file or a lock is the machine's here. A writer and a reader publish,
// take, free, ring and close; either is killed between any two of its steps, and another reader comes. Then each
// ordering that the code asks for is weakened in turn, and some run must go wrong.
//
//   ring_model [WORD]   only the plays whose name has the word in it; orderings are weakened without one
//
// Prints a line for each play and each ordering; ends with status 1 when a run is wrong, or an ordering does nothing.
// Aligned words are loaded and stored in one step, as by every processor of 64 bits. Of each record, the words at its
// two ends are places.
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>

#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "captures/tick_clock.h"
#include "crypto/crypto.h"
#include "error.h"
#include "system/boot_id.h"
#include "system/file.h"
#include "system/fork.h"
#include "weak_memory.h"

using weak_memory::Act;
using weak_memory::End;
using weak_memory::Machine;
using weak_memory::Ordering;
using weak_memory::View;

namespace {

Machine& machine() {
  static Machine only;
  return only;
}

}  // namespace

// What the ring means by std:: is this: the standard library, but for what the machine has of its own.
namespace model_std {

using namespace std;

template <class T>
class atomic {
 public:
  static constexpr bool is_always_lock_free = true;
  T load(memory_order order, const char* function = __builtin_FUNCTION()) const;
  void store(T value, memory_order order, const char* function = __builtin_FUNCTION());

 private:
  T newest_;
};

inline void atomic_thread_fence(memory_order order, const char* function = __builtin_FUNCTION()) {
  machine().fence(order, function);
}

}  // namespace model_std

namespace edgeward {

// The system's calls, found before the system's own. There is one file and one pipe.
int open(const char* path, int flags, int mode = 0);
int close(int number);
ssize_t pread(int number, void* out, size_t size, off_t offset);
ssize_t pwrite(int number, const void* bytes, size_t size, off_t offset);
ssize_t write(int number, const void* bytes, size_t size);
int flock(int number, int how);
int link(const char* from, const char* to);
int unlink(const char* path);
int posix_fallocate(int number, off_t offset, off_t size);
void* mmap(void* address, size_t size, int protection, int flags, int number, off_t offset);
int munmap(void* address, size_t size);
int madvise(void* address, size_t size, int advice);

}  // namespace edgeward

#define std model_std
#include "captures/ring_format.cc"  // NOLINT(bugprone-suspicious-include)
#include "captures/ring_reader.cc"  // NOLINT(bugprone-suspicious-include)
#include "captures/ring_writer.cc"  // NOLINT(bugprone-suspicious-include)
#undef std

namespace edgeward {
namespace {

constexpr uint64_t kCapacity = kMinRingBytes;
constexpr size_t kFileBytes = kRingDataOffset + kCapacity;
constexpr int kBell = 50;  // descriptors; those of a thread's file begin at 100

// The file's bytes: all of it once, and the data twice in a row, as a writer maps it. A place's bytes are as its
// writer sees them.
class Image {
 public:
  Image() : number_(memfd_create("ring", MFD_CLOEXEC)) {
    if (number_ < 0 || ftruncate(number_, kFileBytes) != 0) abort();
    whole_ = map(nullptr, kFileBytes, 0, 0);
    twice_ = static_cast<std::byte*>(
        ::mmap(nullptr, 2 * kCapacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    map(twice_, kCapacity, kRingDataOffset, MAP_FIXED);
    map(twice_ + kCapacity, kCapacity, kRingDataOffset, MAP_FIXED);
  }
  std::byte* at(size_t offset) const { return whole_ + offset; }
  std::byte* data() const { return twice_; }
  // Where an address of a mapping lies in the file.
  size_t offset_of(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    if (byte >= twice_ && byte < twice_ + 2 * kCapacity)
      return kRingDataOffset + static_cast<size_t>(byte - twice_) % kCapacity;
    if (byte < whole_ || byte >= whole_ + kFileBytes) abort();
    return static_cast<size_t>(byte - whole_);
  }

 private:
  std::byte* map(void* address, size_t size, size_t offset, int flags) const {
    void* mapped =
        ::mmap(address, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, number_, static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) abort();
    return static_cast<std::byte*>(mapped);
  }
  int number_;
  std::byte* whole_;
  std::byte* twice_;
};

const Image& image() {
  static const Image only;
  return only;
}

// What the kernel keeps of the file and the pipe, and who heard of it.
struct Kernel {
  bool has_ring = false;
  View created;
  size_t lock_holder = weak_memory::kMaxThreads;
  View locked;
  bool is_rung = false;
  View rung;
};
Kernel kernel;

// Counters are loaded by their writer alone.
bool is_counter(size_t offset) { return offset >= kRingCountersOffset && offset < kRingStateOffset; }

}  // namespace

int open(const char* path, int flags, int) {
  const std::string_view name(path);
  const bool is_bell = name.ends_with(kBellName);
  if (!is_bell && (flags & O_CREAT) == 0) machine().take(kernel.created);
  return is_bell ? kBell : 100 + static_cast<int>(machine().self());
}
int close(int) { return 0; }
ssize_t pread(int, void* out, size_t size, off_t offset) {
  const auto begin = static_cast<size_t>(offset);
  auto* bytes = static_cast<std::byte*>(out);
  std::memcpy(bytes, image().at(begin), size);
  if (begin < kRingTailOffset) return static_cast<ssize_t>(size);
  // The words at its two ends are places; what is between says nothing.
  const size_t last = (begin + size - 1) / 8 * 8;
  for (size_t word = begin / 8 * 8;; word = last) {
    const uint64_t value = machine().load(word, std::memory_order_relaxed, "pread");
    const size_t from = std::max(word, begin);
    const size_t to = std::min(word + 8, begin + size);
    std::memcpy(bytes + (from - begin), reinterpret_cast<const std::byte*>(&value) + (from - word), to - from);
    if (word == last) break;
  }
  return static_cast<ssize_t>(size);
}
ssize_t pwrite(int, const void* bytes, size_t size, off_t offset) {
  const auto begin = static_cast<size_t>(offset);
  if (begin < kRingTailOffset) {
    std::memcpy(image().at(begin), bytes, size);
    return static_cast<ssize_t>(size);
  }
  for (size_t at = 0; at < size; at += 8) {
    uint64_t value = 0;
    std::memcpy(&value, static_cast<const std::byte*>(bytes) + at, sizeof(value));
    machine().store(begin + at, value, std::memory_order_relaxed, "pwrite");
  }
  return static_cast<ssize_t>(size);
}
ssize_t write(int number, const void*, size_t) {
  if (number != kBell) abort();
  if (!machine().call()) return 1;
  kernel.is_rung = true;
  machine().give(kernel.rung);
  return 1;
}
int flock(int, int) {
  if (!machine().call()) return -1;
  const bool is_free = kernel.lock_holder == weak_memory::kMaxThreads;
  machine().remember(is_free ? 1 : 0);
  if (!is_free && kernel.lock_holder != machine().self()) {
    errno = EWOULDBLOCK;
    return -1;
  }
  kernel.lock_holder = machine().self();
  machine().take(kernel.locked);
  return 0;
}
int link(const char*, const char*) {
  if (!machine().call()) return -1;
  kernel.has_ring = true;
  machine().give(kernel.created);
  return 0;
}
int unlink(const char*) { return 0; }
int posix_fallocate(int, off_t, off_t) { return 0; }
void* mmap(void* address, size_t, int, int, int number, off_t) {
  return address != nullptr ? address : number < 0 ? image().data() : image().at(kRingLinesOffset);
}
int munmap(void*, size_t) { return 0; }
int madvise(void*, size_t, int) { return 0; }

Descriptor::Descriptor(int number, const std::string&) : number_(number) {}
Descriptor::~Descriptor() = default;
Descriptor::Descriptor(Descriptor&& other) noexcept : number_(other.number_) {}
File::File(std::string kind, std::string path, Links)
    : kind_(std::move(kind)), path_(std::move(path)), descriptor_(1, path_), size_bytes_(kFileBytes),
      permissions_(0600) {}
void File::read_at(uint64_t offset, std::span<std::byte> out) const {
  if (!out.empty()) pread(descriptor_.number(), out.data(), out.size(), static_cast<off_t>(offset));
}
uint64_t monotonic_ns() { return 0; }
int64_t wall_ns() { return 0; }
BootId boot_id() { return {}; }
void fill_random(std::span<std::byte> bytes) { std::ranges::fill(bytes, std::byte{7}); }

// ---- The plays.

namespace {

constexpr uint32_t kMinRecordBytes = 16;

// A record is half a ring, so that each is written over the one before the last: its size, its number in the same word,
// and in its last word the number again.
constexpr uint32_t kRecordBytes = kCapacity / 2;
uint64_t first_word(uint64_t number) { return kRecordBytes | number << 32; }
uint64_t last_word(uint64_t number) { return ~number; }

struct Play {
  const char* name;
  Keep keep;
  uint64_t records;
  bool kills_writer;
  bool kills_reader;  // and then there is another one
  bool waits_for_bell;
  bool frees_each;           // record at once, not all that there are
  uint64_t saved_after = 0;  // records; 0: never
};

constexpr Play kPlays[] = {
    {"publish and close", Keep::oldest, 2, false, false, false, false},
    {"a full ring", Keep::oldest, 3, false, false, false, false},
    {"a full ring, record by record", Keep::oldest, 3, false, false, false, true},
    {"waiting for the bell", Keep::oldest, 3, false, false, true, false},
    {"a killed writer", Keep::oldest, 3, true, false, false, false},
    {"a killed reader", Keep::oldest, 3, false, true, false, false},
    {"both killed", Keep::oldest, 2, true, true, false, false},
    {"a black box", Keep::newest, 4, false, false, false, false},
    {"a killed writer of a black box", Keep::newest, 4, true, false, false, false},
    {"a saved black box", Keep::newest, 3, false, false, false, false, 1},
    {"a killed writer of a saved box", Keep::newest, 3, true, false, false, false, 1},
};

constexpr size_t kWriter = 0;

// What the threads of one run know of its records.
struct Outcome {
  uint64_t begun = 0;  // the last number
  std::vector<uint64_t> committed;
  uint64_t lost = 0;
  std::vector<uint64_t> noted;  // by readers, each number once
  bool is_asleep = false;       // its reader
};
Outcome outcome;

void write_word(std::byte* address, uint64_t value) {
  machine().store(image().offset_of(address), value, std::memory_order_relaxed, "write_word");
}

void write(const Play& play) {
  RingWriter writer("/ring", kCapacity, play.keep, "");
  for (uint64_t number = 1; number <= play.records; ++number) {
    outcome.begun = number;
    const std::span<std::byte> room = writer.try_claim(kRecordBytes);
    if (room.empty()) {
      // A head that is on its way has not arrived: of that nobody can speak.
      const bool is_known = machine().is_fresh(kRingHeadOffset) && machine().is_fresh(kRingHeadOffset + 8);
      machine().require(!play.waits_for_bell || kernel.is_rung || !outcome.is_asleep || !is_known,
                        "a record is lost, and the reader sleeps");
      machine().call();
      ++outcome.lost;
    } else {
      write_word(room.data(), first_word(number));
      write_word(room.data() + kRecordBytes - 8, last_word(number));
      writer.commit();
      machine().call();
      outcome.committed.push_back(number);
    }
    outcome.begun = 0;
    if (number == play.saved_after) writer.save();
  }
}

void note(const RingRecord& record, uint64_t& last) {
  uint64_t first = 0;
  uint64_t end = 0;
  std::memcpy(&first, record.bytes.data(), sizeof(first));
  std::memcpy(&end, record.bytes.data() + record.bytes.size() - 8, sizeof(end));
  const uint64_t number = ~end;
  machine().require(first == first_word(number) && record.bytes.size() == kRecordBytes, "a record is torn");
  machine().require(number > last, "a record is out of order");
  last = number;
  // As a drain does: what is not newer than the newest is there already.
  if (outcome.noted.empty() || number > outcome.noted.back()) outcome.noted.push_back(number);
  machine().act();
}

bool is_writer_gone() { return machine().is_over(kWriter); }

void read(const Play& play) {
  machine().wait_until([] { return kernel.has_ring || is_writer_gone(); });
  machine().remember(kernel.has_ring ? 1 : 0);
  if (!kernel.has_ring) return;
  auto reader = RingReader::try_open("/ring/one.ring");
  machine().require(reader.has_value(), "a ring is not taken for one");
  uint64_t last = 0;
  const auto forget = [&](bool has_begun, bool has_ended) {
    machine().forget_all_but({reader->position(), reader->unfreed_bytes(), last, has_begun, has_ended});
  };
  for (bool has_begun = false, has_ended = false;; has_begun = true) {
    forget(has_begun, has_ended);
    machine().step();
    if (kernel.is_rung) {
      machine().take(kernel.rung);
      machine().act();
    }
    kernel.is_rung = false;
    has_ended = reader->has_ended();
    bool is_empty = true;
    while (const auto record = reader->next(kMinRecordBytes)) {
      note(*record, last);
      is_empty = false;
      if (play.frees_each) reader->free_read();
      forget(has_begun, has_ended);
    }
    machine().require(!reader->is_broken(), "a ring is taken for broken");
    if (!is_empty && !play.frees_each) reader->free_read();
    if (is_empty && has_ended) return;
    if (!is_empty && !play.waits_for_bell) continue;
    const auto is_closed = [] {
      return machine().newest(kRingStateOffset) == static_cast<uint64_t>(RingState::closed) || is_writer_gone();
    };
    const auto is_called = [&play, position = reader->position()] {
      if (play.waits_for_bell) return kernel.is_rung;
      if (play.keep == Keep::newest) return machine().newest(kRingSaveToOffset) > position;
      return machine().newest(kRingTailOffset) != position;
    };
    outcome.is_asleep = true;
    machine().wait_until([&] { return is_closed() || is_called(); });
    outcome.is_asleep = false;
    // What has come is found sooner or later.
    machine().remember(is_closed() ? 1 : 0);
    const size_t sign = play.keep == Keep::newest ? kRingSaveToOffset : kRingTailOffset;
    machine().refresh(is_closed() ? kRingStateOffset : sign);
  }
}

// What must be so at the end of each run.
void check(const Play& play) {
  const auto is_noted = [](uint64_t number) { return std::ranges::count(outcome.noted, number) == 1; };
  const uint64_t first = outcome.noted.empty() ? play.records + 1 : outcome.noted.front();
  uint64_t given_up = 0;
  for (const uint64_t number : outcome.committed) {
    if (is_noted(number)) continue;
    const bool is_followed = number < first || (play.saved_after > 0 && number != outcome.noted.back());
    const bool may_be_given_up = play.keep == Keep::newest && is_followed && number != outcome.committed.back();
    machine().require(may_be_given_up, "a record is lost uncounted");
    ++given_up;
  }
  for (const uint64_t number : outcome.noted) {
    const bool may_be_there = number == outcome.begun || std::ranges::count(outcome.committed, number) == 1;
    machine().require(may_be_there, "a record is there that is not");
  }
  if (!kernel.has_ring) return;
  const auto counter = [](size_t index) {
    uint64_t value = 0;
    std::memcpy(&value, image().at(kRingCountersOffset + 8 * index), sizeof(value));
    return value;
  };
  const uint64_t committed = counter(1);
  const uint64_t lost = counter(2);
  const uint64_t unfinished = outcome.begun != 0 ? 1 : 0;
  const auto is_at_most_one_more = [unfinished](uint64_t has, uint64_t wanted) {
    return has == wanted || has == wanted + unfinished;
  };
  const uint64_t noted_unfinished = unfinished != 0 && is_noted(outcome.begun) ? 1 : 0;
  machine().require(is_at_most_one_more(committed, outcome.committed.size()) &&
                        committed >= outcome.committed.size() + noted_unfinished &&
                        is_at_most_one_more(lost, outcome.lost) &&
                        is_at_most_one_more(committed + lost, outcome.committed.size() + outcome.lost),
                    "records are miscounted");
  // What was saved may be overwritten all the same.
  const bool is_exact = unfinished == 0 && play.saved_after == 0;
  machine().require(is_exact ? counter(4) == given_up : counter(4) >= given_up, "what is given up is miscounted");
}

// Adds the threads of one run.
auto begin(const Play& play) {
  return [&play](Machine& on) {
    kernel = {};
    outcome = {};
    on.is_reader_careful = play.saved_after > 0;
    std::memset(image().at(kRingCountersOffset), 0, kRingStateOffset - kRingCountersOffset);
    for (const size_t offset : {kRingTailOffset, kRingOldestOffset, kRingStateOffset, kRingSaveToOffset,
                                kRingHeadOffset, kRingHeadOffset + 8, kRingHeadOffset + 16})
      on.newest(offset);
    on.add_thread("writer", play.kills_writer ? End::killed : End::returned, [&play] { write(play); });
    on.add_thread("reader", play.kills_reader ? End::replaced : End::returned, [&play] { read(play); });
    return [&play] { check(play); };
  };
}

bool run_plays(std::string_view word) {
  bool is_right = true;
  for (const Play& play : kPlays) {
    if (std::string_view(play.name).find(word) == std::string_view::npos) continue;
    const bool is_good = machine().explore(begin(play), nullptr, true);
    std::printf("%-32s %9lu runs, %9zu states: %s\n", play.name, machine().run_count(), machine().state_count(),
                is_good ? "right" : machine().failure().c_str());
    std::fflush(stdout);
    is_right = is_right && is_good;
  }
  return is_right;
}

bool weaken_each() {
  bool is_right = true;
  const std::set<Ordering> orderings = machine().orderings();
  for (const Ordering& ordering : orderings) {
    const char* act = ordering.act == Act::load ? "acquire" : ordering.act == Act::store ? "release" : "fence";
    const char* play_name = nullptr;
    for (const Play& play : kPlays) {
      if (play_name == nullptr && !machine().explore(begin(play), &ordering, false)) play_name = play.name;
    }
    std::printf("without the %s in %s: %s%s%s\n", act, ordering.function.c_str(),
                play_name == nullptr ? "nothing goes wrong" : machine().failure().c_str(),
                play_name == nullptr ? "" : ", in ", play_name == nullptr ? "" : play_name);
    std::fflush(stdout);
    is_right = is_right && play_name != nullptr;
  }
  return is_right && !orderings.empty();
}

}  // namespace
}  // namespace edgeward

template <class T>
T model_std::atomic<T>::load(memory_order order, const char* function) const {
  const size_t offset = edgeward::image().offset_of(this);
  return edgeward::is_counter(offset) ? newest_ : machine().load(offset, order, function);
}
template <class T>
void model_std::atomic<T>::store(T value, memory_order order, const char* function) {
  const size_t offset = edgeward::image().offset_of(this);
  if (std::string_view(function) == "end") machine().begin_end();
  machine().store(offset, value, order, function);
}

int main(int count, char** words) {
  machine().word_at = [](size_t offset) {
    return Machine::Word{reinterpret_cast<uint64_t*>(edgeward::image().at(offset)), offset >= edgeward::kRingDataOffset,
                         edgeward::is_counter(offset)};
  };
  machine().on_death = [](size_t thread) {
    if (edgeward::kernel.lock_holder != thread) return;
    edgeward::kernel.lock_holder = weak_memory::kMaxThreads;
    edgeward::kernel.locked.join(machine().last_view(thread));
  };
  machine().facts = [] {
    const edgeward::Kernel& kernel = edgeward::kernel;
    const edgeward::Outcome& outcome = edgeward::outcome;
    uint64_t facts = uint64_t{kernel.has_ring} | uint64_t{kernel.is_rung} << 1 | uint64_t{outcome.is_asleep} << 2;
    const auto add = [&facts](uint64_t fact) { facts = Machine::mix(facts, fact); };
    for (const uint64_t fact : {uint64_t{kernel.lock_holder}, outcome.begun, outcome.lost}) add(fact);
    for (const uint64_t number : outcome.committed) add(number);
    add(0);
    for (const uint64_t number : outcome.noted) add(number);
    return facts;
  };
  machine().kernel_views = {&edgeward::kernel.created, &edgeward::kernel.locked, &edgeward::kernel.rung};
  const std::string_view word = count > 1 ? words[1] : "";
  bool is_right = edgeward::run_plays(word);
  if (word.empty()) is_right = edgeward::weaken_each() && is_right;
  return is_right ? 0 : 1;
}
