#include "captures/ring.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "crypto/crypto.h"
#include "error.h"

namespace edgeward {
namespace {

// Capture-format 1. Regions begin at multiples of 64 KiB, so that they can be mapped whatever the size of a page is.
constexpr std::array<char, 8> kMagic = {'E', 'W', 'R', 'I', 'N', 'G', '0', '1'};
constexpr uint32_t kVersion = 1;
constexpr size_t kRegionBytes = size_t{64} << 10;
constexpr size_t kWriterAt = kRegionBytes;
constexpr size_t kReaderAt = 2 * kRegionBytes;
constexpr size_t kDataAt = 3 * kRegionBytes;
constexpr size_t kDescriptionAt = 4096;
constexpr size_t kHeaderBytes = 64;
constexpr uint64_t kFetchedBytes = 512;
// A reader that is at writing its position is soon done, if it was not killed.
constexpr int kHeadTries = 100;

struct Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t keep;
  uint64_t capacity_bytes;
  uint64_t ring_id;
  uint64_t process_id;
  int64_t created_ns;  // Unix time
  uint32_t description_bytes;
  uint32_t reserved;
  uint32_t description_crc;
  uint32_t header_crc;  // of what is before it
};
static_assert(sizeof(Header) == kHeaderBytes);

constexpr size_t kTailAt = kWriterAt;
constexpr size_t kOldestAt = kWriterAt + 128;
constexpr size_t kCountersAt = kWriterAt + 256;
constexpr size_t kStateAt = kWriterAt + 384;
constexpr size_t kHeadAt = kReaderAt;

enum State : uint64_t {
  kOpen = 1,
  kClosed = 2,
};

static_assert(std::atomic<uint64_t>::is_always_lock_free, "what is lock-free works across processes");

[[noreturn]] void refuse(const std::string& path) {
  throw std::filesystem::filesystem_error("ring", path, {errno, std::generic_category()});
}

uint64_t round_up(uint64_t size) { return (size + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment; }

uint64_t random_number() {
  uint64_t number = 0;
  fill_random(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

// The descriptors that carry this process's locks. A forked child inherits them, and with them the lock, which would
// then outlive the process that it stands for: so in the child they lead elsewhere at once.
class Locks {
 public:
  static Locks& of_this_process() {
    static Locks locks;
    return locks;
  }
  // Makes a file whose descriptor no child ever has: not one that is forked at this moment either. -1 with errno.
  int create(const std::string& path) {
    const std::lock_guard held(mutex_);
    descriptors_.reserve(descriptors_.size() + 1);
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor >= 0) descriptors_.push_back(descriptor);
    return descriptor;
  }
  // While it is held, no child is forked.
  std::unique_lock<std::mutex> hold_forks() { return std::unique_lock(mutex_); }
  void remove(int descriptor) {
    const std::lock_guard held(mutex_);
    descriptors_.erase(std::remove(descriptors_.begin(), descriptors_.end(), descriptor), descriptors_.end());
  }

 private:
  Locks() {
    const int registered = pthread_atfork([] { of_this_process().mutex_.lock(); },
                                          [] { of_this_process().mutex_.unlock(); }, [] { of_this_process().drop(); });
    if (registered != 0) throw Error(Code::out_of_memory, "ring: expected to register a fork handler, got none");
  }
  void drop() {
    const int nowhere = descriptors_.empty() ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int descriptor : descriptors_) dup3(nowhere, descriptor, O_CLOEXEC);
    if (nowhere >= 0) close(nowhere);
    descriptors_.clear();
    mutex_.unlock();
  }
  std::mutex mutex_;
  std::vector<int> descriptors_;
};

}  // namespace

// What the writer and the reader tell each other. Each line is written by one side alone.
struct RingWriter::Lines {
  std::atomic<uint64_t> tail;
  std::byte after_tail[128 - sizeof(uint64_t)];
  std::atomic<uint64_t> oldest;
  std::byte after_oldest[128 - sizeof(uint64_t)];
  std::atomic<uint64_t> sampled_out;
  std::atomic<uint64_t> committed;
  std::atomic<uint64_t> lost_full;
  std::atomic<uint64_t> lost_large;
  std::atomic<uint64_t> overwritten;
  std::byte after_counters[128 - 5 * sizeof(uint64_t)];
  std::atomic<uint64_t> state;
  std::byte after_state[kRegionBytes - 384 - sizeof(uint64_t)];
  // The reader writes both in one call, which need not be one step: a head counts only beside its complement.
  std::atomic<uint64_t> head;
  std::atomic<uint64_t> head_complement;
};
// The file, and where it is mapped: lines once, data twice in a row.
class RingWriter::Mapping {
 public:
  // Made under a draft name, so that a ring with its right name is whole.
  Mapping(const std::string& path, const Header& header, std::string_view description)
      : draft_path_(path + std::string(kRingDraftSuffix)),
        file_(Locks::of_this_process().create(draft_path_), draft_path_) {
    try {
      make(path, header, description);
    } catch (...) {
      release();
      unlink(draft_path_.c_str());
      Locks::of_this_process().remove(file_.number());
      throw;
    }
  }
  ~Mapping() {
    release();
    Locks::of_this_process().remove(file_.number());
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* lines() const { return lines_; }
  std::byte* data() const { return data_; }
  // A forked child has neither the pages nor the lock.
  void forget() { lines_ = data_ = nullptr; }

 private:
  void make(const std::string& path, const Header& header, std::string_view description) {
    if (flock(file_.number(), LOCK_EX | LOCK_NB) != 0) refuse(path);
    // Every page now: one that a full file system could not give later would be a signal in the middle of a run.
    allocate(path, kDataAt + static_cast<size_t>(header.capacity_bytes));
    const bool is_written =
        pwrite(file_.number(), &header, sizeof(header), 0) == static_cast<ssize_t>(sizeof(header)) &&
        pwrite(file_.number(), description.data(), description.size(), kDescriptionAt) ==
            static_cast<ssize_t>(description.size());
    if (!is_written) refuse(path);
    map_all(static_cast<size_t>(header.capacity_bytes));
    // Not rename: a ring that is there already is somebody's.
    if (link(draft_path_.c_str(), path.c_str()) != 0) refuse(path);
    unlink(draft_path_.c_str());
  }
  void map_all(size_t capacity) {
    capacity_ = capacity;
    // A child that has these pages has the open file, and with it the lock.
    const auto held = Locks::of_this_process().hold_forks();
    lines_ = map(nullptr, 2 * kRegionBytes, kWriterAt, 0);
    void* room = mmap(nullptr, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) refuse(draft_path_);
    data_ = static_cast<std::byte*>(room);
    // With its pages: none of them is first met in the middle of a run.
    map(data_, capacity, kDataAt, MAP_FIXED | MAP_POPULATE);
    map(data_ + capacity, capacity, kDataAt, MAP_FIXED | MAP_POPULATE);
    madvise(data_, 2 * capacity, MADV_DONTFORK);
    madvise(lines_, 2 * kRegionBytes, MADV_DONTFORK);
  }
  // Piece by piece: there are kernels on which a signal ends the call, and takes back all that it had got.
  void allocate(const std::string& path, size_t size) {
    constexpr size_t kPieceBytes = size_t{1} << 20;
    for (size_t at = 0; at < size;) {
      const size_t piece = std::min(kPieceBytes, size - at);
      const int refusal = posix_fallocate(file_.number(), static_cast<off_t>(at), static_cast<off_t>(piece));
      if (refusal == EINTR) continue;
      if (refusal != 0) {
        errno = refusal;
        refuse(path);
      }
      at += piece;
    }
  }
  std::byte* map(std::byte* place, size_t size, size_t offset, int flags) {
    void* mapped =
        mmap(place, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, file_.number(), static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) refuse(draft_path_);
    return static_cast<std::byte*>(mapped);
  }
  void release() {
    if (lines_ != nullptr) munmap(lines_, 2 * kRegionBytes);
    if (data_ != nullptr) munmap(data_, 2 * capacity_);
    forget();
  }

  std::string draft_path_;
  Descriptor file_;
  std::byte* lines_ = nullptr;
  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
};

RingWriter::RingWriter(const std::string& directory, uint64_t capacity_bytes, Keep keep, std::string_view description)
    : ring_id_(random_number()),
      path_(directory + "/" + hex(std::as_bytes(std::span(&ring_id_, 1))) + std::string(kRingSuffix)),
      capacity_(capacity_bytes), keep_(keep), bell_path_(directory + "/" + std::string(kBellName)) {
  static_assert(offsetof(Lines, oldest) == kOldestAt - kWriterAt);
  static_assert(offsetof(Lines, sampled_out) == kCountersAt - kWriterAt);
  static_assert(offsetof(Lines, state) == kStateAt - kWriterAt);
  static_assert(offsetof(Lines, head) == kHeadAt - kWriterAt);
  if (capacity_bytes < kLeastRingBytes || capacity_bytes > kMostRingBytes || !std::has_single_bit(capacity_bytes)) {
    throw Error(Code::bad_input, "ring: expected a power of two from ", kLeastRingBytes, " to ", kMostRingBytes,
                " bytes, got ", capacity_bytes);
  }
  if (description.size() > kMostDescriptionBytes) {
    throw Error(Code::bad_input, "ring: expected a description of at most ", kMostDescriptionBytes, " bytes, got ",
                description.size());
  }
  Header header{};
  header.magic = kMagic;
  header.version = kVersion;
  header.keep = static_cast<uint32_t>(keep);
  header.capacity_bytes = capacity_bytes;
  header.ring_id = ring_id_;
  header.process_id = static_cast<uint64_t>(getpid());
  header.created_ns = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  header.description_bytes = static_cast<uint32_t>(description.size());
  header.description_crc = crc32c(std::as_bytes(std::span(description)));
  header.header_crc = crc32c(std::as_bytes(std::span(&header, 1)).first(sizeof(Header) - sizeof(header.header_crc)));
  mapping_ = std::make_unique<Mapping>(path_, header, description);
  lines_ = std::launder(reinterpret_cast<Lines*>(mapping_->lines()));
  sampled_out_ = &lines_->sampled_out;
  data_ = mapping_->data();
  lines_->head_complement.store(~uint64_t{0}, std::memory_order_relaxed);
  lines_->state.store(kOpen, std::memory_order_relaxed);
}

RingWriter::~RingWriter() {
  if (home_.is_foreign()) {
    mapping_->forget();
    return;
  }
  lines_->state.store(kClosed, std::memory_order_release);
}

std::span<std::byte> RingWriter::try_claim(uint32_t size_bytes) {
  const uint64_t need = round_up(size_bytes);
  if (need > capacity_ / 2) {
    lines_->lost_large.store(lines_->lost_large.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return {};
  }
  if (keep_ == Keep::newest) {
    forget_oldest(need);
  } else if (need > capacity_ - (tail_ - head_cache_)) {
    if (learn_head()) has_rung_ = false;
    if (need > capacity_ - (tail_ - head_cache_)) {
      lines_->lost_full.store(lines_->lost_full.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      ring_bell();
      return {};
    }
  }
  claimed_bytes_ = need;
  return {data_ + (tail_ & (capacity_ - 1)), need};
}

// Whether the reader has made room since.
bool RingWriter::learn_head() {
  // Acquire: what the reader read of those bytes, it has read before we write over them. It writes by a system call on
  // its side of a full barrier.
  for (int tries = 0; tries < kHeadTries; ++tries) {
    const uint64_t head = lines_->head.load(std::memory_order_acquire);
    if (lines_->head_complement.load(std::memory_order_relaxed) != ~head) continue;
    // A head that is ahead of us, or behind what it was, is no head: our writes stay inside the ring in any case.
    if (head <= head_cache_ || head > tail_) return false;
    head_cache_ = head;
    return true;
  }
  return false;
}

// Gives up records until `need` bytes are free. Whoever reads this ring after our death must not take a record that we
// were writing over: so it is given up before its first byte changes.
void RingWriter::forget_oldest(uint64_t need) {
  if (need <= capacity_ - (tail_ - oldest_)) return;
  uint64_t count = 0;
  while (need > capacity_ - (tail_ - oldest_)) {
    uint32_t size_bytes = 0;
    std::memcpy(&size_bytes, data_ + (oldest_ & (capacity_ - 1)), sizeof(size_bytes));
    const uint64_t step = round_up(size_bytes);
    // Somebody scribbled over our records: none of them can be told from another any more.
    if (step == 0 || step > tail_ - oldest_) {
      oldest_ = tail_;
    } else {
      oldest_ += step;
    }
    ++count;
  }
  lines_->overwritten.store(lines_->overwritten.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  // Release: what is given up is counted by then.
  lines_->oldest.store(oldest_, std::memory_order_release);
  // Nothing of the new record is written before the line above.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void RingWriter::commit() {
  tail_ += claimed_bytes_;
  claimed_bytes_ = 0;
  lines_->committed.store(lines_->committed.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // Release: the record's bytes are there before the tail is. Pairs with the fence in RingReader::stable_u64. A writer
  // that dies above this line has published nothing.
  lines_->tail.store(tail_, std::memory_order_release);
  if (keep_ == Keep::oldest && !has_rung_ && tail_ - head_cache_ > capacity_ / 2) ring_bell();
  // The next record's first lines are far away by then, if it is as long: they come while the model runs.
  for (uint64_t at = 0; at < kFetchedBytes; at += 64) __builtin_prefetch(data_ + ((tail_ + at) & (capacity_ - 1)), 1);
}

// Once for each time that the ring fills up. A pipe keeps the byte until it is read, so that no ring goes unheard.
void RingWriter::ring_bell() {
  if (has_rung_) return;
  learn_head();
  if (tail_ - head_cache_ <= capacity_ / 2) return;
  has_rung_ = true;
  // To read as well: a listener that goes between this line and the next would be a signal that ends the process.
  const int bell = open(bell_path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (bell < 0) return;
  constexpr char kOnce = 1;
  if (write(bell, &kOnce, 1) != 1) {
    // Full: it has been rung often enough.
  }
  close(bell);
}

void RingWriter::count_lost() {
  lines_->lost_large.store(lines_->lost_large.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void RingWriter::uncount_sampled_out() {
  sampled_out_->store(sampled_out_->load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

uint64_t RingWriter::lost() const {
  return lines_->lost_full.load(std::memory_order_relaxed) + lines_->lost_large.load(std::memory_order_relaxed);
}

RingCounters RingWriter::counters() const {
  RingCounters counters;
  counters.sampled_out = lines_->sampled_out.load(std::memory_order_relaxed);
  counters.committed = lines_->committed.load(std::memory_order_relaxed);
  counters.lost_full = lines_->lost_full.load(std::memory_order_relaxed);
  counters.lost_large = lines_->lost_large.load(std::memory_order_relaxed);
  counters.overwritten = lines_->overwritten.load(std::memory_order_relaxed);
  return counters;
}

// ---- The reader.

namespace {

template <class T>
bool try_pread(const Descriptor& file, uint64_t offset, T& value) {
  return pread(file.number(), &value, sizeof(value), static_cast<off_t>(offset)) == static_cast<ssize_t>(sizeof(value));
}

}  // namespace

RingReader::RingReader(File file, Descriptor lock, RingFacts facts)
    : file_(std::move(file)), writable_(std::move(lock)), facts_(std::move(facts)) {}

std::optional<RingReader> RingReader::try_open(const std::string& path) {
  try {
    File file("ring", path, File::Links::refused);
    Descriptor lock(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), path);
    Header header;
    if (!try_pread(lock, 0, header)) return std::nullopt;
    const uint32_t crc = crc32c(std::as_bytes(std::span(&header, 1)).first(sizeof(Header) - sizeof(header.header_crc)));
    const bool is_ours =
        header.magic == kMagic && header.version == kVersion && header.header_crc == crc && header.reserved == 0 &&
        header.capacity_bytes >= kLeastRingBytes && header.capacity_bytes <= kMostRingBytes &&
        std::has_single_bit(header.capacity_bytes) && header.description_bytes <= kMostDescriptionBytes &&
        (header.keep == static_cast<uint32_t>(Keep::oldest) || header.keep == static_cast<uint32_t>(Keep::newest)) &&
        file.size_bytes() == kDataAt + header.capacity_bytes;
    if (!is_ours) return std::nullopt;
    RingFacts facts{header.ring_id, header.capacity_bytes, static_cast<Keep>(header.keep), header.process_id,
                    std::string(header.description_bytes, '\0')};
    file.read_at(kDescriptionAt, std::as_writable_bytes(std::span(facts.description)));
    if (crc32c(std::as_bytes(std::span(facts.description))) != header.description_crc) return std::nullopt;
    return RingReader(std::move(file), std::move(lock), std::move(facts));
  } catch (const Error&) {
    return std::nullopt;
  } catch (const std::filesystem::filesystem_error& error) {
    // That says nothing of the ring.
    for (const auto shortage :
         {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system, std::errc::not_enough_memory}) {
      if (error.code() == shortage) throw;
    }
    return std::nullopt;
  }
}

// The kernel copies eight bytes, but does not promise to do so in one step: what two copies agree on was there.
// Whatever is read after this call was read after that: a record after the tail, and the tail after the end.
std::optional<uint64_t> RingReader::stable_u64(uint64_t offset) const {
  uint64_t first = 0;
  uint64_t second = 0;
  // As often as a writer that commits without a pause may need.
  for (int tries = 0; tries < 1000; ++tries) {
    if (!try_pread(writable_, offset, first) || !try_pread(writable_, offset, second)) return std::nullopt;
    if (first != second) continue;
    // Pairs with the releases in commit and in the writer's destructor.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return first;
  }
  return std::nullopt;
}

std::optional<uint64_t> RingReader::tail() const { return stable_u64(kTailAt); }

bool RingReader::has_ended() {
  if (has_ended_) return true;
  const auto state = stable_u64(kStateAt);
  // The lock is free when the process is gone, however it went. A closed ring is left to us at once.
  has_ended_ = state == kClosed || flock(writable_.number(), LOCK_EX | LOCK_NB) == 0;
  return has_ended_;
}

std::optional<RingRecord> RingReader::next(uint32_t least_bytes) {
  if (is_broken_ || (facts_.keep == Keep::newest && !has_ended_)) return std::nullopt;
  const uint64_t capacity = facts_.capacity_bytes;
  if (!has_begun_) {
    const auto head = stable_u64(kHeadAt);
    const auto oldest = facts_.keep == Keep::newest ? stable_u64(kOldestAt) : uint64_t{0};
    if (!head || !oldest) return std::nullopt;
    position_ = *head;
    if (facts_.keep == Keep::newest) {
      // A reader that died may have freed some of what the writer left, if this is what it wrote.
      const auto complement = stable_u64(kHeadAt + sizeof(uint64_t));
      position_ = complement == ~*head ? std::max(*head, *oldest) : *oldest;
    }
    freed_ = position_;
    has_begun_ = true;
  }
  const auto tail = stable_u64(kTailAt);
  if (!tail) {
    // Cut short, if it is not merely busy: then its size tells.
    uint64_t any = 0;
    is_broken_ = !try_pread(writable_, kTailAt, any);
    return std::nullopt;
  }
  const uint64_t waiting = *tail - position_;
  if (waiting == 0) return std::nullopt;
  const auto refused = [this] {
    break_off();
    return std::nullopt;
  };
  if (waiting > capacity || position_ % kRecordAlignment != 0) return refused();
  const uint64_t place = position_ & (capacity - 1);
  uint32_t size_bytes = 0;
  if (!try_pread(writable_, kDataAt + place, size_bytes)) return refused();
  if (size_bytes < std::max<uint32_t>(least_bytes, 4) || size_bytes > capacity / 2 || round_up(size_bytes) > waiting)
    return refused();
  buffer_.resize(size_bytes);
  const uint64_t first = std::min<uint64_t>(size_bytes, capacity - place);
  try {
    file_.read_at(kDataAt + place, std::span(buffer_).first(first));
    file_.read_at(kDataAt, std::span(buffer_).subspan(first));
  } catch (const std::exception&) {
    return refused();
  }
  // What we go by is what we compared, whatever the file says by now.
  std::memcpy(buffer_.data(), &size_bytes, sizeof(size_bytes));
  const uint64_t position = position_;
  position_ += round_up(size_bytes);
  return RingRecord{position, buffer_};
}

void RingReader::free_read() {
  if (!has_begun_) return;  // nothing was read: position_ is no position yet
  // Pairs with the acquire in try_claim: our copies are done before the writer hears of it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t head[2] = {position_, ~position_};
  if (pwrite(writable_.number(), head, sizeof(head), kHeadAt) != static_cast<ssize_t>(sizeof(head))) break_off();
  freed_ = position_;
}

RingCounters RingReader::counters() const {
  uint64_t values[5] = {};
  RingCounters counters;
  if (!try_pread(writable_, kCountersAt, values)) return counters;
  counters.sampled_out = values[0];
  counters.committed = values[1];
  counters.lost_full = values[2];
  counters.lost_large = values[3];
  counters.overwritten = values[4];
  return counters;
}

uint64_t RingReader::used_bytes() const {
  const auto tail = stable_u64(kTailAt);
  const auto head = has_begun_ ? std::optional(position_) : stable_u64(kHeadAt);
  return tail && head && *tail - *head <= facts_.capacity_bytes ? *tail - *head : 0;
}

}  // namespace edgeward
