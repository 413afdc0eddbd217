// What loops over numbers share that are to run over wide vectors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

// Compiles a function once more for processors with wider vectors; the processor chooses when the library loads.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define EDGEWARD_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEWARD_WIDE
#endif

namespace edgeward {

// Floats in the widest vector: what is padded to a multiple of it is read in whole vectors.
inline constexpr size_t kLanes = 16;

// Whether a float is NaN or infinite, as a comparison that vectors have.
inline bool is_special(float value) { return (std::bit_cast<uint32_t>(value) & 0x7F80'0000u) == 0x7F80'0000u; }

}  // namespace edgeward
