#include "captures/ring_copy.h"

#include <doctest/doctest.h>

#include "rigs/octets.h"

namespace edgeward {
namespace {

constexpr size_t kSlackBytes = 64;

// Pieces of random sizes, by turns copied, blank and thinned: what RingCopy writes, and what it should.
void check_pieces(std::mt19937_64& random, size_t size_bytes, size_t skipped_bytes) {
  const Octets source = random_octets(random, size_bytes + 64);
  Octets memory = random_octets(random, skipped_bytes + size_bytes + kSlackBytes);
  const Octets before = memory;
  Octets expected;
  {
    RingCopy copy(memory.data() + skipped_bytes, size_bytes);
    while (expected.size() < size_bytes) {
      const size_t left = size_bytes - expected.size();
      const size_t count = std::min<size_t>(left, random() % 3000);
      switch (random() % 3) {
        case 0:
          copy.copy(source.data() + expected.size(), count);
          for (size_t i = 0; i < count; ++i) expected.push_back(source[expected.size()]);
          break;
        case 1:
          copy.blank(count);
          expected.resize(expected.size() + count);
          break;
        default: {
          const size_t element_bytes = 1 + random() % 17;
          const size_t step = 2 + random() % 3;
          const size_t elements = std::min(left / element_bytes, source.size() / element_bytes / step);
          copy.copy_every(step, source.data(), element_bytes, elements);
          for (size_t i = 0; i < elements; ++i) {
            const auto from = source.begin() + static_cast<std::ptrdiff_t>(i * step * element_bytes);
            expected.insert(expected.end(), from, from + static_cast<std::ptrdiff_t>(element_bytes));
          }
        }
      }
    }
  }
  const Bytes written = Bytes(memory).subspan(skipped_bytes);
  CHECK(is_same(written.first(size_bytes), expected));
  CHECK(is_same(Bytes(memory).first(skipped_bytes), Bytes(before).first(skipped_bytes)));
  CHECK(is_same(written.subspan(size_bytes), Bytes(before).subspan(skipped_bytes + size_bytes)));
}

}  // namespace

TEST_CASE("pieces lie one behind the other and touch nothing else, whatever their sizes and wherever they begin") {
  std::mt19937_64 random(21);
  const size_t limit = RingCopy::kMinStreamedBytes;
  for (const size_t size : {0UL, 1UL, 63UL, 64UL, 5000UL, limit - 1, limit, limit + 1, 3 * limit + 17}) {
    for (const size_t skipped : {0UL, 64UL}) {
      CAPTURE(size);
      CAPTURE(skipped);
      check_pieces(random, size, skipped);
    }
  }
}

TEST_CASE("nothing is copied from nowhere") {
  RingCopy copy(nullptr, 0);
  copy.copy(nullptr, 0);
}

}  // namespace edgeward
