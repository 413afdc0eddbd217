// libFuzzer: a segment as a crash, a bad disk or somebody else left it. The first byte says what is mended, so that the
// input gets past the CRCs: 1 the head's, 2 those of the frames, 4 their salts and indices too; 8: read with a
// key; 16: as a segment of format 1; 32: the end's counts and
// digest.
// What is read lies inside of the file, and what is recovered is complete and the same. How to build and run: .ci/run,
// lane fuzz.
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bytes/crc32c.h"
#include "captures/record.h"
#include "captures/record_block.h"
#include "captures/segment_index.h"
#include "captures/segment_reader.h"
#include "captures/segment_recovery.h"
#include "error.h"

using namespace edgeward;

namespace {

constexpr uint8_t kMendHead = 1;
constexpr uint8_t kMendFrames = 2;
constexpr uint8_t kMendOrder = 4;
constexpr uint8_t kWithKey = 8;
constexpr uint8_t kFirstFormat = 16;
constexpr uint8_t kMendEnd = 32;

// Of this process alone, and gone with it.
struct Scratch {
  std::string path = "/dev/shm/edgeward-fuzz-XXXXXX";
  Scratch() {
    if (mkdtemp(path.data()) == nullptr) abort();
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

template <class Value>
void put(std::vector<std::byte>& bytes, size_t offset, Value value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

void mend(std::vector<std::byte>& file, uint8_t what) {
  if (file.size() < kSegmentHeadBytes) return;
  const uint32_t format = (what & kFirstFormat) != 0 ? 1 : 2;
  if ((what & kMendHead) != 0) {
    std::memcpy(file.data(), format == 1 ? "EWSEG01" : "EWSEG02", 8);
    put(file, kSegmentHeadBytes - 4, crc32c(Bytes(file).first(kSegmentHeadBytes - 4)));
  }
  const size_t head_bytes = frame_head_bytes(format);
  const size_t size_at = format == 1 ? 32 : 56;
  uint64_t index = 0;
  uint64_t records = 0;
  uint64_t index_offset = 0;
  for (size_t at = kSegmentHeadBytes; at + head_bytes <= file.size(); ++index) {
    const auto type = static_cast<FrameType>(*try_read<uint32_t>(file, at + 4));
    const bool is_last = type == FrameType::footer || type == FrameType::recovered;
    if ((what & kMendOrder) != 0) {
      std::memcpy(file.data() + at, format == 1 ? "EWFR" : "EWF2", 4);
      std::memcpy(file.data() + at + 8, file.data() + 8, 8);
      put(file, at + 24, index);
    }
    const uint64_t payload_bytes = *try_read<uint32_t>(file, at + size_at);
    const uint64_t end = at + (head_bytes + payload_bytes + 63) / 64 * 64;
    if (end > file.size()) return;
    if ((what & kMendEnd) != 0 && format == 2) {
      if (type == FrameType::index) index_offset = at;
      if (type == FrameType::block) records += *try_read<uint64_t>(file, at + 48);
      if (is_last && payload_bytes == sizeof(SegmentFooter)) {
        put(file, at + 48, records);
        const SegmentFooter footer{index, at, 0, 0, index_offset, sha256(Bytes(file).first(at))};
        std::memcpy(file.data() + at + head_bytes, &footer, sizeof(footer));
        file.resize(end);
      }
    }
    if ((what & kMendFrames) != 0) {
      put(file, at + size_at + 4, uint32_t{0});
      put(file, at + size_at + 4, crc32c(Bytes(file).subspan(at, head_bytes + payload_bytes)));
    }
    at = end;
  }
}

struct Content {
  uint64_t frame_count = 0;  // but index and last
  uint64_t payload_bytes = 0;
  uint32_t crc = 0;  // of types, rings, sequences and payloads
  bool is_complete = false;
};

void require_inside(Bytes outer, Bytes inner) {
  if (inner.empty()) return;
  if (inner.data() < outer.data() || inner.data() + inner.size() > outer.data() + outer.size()) abort();
}

// What is read of a block lies inside of it.
void look_into(Bytes payload) {
  const auto block = RecordBlock::try_read(payload);
  if (!block) return;
  for (uint32_t i = 0; i < block->count(); i += 1 + block->count() / 8) {
    block->head(i);
    require_inside(payload, block->user(i));
    for (size_t tensor = 0; tensor < block->tensors().size(); ++tensor)
      require_inside(payload, block->tensor(tensor, i));
  }
  if (block->span().record_count != block->count()) abort();
}

// Throws Error for what is no segment.
Content read_all(const std::string& path, uint64_t file_bytes, const PrivateKey* key) {
  SegmentReader reader(path, key);
  const size_t head_bytes = frame_head_bytes(format_of(reader.head()));
  Content content;
  bool has_index = false;
  while (const auto frame = reader.next()) {
    if (frame->type() < FrameType::ring || frame->type() > FrameType::recovered) abort();
    if (frame->payload.size() > file_bytes - kSegmentHeadBytes - head_bytes) abort();
    has_index |= frame->type() == FrameType::index;
    if (has_index || reader.is_complete()) continue;
    ++content.frame_count;
    content.payload_bytes += frame->payload.size();
    const uint64_t facts[] = {frame->head.type, frame->head.ring_id, frame->head.first_sequence,
                              frame->head.last_sequence};
    content.crc = crc32c(frame->payload, crc32c(std::as_bytes(std::span(facts)), content.crc));
    look_into(frame->payload);
    const auto record = try_read_record(frame->payload);
    if (!record) continue;
    for (const RecordTensor& tensor : record->tensors) {
      if (!contains(record->bytes, tensor.offset, tensor.size_bytes)) abort();
    }
  }
  if (reader.next()) abort();
  content.is_complete = reader.is_complete();
  if (reader.whole_bytes() > file_bytes) abort();
  if (reader.whole_bytes() < kSegmentHeadBytes + content.frame_count * head_bytes + content.payload_bytes) abort();
  const uint64_t holes = reader.hole_count();
  if (holes > (file_bytes - reader.whole_bytes()) / 64 || (content.is_complete && holes != 0)) abort();
  return content;
}

// What the segment's end says is in the file, or named as a fault.
SegmentIndex read_by_index(const std::string& path, uint64_t file_bytes, const PrivateKey* key) {
  SegmentReader reader(path, key);
  SegmentIndex index = read_index(reader);
  if ((index.state == SegmentState::damaged) == index.fault.empty() && index.state != SegmentState::open) abort();
  uint64_t records = 0;
  for (uint64_t i = 0; i < index.rows.size(); ++i) {
    if (index.rows[i].offset >= file_bytes) abort();
    records += index.rows[i].record_count;
    const auto frame = reader.try_read(index.rows[i].offset, i);
    if (frame) look_into(frame->payload);
  }
  if (records != index.record_count) abort();
  return index;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Scratch scratch;
  static const PrivateKey key{KeyAlgorithm::x25519, Secret(sha256(std::as_bytes(std::span("fuzzed device", 13))))};
  if (size == 0) return 0;
  const uint8_t what = data[0];
  std::vector<std::byte> file(size - 1);
  if (!file.empty()) std::memcpy(file.data(), data + 1, file.size());
  mend(file, what);
  const std::string path = scratch.path + "/one.open";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  Content before;
  try {
    if ((what & kWithKey) != 0) {
      try {
        read_all(path, file.size(), &key);
        read_by_index(path, file.size(), &key);
      } catch (const Error& error) {
        if (error.code() != Code::wrong_key && error.code() != Code::malformed_capture) abort();
      }
    }
    before = read_all(path, file.size(), nullptr);
    read_by_index(path, file.size(), nullptr);
  } catch (const Error& error) {
    if (error.code() != Code::malformed_capture) abort();
    try {
      recover_segment(path);
      abort();  // what cannot be read cannot be recovered
    } catch (const Error&) {
      unlink(path.c_str());
      return 0;
    }
  }
  const Recovered recovered = recover_segment(path);
  if (recovered.frame_count != before.frame_count || std::filesystem::exists(path)) abort();
  if (recovered.path.empty()) {
    if (before.frame_count != 0 || before.is_complete) abort();
    return 0;
  }
  const Content after = read_all(recovered.path, std::filesystem::file_size(recovered.path), nullptr);
  const SegmentIndex index = read_by_index(recovered.path, std::filesystem::file_size(recovered.path), nullptr);
  // A footer without an index is whole for whoever reads in order, and has no end that is believed.
  if (!before.is_complete && index.state != SegmentState::recovered) abort();
  if (!after.is_complete || after.frame_count != before.frame_count || after.crc != before.crc) abort();
  unlink(recovered.path.c_str());
  return 0;
}
