// The outline of a .tflite: what it has of the file, and that a file of any contents has one.
#include "model_files/tflite_outline.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "rigs/directory.h"
#include "rigs/tflite_model.h"

namespace edgeward::testing {
namespace {

constexpr int32_t kWidth = 1 << 18;  // of float32: kLeftOutBytes

struct Outline {
  explicit Outline(const std::string& content)
      : block(
            read_tflite_outline(File("model file", write_file(directory.at("model"), content), File::Links::followed))),
        text(reinterpret_cast<const char*>(block.data()), block.size_bytes()) {}

  Directory directory;
  Block block;
  std::string text;
};

Value ones(Value value) {
  value.data = std::string(value.data.size(), '\1');
  return value;
}

// One constant of `value`, beside an input.
std::string added(const Value& value) {
  return file(one_op({kAdd}, {value, floats(value.shape)}, {floats(value.shape)}));
}

}  // namespace

TEST_CASE("large weights are zeroes, and everything else is the file") {
  const std::string content = added(ones(weights({kWidth})));
  const Outline outline(content);
  CHECK(outline.block.is_sparse());
  const std::string weight(kLeftOutBytes, '\1');
  const size_t begin = content.find(weight);
  REQUIRE(begin != std::string::npos);
  std::string expected = content;
  expected.replace(begin, weight.size(), weight.size(), '\0');
  CHECK(outline.text == expected);
  const TfliteFile facts = read_tflite({outline.block.data(), outline.block.size_bytes()});
  CHECK(facts.signatures[0].inputs[0].shape == Shape{kWidth});
}

TEST_CASE("weights behind the flatbuffer are left out, too") {
  FlatNode model = one_op({kAdd}, {ones(weights({2})), floats({kWidth})}, {floats({kWidth})});
  set(tensor_of(model, 0), vector<int32_t>(schema::tensor::shape, {kWidth}));
  const auto written = [&](uint64_t offset) {
    at(model, schema::model::buffers).nodes[1] = {scalar<uint64_t>(schema::buffer::offset, offset),
                                                  scalar<uint64_t>(schema::buffer::size, kLeftOutBytes)};
    return file(model);
  };
  const size_t end = round_up(written(1 << 20).size(), 16);
  std::string content = written(end);
  content.resize(end, '\0');
  const Outline outline(content + std::string(kLeftOutBytes, '\1'));
  CHECK(outline.block.is_sparse());
  CHECK(outline.text == content + std::string(kLeftOutBytes, '\0'));
}

TEST_CASE("what rules read, what is small, and what is no weight is there") {
  const Value indices = ints(Ints(kWidth, 1));
  const std::string rows[] = {
      added(ones(weights({kWidth - 1}))), added(indices), file(neg_model()), "", "TFL3", std::string(64, '\xff'),
      std::string(100'000, '\1')};
  for (const std::string& content : rows) {
    CAPTURE(content.size());
    const Outline outline(content);
    CHECK_FALSE(outline.block.is_sparse());
    CHECK(outline.text == content);
  }
}

TEST_CASE("a buffer that a tensor of another kind has as well is there") {
  FlatNode model = one_op({kAdd}, {ones(weights({kWidth})), floats({kWidth})}, {floats({kWidth})});
  FlatNode indices = {vector<int32_t>(schema::tensor::shape, {kWidth}), scalar<int8_t>(schema::tensor::type, 2),
                      scalar<uint32_t>(schema::tensor::buffer, 1)};
  at(subgraph_of(model), schema::subgraph::tensors).nodes.push_back(indices);
  CHECK_FALSE(Outline(file(model)).block.is_sparse());
}

TEST_CASE("a file that is cut or damaged anywhere has an outline") {
  const std::string content = file(conv_model());
  for (size_t size = 0; size < content.size(); ++size) {
    const std::string cut = content.substr(0, size);
    CHECK(Outline(cut).text == cut);
  }
  for (size_t bit = 0; bit < 8 * content.size(); ++bit) {
    std::string damaged = content;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    CHECK(Outline(damaged).text == damaged);
  }
}

}  // namespace edgeward::testing
