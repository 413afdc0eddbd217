#include "model_files/ort_optimizations.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "error.h"
#include "model_files/ort_schema.h"

namespace edgeward {
namespace {

using namespace ort_schema;

constexpr uint32_t kNoNode = UINT32_MAX;  // in a record: an optional node that is absent
constexpr int64_t kAnyCount = INT32_MAX;

struct Range {
  int64_t least;
  int64_t most;
};

// What an action asks of the nodes it is given.
struct Action {
  std::string_view optimizer;
  std::string_view name;
  std::string_view targets;  // operators, separated by blanks
  std::string_view sources;  // the operator of the nodes before the target
  Range source_count;
  std::string_view followers;  // operators of the nodes behind it
  Range follower_count;
};

constexpr std::string_view kQdq = "QDQSelectorActionTransformer";
constexpr std::string_view kDq = "DequantizeLinear";
constexpr std::string_view kQ = "QuantizeLinear";
constexpr std::string_view kDropTargets =
    "Expand Flatten Gather GatherElements MaxPool ReduceMax ReduceMin Reshape Resize Slice Squeeze Tile Transpose "
    "Unsqueeze";

constexpr Action kActions[] = {
    {"ConvActivationFusion", "ConvAct", "Conv", "", {0, 0}, "Clip LeakyRelu Relu Sigmoid Tanh", {1, 1}},
    {kQdq, "drop", kDropTargets, kDq, {1, 1}, kQ, {1, 1}},
    {kQdq, "drop_no_int16_support", kDropTargets, kDq, {1, 1}, kQ, {1, 1}},
    {kQdq, "drop_no_int16_support_and_positive_scale", kDropTargets, kDq, {1, 1}, kQ, {1, 1}},
    {kQdq, "dropDQ", "ArgMax", kDq, {1, 1}, kQ, {0, 0}},
    {kQdq, "dropSplitQDQ", "Split", kDq, {1, 1}, kQ, {1, kAnyCount}},
    {kQdq, "1DQ", "AveragePool GlobalAveragePool LeakyRelu Sigmoid Softmax", kDq, {1, 1}, kQ, {1, 1}},
    {kQdq, "2DQ", "Add Mul", kDq, {2, 2}, kQ, {1, 1}},
    {kQdq, "*DQ", "Concat", kDq, {1, kAnyCount}, kQ, {1, 1}},
    {kQdq, "Conv", "Conv", kDq, {2, 3}, kQ, {1, 1}},
    {kQdq, "MatMul", "MatMul", kDq, {2, 2}, kQ, {0, 1}},
    {kQdq, "Gemm", "Gemm", kDq, {2, 3}, kQ, {0, 1}},
    {kQdq, "Where", "Where", kDq, {2, 2}, kQ, {1, 1}},
};

bool is_among(std::string_view word, std::string_view words) {
  return (" " + std::string(words) + " ").find(" " + std::string(word) + " ") != std::string::npos;
}

bool has_string(const FlatTable& table, uint32_t field, std::string_view wanted) {
  for (uint32_t i = 0; i < table.string_count(field); ++i) {
    if (table.string_at(field, i) == wanted) return true;
  }
  return false;
}

class Record {
 public:
  Record(const FlatTable& table, const FlatTables& nodes, const std::vector<uint32_t>& positions)
      : indices_(table.table(record::nodes)), nodes_(nodes), positions_(positions) {
    const FlatVector<uint32_t> all = indices_.vector<uint32_t>(node_indices::nodes);
    const int64_t before = entries(node_indices::input_count);
    const int64_t behind = entries(node_indices::output_count);
    if (before < 0 || behind < 0 || all.size() != before + 1 + behind) {
      refuse(all.size(), " nodes, expected ", before, " before the one it is about, and ", behind, " behind it");
    }
    target_ = node(all[static_cast<uint32_t>(before)]);
    if (!target_) refuse("no node that it is about");
    for (uint32_t i = 0; i < all.size(); ++i) {
      if (i == before || all[i] == kNoNode) continue;
      (i < before ? sources_ : followers_).push_back(node(all[i]));
    }
  }

  void check(const Action& action) const {
    if (!is_plain(target_) || !is_among(target_.string(node::op_type), action.targets))
      refuse(action.name, " of ", target_.string(node::op_type), ", expected one of ", action.targets);
    expect_count(sources_, action.source_count, "before");
    expect_count(followers_, action.follower_count, "behind");
    for (const FlatTable& source : sources_) {
      if (!is_plain(source) || source.string(node::op_type) != action.sources ||
          source.string_count(node::inputs) < 2 || source.string_count(node::outputs) != 1 ||
          !has_string(target_, node::inputs, source.string_at(node::outputs, 0))) {
        refuse(action.name, ": expected ", action.sources, " whose output ", target_.string(node::op_type), " reads");
      }
    }
    for (const FlatTable& follower : followers_) {
      if (!is_plain(follower) || !is_among(follower.string(node::op_type), action.followers) ||
          follower.string_count(node::inputs) < 1 || follower.string_count(node::outputs) != 1 ||
          !has_string(target_, node::outputs, follower.string_at(node::inputs, 0))) {
        refuse(action.name, ": expected ", action.followers, " that reads an output of ",
               target_.string(node::op_type));
      }
    }
  }

 private:
  template <class... Parts>
  [[noreturn]] static void refuse(const Parts&... parts) {
    throw Error(Code::malformed_model, "saved runtime optimization: ", parts...);
  }

  // How many nodes are listed on one side; a variadic argument has several.
  int64_t entries(uint32_t count_field) const {
    const bool is_input = count_field == node_indices::input_count;
    const auto count = int64_t{indices_.scalar<int32_t>(count_field, 0)};
    const bool is_variadic =
        indices_.scalar<uint8_t>(is_input ? node_indices::is_input_variadic : node_indices::is_output_variadic, 0) != 0;
    const uint32_t field = is_input ? node_indices::variadic_input_count : node_indices::variadic_output_count;
    const auto variadic_count = int64_t{indices_.scalar<int32_t>(field, 0)};
    if (count < 0 || (is_variadic && (count < 1 || variadic_count < 0)))
      refuse(count, " and ", variadic_count, " nodes on one side");
    return is_variadic ? count - 1 + variadic_count : count;
  }

  FlatTable node(uint32_t index) const {
    if (index == kNoNode) return {};
    if (index >= positions_.size() || positions_[index] == kNoNode) refuse("node index ", index, ", which no node has");
    return nodes_[positions_[index]];
  }

  static bool is_plain(const FlatTable& node) {
    const std::string_view domain = node.string(node::domain);
    return domain.empty() || domain == "ai.onnx";
  }

  static void expect_count(const std::vector<FlatTable>& nodes, Range range, std::string_view where) {
    const auto count = static_cast<int64_t>(nodes.size());
    if (count < range.least || count > range.most)
      refuse(count, " nodes ", where, " the one it is about, expected ", range.least, " to ", range.most);
  }

  FlatTable indices_;
  const FlatTables& nodes_;
  const std::vector<uint32_t>& positions_;
  FlatTable target_;
  std::vector<FlatTable> sources_;
  std::vector<FlatTable> followers_;
};

}  // namespace

void check_ort_optimizations(const FlatTable& graph, const FlatTables& nodes, const std::vector<uint32_t>& positions) {
  const FlatTables optimizers = graph.table(graph::runtime_optimizations).tables(0);
  for (uint32_t i = 0; i < optimizers.size(); ++i) {
    const FlatTables records = optimizers[i].tables(optimizer::records);
    for (uint32_t k = 0; k < records.size(); ++k) {
      const std::string_view optimizer = optimizers[i].string(optimizer::name);
      const std::string_view name = records[k].string(record::action);
      const auto* action = std::find_if(std::begin(kActions), std::end(kActions), [&](const Action& known) {
        return known.optimizer == optimizer && known.name == name;
      });
      if (action == std::end(kActions)) {
        throw Error(Code::unsupported_model, "saved runtime optimization: expected an action that is known, got \"",
                    name, "\" of \"", optimizer, "\"");
      }
      Record(records[k], nodes, positions).check(*action);
    }
  }
}

}  // namespace edgeward
