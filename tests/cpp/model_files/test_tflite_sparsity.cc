// What sparsity parameters may say, so that an engine that unpacks by them stays inside its memory.
#include "model_files/tflite_sparsity.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

struct Listed {
  Ints segments;
  Ints indices;
};
struct Parameters {
  Ints order;
  Ints block_map;
  std::vector<std::variant<int32_t, Listed>> levels;
};

FlatNode node(const Parameters& parameters) {
  std::vector<FlatNode> levels;
  for (const auto& level : parameters.levels) {
    if (const auto* size = std::get_if<int32_t>(&level)) {
      levels.push_back({scalar<int8_t>(schema::dimension::format, 0), scalar(schema::dimension::dense_size, *size)});
      continue;
    }
    const Listed& listed = std::get<Listed>(level);
    levels.push_back({scalar<int8_t>(schema::dimension::format, 1),
                      scalar<uint8_t>(schema::dimension::array_segments_type, 1),
                      table(schema::dimension::array_segments, {vector<int32_t>(0, listed.segments)}),
                      scalar<uint8_t>(schema::dimension::array_indices_type, 1),
                      table(schema::dimension::array_indices, {vector<int32_t>(0, listed.indices)})});
  }
  return {vector<int32_t>(schema::sparsity::traversal_order, parameters.order),
          vector<int32_t>(schema::sparsity::block_map, parameters.block_map),
          tables(schema::sparsity::dim_metadata, levels)};
}

constexpr int32_t kDensify = 124;

// A DENSIFY of a constant of `shape` that stores `count` floats.
FlatNode densify(const Parameters& parameters, const Ints& shape, size_t count) {
  Value packed = weights(shape);
  packed.data = std::string(4 * count, '\1');
  FlatNode model = one_op({kDensify}, {packed}, {floats(shape)});
  add_neg(model, shape);
  set(tensor_of(model, 0), table(schema::tensor::sparsity, node(parameters)));
  return model;
}

// Rows 0 and 1 of four; of a row, columns by list. Blocks of 2 x 2 of a 4 x 6 tensor, three of six.
const Parameters kRows = {{0, 1}, {}, {2, Listed{{0, 1, 3}, {3, 0, 2}}}};
const Parameters kBlocks = {{0, 1, 2, 3}, {0, 1}, {2, Listed{{0, 1, 3}, {2, 0, 1}}, 2, 2}};

TEST_CASE("the stored elements are those of the lists and of whole blocks") {
  CHECK_NOTHROW(read(densify(kRows, {2, 4}, 3)));
  CHECK_NOTHROW(read(densify(kBlocks, {4, 6}, 12)));
  CHECK_NOTHROW(read(densify({{1, 0}, {}, {4, Listed{{0, 1, 1, 1, 2}, {1, 0}}}}, {2, 4}, 2)));
  check_refusal(Code::malformed_model, {"tensor 0: float32 [2, 4] needs 12 bytes", "has 8"}, [] {
    read(densify(kRows, {2, 4}, 2));
  });
  check_refusal(Code::malformed_model, {"needs 48 bytes", "has 44"}, [] { read(densify(kBlocks, {4, 6}, 11)); });
}

TEST_CASE("no unpacked element leaves the dense tensor") {
  const auto refused = [](const std::vector<std::string_view>& words, const Parameters& good, const Ints& shape,
                          const std::function<void(Parameters&)>& edit) {
    Parameters parameters = good;
    edit(parameters);
    check_refusal(Code::malformed_model, words, [&] { read(densify(parameters, shape, 64)); });
  };
  const auto list = [](Parameters& parameters) -> Listed& { return std::get<Listed>(parameters.levels[1]); };
  refused({"an index of 4, expected 0 to 3"}, kRows, {2, 4}, [&](auto& rows) { list(rows).indices[0] = 4; });
  refused({"an index of -1"}, kRows, {2, 4}, [&](auto& rows) { list(rows).indices[0] = -1; });
  refused({"an index of 3, expected 0 to 2"}, kBlocks, {4, 6}, [&](auto& blocks) { list(blocks).indices[0] = 3; });
  refused({"dense size of 3, expected 1 to 2"}, kRows, {2, 4}, [](auto& rows) { rows.levels[0] = 3; });
  refused({"dense size of 0"}, kRows, {2, 4}, [](auto& rows) { rows.levels[0] = 0; });
  refused({"segments do not ascend"}, kRows, {2, 4}, [&](auto& rows) { list(rows).segments = {0, 4, 3}; });
  refused({"segments do not ascend from 0 to 3"}, kRows, {2, 4}, [&](auto& rows) { list(rows).segments = {0, 1, 2}; });
  refused({"segments do not ascend"}, kRows, {2, 4}, [&](auto& rows) { list(rows).segments = {1, 2, 3}; });
  refused({"2 segment ends, expected 3"}, kRows, {2, 4}, [&](auto& rows) { list(rows).segments = {0, 3}; });
  refused({"traversal order 1 is 0"}, kRows, {2, 4}, [](auto& rows) { rows.order = {0, 0}; });
  refused({"traversal order 0 is 2"}, kRows, {2, 4}, [](auto& rows) { rows.order = {2, 1}; });
  refused({"traversal order 1 is 2"}, kBlocks, {4, 6}, [](auto& blocks) { blocks.order = {0, 2, 1, 3}; });
  refused({"a traversal order of 3"}, kRows, {2, 4}, [](auto& rows) { rows.order = {0, 1, 2}; });
  refused({"metadata of 1 dimensions, expected 2"}, kRows, {2, 4}, [](auto& rows) { rows.levels.pop_back(); });
  refused({"block map 1 is 2"}, kBlocks, {4, 6}, [](auto& blocks) { blocks.block_map = {0, 2}; });
  refused({"block map 1 is 0"}, kBlocks, {4, 6}, [](auto& blocks) { blocks.block_map = {0, 0}; });
  refused({"of blocks", "at least 1 element"}, kBlocks, {4, 6}, [](auto& blocks) { blocks.levels[2] = 0; });
  refused({"of blocks"}, kBlocks, {4, 6}, [](auto& blocks) { blocks.levels[3] = Listed{{0}, {}}; });
  refused({"blocks of 5 in a dimension of 4"}, kBlocks, {4, 6}, [](auto& blocks) { blocks.levels[2] = 5; });
  // Three blocks of 2 do not fit into 5 columns.
  refused({"an index of 2, expected 0 to 1"}, kBlocks, {4, 5}, [](auto&) {});
}

TEST_CASE("sparsity without its lists is refused") {
  FlatNode model = densify(kRows, {2, 4}, 3);
  check_edit(Code::malformed_model, {"a traversal order of 0"}, model,
             [](FlatNode& edited) { set(tensor_of(edited, 0), table(schema::tensor::sparsity, {})); });
  FlatNode rows = node(kRows);
  set(at(rows, schema::sparsity::dim_metadata).nodes[1], scalar<int8_t>(schema::dimension::format, 2));
  check_edit(Code::malformed_model, {"dimension 1: format 2"}, model,
             [&](FlatNode& edited) { set(tensor_of(edited, 0), table(schema::tensor::sparsity, rows)); });
  rows = node(kRows);
  at(rows, schema::sparsity::dim_metadata).nodes[1].resize(1);
  check_edit(Code::malformed_model, {"dimension 1: no list"}, model,
             [&](FlatNode& edited) { set(tensor_of(edited, 0), table(schema::tensor::sparsity, rows)); });
}

TEST_CASE("sparse data is for a DENSIFY to its own shape alone") {
  FlatNode model = densify(kRows, {2, 4}, 3);
  check_edit(Code::malformed_model, {"DENSIFY", "output 0 [4, 2], expected [2, 4]"}, model, [](FlatNode& edited) {
    set(tensor_of(edited, 1), vector<int32_t>(schema::tensor::shape, {4, 2}));
  });
  check_edit(Code::malformed_model, {"output 0 [], expected [2, 4]"}, model,
             [](FlatNode& edited) { remove(tensor_of(edited, 1), schema::tensor::shape); });
  check_edit(Code::unsupported_model, {"NEG", "input 0 has sparse weights"}, model, [](FlatNode& edited) {
    set(at(edited, schema::model::operator_codes).nodes[0], scalar<int32_t>(schema::operator_code::builtin_code, kNeg));
  });
  check_edit(Code::unsupported_model, {"output 0 has sparse data"}, model,
             [](FlatNode& edited) { set(subgraph_of(edited), vector<int32_t>(schema::subgraph::outputs, {0})); });
  check_edit(Code::malformed_model, {"DENSIFY", "not sparse"}, densify(kRows, {2, 4}, 8),
             [](FlatNode& edited) { remove(tensor_of(edited, 0), schema::tensor::sparsity); });
}

}  // namespace
}  // namespace edgeward
