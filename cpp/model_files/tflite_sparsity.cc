#include "model_files/tflite_sparsity.h"

#include <algorithm>
#include <vector>

#include "bytes/bytes.h"
#include "error.h"
#include "model_files/tflite_schema.h"

namespace edgeward {
namespace {

namespace schema = tflite_schema;

// An unpacked tensor has dimensions in its order of traversal: first the dense tensor's own, each counted in blocks,
// then those of a block. Each is dense, or lists the indices that are stored in each segment of the one before.
class Sparsity {
 public:
  Sparsity(const FlatTable& table, const Shape& dense, const std::string& what)
      : dense_(dense), what_(what), order_(table.vector<int32_t>(schema::sparsity::traversal_order)),
        block_map_(table.vector<int32_t>(schema::sparsity::block_map)),
        levels_(table.tables(schema::sparsity::dim_metadata)) {}

  uint64_t stored_elements() const {
    check_order();
    const std::vector<int64_t> bounds = level_bounds();
    uint64_t positions = 1;
    for (uint32_t i = 0; i < levels_.size(); ++i) {
      positions = is_dense(i) ? dense_positions(i, positions, bounds[i]) : listed_positions(i, positions, bounds[i]);
    }
    return positions;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw Error(Code::malformed_model, what_, ": sparsity: ", parts...);
  }

  // A permutation that begins with the dense tensor's own dimensions, and blocks in ascending dimensions.
  void check_order() const {
    const size_t rank = dense_.rank();
    if (order_.size() != rank + block_map_.size() || levels_.size() != order_.size()) {
      refuse("a traversal order of ", order_.size(), " and metadata of ", levels_.size(), " dimensions, expected ",
             rank + block_map_.size());
    }
    if (block_map_.size() > rank) refuse(block_map_.size(), " block dimensions of ", text(dense_));
    uint32_t seen = 0;
    for (uint32_t i = 0; i < order_.size(); ++i) {
      const auto lowest = static_cast<int32_t>(i < rank ? 0 : rank);
      const auto limit = static_cast<int32_t>(i < rank ? rank : order_.size());
      if (order_[i] < lowest || order_[i] >= limit || (seen & (1u << order_[i])) != 0) {
        refuse("traversal order ", i, " is ", order_[i], ", expected each of ", lowest, " to ", limit - 1, " once");
      }
      seen |= 1u << order_[i];
    }
    int32_t last = -1;
    for (uint32_t i = 0; i < block_map_.size(); ++i) {
      if (block_map_[i] <= last || static_cast<size_t>(block_map_[i]) >= rank) {
        refuse("block map ", i, " is ", block_map_[i], ", expected a dimension above ", last, " of ", text(dense_));
      }
      last = block_map_[i];
    }
  }

  bool is_dense(uint32_t level) const {
    constexpr int8_t kSparse = 1;
    const auto format = levels_[level].scalar<int8_t>(schema::dimension::format, 0);
    if (format < 0 || format > kSparse) refuse("dimension ", level, ": format ", int{format}, ", expected 0 or 1");
    return format != kSparse;
  }

  int64_t dense_size(uint32_t level) const { return levels_[level].scalar<int32_t>(schema::dimension::dense_size, 0); }

  // How many indices each level may have. A block's size is that of the metadata at its number, as the engines read
  // it, also where the traversal order has the blocks in another order.
  std::vector<int64_t> level_bounds() const {
    std::vector<int64_t> blocks(dense_.begin(), dense_.end());
    std::vector<int64_t> bounds(order_.size());
    for (uint32_t k = 0; k < block_map_.size(); ++k) {
      const auto level = static_cast<uint32_t>(dense_.rank()) + k;
      const auto number = static_cast<uint32_t>(order_[level]);
      const int64_t size = dense_size(number);
      if (!is_dense(number) || size < 1) {
        refuse("dimension ", number, ", of blocks: expected dense ones with at least 1 element");
      }
      int64_t& dim = blocks[static_cast<size_t>(block_map_[k])];
      if (size > dim) refuse("blocks of ", size, " in a dimension of ", dim);
      dim /= size;
    }
    for (uint32_t i = 0; i < order_.size(); ++i) {
      const auto number = static_cast<uint32_t>(order_[i]);
      if (number < dense_.rank()) {
        bounds[i] = blocks[number];
        continue;
      }
      // The engines multiply by the size that they have found for the block of this number.
      const auto size_at = static_cast<uint32_t>(order_[number]);
      bounds[i] = dense_size(size_at);
    }
    return bounds;
  }

  uint64_t dense_positions(uint32_t level, uint64_t positions, int64_t bound) const {
    const int64_t size = dense_size(level);
    if (size < 1 || size > bound) refuse("dimension ", level, ": a dense size of ", size, ", expected 1 to ", bound);
    const auto product = checked_multiply(positions, static_cast<uint64_t>(size));
    if (!product || *product > INT32_MAX) refuse("more than ", INT32_MAX, " elements");
    return *product;
  }

  uint64_t listed_positions(uint32_t level, uint64_t positions, int64_t bound) const {
    const std::vector<int64_t> segments = list(level, schema::dimension::array_segments_type);
    const std::vector<int64_t> indices = list(level, schema::dimension::array_indices_type);
    if (segments.size() != positions + 1) {
      refuse("dimension ", level, ": ", segments.size(), " segment ends, expected ", positions + 1);
    }
    if (segments.front() != 0 || !std::is_sorted(segments.begin(), segments.end()) ||
        segments.back() != static_cast<int64_t>(indices.size())) {
      refuse("dimension ", level, ": segments do not ascend from 0 to ", indices.size());
    }
    for (const int64_t index : indices) {
      if (index < 0 || index >= bound) {
        refuse("dimension ", level, ": an index of ", index, ", expected 0 to ", bound - 1);
      }
    }
    return indices.size();
  }

  // The numbers of a union of vectors, whose type is in field `type_field` and whose value is in the next.
  std::vector<int64_t> list(uint32_t level, uint32_t type_field) const {
    const auto member = levels_[level].scalar<uint8_t>(type_field, 0);
    const FlatTable table = levels_[level].table(type_field + 1);
    std::vector<int64_t> numbers;
    const auto fill = [&](const auto& vector) {
      for (uint32_t i = 0; i < vector.size(); ++i) numbers.push_back(vector[i]);
    };
    if (!table.has(0)) refuse("dimension ", level, ": no list of segments or indices");
    if (member == 1) fill(table.vector<int32_t>(0));
    if (member == 2) fill(table.vector<uint16_t>(0));
    if (member == 3) fill(table.vector<uint8_t>(0));
    return numbers;
  }

  const Shape& dense_;
  const std::string& what_;
  FlatVector<int32_t> order_;      // by level, which dimension: blocks have numbers behind the dense tensor's
  FlatVector<int32_t> block_map_;  // by block, which dimension of the dense tensor
  FlatTables levels_;
};

}  // namespace

uint64_t stored_elements(const FlatTable& sparsity, const Shape& dense, const std::string& what) {
  return Sparsity(sparsity, dense, what).stored_elements();
}

}  // namespace edgeward
