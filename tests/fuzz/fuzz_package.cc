// libFuzzer: a package. The first byte says how the rest is taken: as it is, as one whose hashes are made to fit, or as
// one that is also signed by a trusted publisher, so that every check has its turn. Nothing but Error is thrown; what
// is believed keeps the format's rules. How to build and run: .ci/run, lane fuzz.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"
#include "rigs/demo_package.h"

using namespace edgeward;

namespace {

constexpr size_t kMostBytes = size_t{64} << 10;
constexpr size_t kSlotsBytes = 2304;

// One file in memory, written over by each input.
class Scratch {
 public:
  Scratch() {
    const int number = mkostemp(path_, O_CLOEXEC);
    if (number < 0) abort();
    number_ = number;
  }
  ~Scratch() {
    close(number_);
    unlink(path_);
  }
  const char* path() const { return path_; }
  void write(Bytes content) const {
    if (ftruncate(number_, static_cast<off_t>(content.size())) != 0) abort();
    if (pwrite(number_, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) abort();
  }

 private:
  char path_[32] = "/dev/shm/edgeward-fuzz-XXXXXX";
  int number_ = -1;
};

template <class T>
void put(std::vector<std::byte>& file, size_t offset, const T& value) {
  if (contains(file, offset, sizeof(value))) std::memcpy(file.data() + offset, &value, sizeof(value));
}

// What a random change would break, so that nothing behind it were ever reached.
void mend(std::vector<std::byte>& file, const PrivateKey* signer) {
  put(file, 24, static_cast<uint64_t>(file.size()));
  const auto body_bytes = try_read<uint32_t>(file, 12);
  if (!body_bytes || !contains(file, 64, *body_bytes) || *body_bytes < 448) return;
  const auto chunk_count = try_read<uint64_t>(file, 64 + 32);
  const uint64_t table_at = uint64_t{64} + *body_bytes + kSlotsBytes;
  if (chunk_count && *chunk_count <= kMostBytes && contains(file, table_at, *chunk_count * 48)) {
    // The chunks' hashes first, since the table's is of them.
    const auto payload_at = try_read<uint64_t>(file, 64 + 40);
    const auto chunk_bytes = try_read<uint32_t>(file, 64 + 24);
    if (payload_at && chunk_bytes && *chunk_bytes >= 65'536 && *payload_at <= file.size()) {
      for (uint64_t i = 0; i < *chunk_count; ++i) {
        const uint64_t begin = std::min<uint64_t>(*payload_at + i * *chunk_bytes, file.size());
        const uint64_t end = std::min<uint64_t>(begin + *chunk_bytes, file.size());
        put(file, table_at + 48 * i, sha256(Bytes(file).subspan(begin, end - begin)));
      }
    }
    put(file, 64 + 96, sha256(Bytes(file).subspan(table_at, *chunk_count * 48)));
  }
  const Bytes body = Bytes(file).subspan(64, *body_bytes);
  put(file, 32, sha256(body));
  if (signer == nullptr || !contains(file, 64 + *body_bytes, 144)) return;
  const auto message = pre_authentication_encoding("application/vnd.edgeward.ewp.body.v1", body);
  static const Digest id = key_id(public_key(*signer));
  put(file, 64 + *body_bytes + 8, id);
  put(file, 64 + *body_bytes + 40, sign(*signer, message));
}

void check(const PackageFacts& facts, size_t file_bytes) {
  if (facts.payload_bytes > file_bytes || facts.payload_offset + facts.payload_bytes != file_bytes) abort();
  uint64_t end = 0;
  size_t entries = 0;
  for (const Member& member : facts.members) {
    if (member.offset < end || member.size_bytes == 0 || member.offset + member.size_bytes > facts.payload_bytes)
      abort();
    end = member.offset + member.size_bytes;
    entries += member.is_entry ? 1 : 0;
  }
  if (entries != 1 || end != facts.payload_bytes || facts.release_counter < facts.min_counter) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Scratch scratch;
  static const PrivateKey publisher = publisher_key();
  static const TrustRoot root = demo_root(publisher);
  static const Policy policy = demo_policy();
  static const Secret content_key = secret_of("edgeward test cek");
  if (size < 1 || size > kMostBytes) return 0;
  const auto* first = reinterpret_cast<const std::byte*>(data) + 1;
  std::vector<std::byte> file(first, first + size - 1);
  const unsigned way = data[0] % 4;
  // Hashes and signatures cost more than all of the rest: only what could be a package gets them.
  const bool is_plausible = size > 64 + 608 + kSlotsBytes && std::memcmp(data + 1, "EWPK", 4) == 0 &&
                            std::memcmp(data + 65, "EWBODY01", 8) == 0;
  if (way != 0 && !is_plausible) return 0;
  if (way != 0) mend(file, way == 3 ? &publisher : nullptr);
  scratch.write(file);
  try {
    if (way == 3) {
      const PackageReader package(scratch.path(), root, policy);
      check(package.facts(), file.size());
      package.open_payload(&content_key, 1);
      package.check_members(&content_key);
    } else {
      const PackageReader package = PackageReader::unverified(scratch.path());
      check(package.facts(), file.size());
      package.check_stored(1);
      package.open_payload(&content_key, 1);
    }
  } catch (const Error&) {
  }
  return 0;
}
