#include "captures/drain.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <utility>

#include "captures/record.h"
#include "captures/segment_name.h"
#include "captures/segment_reader.h"
#include "captures/segment_recovery.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr uint64_t kSyncEvery_ns = 1'000'000'000;
constexpr uint64_t kSyncEveryBytes = uint64_t{4} << 20;
constexpr uint64_t kRetryAfter_ns = 5'000'000'000;
constexpr time_t kMinDraftAge_s = 60;
constexpr time_t kMaxLeftAge_s = 86'400;
constexpr uint64_t kAgeParts = 8;  // a segment spans at most this part of the age that records may reach

// A directory that was there keeps its permissions: it is somebody's, who may have shared it on purpose.
void make_directory(const std::string& path, std::filesystem::perms permissions) {
  if (std::filesystem::create_directories(path)) std::filesystem::permissions(path, permissions);
}

Descriptor open_bell(const std::string& directory) {
  const std::string path = directory + "/" + std::string(kBellName);
  if (mkfifo(path.c_str(), 0600) != 0 && errno != EEXIST)
    throw std::filesystem::filesystem_error("bell", path, {errno, std::generic_category()});
  // Open both ends, so that reading never reports the end of the file.
  return Descriptor(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW), path);
}

// Whether another process, or another descriptor of this one, has the lock of a file.
bool is_locked(const std::string& path) {
  const int number = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (number < 0) return false;
  const Descriptor file(number, path);
  return flock(number, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

// The number of a segment that is begun now.
int64_t next_number(const std::string& directory) {
  std::vector<std::string> names = paths_in(directory, "");
  for (std::string& name : names) name.erase(0, directory.size() + 1);
  return next_segment_number(moment_now().wall_ns, names);
}

// A writer rings when more than half of its ring is used, and then not again before it has room.
bool is_past_half(const RingReader& reader, uint64_t used_bytes) {
  return reader.facts().keep == Keep::oldest && used_bytes > reader.facts().capacity_bytes / 2;
}

// Whether nothing is in a directory of rings but what drains make.
bool is_empty(const std::string& directory) {
  const std::vector<std::string> paths = paths_in(directory, "");
  return std::all_of(paths.begin(), paths.end(), [&](const std::string& path) {
    const std::string_view name = std::string_view(path).substr(directory.size() + 1);
    return name == kBellName || name == kDrainLockName;
  });
}

// `lock` is the directory's, and held.
void remove_empty(const std::string& directory, DrainLock& lock) {
  if (!is_empty(directory)) return;
  unlink((directory + "/" + std::string(kBellName)).c_str());
  lock.remove();
  rmdir(directory.c_str());
}

// Removes what programs that were killed have left of directories in which nobody captures any more.
void remove_deserted(const std::string& parent) {
  for (const std::string& directory : paths_in(parent, "")) {
    struct stat facts {};
    const bool is_old = lstat(directory.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid == geteuid() &&
                        std::abs(time(nullptr) - facts.st_mtime) > kMaxLeftAge_s;
    if (!is_old || !std::filesystem::exists(directory + "/" + std::string(kDrainLockName)) || !is_empty(directory))
      continue;
    DrainLock lock(directory);
    if (lock.try_acquire()) remove_empty(directory, lock);
  }
}

}  // namespace

void Drain::make_directories(const std::string& ring_directory, const std::string& capture_directory) {
  using std::filesystem::perms;
  make_directory(ring_directory, perms::owner_all);
  make_directory(capture_directory, perms::owner_all | perms::group_read | perms::group_exec);
}

Drain::Drain(std::string ring_directory, std::string capture_directory, const Budget& budget)
    : ring_directory_(std::move(ring_directory)), capture_directory_(std::move(capture_directory)), budget_(budget),
      retention_(capture_directory_, budget), lock_([&] {
        make_directories(ring_directory_, capture_directory_);
        return ring_directory_;
      }()),
      bell_(open_bell(ring_directory_)) {
  if (!lock_.try_acquire())
    throw Error(Code::busy, "rings of \"", capture_directory_, "\": expected to be their only drain, got ",
                lock_.holder());
  inherited_ = lock_.open_segments();
  // Remove drafts first: a ring that has both its name and its draft's is one file, which we lock once it is read.
  remove_leftovers_of_rings();
  learn_known();
  look_for_rings();
  skip_known();
  recover();
  write_lock();
}

// Learns from the segments that an earlier drain left open which records need not be written again. They are read
// before they are sealed: a drain that is killed in between leaves them to the next one.
void Drain::learn_known() {
  for (const std::string& path : paths_in(capture_directory_, kOpenSuffix)) {
    if (is_locked(path)) continue;  // of another drain's rings
    try {
      const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), path);
      // Its writer died, maybe before it synced: make durable what we count on.
      if (fdatasync(file.number()) != 0)
        throw std::filesystem::filesystem_error("segment", path, {errno, std::generic_category()});
      SegmentReader reader(path, nullptr);
      while (const auto frame = reader.next()) {
        uint64_t& last = known_sequences_[frame->head.ring_id];
        last = std::max(last, frame->head.last_sequence);
      }
    } catch (const Error&) {
      // It has not even a head: nothing is known from it.
    } catch (const std::filesystem::filesystem_error& error) {
      complaint_ = error.what();
    }
  }
}

// Frees the rings of what is on the disk already.
void Drain::skip_known() {
  for (auto& [path, source] : sources_) {
    if (source.last_sequence == 0) continue;  // nothing of it
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

// Seals what was left open, as far as it is whole.
void Drain::recover() {
  // Drafts of a recovery that was killed; a recovery that another drain is at has the lock of its segment.
  for (const std::string& path : paths_in(capture_directory_, NewFile::kDraftSuffix)) {
    const size_t end = path.find(std::string(kSealedSuffix) + ".");
    if (end != std::string::npos && !is_locked(path.substr(0, end) + std::string(kOpenSuffix))) unlink(path.c_str());
  }
  for (const std::string& path : paths_in(capture_directory_, kOpenSuffix)) {
    if (is_own(path)) continue;
    const std::string name = std::filesystem::path(path).filename();
    const bool is_inherited = std::find(inherited_.begin(), inherited_.end(), name) != inherited_.end();
    try {
      const Recovered recovered = recover_segment(path, is_inherited ? Unlockable::recovered : Unlockable::refused);
      counters_.recovered_frames += recovered.frame_count;
      counters_.lost_bytes += recovered.lost_bytes;
    } catch (const Error& error) {
      if (error.code() == Code::busy) continue;  // another drain writes it
      // It has not even a head: the crash came before the head was durable.
      std::error_code ignored;
      std::filesystem::rename(path, path + std::string(kDamagedSuffix), ignored);
    } catch (const std::filesystem::filesystem_error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) refusal_ = error.what();
    }
  }
  std::erase_if(inherited_, [&](const std::string& name) {
    std::error_code ignored;
    return !std::filesystem::exists(capture_directory_ + "/" + name, ignored);
  });
}

// Whether this drain has the segment open.
bool Drain::is_own(const std::string& path) const {
  return std::any_of(segments_.begin(), segments_.end(),
                     [&](const auto& entry) { return entry.second.writer->path() == path; });
}

// Says in the lock what is open: where the disk has no locks, the next drain knows its predecessor's segments by that.
void Drain::write_lock() {
  std::vector<std::string> names = inherited_;
  for (const auto& [recipient, segment] : segments_)
    names.push_back(std::filesystem::path(segment.writer->path()).filename());
  lock_.write(capture_directory_, names);
}

// Removes drafts of writers that were killed before their ring had its name, and rings that were refused long ago:
// memory that nobody else would free.
void Drain::remove_leftovers_of_rings() {
  const time_t now = time(nullptr);
  for (const std::string& path : paths_in(ring_directory_, kRingDraftSuffix)) {
    const int number = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (number < 0) continue;  // another process removed it first
    const Descriptor draft(number, path);
    struct stat facts {};
    // The writer of a young draft may not have taken its lock yet.
    const bool is_old = fstat(number, &facts) == 0 && now - facts.st_mtime > kMinDraftAge_s;
    if (is_old && flock(number, LOCK_EX | LOCK_NB) == 0) unlink(path.c_str());
  }
  for (const std::string& path : paths_in(ring_directory_, kRefusedSuffix)) {
    struct stat facts {};
    // A clock that was set back makes it young for ever.
    if (stat(path.c_str(), &facts) == 0 && std::abs(now - facts.st_mtime) > kMaxLeftAge_s) unlink(path.c_str());
  }
  try {
    remove_deserted(std::filesystem::path(ring_directory_).parent_path());
  } catch (const std::filesystem::filesystem_error&) {
    // Another program was faster, or it may not be read: it is no business of this one.
  }
}

void Drain::remove_ring_directory() {
  if (sources_.empty() && inherited_.empty()) remove_empty(ring_directory_, lock_);
}

void Drain::look_for_rings() {
  const std::vector<std::string> paths = paths_in(ring_directory_, kRingSuffix);
  make_room(paths);
  // In a circle, behind the one that was opened last: each has its turn.
  const auto next = std::upper_bound(paths.begin(), paths.end(), last_path_);
  waiting_count_ = 0;
  for (const auto& [begin, end] : {std::pair(next, paths.end()), std::pair(paths.begin(), next)}) {
    for (auto path = begin; path != end; ++path) {
      if (sources_.count(*path) != 0) continue;
      if (sources_.size() >= kMaxOpenRings) {
        ++waiting_count_;
        continue;
      }
      open_ring(*path);
      last_path_ = *path;
    }
  }
}

// Closes the rings that were read to their goal when others wait for their turn.
void Drain::make_room(const std::vector<std::string>& paths) {
  const auto is_waiting = [&](const std::string& path) { return sources_.count(path) == 0; };
  const auto count = static_cast<size_t>(std::count_if(paths.begin(), paths.end(), is_waiting));
  if (count == 0 || sources_.size() + count <= kMaxOpenRings) return;
  if (unsynced_bytes() > 0) sync();
  remove_ended();
  std::erase_if(sources_,
                [](const auto& entry) { return entry.second.had_turn && entry.second.reader.unfreed_bytes() == 0; });
}

void Drain::open_ring(const std::string& path) {
  try {
    auto reader = RingReader::try_open(path);
    if (!reader) return refuse_ring(path);
    const auto known = known_sequences_.find(reader->facts().ring_id);
    sources_.emplace(path, Source{std::move(*reader), known == known_sequences_.end() ? 0 : known->second});
  } catch (const std::filesystem::filesystem_error& error) {
    complaint_ = error.what();  // the next step looks again
  }
}

// It is no ring of this version, or damaged: moves it out of the way, and keeps it for whoever investigates.
void Drain::refuse_ring(const std::string& path) {
  if (rename(path.c_str(), (path + std::string(kRefusedSuffix)).c_str()) != 0) return;
  ++counters_.refused_rings;
  refusal_ = "ring \"" + path + "\": expected a ring of version 1 or 2, got other bytes";
}

uint64_t Drain::step(uint64_t now_ns) {
  if (now_ns < retry_at_ns_) return 0;
  uint64_t count = 0;
  now_ns_ = now_ns;
  try {
    if (is_abandoned_) restore();
    if (!has_more()) {
      look_for_rings();
      set_goals();
    }
    for (auto& [path, source] : sources_) count += read(source);
    const bool is_due = unsynced_bytes() >= kSyncEveryBytes || now_ns - last_sync_ns_ >= kSyncEvery_ns ||
                        std::any_of(sources_.begin(), sources_.end(), [](const auto& entry) {
                          const RingReader& reader = entry.second.reader;
                          return entry.second.is_counted || is_past_half(reader, reader.unfreed_bytes());
                        });
    if (is_due && unsynced_bytes() > 0) {
      sync();
      last_sync_ns_ = now_ns;
    }
    const std::vector<Recipient> finished = finished_segments(now_ns);
    for (const Recipient& recipient : finished) seal(recipient);
    if (!finished.empty()) keep_within_budget(finished.size());
    keep_within_age(now_ns);
    complaint_.clear();
  } catch (const std::exception& error) {  // the disk failed, or memory did
    abandon_segments(error.what(), now_ns);
    count = 0;
  }
  if (unsynced_bytes() == 0) remove_ended();
  return count;
}

// Fixes up to where each ring is read: a writer that is faster than the disk must keep the drain neither from the other
// rings nor from an end.
void Drain::set_goals() {
  for (auto& [path, source] : sources_) {
    // Ask has_ended() first: what is committed before the end lies before the goal.
    source.has_ended = source.reader.has_ended();
    source.goal = source.reader.readable_end().value_or(source.reader.position() + 1);
  }
}

bool Drain::has_more() const {
  return std::any_of(sources_.begin(), sources_.end(), [](const auto& entry) {
    return !entry.second.is_counted && entry.second.goal != entry.second.reader.position();
  });
}

// Copies what a ring holds before its goal into the segment, as much as is synced at once.
uint64_t Drain::read(Source& source) {
  if (source.is_counted) return 0;
  uint64_t count = 0;
  while (unsynced_bytes() < kSyncEveryBytes && source.goal != source.reader.position()) {
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
    describe(source).writer->add(source.reader.facts().ring_id, *whole);
    source.last_sequence = whole->head.sequence;
    ++counters_.records;
    ++unsynced_records_;
    ++count;
  }
  source.had_turn |= source.goal == source.reader.position();
  if (source.reader.is_broken() || (source.has_ended && source.goal == source.reader.position())) end(source);
  return count;
}

// Nothing more is read of the ring: writes its last counters.
void Drain::end(Source& source) {
  if (source.reader.is_broken()) {
    ++counters_.refused_rings;
    refusal_ = "ring \"" + source.reader.path() + "\": expected what its writer committed, got other bytes";
  }
  describe(source).writer->append(FrameType::counters, source.reader.facts().ring_id, counters_payload(&source));
  source.is_counted = true;
}

// The open segment for the ring's recipient.
Drain::Open& Drain::segment_of(const Source& source) {
  const auto& key = source.reader.facts().recipient;
  const Recipient recipient = key ? key->bytes : Recipient();
  const auto open = segments_.find(recipient);
  if (open != segments_.end()) return open->second;
  recover();  // segments for which a full disk had no room before
  keep_within_budget(0);
  require_free();
  Open segment;
  segment.writer = std::make_unique<SegmentWriter>(capture_directory_, next_number(capture_directory_), key);
  segment.begun_ns = now_ns_;
  const auto added = segments_.emplace(recipient, std::move(segment)).first;
  write_lock();
  return added->second;
}

// Where deleting has not made the room that shall stay free, records are safer in their rings: a segment would be
// deleted as soon as the next one is begun.
void Drain::require_free() const {
  const uint64_t free = free_bytes(capture_directory_);
  if (free >= budget_.least_free_bytes) return;
  throw std::filesystem::filesystem_error("expected " + std::to_string(budget_.least_free_bytes) +
                                              " bytes free (least_free_bytes), got " + std::to_string(free),
                                          capture_directory_, std::make_error_code(std::errc::no_space_on_device));
}

uint64_t Drain::unsynced_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [recipient, segment] : segments_) bytes += segment.writer->size_bytes() - segment.synced_bytes;
  return bytes;
}

// What a ring says of itself comes before its first frame. Returns the segment for its recipient.
Drain::Open& Drain::describe(const Source& source) {
  const RingFacts& facts = source.reader.facts();
  Open& segment = segment_of(source);
  if (segment.described.insert(facts.ring_id).second)
    segment.writer->append(FrameType::ring, facts.ring_id, std::as_bytes(std::span(facts.description)));
  return segment;
}

void Drain::sync() {
  for (auto& [recipient, segment] : segments_) {
    if (segment.synced_bytes == segment.writer->size_bytes()) continue;
    segment.writer->sync();
    segment.synced_bytes = segment.writer->size_bytes();
  }
  free_all();
}

void Drain::free_all() {
  unsynced_records_ = 0;
  for (auto& [path, source] : sources_) source.reader.free_read();
}

// Of the segments that are full, and of those that are old: they are sealed early enough to be deleted as a whole
// before a record in them reaches the budget's age.
std::vector<Drain::Recipient> Drain::finished_segments(uint64_t now_ns) const {
  std::vector<Recipient> finished;
  const auto most_age_ns = static_cast<uint64_t>(budget_.most_age_ns);
  const auto most_span_ns = static_cast<uint64_t>(budget_.most_span_ns);
  for (const auto& [recipient, segment] : segments_) {
    const uint64_t span_ns = now_ns - segment.begun_ns;
    const bool is_old =
        (most_age_ns != 0 && span_ns >= most_age_ns / kAgeParts) || (most_span_ns != 0 && span_ns >= most_span_ns);
    if (is_old || segment.writer->size_bytes() >= budget_.segment_bytes) finished.push_back(recipient);
  }
  return finished;
}

void Drain::seal(const Recipient& recipient) {
  Open& segment = segments_.at(recipient);
  for (auto& [path, source] : sources_) {
    const uint64_t ring_id = source.reader.facts().ring_id;
    if (segment.described.count(ring_id) != 0 && !source.is_counted)
      segment.writer->append(FrameType::counters, ring_id, counters_payload(&source));
  }
  segment.writer->append(FrameType::counters, 0, counters_payload(nullptr));
  // Free the rings before the segment is sealed: only an open one tells the next drain what is on the disk already.
  sync();
  segment.writer->seal();
  segments_.erase(recipient);
}

void Drain::seal_all() {
  const size_t count = segments_.size();
  while (!segments_.empty()) seal(Recipient(segments_.begin()->first));
  if (count != 0) keep_within_budget(count);
  inherited_.clear();
  write_lock();
}

// Reads from the rings again whatever is not freed.
void Drain::rewind() {
  for (auto& [path, source] : sources_) {
    if (source.is_counted && source.reader.is_broken()) --counters_.refused_rings;
    source.reader.rewind();
    source.goal = source.reader.position();
    source.has_ended = false;
    source.is_counted = false;
  }
}

// Keeps what was synced before the disk or memory failed; everything else is read from the rings again. A sync that
// failed is not retried: the kernel has dropped the pages and would report success.
void Drain::abandon_segments(const std::string& reason, uint64_t now_ns) {
  is_abandoned_ = true;
  complaint_ = reason;
  ++counters_.failures;
  retry_at_ns_ = now_ns + kRetryAfter_ns;
  rewind();
  counters_.records -= std::exchange(unsynced_records_, 0);
  abandoned_count_ = std::max({abandoned_count_, segments_.size(), size_t{1}});
  for (auto& [recipient, segment] : std::exchange(segments_, {})) {
    const std::string path = segment.writer->path();
    segment.writer.reset();
    inherited_.push_back(std::filesystem::path(path).filename());
    std::error_code ignored;
    if (segment.synced_bytes == 0) {
      std::filesystem::remove(path, ignored);
    } else {
      std::filesystem::resize_file(path, segment.synced_bytes, ignored);
    }
  }
  try {
    restore();
  } catch (const std::exception&) {
    rewind();  // the next step restores
  }
}

// After segments were abandoned: learns again what is durable, and seals it. What stops it midway is no harm: it begins
// anew.
void Drain::restore() {
  // A segment may have been synced before the sync of another one failed: its records are in no need of being read
  // again.
  learn_known();
  // Reset each sequence to what is durable.
  for (auto& [path, source] : sources_) {
    const auto known = known_sequences_.find(source.reader.facts().ring_id);
    source.last_sequence = known == known_sequences_.end() ? 0 : known->second;
  }
  // Before the segments are sealed: only an open one tells the next drain what is on the disk already.
  skip_known();
  recover();
  keep_within_budget(abandoned_count_);
  is_abandoned_ = false;
  abandoned_count_ = 0;
}

void Drain::remove_ended() {
  for (auto entry = sources_.begin(); entry != sources_.end();) {
    const auto& [path, source] = *entry;
    if (!source.is_counted) {
      ++entry;
      continue;
    }
    if (source.reader.is_broken()) {
      rename(path.c_str(), (path + std::string(kRefusedSuffix)).c_str());
    } else {
      unlink(path.c_str());
    }
    known_sequences_.erase(source.reader.facts().ring_id);
    entry = sources_.erase(entry);
  }
}

void Drain::wait(int timeout_ms) {
  const bool is_urgent = std::any_of(sources_.begin(), sources_.end(), [](const auto& entry) {
    return is_past_half(entry.second.reader, entry.second.reader.used_bytes());
  });
  if ((is_urgent || has_more()) && complaint_.empty()) return;
  pollfd bell{bell_.number(), POLLIN, 0};
  if (poll(&bell, 1, timeout_ms) <= 0) return;
  std::byte rung[256];
  while (::read(bell_.number(), rung, sizeof(rung)) > 0) {
  }
}

void Drain::wake() {
  constexpr char kRing = 1;
  if (::write(bell_.number(), &kRing, 1) != 1) {
    // The pipe is full: it holds enough to end a wait.
  }
}

void Drain::flush() {
  try {
    if (is_abandoned_) restore();
    if (unsynced_bytes() > 0) sync();
    remove_ended();
  } catch (const std::exception& error) {  // the disk failed, or memory did
    abandon_segments(error.what(), 0);
  }
}

void Drain::close() {
  try {
    if (is_abandoned_) restore();
    seal_all();
    recover();  // segments for which a full disk had no room before
    remove_ended();
    remove_leftovers_of_rings();
  } catch (const std::exception& error) {  // the disk failed, or memory did
    abandon_segments(error.what(), 0);
  }
}

// Deletes what has grown too old while nothing was sealed.
void Drain::keep_within_age(uint64_t now_ns) {
  const auto most_ns = static_cast<uint64_t>(budget_.most_age_ns);
  if (most_ns == 0) return;
  if (now_ns - aged_at_ns_ < most_ns / kAgeParts / kAgeParts) return;
  aged_at_ns_ = now_ns;
  keep_within_budget(1);
}

// What was written last, `least_count` segments, stays until the next one is begun: the rings have its records no more.
void Drain::keep_within_budget(size_t least_count) {
  const Retention::Evicted evicted = retention_.enforce(moment_now(), least_count);
  counters_.evicted_segments += evicted.segments;
  counters_.evicted_records += evicted.records;
  counters_.evicted_bytes += evicted.bytes;
}

// The payload of a counters frame (capture-format 3): a ring's, or without `source` the drain's own.
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
