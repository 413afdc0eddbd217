#include "captures/ring_format.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <string>

#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "captures/tick_clock.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/ring_octets.h"
#include "system/boot_id.h"

namespace edgeward {
namespace {

constexpr uint64_t kCapacity = kMinRingBytes;

void mend_crcs(std::array<std::byte, kHeaderBytes>& header) {
  for (const size_t offset : {size_t{60}, kHeaderBytes - sizeof(uint32_t)}) {
    const uint32_t crc = crc32c(Bytes(header).first(offset));
    std::memcpy(header.data() + offset, &crc, sizeof(crc));
  }
}

}  // namespace

TEST_CASE("what a ring says of itself comes back") {
  const Directory directory;
  std::mt19937_64 random(1);
  for (const Keep keep : {Keep::oldest, Keep::newest}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, kMaxDescriptionBytes}) {
      CAPTURE(size);
      const std::string description = to_text(random_octets(random, size));
      const RingWriter writer(directory.at(""), 2 * kCapacity, keep, description);
      const RingReader reader = reader_of(writer);
      CHECK(reader.path() == writer.path());
      CHECK(reader.facts().ring_id == writer.ring_id());
      CHECK(reader.facts().capacity_bytes == 2 * kCapacity);
      CHECK(reader.facts().keep == keep);
      CHECK(reader.facts().process_id == static_cast<uint64_t>(getpid()));
      CHECK(reader.facts().description == description);
      CHECK(reader.used_bytes() == 0);
      check_counters(reader.counters(), {});
      CHECK(mode_of(writer.path()) == 0600);
    }
  }
}

TEST_CASE("a ring is a file of its id's name, and leaves no other") {
  const Directory directory;
  const RingWriter first(directory.at(""), kCapacity, Keep::oldest, "");
  const RingWriter second(directory.at(""), kCapacity, Keep::oldest, "");
  CHECK(first.ring_id() != second.ring_id());
  const auto name = [](const RingWriter& writer) {
    const uint64_t id = writer.ring_id();
    return hex(std::as_bytes(std::span(&id, 1))) + ".ring";
  };
  CHECK(directory.names() == std::set<std::string>{name(first), name(second)});
}

TEST_CASE("a ring of no possible size is refused, and leaves no file") {
  const Directory directory;
  for (const uint64_t capacity : {uint64_t{0}, uint64_t{1}, kMinRingBytes / 2, kMinRingBytes - 1, kMinRingBytes + 1,
                                  3 * kMinRingBytes, 2 * kMaxRingBytes, UINT64_MAX}) {
    CAPTURE(capacity);
    check_refusal(Code::bad_input, {"power of two", std::to_string(capacity)},
                  [&] { RingWriter(directory.at(""), capacity, Keep::oldest, ""); });
  }
  check_refusal(Code::bad_input, {"description", std::to_string(kMaxDescriptionBytes + 1)}, [&] {
    RingWriter(directory.at(""), kCapacity, Keep::oldest, std::string(kMaxDescriptionBytes + 1, 'd'));
  });
  CHECK(directory.names().empty());
  CHECK_THROWS_AS(RingWriter(directory.at("missing/deeper"), kCapacity, Keep::oldest, ""),
                  std::filesystem::filesystem_error);
}

TEST_CASE("a ring is not opened when any bit of its header or of its description turned over") {
  const Directory directory;
  const std::string description = "what the ring is for";
  const RingWriter writer(directory.at(""), kCapacity, Keep::oldest, description);
  const Scribble scribble(writer.path());
  const auto check_bits = [&](uint64_t begin, uint64_t size) {
    for (uint64_t bit = 0; bit < 8 * size; ++bit) {
      CAPTURE(begin);
      CAPTURE(bit);
      scribble.flip(begin + bit / 8, bit % 8);
      CHECK_FALSE(RingReader::try_open(writer.path()));
      scribble.flip(begin + bit / 8, bit % 8);
    }
  };
  check_bits(0, kHeaderBytes);
  check_bits(kDescriptionAt, description.size());
  CHECK(RingReader::try_open(writer.path()));
}

TEST_CASE("a ring is not opened when its header says what it must not, though its CRC fits") {
  const Directory directory;
  const RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "");
  const Scribble scribble(writer.path());
  struct Row {
    const char* name;
    uint64_t offset;
    uint64_t value;
    size_t size_bytes;
  };
  const Row rows[] = {{"magic", 0, 0, 8},
                      {"version 0", 8, 0, 4},
                      {"version 1", 8, 1, 4},
                      {"version 3", 8, 3, 4},
                      {"keeps nothing", 12, 0, 4},
                      {"keeps something else", 12, 3, 4},
                      {"no capacity", 16, 0, 8},
                      {"half the capacity", 16, kCapacity / 2, 8},
                      {"twice the capacity", 16, 2 * kCapacity, 8},
                      {"not a power of two", 16, kCapacity + 64, 8},
                      {"all of the memory", 16, uint64_t{1} << 63, 8},
                      {"a long description", 48, kMaxDescriptionBytes + 1, 4},
                      {"a description of other bytes", 48, 5, 4},
                      {"an unknown flag", 52, 2, 4},
                      {"a reserved byte in use", 251, 1, 1}};
  const auto header = scribble.value<std::array<std::byte, kHeaderBytes>>(0);
  for (const Row& row : rows) {
    CAPTURE(row.name);
    auto changed = header;
    std::memcpy(changed.data() + row.offset, &row.value, row.size_bytes);
    mend_crcs(changed);
    scribble.put(0, changed);
    CHECK_FALSE(RingReader::try_open(writer.path()));
  }
  scribble.put(0, header);
  CHECK(RingReader::try_open(writer.path()));
}

TEST_CASE("a ring says whom its records are for, and in which boot it was made") {
  const Directory directory;
  const PublicKey key = public_key(generate_key(KeyAlgorithm::x25519));
  const uint64_t before_ns = monotonic_ns();
  const RingWriter sealed(directory.at(""), kCapacity, Keep::oldest, "", key);
  const RingWriter open(directory.at(""), kCapacity, Keep::oldest, "");
  const RingReader reader = reader_of(sealed);
  REQUIRE(reader.facts().recipient);
  CHECK(reader.facts().recipient->algorithm == KeyAlgorithm::x25519);
  CHECK(reader.facts().recipient->bytes == key.bytes);
  CHECK_FALSE(reader_of(open).facts().recipient);
  CHECK(reader.facts().boot_id == boot_id());
  CHECK(reader.facts().created_monotonic_ns >= before_ns);
  CHECK(reader.facts().created_monotonic_ns <= monotonic_ns());
}

TEST_CASE("a ring takes no key but an x25519 key") {
  const Directory directory;
  const PublicKey key = public_key(generate_key(KeyAlgorithm::ed25519));
  check_refusal(Code::bad_input, {"x25519"}, [&] { RingWriter(directory.at(""), kCapacity, Keep::oldest, "", key); });
  CHECK(directory.names().empty());
}

TEST_CASE("a ring of version 1 is read, and is for nobody in particular") {
  const Directory directory;
  const RingWriter writer(directory.at(""), kCapacity, Keep::oldest, "words");
  const Scribble scribble(writer.path());
  auto header = scribble.value<std::array<std::byte, kHeaderBytes>>(0);
  header[7] = std::byte{'1'};
  header[8] = std::byte{1};
  mend_crcs(header);
  scribble.write(0, Bytes(header).first(64));
  scribble.put(64, std::array<std::byte, kHeaderBytes - 64>{});
  const RingReader reader = reader_of(writer);
  CHECK(reader.facts().ring_id == writer.ring_id());
  CHECK(reader.facts().description == "words");
  CHECK_FALSE(reader.facts().recipient);
  CHECK(reader.facts().boot_id == BootId{});
  CHECK(reader.facts().created_monotonic_ns == 0);
  for (uint64_t bit = 0; bit < uint64_t{8} * 64; ++bit) {
    CAPTURE(bit);
    scribble.flip(bit / 8, bit % 8);
    CHECK_FALSE(RingReader::try_open(writer.path()));
    scribble.flip(bit / 8, bit % 8);
  }
}

TEST_CASE("a ring is not opened when its file is shorter or longer than it says") {
  const Directory directory;
  std::string path;
  { path = RingWriter(directory.at(""), kCapacity, Keep::oldest, "words").path(); }
  for (const uint64_t size :
       {kDataAt + kCapacity + 1, kDataAt + 2 * kCapacity, kDataAt + kCapacity - 1, kDataAt, kHeadAt, kTailAt,
        kDescriptionAt + 1, kDescriptionAt, kHeaderBytes, kHeaderBytes - 1, uint64_t{1}, uint64_t{0}}) {
    CAPTURE(size);
    REQUIRE(truncate(path.c_str(), static_cast<off_t>(size)) == 0);
    CHECK_FALSE(RingReader::try_open(path));
  }
}

}  // namespace edgeward
