#include "captures/ring_format.h"

#include <bit>
#include <span>

#include "bytes/bytes.h"
#include "bytes/crc32c.h"
#include "bytes/hex.h"
#include "error.h"

namespace edgeward {
namespace {

constexpr std::array<char, 8> kRingMagic = {'E', 'W', 'R', 'I', 'N', 'G', '0', '1'};
constexpr uint32_t kRingVersion = 1;

uint32_t crc_of(const RingHeader& header) {
  return crc32c(std::as_bytes(std::span(&header, 1)).first(sizeof(header) - sizeof(header.header_crc)));
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
  header.header_crc = crc_of(header);
  return header;
}

bool is_ring_header(const RingHeader& header, uint64_t file_bytes) {
  const bool has_keep =
      header.keep == static_cast<uint32_t>(Keep::oldest) || header.keep == static_cast<uint32_t>(Keep::newest);
  return header.magic == kRingMagic && header.version == kRingVersion && header.header_crc == crc_of(header) &&
         header.reserved == 0 && has_keep && is_capacity(header.capacity_bytes) &&
         header.description_bytes <= kMaxDescriptionBytes && file_bytes == kRingDataOffset + header.capacity_bytes;
}

bool has_description(const RingHeader& header, std::string_view description) {
  return header.description_crc == crc_of(description);
}

}  // namespace edgeward
