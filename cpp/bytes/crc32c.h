// CRC-32C (Castagnoli polynomial, RFC 3720 B.4), computed by the processor's instruction where it has one. Pure; any
// thread.
#pragma once

#include <cstdint>

#include "bytes/bytes.h"

namespace edgeward {

// The CRC of `bytes`, continued from that of the bytes before them; 0 when there are none.
uint32_t crc32c(Bytes bytes, uint32_t before = 0);

// The same by a lookup table, as on a processor without the instruction.
uint32_t crc32c_by_table(Bytes bytes, uint32_t before = 0);

}  // namespace edgeward
