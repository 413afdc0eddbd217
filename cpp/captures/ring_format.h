// The format of a ring's file: its names, its regions, its header, and the words that writer and reader share. Bytes,
// states and what each crash leaves: docs/capture-format.md, section 1. Pure: touches no file and no clock; any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bytes/bytes.h"
#include "crypto/crypto.h"
#include "system/boot_id.h"

namespace edgeward {

// Which records a full ring keeps.
enum class Keep : uint32_t {
  oldest = 1,  // a record that does not fit is lost, and counted
  newest = 2,  // the oldest records are overwritten: a black box, which is read after its writer's death
};

// Every inference that is seen is sampled out, committed or lost.
struct RingCounters {
  uint64_t sampled_out = 0;
  uint64_t committed = 0;
  uint64_t lost_full = 0;    // there was no room
  uint64_t lost_large = 0;   // the record was larger than half the ring, or could not be laid out
  uint64_t overwritten = 0;  // committed, then overwritten by a newer record
};

struct RingCounter {
  std::string_view name;
  uint64_t RingCounters::*member;
};
// The one list of the counters, in the order of the ring's file and of a segment's counters frame.
inline constexpr std::array<RingCounter, 5> kRingCounters = {{
    {"sampled_out", &RingCounters::sampled_out},
    {"committed", &RingCounters::committed},
    {"lost_full", &RingCounters::lost_full},
    {"lost_large", &RingCounters::lost_large},
    {"overwritten", &RingCounters::overwritten},
}};
constexpr size_t index_of(uint64_t RingCounters::*member) {
  size_t index = 0;
  while (index < kRingCounters.size() && kRingCounters[index].member != member) ++index;
  return index;
}
static_assert(sizeof(RingCounters) == kRingCounters.size() * sizeof(uint64_t), "each counter is in the list");

inline constexpr uint64_t kMinRingBytes = uint64_t{64} << 10;
inline constexpr uint64_t kMaxRingBytes = uint64_t{1} << 32;
inline constexpr size_t kMaxDescriptionBytes = size_t{60} << 10;
inline constexpr uint64_t kRecordAlignment = 64;
inline constexpr size_t kRecordTimeOffset = 24;  // in a record: eight bytes, its monotonic time

// Names in a directory of rings.
inline constexpr std::string_view kRingSuffix = ".ring";
inline constexpr std::string_view kRingDraftSuffix = ".ring.draft";  // while its writer makes it
inline constexpr std::string_view kRefusedSuffix = ".refused";       // behind the name of a file that was not read
inline constexpr std::string_view kBellName = "bell";
// DIRECTORY/ID and `suffix`, ID being eight bytes in hexadecimal digits.
std::string ring_path(const std::string& directory, uint64_t ring_id, std::string_view suffix);

// Regions begin at multiples of 64 KiB, so that they can be mapped whatever the size of a page is.
inline constexpr size_t kRingRegionBytes = size_t{64} << 10;
inline constexpr size_t kRingDescriptionOffset = 4096;
inline constexpr size_t kRingLinesOffset = kRingRegionBytes;
inline constexpr size_t kRingDataOffset = 3 * kRingRegionBytes;

// The header as it lies in the file. Version 1 ends with `first_crc`.
struct RingHeader {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t keep;
  uint64_t capacity_bytes;
  uint64_t ring_id;
  uint64_t process_id;
  int64_t created_ns;  // Unix time
  uint32_t description_bytes;
  uint32_t flags;
  uint32_t description_crc;
  uint32_t first_crc;                   // of the bytes before it
  std::array<std::byte, 32> recipient;  // an X25519 public key, or zero
  std::array<std::byte, 16> boot_id;
  uint64_t created_monotonic_ns;
  std::byte zeros[132];
  uint32_t header_crc;  // of the bytes before it
};
static_assert(sizeof(RingHeader) == 256);
inline constexpr size_t kFirstRingHeaderBytes = 64;
inline constexpr uint32_t kSealedRingFlag = 1;  // the records are for the recipient alone

enum class RingState : uint64_t {
  open = 1,
  closed = 2,
};

// The words that writer and reader share: a region of the writer's, then one of the reader's. One side alone stores to
// each word; words that are stored at different times are two cache lines apart.
struct RingLines {
  std::atomic<uint64_t> tail;  // position behind the last committed record
  std::byte after_tail[128 - sizeof(uint64_t)];
  std::atomic<uint64_t> oldest;  // with Keep::newest: position of the first whole record
  std::byte after_oldest[128 - sizeof(uint64_t)];
  std::array<std::atomic<uint64_t>, kRingCounters.size()> counters;
  std::byte after_counters[128 - sizeof(RingCounters)];
  std::atomic<uint64_t> state;
  std::byte after_state[128 - sizeof(uint64_t)];
  std::atomic<uint64_t> save_to;  // with Keep::newest: position up to which the reader may read while the ring is open
  std::byte after_save_to[kRingRegionBytes - 512 - sizeof(uint64_t)];
  std::atomic<uint64_t> head;  // position up to which the reader has freed
  // The reader writes all words in one call, which need not be one step: a head counts only beside its complement.
  std::atomic<uint64_t> head_complement;
  std::atomic<uint64_t> drained;  // records of this ring that the reader brought to the disk
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "lock-free atomics work across processes");
static_assert(offsetof(RingLines, tail) == 0);
static_assert(offsetof(RingLines, oldest) == 128);
static_assert(offsetof(RingLines, counters) == 256);
static_assert(offsetof(RingLines, state) == 384);
static_assert(offsetof(RingLines, save_to) == 512);
static_assert(offsetof(RingLines, head) == kRingRegionBytes);
static_assert(offsetof(RingLines, head_complement) == kRingRegionBytes + 8);
static_assert(offsetof(RingLines, drained) == kRingRegionBytes + 16);

inline constexpr size_t kRingTailOffset = kRingLinesOffset + offsetof(RingLines, tail);
inline constexpr size_t kRingOldestOffset = kRingLinesOffset + offsetof(RingLines, oldest);
inline constexpr size_t kRingCountersOffset = kRingLinesOffset + offsetof(RingLines, counters);
inline constexpr size_t kRingStateOffset = kRingLinesOffset + offsetof(RingLines, state);
inline constexpr size_t kRingSaveToOffset = kRingLinesOffset + offsetof(RingLines, save_to);
inline constexpr size_t kRingHeadOffset = kRingLinesOffset + offsetof(RingLines, head);

// What a ring's header and description say of it.
struct RingFacts {
  uint64_t ring_id;
  uint64_t capacity_bytes;
  Keep keep;
  uint64_t process_id;
  std::string description;
  std::optional<PublicKey> recipient = {};  // X25519: the records may reach a disk for its owner alone
  BootId boot_id = {};                      // zero in a ring of version 1, as is the time below
  uint64_t created_monotonic_ns = 0;
};

// Throws Error(bad_input) for a capacity that is no power of two within the limits, for a long description, and for a
// recipient of another algorithm.
RingHeader header_of(const RingFacts& facts, int64_t created_ns);
// Without the description, of which `description_bytes` is set to the length. Nothing unless `header` is a whole one of
// version 1 or 2, and of a file of `file_bytes`.
std::optional<RingFacts> try_read_header(const RingHeader& header, uint64_t file_bytes, size_t& description_bytes);
// Whether `description`, of the length that the header says, has the CRC that it says.
bool has_description(const RingHeader& header, std::string_view description);

// What a record of `size_bytes` takes in a ring.
constexpr uint64_t padded_bytes(uint64_t size_bytes) { return round_up(size_bytes, kRecordAlignment); }

}  // namespace edgeward
