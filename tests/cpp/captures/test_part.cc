#include "captures/part.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace edgeward {
namespace {

std::string parts_of(Shape shape, bool is_output = false, DType dtype = DType::float32) {
  const TensorParts parts({"x", dtype, shape, {}}, is_output);
  std::string text;
  size_t column_count = 0;
  for (const PartName& name : parts.names()) {
    if (name.kind == PartKind::column) {
      ++column_count;
    } else {
      text += (text.empty() ? "" : " ") + (name.kind == PartKind::values ? "values" : name.text());
    }
  }
  const size_t before = parts.names().size() - parts.figure_count();
  CHECK(before == (column_count == 0 ? 1 : column_count));
  return column_count == 0 ? text : std::to_string(column_count) + (text.empty() ? "" : " ") + text;
}

}  // namespace

TEST_CASE("rows are counted by column, everything else by all its values") {
  const std::string figures = " mean deviation least largest";
  CHECK(parts_of({1, 30}) == "30" + figures);
  CHECK(parts_of({-1, 30}) == "30" + figures);
  CHECK(parts_of({8, 256}) == "256" + figures);
  CHECK(parts_of({30}) == "30" + figures);
  CHECK(parts_of({1, 1, 1, 10}) == "10" + figures);
  CHECK(parts_of({}) == "1");
  CHECK(parts_of({1}) == "1");
  CHECK(parts_of({-1, 1}) == "1");
  CHECK(parts_of({1, 257}) == "values" + figures);
  CHECK(parts_of({-1}) == "values" + figures);
  CHECK(parts_of({1, -1}) == "values" + figures);
  CHECK(parts_of({1, 49, 10}) == "values" + figures);
}

TEST_CASE("a picture has the means of its channels, last or second") {
  const std::string figures = "values mean deviation least largest";
  CHECK(parts_of({1, 96, 96, 3}) == figures + " channel 0 channel 1 channel 2");
  CHECK(parts_of({-1, -1, -1, 3}) == figures + " channel 0 channel 1 channel 2");
  CHECK(parts_of({1, 3, 224, 224}) == figures + " channel 0 channel 1 channel 2");
  CHECK(parts_of({1, 96, 96, 1}) == figures);
  CHECK(parts_of({1, 64, 7, 7}) == figures);
}

TEST_CASE("rows of scores have a margin and an entropy, inputs have not") {
  CHECK(parts_of({1, 10}, true) == "10 mean deviation least largest margin entropy");
  CHECK(parts_of({1, 1000}, true) == "values mean deviation least largest margin entropy");
  CHECK(parts_of({1, 5000}, true) == "values mean deviation least largest");
  CHECK(parts_of({1, 1}, true) == "1");
}

TEST_CASE("a tensor whose elements are not converted has one part") {
  CHECK(parts_of({1, 10}, true, DType::complex64) == "values");
  CHECK(parts_of({1, 10}, false, DType::int4) == "values");
}

}  // namespace edgeward
