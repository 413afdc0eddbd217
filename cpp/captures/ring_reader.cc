#include "captures/ring_reader.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "error.h"

namespace edgeward {
namespace {

// Of a word or a record that its writer changes meanwhile.
constexpr int kMaxTries = 1000;

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
    RingHeader header;
    if (!try_pread(lock, 0, header)) return std::nullopt;
    size_t description_bytes = 0;
    auto facts = try_read_header(header, file.size_bytes(), description_bytes);
    if (!facts) return std::nullopt;
    facts->description.resize(description_bytes);
    file.read_at(kRingDescriptionOffset, std::as_writable_bytes(std::span(facts->description)));
    if (!has_description(header, facts->description)) return std::nullopt;
    return RingReader(std::move(file), std::move(lock), std::move(*facts));
  } catch (const Error&) {
    return std::nullopt;
  } catch (const std::filesystem::filesystem_error& error) {
    // A shortage says nothing of the ring.
    for (const auto shortage :
         {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system, std::errc::not_enough_memory}) {
      if (error.code() == shortage) throw;
    }
    return std::nullopt;
  }
}

// The kernel copies eight bytes, but does not promise to do so in one step: what two copies agree on was there.
// Whatever is read after this call is read after the word: a record after the tail, and the tail after the state.
std::optional<uint64_t> RingReader::stable_u64(uint64_t offset) const {
  uint64_t first = 0;
  uint64_t second = 0;
  // A writer that commits without a pause may need many tries.
  for (int tries = 0; tries < kMaxTries; ++tries) {
    if (!try_pread(writable_, offset, first) || !try_pread(writable_, offset, second)) return std::nullopt;
    if (first != second) continue;
    // Fence: pairs with the releases in RingWriter::commit and ~RingWriter.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return first;
  }
  return std::nullopt;
}

std::optional<uint64_t> RingReader::tail() const { return stable_u64(kRingTailOffset); }

bool RingReader::has_ended() {
  if (has_ended_) return true;
  const auto state = stable_u64(kRingStateOffset);
  // The lock is free when the process is gone, however it ended. A closed ring is ours while the process lives.
  has_ended_ = state == static_cast<uint64_t>(RingState::closed) || flock(writable_.number(), LOCK_EX | LOCK_NB) == 0;
  return has_ended_;
}

// Finds the first record to read; false when it cannot be found now.
bool RingReader::try_begin() {
  const auto head = stable_u64(kRingHeadOffset);
  const auto oldest = facts_.keep == Keep::newest ? stable_u64(kRingOldestOffset) : uint64_t{0};
  if (!head || !oldest) return false;
  position_ = *head;
  if (facts_.keep == Keep::newest) {
    // A reader that died may have freed some of what the writer left, if the head is whole.
    const auto complement = stable_u64(kRingHeadOffset + sizeof(uint64_t));
    position_ = complement == ~*head ? std::max(*head, *oldest) : *oldest;
  }
  const auto drained = stable_u64(kRingHeadOffset + 2 * sizeof(uint64_t));
  if (!drained) return false;
  freed_ = position_;
  freed_count_ = read_count_ = *drained;
  has_begun_ = true;
  return true;
}

// With Keep::newest: goes on to the first record that is whole; false when that cannot be told now.
bool RingReader::try_skip_overwritten() {
  if (facts_.keep == Keep::oldest) return true;
  const auto oldest = stable_u64(kRingOldestOffset);
  if (oldest) position_ = std::max(position_, *oldest);
  return oldest.has_value();
}

// Up to where records may be read now.
std::optional<uint64_t> RingReader::readable_end() const {
  const auto end = tail();
  if (!end || !is_overwritten_meanwhile()) return end;
  const auto save_to = stable_u64(kRingSaveToOffset);
  return save_to ? std::optional(std::clamp(*save_to, std::min(position_, *end), *end)) : std::nullopt;
}

// Copies the record at position_, which ends at or before `end`; false for one that cannot be.
bool RingReader::try_copy(uint64_t end, uint32_t min_bytes) {
  const uint64_t capacity = facts_.capacity_bytes;
  // Positions only rise: no ring passes 2^64.
  if (end < position_ || end - position_ > capacity || position_ % kRecordAlignment != 0) return false;
  const uint64_t waiting = end - position_;
  const uint64_t offset = position_ & (capacity - 1);
  uint32_t size_bytes = 0;
  if (!try_pread(writable_, kRingDataOffset + offset, size_bytes)) return false;
  if (size_bytes < std::max<uint32_t>(min_bytes, 4) || size_bytes > capacity / 2 || padded_bytes(size_bytes) > waiting)
    return false;
  buffer_.resize(size_bytes);
  const uint64_t first = std::min<uint64_t>(size_bytes, capacity - offset);
  try {
    file_.read_at(kRingDataOffset + offset, std::span(buffer_).first(first));
    file_.read_at(kRingDataOffset, std::span(buffer_).subspan(first));
  } catch (const std::exception&) {
    return false;
  }
  // Return the size that was compared, whatever the file says by now.
  std::memcpy(buffer_.data(), &size_bytes, sizeof(size_bytes));
  return true;
}

std::optional<RingRecord> RingReader::next(uint32_t min_bytes) {
  if (is_broken_ || (!has_begun_ && !try_begin())) return std::nullopt;
  for (int tries = 0; tries < kMaxTries; ++tries) {
    if (!try_skip_overwritten()) return std::nullopt;
    const auto end = readable_end();
    if (!end) {
      // The file was cut short, or else the writer is merely busy: one more read tells.
      uint64_t ignored = 0;
      is_broken_ = !try_pread(writable_, kRingTailOffset, ignored);
      return std::nullopt;
    }
    if (*end == position_) return std::nullopt;
    const bool is_copied = try_copy(*end, min_bytes);
    if (is_overwritten_meanwhile()) {
      // Fence: the bytes are copied before the word is read. Pairs with the fence in RingWriter::forget_oldest.
      std::atomic_thread_fence(std::memory_order_seq_cst);
      const uint64_t before = position_;
      if (!try_skip_overwritten()) return std::nullopt;
      if (position_ != before) continue;
    }
    if (!is_copied) {
      is_broken_ = true;
      return std::nullopt;
    }
    const uint64_t position = position_;
    position_ += padded_bytes(static_cast<uint32_t>(buffer_.size()));
    ++read_count_;
    return RingRecord{position, buffer_};
  }
  return std::nullopt;
}

void RingReader::break_off() {
  is_broken_ = true;
  --read_count_;
}

void RingReader::rewind() {
  position_ = freed_;
  read_count_ = freed_count_;
  is_broken_ = false;
}

void RingReader::free_read() {
  if (!has_begun_) return;  // nothing was read: position_ is no position yet
  // Fence: our copies are done before the writer sees the head. Pairs with the acquire in RingWriter::learn_head.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t words[3] = {position_, ~position_, read_count_};
  if (pwrite(writable_.number(), words, sizeof(words), kRingHeadOffset) != static_cast<ssize_t>(sizeof(words)))
    is_broken_ = true;
  freed_ = position_;
  freed_count_ = read_count_;
}

RingCounters RingReader::counters() const {
  std::array<uint64_t, kRingCounters.size()> values{};
  RingCounters counters;
  if (!try_pread(writable_, kRingCountersOffset, values)) return counters;
  for (size_t i = 0; i < values.size(); ++i) counters.*kRingCounters[i].member = values[i];
  return counters;
}

uint64_t RingReader::used_bytes() const {
  const auto tail = stable_u64(kRingTailOffset);
  const auto head = has_begun_ ? std::optional(position_) : stable_u64(kRingHeadOffset);
  return tail && head && *tail - *head <= facts_.capacity_bytes ? *tail - *head : 0;
}

}  // namespace edgeward
