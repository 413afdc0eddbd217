#include "model_files/tflite_check.h"

#include <algorithm>

#include "bytes/bytes.h"

namespace edgeward {
namespace {

int64_t integer(const TfliteValue& value, size_t index, bool is_wide) {
  return is_wide ? try_read<int64_t>(value.data, 8 * index).value_or(0)
                 : try_read<int32_t>(value.data, 4 * index).value_or(0);
}

}  // namespace

std::string text(const TfliteOperator& operation, std::string_view name) {
  std::string text =
      "subgraph " + std::to_string(operation.subgraph_index) + ", operator " + std::to_string(operation.index) + " (";
  return text.append(name) + ")";
}

bool agrees(const Shape& a, const Shape& b) {
  if (a.rank() != b.rank()) return false;
  for (size_t i = 0; i < a.rank(); ++i) {
    if (is_known(a[i]) && is_known(b[i]) && a[i] != b[i]) return false;
  }
  return true;
}

const TfliteValue* TfliteCheck::find_input(uint32_t index) const {
  if (index >= operation_.inputs.size() || operation_.inputs[index] < 0) return nullptr;
  return &tensors_[static_cast<size_t>(operation_.inputs[index])];
}

std::vector<const TfliteValue*> TfliteCheck::intermediates() const {
  std::vector<const TfliteValue*> values;
  for (uint32_t i = 0; i < operation_.intermediates.size(); ++i)
    values.push_back(&tensors_[static_cast<size_t>(operation_.intermediates[i])]);
  return values;
}

TfliteCheck::Dims TfliteCheck::shape(uint32_t index) const {
  const TfliteValue* value = find_input(index);
  if (value == nullptr || !value->has_shape) return std::nullopt;
  return value->shape;
}

TfliteCheck::Dims TfliteCheck::output_shape(uint32_t index) const {
  if (!output(index).has_shape) return std::nullopt;
  return output(index).shape;
}

bool TfliteCheck::is_quantized() const {
  return type(0) == TfliteType::int8 || type(0) == TfliteType::uint8 || type(0) == TfliteType::int16;
}

void TfliteCheck::expect_elements(uint32_t index) const {
  const auto is_empty = [](const Dims& dims) {
    return dims && std::find(dims->begin(), dims->end(), 0) != dims->end();
  };
  if (is_empty(shape(index)) && !is_empty(output_shape(0)))
    unsupported("input ", index, " is ", text(*shape(index)), ", expected elements");
}

double TfliteCheck::expect_scale(std::string_view what, const TfliteValue* value) const {
  if (value->scales.empty()) refuse(what, " of type ", name(value->type), " without a scale");
  return value->scales[0];
}

int64_t TfliteCheck::option(uint32_t field, uint32_t width, int64_t otherwise) const {
  if (width == 1) return options().scalar<int8_t>(field, static_cast<int8_t>(otherwise));
  return options().scalar<int32_t>(field, static_cast<int32_t>(otherwise));
}

std::optional<std::vector<int64_t>> TfliteCheck::constant_ints(uint32_t index) const {
  constexpr size_t kMaxCount = 1024;
  const TfliteValue* value = find_input(index);
  if (value == nullptr || !value->is_constant) return std::nullopt;
  const bool is_wide = value->type == TfliteType::int64;
  if (!is_wide && value->type != TfliteType::int32) {
    if (value->type == TfliteType::int16) return std::nullopt;  // paddings may be; read at run time
    refuse("input ", index, " of type ", name(value->type), ", expected int32 or int64");
  }
  const size_t count = value->data.size() / (is_wide ? 8 : 4);
  if (count > kMaxCount) refuse("input ", index, " has ", count, " elements, expected at most ", kMaxCount);
  std::vector<int64_t> ints(count);
  for (size_t i = 0; i < count; ++i) ints[i] = integer(*value, i, is_wide);
  return ints;
}

void TfliteCheck::expect_count(std::string_view what, uint32_t count, int32_t min, int32_t max) const {
  const auto got = static_cast<int64_t>(count);
  if (got < min || (max != kAnyCount && got > max)) {
    if (min == max) refuse(count, " ", what, ", expected ", min);
    if (max == kAnyCount) refuse(count, " ", what, ", expected at least ", min);
    refuse(count, " ", what, ", expected ", min, " to ", max);
  }
}

void TfliteCheck::expect_multiplier(uint32_t left, uint32_t right) const {
  if (find_input(left)->scales.empty() || find_input(right)->scales.empty() || output(0).scales.empty()) return;
  const double multiplier = double{find_input(left)->scales[0]} * find_input(right)->scales[0] / output(0).scales[0];
  if (multiplier >= 1 << 30) {
    refuse("scales ", find_input(left)->scales[0], " and ", find_input(right)->scales[0], " over ", output(0).scales[0],
           ", expected a multiplier below 2^30");
  }
}

void TfliteCheck::expect_indices(uint32_t index, int64_t count) const {
  const TfliteValue* value = find_input(index);
  if (value == nullptr || !value->is_constant || !is_known(count)) return;
  const bool is_wide = value->type == TfliteType::int64;
  if (!is_wide && value->type != TfliteType::int32) return;
  const size_t elements = value->data.size() / (is_wide ? 8 : 4);
  for (size_t i = 0; i < elements; ++i) {
    const int64_t at = integer(*value, i, is_wide);
    if (at < 0 || at >= count) refuse("index ", i, " is ", at, ", expected 0 to ", count - 1);
  }
}

void TfliteCheck::expect_rows(uint32_t index, int64_t width, const Shape& bounds) const {
  if (!is_known(width)) return;
  if (width < 1 || static_cast<size_t>(width) > bounds.rank()) {
    refuse("rows of ", width, " indices into ", text(bounds), ", expected 1 to ", bounds.rank());
  }
  const TfliteValue* value = find_input(index);
  const bool is_wide = value->type == TfliteType::int64;
  if (!value->is_constant || (!is_wide && value->type != TfliteType::int32)) return;
  const size_t elements = value->data.size() / (is_wide ? 8 : 4);
  for (size_t i = 0; i < elements; ++i) {
    const int64_t at = integer(*value, i, is_wide);
    const int64_t count = bounds[i % static_cast<size_t>(width)];
    if (is_known(count) && (at < 0 || at >= count)) refuse("index ", i, " is ", at, ", expected 0 to ", count - 1);
  }
}

TfliteCheck::Dims TfliteCheck::expect_rank(uint32_t index, size_t rank) const {
  const Dims dims = shape(index);
  if (dims && dims->rank() != rank) refuse("input ", index, " ", text(*dims), ", expected rank ", rank);
  return dims;
}

void TfliteCheck::expect_type(uint32_t index, TfliteType expected) const {
  if (output(index).type != expected) {
    refuse("output ", index, " of type ", name(output(index).type), ", expected ", name(expected));
  }
}

void TfliteCheck::set_type(uint32_t index, TfliteType type) const {
  TfliteValue& value = tensors_[static_cast<size_t>(operation_.outputs[index])];
  if (value.type == type) return;
  value.type = type;
  value.is_retyped = true;
  const std::optional<ZeroPointRange> range = zero_point_range(type);
  for (uint32_t i = 0; range && i < value.scales.size(); ++i) {
    const int64_t zero_point = value.zero_points[i];
    if (!is_scale(value.scales[i]) || zero_point < range->lowest || zero_point > range->highest) {
      refuse("output ", index, " becomes ", name(type), " with a scale of ", value.scales[i], " and a zero point of ",
             zero_point);
    }
  }
}

size_t TfliteCheck::expect_axis(std::string_view what, int64_t axis, size_t rank) const {
  const auto limit = static_cast<int64_t>(rank);
  if (axis < -limit || axis >= limit) refuse(what, " ", axis, ", expected ", -limit, " to ", limit - 1);
  return static_cast<size_t>(axis < 0 ? axis + limit : axis);
}

void TfliteCheck::expect_enum(std::string_view what, int64_t value, int64_t last) const {
  if (value < 0 || value > last) refuse(what, " ", value, ", expected 0 to ", last);
}

void TfliteCheck::expect_activation(uint32_t field) const {
  expect_enum("fused_activation_function", option(field, 1, 0), 5);
}

void TfliteCheck::expect_amount(std::string_view what, int64_t value) const {
  if (value < 0 || value > kMaxDim) refuse(what, " has an element ", value, ", expected 0 to ", kMaxDim);
}

int64_t TfliteCheck::expect_block(int64_t block) const {
  if (block < 1 || block > 32768) refuse("block size ", block, ", expected 1 to 32768");
  return block;
}

void TfliteCheck::expect_positive_dims(std::string_view what, const Shape& dims) const {
  for (const int64_t dim : dims) {
    if (dim < 1) refuse(what, " ", text(dims), ", expected positive dimensions");
  }
}

const TfliteInterface& TfliteCheck::expect_other_subgraph(int64_t index) const {
  if (index < 0 || static_cast<size_t>(index) >= subgraphs_.size()) {
    refuse("subgraph ", index, ", but the model has ", subgraphs_.size());
  }
  if (static_cast<size_t>(index) == operation_.subgraph_index) refuse("subgraph ", index, " calls itself");
  return subgraphs_[static_cast<size_t>(index)];
}

const TfliteInterface& TfliteCheck::expect_subgraph(int64_t index) const {
  const TfliteInterface& subgraph = expect_other_subgraph(index);
  if (static_cast<size_t>(index) < operation_.subgraph_index) refuse("subgraph ", index, " calls itself");
  return subgraph;
}

void TfliteCheck::expect_output(uint32_t index, const Dims& expected) const {
  const Dims got = output_shape(index);
  if (expected && got && !agrees(*got, *expected)) {
    refuse("output ", index, " ", text(*got), ", expected ", text(*expected));
  }
}

void TfliteCheck::expect_same_spec() const {
  expect_output(0, shape(0));
  expect_same_type(0);
}

void TfliteCheck::expect_same_elements() const {
  const Dims input = shape(0);
  const Dims got = output_shape(0);
  if (!input || !got) return;
  const auto from = element_count(*input);
  const auto to = element_count(*got);
  if (from && to && *from != *to) refuse("input ", text(*input), " and output ", text(*got), " differ in elements");
}

TfliteCheck::Dims TfliteCheck::dims_of(std::string_view what, const std::vector<int64_t>& ints) const {
  if (ints.size() > Shape::kMaxRank)
    refuse(what, " has ", ints.size(), " elements, expected at most ", Shape::kMaxRank);
  for (const int64_t dim : ints) expect_amount(what, dim);
  return Shape(std::span<const int64_t>(ints));
}

TfliteCheck::Dims TfliteCheck::broadcast(const Dims& a, const Dims& b) const {
  if (!a || !b) return std::nullopt;
  const Shape& longer = a->rank() >= b->rank() ? *a : *b;
  const Shape& shorter = a->rank() >= b->rank() ? *b : *a;
  Shape result = longer;
  const size_t skip = longer.rank() - shorter.rank();
  for (size_t i = 0; i < shorter.rank(); ++i) {
    int64_t& dim = result[skip + i];
    const int64_t other = shorter[i];
    if (dim == 1) {
      dim = other;
    } else if (!is_known(dim)) {
      dim = other > 1 ? other : -1;
    } else if (is_known(other) && other != 1 && other != dim) {
      refuse("shapes ", text(*a), " and ", text(*b), " do not broadcast");
    }
  }
  return result;
}

int64_t TfliteCheck::multiplied(int64_t a, int64_t b) const {
  const auto result = checked_multiply(a, b);
  if (!result || *result > (int64_t{1} << 40)) refuse("a shape of more than 2^40 elements");
  return *result;
}

int64_t TfliteCheck::scaled(int64_t dim, int64_t factor) const { return is_known(dim) ? multiplied(dim, factor) : -1; }

std::optional<int64_t> TfliteCheck::element_count(const Shape& dims) const {
  int64_t count = 1;
  for (const int64_t dim : dims) {
    if (!is_known(dim)) return std::nullopt;
    count = multiplied(count, dim);
  }
  return count;
}

}  // namespace edgeward
