// The copy of a file that shows its state, and the marks that are cleared for a reader that knows none.
#include "model_files/tflite_copy.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

FlatNode with_state() {
  FlatNode model = one_op({35, 31}, {floats({1, 3, 4}), weights({2, 4}), weights({2, 2}), weights({2}), floats({1, 2})},
                          {floats({1, 3, 2})});
  set(tensor_of(model, 4), scalar<uint8_t>(schema::tensor::is_variable, 1));
  set(operator_of(model), vector<uint8_t>(schema::operation::mutating_variable_inputs, {0, 0, 0, 0, 1}));
  set(subgraph_of(model), vector<int32_t>(schema::subgraph::inputs, {0}));
  return model;
}

Block block_of(const std::string& bytes) {
  Block block = Block::uninitialized(bytes.size());
  std::memcpy(block.data(), bytes.data(), bytes.size());
  return block;
}

TEST_CASE("in the copy, variables follow the inputs") {
  const std::string bytes = file(with_state());
  const TfliteFile facts = read_tflite(view(bytes));
  CHECK(facts.is_stateful);
  REQUIRE(facts.is_restorable);
  REQUIRE(facts.signatures[0].variables.size() == 1);
  CHECK(facts.signatures[0].variables[0].tensor_index == 4);

  const TfliteCopy copy = copy_with_state(view(bytes), facts);
  const TfliteFile shown = read_tflite({copy.file.data(), copy.file.size_bytes()});
  REQUIRE(shown.signatures[0].inputs.size() == 2);
  CHECK(shown.signatures[0].inputs[0].tensor_index == 0);
  CHECK(shown.signatures[0].inputs[1].tensor_index == 4);
  CHECK(shown.signatures[0].outputs.size() == 1);
}

TEST_CASE("in the copy, what lies behind the flatbuffer is what it was") {
  constexpr uint32_t kFeatures = 1;  // the buffer of the first weights
  constexpr uint64_t kSize = 2 * 4 * sizeof(float);
  const auto with_features_at = [&](uint64_t offset) {
    FlatNode model = with_state();
    at(model, schema::model::buffers).nodes[kFeatures] = {scalar(schema::buffer::offset, offset),
                                                          scalar(schema::buffer::size, kSize)};
    return file(model);
  };
  const size_t end = with_features_at(2).size();
  std::string bytes = with_features_at(round_up(end, 16));
  bytes.resize(round_up(end, 16));
  const std::string features(kSize, '\x3f');
  bytes += features + "appended";

  const TfliteFile facts = read_tflite(view(bytes));
  REQUIRE(facts.is_restorable);
  const TfliteCopy copy = copy_with_state(view(bytes), facts);
  const Bytes copied(copy.file.data(), copy.file.size_bytes());
  const FlatTable buffer = read_flatbuffer(copied, schema::kSchema).root.tables(schema::model::buffers)[kFeatures];
  const auto offset = buffer.scalar<uint64_t>(schema::buffer::offset, 0);
  CHECK(offset % 16 == 0);
  CHECK(std::memcmp(copied.data() + offset, features.data(), kSize) == 0);
  CHECK(std::memcmp(copied.data() + copied.size() - 8, "appended", 8) == 0);
}

TEST_CASE("cleared marks are those of a file without state, and come back") {
  const std::string bytes = file(with_state());
  const TfliteFile facts = read_tflite(view(bytes));
  CHECK(facts.marks.size() == 2);
  const Block block = block_of(bytes);
  {
    const TfliteMarksCleared cleared(block, facts);
    const FlatTable root = read_flatbuffer({block.data(), block.size_bytes()}, schema::kSchema).root;
    const FlatTable graph = root.tables(schema::model::subgraphs)[0];
    CHECK(graph.tables(schema::subgraph::tensors)[4].scalar<uint8_t>(schema::tensor::is_variable, 0) == 0);
    CHECK(graph.tables(schema::subgraph::operators)[0]
              .vector<uint8_t>(schema::operation::mutating_variable_inputs)
              .empty());
  }
  CHECK(std::memcmp(block.data(), bytes.data(), bytes.size()) == 0);
}

TEST_CASE("a mark that is part of something else is refused, and nothing stays cleared") {
  const std::string bytes = file(with_state());
  TfliteFile facts = read_tflite(view(bytes));
  facts.marks.push_back({0, 4});  // the offset of the root
  const Block block = block_of(bytes);
  CHECK_THROWS_AS(TfliteMarksCleared(block, facts), Error);
  CHECK(std::memcmp(block.data(), bytes.data(), bytes.size()) == 0);
}

}  // namespace
}  // namespace edgeward
