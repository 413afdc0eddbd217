#include "captures/ring_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "captures/tick_clock.h"
#include "crypto/crypto.h"
#include "error.h"
#include "system/file.h"
#include "system/process_locks.h"

namespace edgeward {
namespace {

constexpr uint64_t kPrefetchedBytes = 512;
// A reader that is writing its position is soon done, unless it was killed.
constexpr int kHeadTries = 100;
constexpr int kDirectoryTries = 10;

[[noreturn]] void refuse(const std::string& path) {
  throw std::filesystem::filesystem_error("ring", path, {errno, std::generic_category()});
}

uint64_t random_number() {
  uint64_t number = 0;
  fill_random(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

// A descriptor, or -1 with errno. The directory is made anew: the drain that ended last may have removed it, empty, and
// may do so once more before there is a file in it.
int new_file(const std::string& path) {
  for (int tries = kDirectoryTries;; --tries) {
    const int number = ProcessLocks::of_this_process().open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (number >= 0 || errno != ENOENT || tries == 0) return number;
    mkdir(std::filesystem::path(path).parent_path().c_str(), 0700);
  }
}

}  // namespace

// The file, and its mapping: the lines once, the data twice in a row.
class RingWriter::Mapping {
 public:
  // Makes the file at `draft_path`, so that whatever is at `path` is whole.
  Mapping(const std::string& path, std::string draft_path, const RingHeader& header, std::string_view description)
      : draft_path_(std::move(draft_path)), file_(new_file(draft_path_), draft_path_) {
    try {
      make(path, header, description);
    } catch (...) {
      release();
      unlink(draft_path_.c_str());
      ProcessLocks::of_this_process().remove(file_.number());
      throw;
    }
  }
  ~Mapping() {
    release();
    ProcessLocks::of_this_process().remove(file_.number());
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* lines() const { return lines_; }
  std::byte* data() const { return data_; }
  // A forked child has neither the pages nor the lock.
  void forget() { lines_ = data_ = nullptr; }

 private:
  void make(const std::string& path, const RingHeader& header, std::string_view description) {
    if (flock(file_.number(), LOCK_EX | LOCK_NB) != 0) refuse(path);
    // Allocate every page now: one that a full file system cannot give later would be a signal in the middle of a run.
    allocate(path, kRingDataOffset + static_cast<size_t>(header.capacity_bytes));
    const bool is_written =
        pwrite(file_.number(), &header, sizeof(header), 0) == static_cast<ssize_t>(sizeof(header)) &&
        pwrite(file_.number(), description.data(), description.size(), kRingDescriptionOffset) ==
            static_cast<ssize_t>(description.size());
    if (!is_written) refuse(path);
    map_all(static_cast<size_t>(header.capacity_bytes));
    // Link, not rename: a ring that is there already belongs to somebody.
    if (link(draft_path_.c_str(), path.c_str()) != 0) refuse(path);
    unlink(draft_path_.c_str());
  }
  void map_all(size_t capacity) {
    capacity_ = capacity;
    // A child that inherited these pages would keep the file open, and with it the lock.
    const auto no_forks = ProcessLocks::of_this_process().hold_forks();
    lines_ = map(nullptr, 2 * kRingRegionBytes, kRingLinesOffset, 0);
    void* room = mmap(nullptr, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) refuse(draft_path_);
    data_ = static_cast<std::byte*>(room);
    // Populate the page table: no page fault is left for the middle of a run.
    map(data_, capacity, kRingDataOffset, MAP_FIXED | MAP_POPULATE);
    map(data_ + capacity, capacity, kRingDataOffset, MAP_FIXED | MAP_POPULATE);
    madvise(data_, 2 * capacity, MADV_DONTFORK);
    madvise(lines_, 2 * kRingRegionBytes, MADV_DONTFORK);
  }
  // Allocates piece by piece: on some kernels a signal interrupts the call, which then frees what it had allocated.
  void allocate(const std::string& path, size_t size) {
    constexpr size_t kPieceBytes = size_t{1} << 20;
    for (size_t offset = 0; offset < size;) {
      const size_t piece = std::min(kPieceBytes, size - offset);
      const int refusal = posix_fallocate(file_.number(), static_cast<off_t>(offset), static_cast<off_t>(piece));
      if (refusal == EINTR) continue;
      if (refusal != 0) {
        errno = refusal;
        refuse(path);
      }
      offset += piece;
    }
  }
  std::byte* map(std::byte* address, size_t size, size_t offset, int flags) {
    void* mapped =
        mmap(address, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, file_.number(), static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) refuse(draft_path_);
    return static_cast<std::byte*>(mapped);
  }
  void release() {
    if (lines_ != nullptr) munmap(lines_, 2 * kRingRegionBytes);
    if (data_ != nullptr) munmap(data_, 2 * capacity_);
    forget();
  }

  std::string draft_path_;
  Descriptor file_;
  std::byte* lines_ = nullptr;
  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
};

RingWriter::RingWriter(const std::string& directory, uint64_t capacity_bytes, Keep keep, std::string_view description,
                       const std::optional<PublicKey>& recipient, const NewestLimits& limits)
    : ring_id_(random_number()), path_(ring_path(directory, ring_id_, kRingSuffix)), capacity_(capacity_bytes),
      keep_(keep), limits_(limits), bell_path_(directory + "/" + std::string(kBellName)) {
  const RingFacts facts{
      ring_id_,  capacity_bytes, keep,          static_cast<uint64_t>(getpid()), std::string(description),
      recipient, boot_id(),      monotonic_ns()};
  const RingHeader header = header_of(facts, wall_ns());
  mapping_ = std::make_unique<Mapping>(path_, ring_path(directory, ring_id_, kRingDraftSuffix), header, description);
  lines_ = std::launder(reinterpret_cast<RingLines*>(mapping_->lines()));
  counters_ = lines_->counters.data();
  data_ = mapping_->data();
  lines_->head_complement.store(~uint64_t{0}, std::memory_order_relaxed);
  lines_->state.store(static_cast<uint64_t>(RingState::open), std::memory_order_relaxed);
}

RingWriter::~RingWriter() {
  if (fork_mark_.is_foreign()) {
    mapping_->forget();
    return;
  }
  end();
}

std::span<std::byte> RingWriter::try_claim(uint32_t size_bytes, uint64_t monotonic_ns) {
  const uint64_t need = padded_bytes(size_bytes);
  if (need > capacity_ / 2) {
    add<&RingCounters::lost_large>(1);
    return {};
  }
  if (keep_ == Keep::newest) {
    forget_oldest(need, monotonic_ns);
  } else if (need > capacity_ - (tail_ - head_cache_)) {
    if (learn_head()) has_rung_ = false;
    if (need > capacity_ - (tail_ - head_cache_)) {
      add<&RingCounters::lost_full>(1);
      ring_bell();
      return {};
    }
  }
  claimed_bytes_ = need;
  return {data_ + (tail_ & (capacity_ - 1)), static_cast<size_t>(need)};
}

// Whether the reader has made room since the last call.
bool RingWriter::learn_head() {
  // Acquire: the reader has read those bytes before we write over them. Pairs with the fence in RingReader::free_read,
  // behind which the reader stores by a system call.
  for (int tries = 0; tries < kHeadTries; ++tries) {
    const uint64_t head = lines_->head.load(std::memory_order_acquire);
    if (lines_->head_complement.load(std::memory_order_relaxed) != ~head) continue;
    // A head that is ahead of our tail, or that went back, is refused: our writes stay inside the ring in any case.
    if (head <= head_cache_ || head > tail_) return false;
    head_cache_ = head;
    return true;
  }
  return false;
}

// Whether the oldest record must go before a record of `need` bytes and of this time comes.
bool RingWriter::has_too_much(uint64_t need, uint64_t monotonic_ns) const {
  if (need > capacity_ - (tail_ - oldest_)) return true;
  if (oldest_ == tail_) return false;
  if (limits_.record_count > 0 && record_count_ >= limits_.record_count) return true;
  if (limits_.age_ns == 0) return false;
  uint64_t oldest_ns = 0;
  std::memcpy(&oldest_ns, data_ + (oldest_ & (capacity_ - 1)) + kRecordTimeOffset, sizeof(oldest_ns));
  return monotonic_ns > oldest_ns && monotonic_ns - oldest_ns > limits_.age_ns;
}

// Gives up records until `need` bytes are free and the limits hold. Whoever reads this ring meanwhile or after our
// death must not take a record that we were overwriting: so it is given up before its first byte changes.
void RingWriter::forget_oldest(uint64_t need, uint64_t monotonic_ns) {
  uint64_t count = 0;
  while (has_too_much(need, monotonic_ns)) {
    uint32_t size_bytes = 0;
    std::memcpy(&size_bytes, data_ + (oldest_ & (capacity_ - 1)), sizeof(size_bytes));
    const uint64_t step = padded_bytes(size_bytes);
    // A size that cannot be means that somebody scribbled over our records: give up all of them.
    if (step == 0 || step > tail_ - oldest_) {
      oldest_ = tail_;
      record_count_ = 0;
    } else {
      oldest_ += step;
      --record_count_;
    }
    ++count;
  }
  if (count == 0) return;
  add<&RingCounters::overwritten>(count);
  // Release: the records are counted before they are given up.
  lines_->oldest.store(oldest_, std::memory_order_release);
  // Nothing of the new record is stored before the line above.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

uint64_t RingWriter::save() {
  const uint64_t position = committed_position();
  // Relaxed: the reader takes no more than the tail allows, which it reads by itself.
  lines_->save_to.store(position, std::memory_order_relaxed);
  return position;
}

uint64_t RingWriter::drained_position() const {
  for (int tries = 0; tries < kHeadTries; ++tries) {
    const uint64_t head = lines_->head.load(std::memory_order_relaxed);
    if (lines_->head_complement.load(std::memory_order_relaxed) == ~head) return head;
  }
  return 0;
}

void RingWriter::commit() {
  tail_ += claimed_bytes_;
  claimed_bytes_ = 0;
  ++record_count_;
  add<&RingCounters::committed>(1);
  // Release: the record's bytes are visible before the tail is. Pairs with the fence in RingReader::stable_u64. A
  // writer that dies above this line has published nothing.
  lines_->tail.store(tail_, std::memory_order_release);
  if (keep_ == Keep::oldest && !has_rung_ && tail_ - head_cache_ > capacity_ / 2) ring_bell();
  // Prefetch the next record's first cache lines, which a long record has evicted: they arrive while the model runs.
  for (uint64_t offset = 0; offset < kPrefetchedBytes; offset += 64)
    __builtin_prefetch(data_ + ((tail_ + offset) & (capacity_ - 1)), 1);
}

// Rings once each time that the ring fills up. A pipe keeps the byte until it is read, so that no ring goes unheard.
void RingWriter::ring_bell() {
  if (has_rung_) return;
  learn_head();
  if (tail_ - head_cache_ <= capacity_ / 2) return;
  has_rung_ = true;
  // Open it to read as well: a listener that closed it meanwhile would make write() raise SIGPIPE.
  const int bell = open(bell_path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (bell < 0) return;
  constexpr char kRing = 1;
  if (write(bell, &kRing, 1) != 1) {
    // The pipe is full: the bell has been rung often enough.
  }
  close(bell);
}

uint64_t RingWriter::waiting_since_ns() const {
  const uint64_t head = drained_position();
  // Acquire: the record's bytes are there. They are overwritten only when the head has moved.
  if (lines_->tail.load(std::memory_order_acquire) == head) return 0;
  uint64_t monotonic_ns = 0;
  std::memcpy(&monotonic_ns, data_ + (head & (capacity_ - 1)) + kRecordTimeOffset, sizeof(monotonic_ns));
  return drained_position() == head ? monotonic_ns : 0;
}

uint64_t RingWriter::unread_count() const {
  uint64_t count = 0;
  for (uint64_t position = std::max(oldest_, drained_position()); position < tail_; ++count) {
    uint32_t size_bytes = 0;
    std::memcpy(&size_bytes, data_ + (position & (capacity_ - 1)), sizeof(size_bytes));
    if (size_bytes == 0) return count;  // somebody scribbled over it
    position += padded_bytes(size_bytes);
  }
  return count;
}

void RingWriter::count(const RingCounters& counted) {
  for (size_t i = 0; i < kRingCounters.size(); ++i) {
    counters_[i].store(counters_[i].load(std::memory_order_relaxed) + counted.*kRingCounters[i].member,
                       std::memory_order_relaxed);
  }
}

uint64_t RingWriter::lost() const {
  return shared<&RingCounters::lost_full>().load(std::memory_order_relaxed) +
         shared<&RingCounters::lost_large>().load(std::memory_order_relaxed);
}

RingCounters RingWriter::counters() const {
  RingCounters snapshot;
  for (size_t i = 0; i < kRingCounters.size(); ++i)
    snapshot.*kRingCounters[i].member = counters_[i].load(std::memory_order_relaxed);
  return snapshot;
}

}  // namespace edgeward
