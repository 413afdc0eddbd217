// Drain: the only reader of a directory of rings, which brings their records into segments on the disk. It frees room
// in a ring only when the records that were there are durable. A disk that is full, has less free than the budget says,
// or fails costs records, which are counted, and is retried. Each ring's records go into segments for that ring's
// recipient. One thread; a lock lets one drain at a time read a directory of rings, in any process; several may write
// to one directory of captures.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "captures/budget.h"
#include "captures/drain_lock.h"
#include "captures/retention.h"
#include "captures/ring_reader.h"
#include "captures/segment_writer.h"
#include "system/file.h"

namespace edgeward {

struct DrainCounters {
  uint64_t records = 0;           // brought to the disk
  uint64_t duplicates = 0;        // were on the disk already, from a drain that died
  uint64_t recovered_frames = 0;  // of segments that a crash left open
  uint64_t lost_bytes = 0;        // behind the recovered frames
  uint64_t evicted_segments = 0;
  uint64_t evicted_records = 0;
  uint64_t evicted_bytes = 0;
  uint64_t refused_rings = 0;  // whose bytes break the protocol
  uint64_t failures = 0;       // of the disk, or of memory: the segment was abandoned, its records are written again
};

struct DrainCounter {
  std::string_view name;
  uint64_t DrainCounters::*member;
};
// The one list of the counters, in the order of a segment's counters frame.
inline constexpr std::array<DrainCounter, 9> kDrainCounters = {{
    {"records", &DrainCounters::records},
    {"duplicates", &DrainCounters::duplicates},
    {"recovered_frames", &DrainCounters::recovered_frames},
    {"lost_bytes", &DrainCounters::lost_bytes},
    {"evicted_segments", &DrainCounters::evicted_segments},
    {"evicted_records", &DrainCounters::evicted_records},
    {"evicted_bytes", &DrainCounters::evicted_bytes},
    {"refused_rings", &DrainCounters::refused_rings},
    {"failures", &DrainCounters::failures},
}};
static_assert(sizeof(DrainCounters) == kDrainCounters.size() * sizeof(uint64_t), "each counter is in the list");

class Drain {
 public:
  // As many rings are open at once, two descriptors each: the application has others to open.
  static constexpr size_t kMaxOpenRings = 64;

  // Makes the directories, takes the lock, recovers what a crash left open. Throws Error(busy), which says who it is,
  // when another drain has the lock; std::filesystem::filesystem_error.
  Drain(std::string ring_directory, std::string capture_directory, const Budget& budget);
  // Makes both, so that what a caller may not write to is known before there is anything to drain. Throws
  // std::filesystem::filesystem_error.
  static void make_directories(const std::string& ring_directory, const std::string& capture_directory);
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;

  // Brings what the rings hold to the disk, or as much as is synced at once: then has_more(). Returns the number of
  // records. `now_ns` is monotonic. A disk that fails, or a lack of memory, throws nothing: complaint() names it.
  uint64_t step(uint64_t now_ns);
  // Whether the next step continues where the last one stopped, before it looks for what came meanwhile.
  bool has_more() const;
  // How often all that the open rings have must be read until each ring was, those that wait for their turn too.
  size_t turn_count() const { return waiting_count_ / kMaxOpenRings + 2; }
  // Waits until a ring is half full, the time is over, or wake(). Returns at once when one is.
  void wait(int timeout_ms);
  // Ends a wait() of another thread. Any thread.
  void wake();
  // Makes what was read durable, or complaint() says why not.
  void flush();
  // Does the same, and seals the segment.
  void close();
  // After close(): removes the directory of rings, unless somebody has put a file into it. Writers and drains that come
  // next make it anew.
  void remove_ring_directory();
  // True when no ring is left, not even one whose writer lives.
  bool is_idle() const { return sources_.empty() && waiting_count_ == 0; }

  const DrainCounters& counters() const { return counters_; }
  // Why the last step brought nothing to the disk; empty when it did.
  const std::string& complaint() const { return complaint_; }
  // What this drain could not read: a ring that was refused, a segment that somebody left open. Stays.
  const std::string& refusal() const { return refusal_; }

 private:
  struct Source {
    RingReader reader;
    uint64_t last_sequence = 0;
    uint64_t goal = 0;        // position up to which it is read before any ring is looked at again
    bool has_ended = false;   // nothing comes behind the goal
    bool had_turn = false;    // it was read to a goal
    bool is_counted = false;  // its end is written
  };

  // An open segment: of the records for one recipient.
  struct Open {
    std::unique_ptr<SegmentWriter> writer;
    std::set<uint64_t> described;  // ids of the rings that have said in it what they are
    uint64_t synced_bytes = 0;
    uint64_t begun_ns = 0;
  };
  using Recipient = std::vector<std::byte>;  // the key's bytes; none for records that anybody may read

  void look_for_rings();
  void make_room(const std::vector<std::string>& paths);
  void open_ring(const std::string& path);
  void refuse_ring(const std::string& path);
  void learn_known();
  void skip_known();
  void recover();
  void remove_leftovers_of_rings();
  void set_goals();
  uint64_t read(Source& source);
  void end(Source& source);
  Open& segment_of(const Source& source);
  Open& describe(const Source& source);
  void sync();
  // Of all segments.
  uint64_t unsynced_bytes() const;
  std::vector<Recipient> finished_segments(uint64_t now_ns) const;
  void require_free() const;
  void seal(const Recipient& recipient);
  void seal_all();
  void write_lock();
  bool is_own(const std::string& path) const;
  void rewind();
  void abandon_segments(const std::string& reason, uint64_t now_ns);
  void restore();
  void free_all();
  void remove_ended();
  void keep_within_age(uint64_t now_ns);
  void keep_within_budget(size_t least_count);
  std::vector<std::byte> counters_payload(const Source* source) const;

  std::string ring_directory_;
  std::string capture_directory_;
  Budget budget_;
  Retention retention_;
  DrainLock lock_;
  Descriptor bell_;
  std::vector<std::string> inherited_;     // file names of the segments that the last drain of these rings had open
  std::map<std::string, Source> sources_;  // by the path of the ring
  std::map<uint64_t, uint64_t> known_sequences_;  // by ring id: the last one that an earlier drain brought to the disk
  std::string last_path_;                         // of the ring that was opened last
  size_t waiting_count_ = 0;                      // of rings that are not open yet
  std::map<Recipient, Open> segments_;
  uint64_t unsynced_records_ = 0;
  bool is_abandoned_ = false;   // segments are to be restored
  size_t abandoned_count_ = 0;  // how many of them, at most at a time
  uint64_t now_ns_ = 0;         // of the last step
  uint64_t aged_at_ns_ = 0;     // when ages were looked at
  uint64_t last_sync_ns_ = 0;
  uint64_t retry_at_ns_ = 0;
  std::string complaint_;
  std::string refusal_;
  DrainCounters counters_;
};

}  // namespace edgeward
