#include "captures/thinning.h"

#include <doctest/doctest.h>

#include "rigs/guarded_pages.h"
#include "rigs/octets.h"

namespace edgeward {

TEST_CASE("every n-th element is taken, of any size, and nothing else is read or written") {
  std::mt19937_64 random(4);
  const GuardedPages pages(2);
  for (size_t element_bytes = 1; element_bytes <= 17; ++element_bytes) {
    for (const size_t step : {1UL, 2UL, 3UL, 7UL}) {
      for (size_t count = 0; count < 40; ++count) {
        CAPTURE(element_bytes);
        CAPTURE(step);
        CAPTURE(count);
        const size_t source_bytes = count == 0 ? 0 : ((count - 1) * step + 1) * element_bytes;
        const Octets source = random_octets(random, source_bytes);
        const std::byte* from = pages.end() - source_bytes;  // what lies behind cannot be read
        std::copy(source.begin(), source.end(), pages.end() - source_bytes);
        Octets expected;
        for (size_t i = 0; i < count; ++i) {
          for (size_t byte = 0; byte < element_bytes; ++byte)
            expected.push_back(source[i * step * element_bytes + byte]);
        }
        for (const auto& take : {thin, thin_plainly}) {
          Octets target(expected.size() + 32, std::byte{0xAA});
          take(target.data(), from, element_bytes, step, count);
          CHECK(is_same(Bytes(target).first(expected.size()), expected));
          CHECK(is_same(Bytes(target).subspan(expected.size()), Octets(32, std::byte{0xAA})));
        }
      }
    }
  }
}

}  // namespace edgeward
