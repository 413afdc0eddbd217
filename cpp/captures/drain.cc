#include "captures/drain.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <utility>

#include "captures/record.h"
#include "captures/segment_reader.h"
#include "captures/segment_recovery.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr uint64_t kSyncEvery_ns = 1'000'000'000;
constexpr uint64_t kSyncEveryBytes = uint64_t{4} << 20;
constexpr uint64_t kRetryEvery_ns = 5'000'000'000;
constexpr time_t kYoungDraft_s = 60;

void make_directory(const std::string& path) {
  std::filesystem::create_directories(path);
  // Rings hold what the model saw: nobody else's business.
  std::filesystem::permissions(path, std::filesystem::perms::owner_all | std::filesystem::perms::group_read |
                                         std::filesystem::perms::group_exec);
}

Descriptor open_lock(const std::string& directory) {
  make_directory(directory);
  const std::string path = directory + "/" + std::string(kDrainLockName);
  Descriptor lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640), path);
  if (flock(lock.number(), LOCK_EX | LOCK_NB) != 0) {
    throw Error(Code::busy, "captures \"", directory,
                "\": expected to be the only one that drains into it, got another");
  }
  return lock;
}

Descriptor open_bell(const std::string& directory) {
  make_directory(directory);
  const std::string path = directory + "/" + std::string(kBellName);
  if (mkfifo(path.c_str(), 0600) != 0 && errno != EEXIST)
    throw std::filesystem::filesystem_error("bell", path, {errno, std::generic_category()});
  // Both ends, so that it is never at its end.
  return Descriptor(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW), path);
}

std::vector<std::string> paths_in(const std::string& directory, std::string_view suffix) {
  std::vector<std::string> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().string();
    if (path.ends_with(suffix)) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

Drain::Drain(std::string ring_directory, std::string capture_directory, const Budget& budget,
             std::optional<PublicKey> recipient)
    : ring_directory_(std::move(ring_directory)), capture_directory_(std::move(capture_directory)), budget_(budget),
      recipient_(std::move(recipient)), lock_(open_lock(capture_directory_)), bell_(open_bell(ring_directory_)) {
  // First: a ring that has its name and its draft's is one file, whose lock is ours as soon as it is read.
  remove_drafts_of_rings();
  learn_known();
  look_for_rings();
  skip_known();
  recover();
}

Drain::~Drain() {
  // By word: a forked child has the descriptor too, and would keep the lock.
  flock(lock_.number(), LOCK_UN);
}

// What an earlier drain left open tells which records need not be written again. It is read before it is sealed: killed
// in between, we leave to the next drain all that we found.
void Drain::learn_known() {
  for (const std::string& path : paths_in(capture_directory_, kOpenSuffix)) {
    try {
      const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), path);
      // Its writer died, maybe before it had synced: what we count on is on the disk first.
      if (fdatasync(file.number()) != 0)
        throw std::filesystem::filesystem_error("segment", path, {errno, std::generic_category()});
      SegmentReader reader(path, nullptr);
      while (const auto frame = reader.next()) {
        uint64_t& last = known_sequences_[frame->ring_id];
        last = std::max(last, frame->sequence);
      }
    } catch (const Error&) {
      // Not even a head: nothing is known from it.
    } catch (const std::filesystem::filesystem_error& error) {
      complaint_ = error.what();
    }
  }
}

// Frees the rings of what is on the disk already.
void Drain::skip_known() {
  for (auto& [path, source] : sources_) {
    source.reader.has_ended();
    while (const auto next = source.reader.next(kRecordHeadBytes)) {
      const auto record = try_read_record(next->bytes);
      if (!record || record->head.sequence > source.last_sequence) break;
      source.reader.free_read();
      ++counters_.duplicates;
    }
    source.reader.rewind();
    source.goal = source.reader.position();
  }
}

// What was left open is sealed as far as it is whole.
void Drain::recover() {
  // Of a recovery that was killed.
  for (const std::string& path : paths_in(capture_directory_, NewFile::kDraftSuffix)) {
    if (path.find(std::string(kSealedSuffix) + ".") != std::string::npos) unlink(path.c_str());
  }
  for (const std::string& path : paths_in(capture_directory_, kOpenSuffix)) {
    try {
      const Recovered recovered = recover_segment(path);
      counters_.recovered_frames += recovered.frame_count;
      counters_.lost_bytes += recovered.lost_bytes;
    } catch (const Error&) {
      // Not even a head: the crash came before the first byte was down.
      std::error_code ignored;
      std::filesystem::rename(path, path + std::string(kDamagedSuffix), ignored);
    } catch (const std::filesystem::filesystem_error& error) {
      complaint_ = error.what();
    }
  }
}

// Of writers that were killed before their ring had its name: memory that nobody would give back.
void Drain::remove_drafts_of_rings() {
  for (const std::string& path : paths_in(ring_directory_, kRingDraftSuffix)) {
    const int number = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (number < 0) continue;  // somebody was faster
    const Descriptor draft(number, path);
    struct stat facts {};
    // A young one's writer may be at taking its lock.
    const bool is_old = fstat(number, &facts) == 0 && time(nullptr) - facts.st_mtime > kYoungDraft_s;
    if (is_old && flock(number, LOCK_EX | LOCK_NB) == 0) unlink(path.c_str());
  }
}

void Drain::look_for_rings() {
  for (const std::string& path : paths_in(ring_directory_, kRingSuffix)) {
    if (sources_.count(path) != 0) continue;
    try {
      auto reader = RingReader::try_open(path);
      if (!reader) {
        // Not one of ours, or damaged. Out of the way, and kept for whoever wants to look.
        if (rename(path.c_str(), (path + std::string(kRefusedSuffix)).c_str()) == 0) ++counters_.refused_rings;
        continue;
      }
      const auto known = known_sequences_.find(reader->facts().ring_id);
      sources_.emplace(path, Source{std::move(*reader), known == known_sequences_.end() ? 0 : known->second});
    } catch (const std::filesystem::filesystem_error& error) {
      complaint_ = error.what();  // looked for again by the next step
    }
  }
}

uint64_t Drain::step(uint64_t now_ns) {
  if (now_ns < retry_at_ns_) return 0;
  uint64_t count = 0;
  try {
    if (!has_more()) {
      look_for_rings();
      set_goals();
    }
    for (auto& [path, source] : sources_) count += read(source);
    const bool is_due = unsynced_bytes_ >= kSyncEveryBytes || now_ns - last_sync_ns_ >= kSyncEvery_ns ||
                        std::any_of(sources_.begin(), sources_.end(), [](const auto& one) {
                          // Its writer rings when half is used, and then no more until it has room.
                          return one.second.is_counted ||
                                 one.second.reader.unfreed_bytes() > one.second.reader.facts().capacity_bytes / 2;
                        });
    if (is_due && unsynced_bytes_ > 0) {
      sync();
      last_sync_ns_ = now_ns;
    }
    if (segment_ != nullptr && segment_->size_bytes() >= budget_.segment_bytes) seal();
    complaint_.clear();
  } catch (const std::exception& error) {  // of the disk, or no memory
    give_up_segment(error.what(), now_ns);
    count = 0;
  }
  if (unsynced_bytes_ == 0) remove_ended();
  return count;
}

// A writer that is faster than the disk must not keep the drain from the other rings, nor from ever being done.
void Drain::set_goals() {
  for (auto& [path, source] : sources_) {
    // Asked first: what is committed before its end lies before the goal.
    source.has_ended = source.reader.has_ended();
    source.goal = source.reader.tail().value_or(source.reader.position() + 1);
  }
}

bool Drain::has_more() const {
  return std::any_of(sources_.begin(), sources_.end(), [](const auto& one) {
    return !one.second.is_counted && one.second.goal != one.second.reader.position();
  });
}

// What a ring holds before its goal, as far as a segment takes it.
uint64_t Drain::read(Source& source) {
  if (source.is_counted) return 0;
  uint64_t count = 0;
  while (unsynced_bytes_ < kSyncEveryBytes && source.goal != source.reader.position()) {
    const auto record = source.reader.next(kRecordHeadBytes);
    if (!record) {
      source.goal = source.reader.position();
      break;
    }
    if (!is_record_at(record->bytes, record->position)) {
      source.reader.break_off();
      break;
    }
    const auto whole = try_read_record(record->bytes);
    if (!whole) {
      source.reader.break_off();
      break;
    }
    if (whole->head.sequence <= source.last_sequence) {
      ++counters_.duplicates;
      continue;
    }
    describe(source);
    append(FrameType::record, source.reader.facts().ring_id, whole->head.sequence, record->bytes);
    source.last_sequence = whole->head.sequence;
    ++counters_.records;
    ++unsynced_records_;
    ++count;
  }
  if (source.reader.is_broken() || (source.has_ended && source.goal == source.reader.position())) {
    if (source.reader.is_broken()) ++counters_.refused_rings;
    describe(source);
    append(FrameType::counters, source.reader.facts().ring_id, 0, counters_payload(&source));
    source.is_counted = true;
  }
  return count;
}

void Drain::append(FrameType type, uint64_t ring_id, uint64_t sequence, Bytes payload) {
  if (segment_ == nullptr) {
    recover();  // what a full disk had no room for
    keep_within_budget();
    segment_ = std::make_unique<SegmentWriter>(capture_directory_, recipient_);
    synced_bytes_ = 0;
    for (auto& [path, source] : sources_) source.is_described = false;
  }
  const uint64_t before = segment_->size_bytes();
  segment_->append(type, ring_id, sequence, payload);
  unsynced_bytes_ += segment_->size_bytes() - before;
}

void Drain::describe(Source& source) {
  if (segment_ != nullptr && source.is_described) return;
  const RingFacts& facts = source.reader.facts();
  append(FrameType::ring, facts.ring_id, 0, std::as_bytes(std::span(facts.description)));
  source.is_described = true;
}

void Drain::sync() {
  segment_->sync();
  synced_bytes_ = segment_->size_bytes();
  free_all();
}

void Drain::free_all() {
  unsynced_bytes_ = 0;
  unsynced_records_ = 0;
  for (auto& [path, source] : sources_) source.reader.free_read();
}

void Drain::seal() {
  if (segment_ == nullptr) return;
  for (auto& [path, source] : sources_) {
    if (source.is_described && !source.is_counted)
      append(FrameType::counters, source.reader.facts().ring_id, 0, counters_payload(&source));
  }
  append(FrameType::counters, 0, 0, counters_payload(nullptr));
  // Freed before it is sealed: a segment that is open tells the next drain what need not be written again.
  sync();
  segment_->seal();
  segment_.reset();
  keep_within_budget();
}

// What the disk took before it failed is kept as far as it was synced; everything else is read from the rings again. An
// fsync that failed is not asked again: the kernel has dropped the pages and would say yes.
void Drain::give_up_segment(const std::string& reason, uint64_t now_ns) {
  complaint_ = reason;
  ++counters_.failures;
  retry_at_ns_ = now_ns + kRetryEvery_ns;
  for (auto& [path, source] : sources_) {
    if (source.is_counted && source.reader.is_broken()) --counters_.refused_rings;
    source.reader.rewind();
    source.goal = source.reader.position();
    source.has_ended = false;
    source.is_counted = false;
    source.is_described = false;
  }
  unsynced_bytes_ = 0;
  counters_.records -= std::exchange(unsynced_records_, 0);
  if (segment_ == nullptr) return;
  const std::string path = segment_->path();
  segment_.reset();
  std::error_code ignored;
  if (synced_bytes_ == 0) {
    std::filesystem::remove(path, ignored);
  } else {
    std::filesystem::resize_file(path, synced_bytes_, ignored);
    recover();
  }
  // The sequence goes back to what is on the disk for sure.
  for (auto& [ring, source] : sources_) {
    const auto known = known_sequences_.find(source.reader.facts().ring_id);
    source.last_sequence = known == known_sequences_.end() ? 0 : known->second;
  }
  keep_within_budget();
}

void Drain::remove_ended() {
  for (auto one = sources_.begin(); one != sources_.end();) {
    if (!one->second.is_counted) {
      ++one;
      continue;
    }
    if (one->second.reader.is_broken()) {
      rename(one->first.c_str(), (one->first + std::string(kRefusedSuffix)).c_str());
    } else {
      unlink(one->first.c_str());
    }
    known_sequences_.erase(one->second.reader.facts().ring_id);
    one = sources_.erase(one);
  }
}

void Drain::wait(int timeout_ms) {
  const bool is_urgent = std::any_of(sources_.begin(), sources_.end(), [](const auto& one) {
    return one.second.reader.used_bytes() > one.second.reader.facts().capacity_bytes / 2;
  });
  if ((is_urgent || has_more()) && complaint_.empty()) return;
  pollfd bell{bell_.number(), POLLIN, 0};
  if (poll(&bell, 1, timeout_ms) <= 0) return;
  std::byte rung[256];
  while (::read(bell_.number(), rung, sizeof(rung)) > 0) {
  }
}

void Drain::wake() {
  constexpr char kOnce = 1;
  if (::write(bell_.number(), &kOnce, 1) != 1) {
    // Full: there is enough in it to wake up for.
  }
}

void Drain::flush() {
  try {
    if (segment_ != nullptr && unsynced_bytes_ > 0) sync();
    remove_ended();
  } catch (const std::exception& error) {  // of the disk, or no memory
    give_up_segment(error.what(), 0);
  }
}

void Drain::close() {
  try {
    seal();
    remove_ended();
  } catch (const std::exception& error) {  // of the disk, or no memory
    give_up_segment(error.what(), 0);
  }
}

void Drain::keep_within_budget() {
  struct Sealed {
    std::string path;
    uint64_t size_bytes;
    int64_t time_ns;
  };
  std::vector<Sealed> all;
  uint64_t total = 0;
  for (const std::string& path : paths_in(capture_directory_, kSealedSuffix)) {
    struct stat facts {};
    if (stat(path.c_str(), &facts) != 0) continue;
    all.push_back({path, static_cast<uint64_t>(facts.st_size),
                   facts.st_mtim.tv_sec * int64_t{1'000'000'000} + facts.st_mtim.tv_nsec});
    total += all.back().size_bytes;
  }
  const int64_t now_ns = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  const auto evict = [&](size_t index) {
    uint64_t records = 0;
    try {
      SegmentReader reader(all[index].path, nullptr);
      while (const auto frame = reader.next()) records += frame->type == FrameType::record ? 1 : 0;
    } catch (const std::exception&) {
      // Damaged: its bytes are counted all the same.
    }
    unlink(all[index].path.c_str());
    ++counters_.evicted_segments;
    counters_.evicted_records += records;
    counters_.evicted_bytes += all[index].size_bytes;
    total -= all[index].size_bytes;
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(index));
  };
  const auto next_to_go = [&]() -> size_t {
    if (budget_.evict == Evict::oldest || all.size() < 3) return 0;
    size_t best = 1;
    int64_t least = INT64_MAX;
    for (size_t i = 1; i + 1 < all.size(); ++i) {
      const int64_t gap = all[i + 1].time_ns - all[i - 1].time_ns;
      if (gap >= least) continue;
      least = gap;
      best = i;
    }
    return best;
  };
  while (!all.empty() && budget_.most_age_ns > 0 && now_ns - all.front().time_ns > budget_.most_age_ns) evict(0);
  const auto is_short = [&] {
    if (total > budget_.most_bytes) return true;
    struct statvfs facts {};
    return budget_.least_free_bytes > 0 && statvfs(capture_directory_.c_str(), &facts) == 0 &&
           facts.f_bavail * facts.f_frsize < budget_.least_free_bytes;
  };
  while (!all.empty() && is_short()) evict(next_to_go());
}

// Capture-format 3: a ring's counters, or with ring 0 the drain's own.
std::vector<std::byte> Drain::counters_payload(const Source* source) const {
  std::vector<uint64_t> values;
  if (source != nullptr) {
    const RingCounters counters = source->reader.counters();
    for (const RingCounter& counter : kRingCounters) values.push_back(counters.*counter.member);
    values.push_back(source->last_sequence);
    values.push_back(source->reader.is_broken() ? 1 : 0);
  } else {
    for (const DrainCounter& counter : kDrainCounters) values.push_back(counters_.*counter.member);
  }
  const Bytes bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

}  // namespace edgeward
