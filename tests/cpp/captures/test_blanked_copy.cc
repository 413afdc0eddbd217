#include "captures/blanked_copy.h"

#include <doctest/doctest.h>

#include "captures/ring_copy.h"
#include "rigs/octets.h"

namespace edgeward {
namespace {

constexpr size_t kSlackBytes = 64;

// Pieces of random sizes below `most_bytes`, kept and blank in any order: what BlankedCopy writes, and what it should.
void check_pieces(std::mt19937_64& random, size_t size_bytes, size_t skipped_bytes, size_t most_bytes) {
  const Octets source = random_octets(random, size_bytes);
  Octets memory = random_octets(random, skipped_bytes + size_bytes + kSlackBytes);
  Octets expected = memory;
  {
    BlankedCopy copy(source.data(), memory.data() + skipped_bytes, size_bytes);
    size_t count = 0;
    for (size_t done = 0; done < size_bytes; done += count) {
      count = std::min<size_t>(size_bytes - done, random() % most_bytes);
      const bool is_kept = random() % 2 == 0;
      is_kept ? copy.keep(count) : copy.blank(count);
      for (size_t i = done; i < done + count; ++i) expected[skipped_bytes + i] = is_kept ? source[i] : std::byte{0};
    }
  }
  CHECK(is_same(memory, expected));
}

}  // namespace

TEST_CASE("pieces that are kept and blank are where they are in the source, and nothing else is touched") {
  std::mt19937_64 random(22);
  const size_t limit = RingCopy::kMinStreamedBytes;
  for (const size_t size : {0UL, 1UL, 63UL, 64UL, 5000UL, limit - 1, limit, limit + 1, 3 * limit + 17}) {
    for (const size_t most : {3UL, 100UL, 3000UL, 2 * limit}) {
      for (const size_t skipped : {0UL, 64UL}) {
        CAPTURE(size);
        CAPTURE(most);
        CAPTURE(skipped);
        check_pieces(random, size, skipped, most);
      }
    }
  }
}

TEST_CASE("all may be kept, and all blank") {
  std::mt19937_64 random(23);
  for (const size_t size : {100UL, RingCopy::kMinStreamedBytes, RingCopy::kMinStreamedBytes + 63}) {
    const Octets source = random_octets(random, size);
    Octets kept = random_octets(random, size);
    Octets blank = kept;
    BlankedCopy(source.data(), kept.data(), size).keep(size);
    BlankedCopy(source.data(), blank.data(), size).blank(size);
    CHECK(is_same(kept, source));
    CHECK(is_zero(blank));
  }
}

}  // namespace edgeward
