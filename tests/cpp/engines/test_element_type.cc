#include "engines/element_type.h"

#include <doctest/doctest.h>

#include <map>

namespace edgeward {

TEST_CASE("each dtype has a number of its own, or none") {
  std::map<int, DType> numbers;
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    CAPTURE(name(dtype));
    if (const int number = element_type(dtype); number != 0) CHECK(numbers.emplace(number, dtype).second);
  }
  CHECK(numbers.size() == kDTypeCount - 4);
}

TEST_CASE("TfLiteType has neither uint2 nor all kinds of float8") {
  CHECK(element_type(DType::uint2) == 0);
  CHECK(element_type(DType::float8_e8m0fnu) == 0);
  CHECK(element_type(DType::float8_e4m3fnuz) == 0);
  CHECK(element_type(DType::float8_e5m2fnuz) == 0);
}

}  // namespace edgeward
