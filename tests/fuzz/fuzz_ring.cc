// libFuzzer: a ring's file, as its reader finds it. A whole one is larger than an input should be, so that an input
// holds only what says something, and is laid out here:
//
//   1 byte   how: bit 0, the header's CRCs are made to fit; bit 1, the data lies where reading begins, else at the
//            ring's first byte; bit 2, it is what a writer of records would have left: heads have their CRCs; bit 3,
//            the file is cut short while it is read
//   256      header
//   96       tail, oldest, five counters, state, save_to, head and its complement, drained
//   2        n, the size of the description
//   n        description
//   ...      data
//
// Nothing is thrown; no record lies outside of the ring or is other bytes than lie there; reading ends. How to build
// and run: .ci/run, lane fuzz.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bytes/crc32c.h"
#include "captures/record.h"
#include "captures/ring_reader.h"
#include "captures/ring_writer.h"

using namespace edgeward;

namespace {

// Capture-format 1.
constexpr size_t kHeaderBytes = 256;
constexpr size_t kDescriptionAt = 4096;
constexpr size_t kTailAt = size_t{64} << 10;
constexpr size_t kHeadAt = size_t{128} << 10;
constexpr size_t kDataAt = size_t{192} << 10;
constexpr size_t kLinesBytes = 96;
// A file of more than this is not laid out: it is one that is shorter than its header says.
constexpr uint64_t kMaxCapacityBytes = uint64_t{1} << 20;

// One file in memory, written over by each input.
class Scratch {
 public:
  Scratch() : number_(mkostemp(path_, O_CLOEXEC)) {
    if (number_ < 0) abort();
  }
  ~Scratch() {
    close(number_);
    unlink(path_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const char* path() const { return path_; }
  // All of it is zeros then.
  void resize(uint64_t size) const {
    if (ftruncate(number_, 0) != 0 || ftruncate(number_, static_cast<off_t>(size)) != 0) abort();
  }
  void cut(uint64_t size) const {
    if (ftruncate(number_, static_cast<off_t>(size)) != 0) abort();
  }
  void write(uint64_t offset, Bytes bytes) const {
    if (pwrite(number_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes.size()))
      abort();
  }

 private:
  char path_[32] = "/dev/shm/edgeward-fuzz-XXXXXX";
  int number_;
};

// What is left of the input.
struct Input {
  Bytes bytes;
  Bytes take(size_t size) {
    const Bytes taken = bytes.first(std::min(size, bytes.size()));
    bytes = bytes.subspan(taken.size());
    return taken;
  }
};

template <class T>
void put(std::span<std::byte> bytes, size_t offset, const T& value) {
  if (contains(bytes, offset, sizeof(value))) std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

// Each record's head says what it would have to say where it lies.
void mend_records(std::vector<std::byte>& data, uint64_t position) {
  for (size_t at = 0; contains(data, at, kRecordHeadBytes);) {
    const auto size_bytes = *try_read<uint32_t>(data, at);
    if (size_bytes < kRecordHeadBytes || !contains(data, at, size_bytes)) return;
    const auto record = std::span(data).subspan(at, size_bytes);
    const uint64_t rows = uint64_t{*try_read<uint16_t>(record, 6)} * kTensorRowBytes + *try_read<uint32_t>(record, 76);
    if (contains(record, kRecordHeadBytes, rows))
      put(record, 80, crc32c(Bytes(record).subspan(kRecordHeadBytes, rows)));
    put(record, 16, position + at);
    put(record, 84, uint32_t{0});
    put(record, 84, crc32c(Bytes(record).first(kRecordHeadBytes)));
    at += (size_bytes + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
  }
}

// The ring's data as the file has it: `records` from `offset` on, the rest is zeros.
class Data {
 public:
  Data(uint64_t capacity, uint64_t offset, Bytes records) : capacity_(capacity) {
    const size_t to_end = std::min<uint64_t>(records.size(), capacity - offset);
    parts_[0] = put(offset, records.first(to_end));
    parts_[1] = put(0, records.subspan(to_end));
  }
  ~Data() {
    for (const auto part : parts_) std::ranges::fill(part, std::byte{0});
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  bool has(uint64_t position, Bytes record) const {
    const uint64_t offset = position & (capacity_ - 1);
    const Bytes first = record.first(std::min<uint64_t>(record.size(), capacity_ - offset));
    const Bytes second = record.subspan(first.size());
    return std::memcmp(bytes_.data() + offset, first.data(), first.size()) == 0 &&
           (second.empty() || std::memcmp(bytes_.data(), second.data(), second.size()) == 0);
  }

 private:
  static std::span<std::byte> put(uint64_t offset, Bytes part) {
    if (!part.empty()) std::memcpy(bytes_.data() + offset, part.data(), part.size());
    return std::span(bytes_).subspan(offset, part.size());
  }

  static inline std::vector<std::byte> bytes_ = std::vector<std::byte>(kMaxCapacityBytes);  // zeros between two inputs
  uint64_t capacity_;
  std::span<std::byte> parts_[2];
};

void check_facts(const RingFacts& facts) {
  const uint64_t capacity = facts.capacity_bytes;
  const bool is_right = capacity >= kMinRingBytes && capacity <= kMaxRingBytes && (capacity & (capacity - 1)) == 0 &&
                        facts.description.size() <= kMaxDescriptionBytes &&
                        (facts.keep == Keep::oldest || facts.keep == Keep::newest);
  if (!is_right) abort();
}

// Everything that is in the ring, until it is empty or broken. With `cut` the file is cut, else it has `data`.
void drain(RingReader& reader, const Data& data, const Scratch* cut) {
  const uint64_t capacity = reader.facts().capacity_bytes;
  uint64_t count = 0;
  uint64_t read = 0;
  while (const auto record = reader.next(4)) {
    const uint64_t size_bytes = record->bytes.size();
    if (size_bytes < 4 || size_bytes > capacity / 2 || record->position % kRecordAlignment != 0) abort();
    read += reader.position() - record->position;
    if (reader.position() - record->position < size_bytes || read > capacity) abort();
    if (cut == nullptr && !data.has(record->position, record->bytes)) abort();
    if (is_record_at(record->bytes, record->position)) {
      if (const auto whole = try_read_record(record->bytes)) {
        for (const RecordTensor& tensor : whole->tensors) {
          if (!contains(record->bytes, tensor.offset, tensor.size_bytes)) abort();
        }
      }
    }
    if (reader.used_bytes() > capacity || reader.is_broken()) abort();
    if (++count % 3 == 0) reader.free_read();
    // Somewhere in the data, or in front of it.
    if (cut != nullptr && count == 2) cut->cut(size_bytes * 97 % (kDataAt + capacity));
  }
  const bool is_broken = reader.is_broken();
  if (is_broken && reader.next(4)) abort();
  // What broke it is there still.
  reader.rewind();
  while (reader.next(4)) {
  }
  if (is_broken && !reader.is_broken()) abort();
  reader.rewind();
  reader.free_read();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Scratch scratch;
  Input input{std::as_bytes(std::span(data, size))};
  const Bytes first = input.take(1);
  const unsigned how = first.empty() ? 0 : std::to_integer<unsigned>(first[0]);
  std::vector<std::byte> header(kHeaderBytes);
  std::ranges::copy(input.take(kHeaderBytes), header.begin());
  std::vector<std::byte> lines(kLinesBytes);
  std::ranges::copy(input.take(kLinesBytes), lines.begin());
  const auto description_bytes = try_read<uint16_t>(input.take(sizeof(uint16_t)), 0);
  const Bytes description = input.take(std::min<size_t>(description_bytes.value_or(0), kTailAt - kDescriptionAt));
  if ((how & 1) != 0) {
    put(header, 48, static_cast<uint32_t>(description.size()));
    put(header, 56, crc32c(description));
    put(header, 60, crc32c(Bytes(header).first(60)));
    put(header, 252, crc32c(Bytes(header).first(252)));
  }

  const uint64_t capacity = std::clamp(*try_read<uint64_t>(header, 16), kMinRingBytes, kMaxCapacityBytes);
  const bool is_power = (capacity & (capacity - 1)) == 0;
  const bool keeps_newest = try_read<uint32_t>(header, 12) == static_cast<uint32_t>(Keep::newest);
  const uint64_t begin = (how & 2) == 0 ? 0 : *try_read<uint64_t>(lines, keeps_newest ? 8 : 72);
  const Bytes rest = input.take(capacity);
  std::vector<std::byte> records(rest.size());
  if (!rest.empty()) std::memcpy(records.data(), rest.data(), rest.size());
  if ((how & 4) != 0) mend_records(records, begin);

  scratch.resize(kDataAt + capacity);
  scratch.write(0, header);
  scratch.write(kDescriptionAt, description);
  scratch.write(kTailAt, Bytes(lines).first(8));
  scratch.write(kTailAt + 128, Bytes(lines).subspan(8, 8));
  scratch.write(kTailAt + 256, Bytes(lines).subspan(16, 40));
  scratch.write(kTailAt + 384, Bytes(lines).subspan(56, 8));
  scratch.write(kTailAt + 512, Bytes(lines).subspan(64, 8));
  scratch.write(kHeadAt, Bytes(lines).subspan(72, 24));
  const uint64_t offset = is_power ? begin & (capacity - 1) : 0;
  const size_t to_end = std::min<uint64_t>(records.size(), capacity - offset);
  scratch.write(kDataAt + offset, Bytes(records).first(to_end));
  scratch.write(kDataAt, Bytes(records).subspan(to_end));

  auto reader = RingReader::try_open(scratch.path());
  if (!reader) return 0;
  check_facts(reader->facts());
  if (reader->facts().capacity_bytes != capacity ||
      reader->facts().description.size() != *try_read<uint32_t>(header, 48))
    abort();
  const Data laid_out(capacity, offset, records);
  const bool is_cut = (how & 8) != 0;
  if (reader->used_bytes() > capacity) abort();
  const RingCounters counters = reader->counters();
  if (counters.sampled_out != *try_read<uint64_t>(lines, 16) || counters.overwritten != *try_read<uint64_t>(lines, 48))
    abort();
  if (keeps_newest && *try_read<uint64_t>(lines, 64) == 0 && reader->next(4)) abort();  // neither ended nor saved
  if (!reader->has_ended()) abort();                                                    // nobody has its lock
  drain(*reader, laid_out, is_cut ? &scratch : nullptr);
  if (reader->used_bytes() > capacity) abort();
  return 0;
}
