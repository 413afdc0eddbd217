#include "captures/ring_format.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <iterator>
#include <span>

#include "bytes/bytes.h"
#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr std::array<char, 8> kRingMagic = {'E', 'W', 'R', 'I', 'N', 'G', '0', '2'};
constexpr uint32_t kRingVersion = 2;
constexpr std::array<char, 8> kFirstRingMagic = {'E', 'W', 'R', 'I', 'N', 'G', '0', '1'};

Bytes bytes_of(const RingHeader& header) { return std::as_bytes(std::span(&header, 1)); }
uint32_t first_crc_of(const RingHeader& header) {
  return crc32c(bytes_of(header).first(offsetof(RingHeader, first_crc)));
}
uint32_t crc_of(const RingHeader& header) { return crc32c(bytes_of(header).first(offsetof(RingHeader, header_crc))); }

// Whether the header's own bytes are those of its version.
bool is_whole(const RingHeader& header) {
  if (header.first_crc != first_crc_of(header)) return false;
  if (header.magic == kFirstRingMagic) return header.version == 1 && header.flags == 0;
  return header.magic == kRingMagic && header.version == kRingVersion && header.header_crc == crc_of(header) &&
         header.flags <= kSealedRingFlag && is_zero(header.zeros);
}

uint32_t crc_of(std::string_view description) { return crc32c(std::as_bytes(std::span(description))); }

bool is_capacity(uint64_t bytes) {
  return bytes >= kMinRingBytes && bytes <= kMaxRingBytes && std::has_single_bit(bytes);
}

}  // namespace

std::string ring_path(const std::string& directory, uint64_t ring_id, std::string_view suffix) {
  return directory + "/" + hex(std::as_bytes(std::span(&ring_id, 1))) + std::string(suffix);
}

RingHeader header_of(const RingFacts& facts, int64_t created_ns) {
  if (!is_capacity(facts.capacity_bytes)) {
    throw Error(Code::bad_input, "ring: expected a power of two from ", kMinRingBytes, " to ", kMaxRingBytes,
                " bytes, got ", facts.capacity_bytes);
  }
  if (facts.description.size() > kMaxDescriptionBytes) {
    throw Error(Code::bad_input, "ring: expected a description of at most ", kMaxDescriptionBytes, " bytes, got ",
                facts.description.size());
  }
  if (facts.recipient && facts.recipient->algorithm != KeyAlgorithm::x25519)
    throw Error(Code::bad_input, "ring: expected an x25519 key as its recipient, got another");
  RingHeader header{};
  header.magic = kRingMagic;
  header.version = kRingVersion;
  header.keep = static_cast<uint32_t>(facts.keep);
  header.capacity_bytes = facts.capacity_bytes;
  header.ring_id = facts.ring_id;
  header.process_id = facts.process_id;
  header.created_ns = created_ns;
  header.description_bytes = static_cast<uint32_t>(facts.description.size());
  header.description_crc = crc_of(facts.description);
  if (facts.recipient) {
    header.flags = kSealedRingFlag;
    std::copy_n(facts.recipient->bytes.begin(), header.recipient.size(), header.recipient.begin());
  }
  header.boot_id = facts.boot_id;
  header.created_monotonic_ns = facts.created_monotonic_ns;
  header.first_crc = first_crc_of(header);
  header.header_crc = crc_of(header);
  return header;
}

std::optional<RingFacts> try_read_header(const RingHeader& header, uint64_t file_bytes, size_t& description_bytes) {
  const bool has_keep =
      header.keep == static_cast<uint32_t>(Keep::oldest) || header.keep == static_cast<uint32_t>(Keep::newest);
  const bool is_ring = is_whole(header) && has_keep && is_capacity(header.capacity_bytes) &&
                       header.description_bytes <= kMaxDescriptionBytes &&
                       file_bytes == kRingDataOffset + header.capacity_bytes;
  if (!is_ring) return std::nullopt;
  description_bytes = header.description_bytes;
  RingFacts facts{header.ring_id, header.capacity_bytes, static_cast<Keep>(header.keep), header.process_id, {}};
  if (header.version == 1) return facts;  // behind its header are bytes that say nothing
  if (header.flags == kSealedRingFlag)
    facts.recipient = PublicKey{KeyAlgorithm::x25519, {header.recipient.begin(), header.recipient.end()}};
  facts.boot_id = header.boot_id;
  facts.created_monotonic_ns = header.created_monotonic_ns;
  return facts;
}

bool has_description(const RingHeader& header, std::string_view description) {
  return header.description_crc == crc_of(description);
}

}  // namespace edgeward
