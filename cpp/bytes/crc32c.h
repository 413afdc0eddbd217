// CRC-32C (Castagnoli polynomial, RFC 3720 B.4): by the processor's own instruction where it has one. Pure; any thread.
#pragma once

#include <cstdint>

#include "bytes/bytes.h"

namespace edgeward {

// Of `bytes`, going on from the CRC of what came before them; 0 for nothing before.
uint32_t crc32c(Bytes bytes, uint32_t before = 0);

// The same on a processor that has no such instruction.
uint32_t crc32c_by_table(Bytes bytes, uint32_t before = 0);

}  // namespace edgeward
