// libFuzzer: a segment as a crash, a bad disk or somebody else left it. The first byte says what is mended, so that the
// input gets past the CRCs: 1 the head's, 2 those of the frames, 4 their salts and indices too; 8: read with a
// key; 16: as a segment of format 1.
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
  if ((what & kMendHead) != 0) {
    std::memcpy(file.data(), (what & kFirstFormat) != 0 ? "EWSEG01" : "EWSEG02", 8);
    put(file, kSegmentHeadBytes - 4, crc32c(Bytes(file).first(kSegmentHeadBytes - 4)));
  }
  uint64_t index = 0;
  for (size_t at = kSegmentHeadBytes; at + kFrameHeadBytes <= file.size(); ++index) {
    if ((what & kMendOrder) != 0) {
      std::memcpy(file.data() + at, "EWFR", 4);
      std::memcpy(file.data() + at + 8, file.data() + 8, 8);
      put(file, at + 24, index);
    }
    const uint64_t payload_bytes = *try_read<uint32_t>(file, at + 32);
    const uint64_t end = at + (kFrameHeadBytes + payload_bytes + 63) / 64 * 64;
    if (end > file.size()) return;
    if ((what & kMendFrames) != 0) {
      put(file, at + 36, uint32_t{0});
      put(file, at + 36, crc32c(Bytes(file).subspan(at, kFrameHeadBytes + payload_bytes)));
    }
    at = end;
  }
}

struct Content {
  uint64_t frame_count = 0;  // but the footer
  uint64_t payload_bytes = 0;
  uint32_t crc = 0;  // of types, rings, sequences and payloads
  bool is_complete = false;
};

// Throws Error for what is no segment.
Content read_all(const std::string& path, uint64_t file_bytes, const PrivateKey* key) {
  SegmentReader reader(path, key);
  Content content;
  while (const auto frame = reader.next()) {
    if (frame->type < FrameType::ring || frame->type > FrameType::footer) abort();
    if (frame->payload.size() > file_bytes - kSegmentHeadBytes - kFrameHeadBytes) abort();
    if (frame->type == FrameType::footer) continue;
    if (frame->type != FrameType::record && frame->sequence != 0) abort();
    ++content.frame_count;
    content.payload_bytes += frame->payload.size();
    const uint64_t facts[] = {static_cast<uint64_t>(frame->type), frame->ring_id, frame->sequence};
    content.crc = crc32c(frame->payload, crc32c(std::as_bytes(std::span(facts)), content.crc));
    const auto record = try_read_record(frame->payload);
    if (!record) continue;
    for (const RecordTensor& tensor : record->tensors) {
      if (!contains(record->bytes, tensor.offset, tensor.size_bytes)) abort();
    }
  }
  if (reader.next()) abort();
  content.is_complete = reader.is_complete();
  if (reader.whole_bytes() > file_bytes) abort();
  if (reader.whole_bytes() < kSegmentHeadBytes + content.frame_count * kFrameHeadBytes + content.payload_bytes) abort();
  const uint64_t holes = reader.hole_count();
  if (holes > (file_bytes - reader.whole_bytes()) / kFrameHeadBytes || (content.is_complete && holes != 0)) abort();
  return content;
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
      } catch (const Error& error) {
        if (error.code() != Code::wrong_key && error.code() != Code::malformed_capture) abort();
      }
    }
    before = read_all(path, file.size(), nullptr);
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
  if (!after.is_complete || after.frame_count != before.frame_count || after.crc != before.crc) abort();
  unlink(recovered.path.c_str());
  return 0;
}
