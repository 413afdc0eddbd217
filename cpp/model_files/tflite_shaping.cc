#include "model_files/tflite_shaping.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace edgeward::tflite_shaping {

using Dims = TfliteCheck::Dims;

// Each row of indices has one index for each of the first dimensions of the indexed tensor.
void gather_nd(const TfliteCheck& check) {
  check.expect_same_type(0);
  const Dims indices = check.shape(1);
  if (const Dims values = check.shape(0); values && indices && indices->rank() > 0)
    check.expect_rows(1, (*indices)[indices->rank() - 1], *values);
}

void scatter_nd(const TfliteCheck& check) {
  check.expect_type(0, check.type(1));
  const Dims indices = check.shape(0);
  const auto size = check.constant_ints(2);
  if (size && indices && indices->rank() > 0)
    check.expect_rows(0, (*indices)[indices->rank() - 1], *check.dims_of("shape", *size));
}

void sparse_to_dense(const TfliteCheck& check) {
  check.expect_type(0, check.type(2));
  const Dims indices = check.shape(0);
  const auto size = check.constant_ints(1);
  if (size && indices)
    check.expect_rows(0, indices->rank() < 2 ? 1 : (*indices)[1], *check.dims_of("output_shape", *size));
}

void concatenation(const TfliteCheck& check) {
  const Dims first = check.shape(0);
  if (!first) return;
  const size_t axis = check.expect_axis("axis", check.option(0, 4, 0), first->rank());
  check.expect_enum("fused_activation_function", check.option(1, 1, 0), 5);
  Shape output = *first;
  for (uint32_t i = 1; i < check.operation().inputs.size(); ++i) {
    const Dims next = check.shape(i);
    if (!next) return;
    if (check.type(i) != check.type(0))
      check.refuse("input ", i, " of type ", name(check.type(i)), ", expected ", name(check.type(0)));
    if (next->rank() != first->rank()) check.refuse("input ", i, " ", text(*next), ", expected rank ", first->rank());
    for (size_t k = 0; k < next->rank(); ++k) {
      if (k == axis) {
        output[k] = is_known(output[k]) && is_known((*next)[k]) ? output[k] + (*next)[k] : -1;
      } else if (is_known((*next)[k]) && is_known(output[k]) && (*next)[k] != output[k]) {
        check.refuse("input ", i, " ", text(*next), ", expected ", text(*first), " but for axis ", axis);
      } else if (is_known((*next)[k])) {
        output[k] = (*next)[k];
      }
    }
  }
  check.expect_same_type(0);
  check.expect_output(0, output);
}

void reshape(const TfliteCheck& check) {
  check.expect_same_type(0);
  check.expect_same_elements();
  std::vector<int64_t> wanted;
  if (check.operation().inputs.size() == 2) {
    // A tensor of ours has no more dimensions, and the kernel takes seconds for a hundred million of them.
    const Dims dims = check.shape(1);
    const std::optional<int64_t> rank = dims ? check.element_count(*dims) : std::nullopt;
    if (rank && *rank > static_cast<int64_t>(Shape::kMaxRank)) check.refuse("a shape of rank ", *rank);
    const auto constant = check.constant_ints(1);
    if (!constant) return;
    wanted = *constant;
  } else {
    const auto list = check.options().vector<int32_t>(0);
    for (uint32_t i = 0; i < list.size() && i <= Shape::kMaxRank; ++i) wanted.push_back(list[i]);
    if (wanted.size() == 1 && wanted[0] == 0) wanted.clear();  // how old converters write a scalar
  }
  if (wanted.size() > Shape::kMaxRank) check.refuse("a shape of rank ", wanted.size());
  size_t stretch = wanted.size();
  int64_t rest = 1;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] < -1) check.refuse("dimension ", i, " of the new shape is ", wanted[i]);
    if (wanted[i] == -1) {
      if (stretch != wanted.size()) check.refuse("two dimensions of the new shape are -1");
      stretch = i;
    } else {
      rest = check.multiplied(rest, wanted[i]);
    }
  }
  const Dims input = check.shape(0);
  const std::optional<int64_t> elements = input ? check.element_count(*input) : std::nullopt;
  if (!elements) return;
  if (stretch != wanted.size()) {
    if (rest == 0 || *elements % rest != 0) check.refuse("input ", text(*input), " does not divide by ", rest);
    wanted[stretch] = *elements / rest;
  } else if (rest != *elements) {
    check.refuse("input ", text(*input), " has ", *elements, " elements, the new shape ", rest);
  }
  check.expect_output(0, Shape(std::span<const int64_t>(wanted)));
}

void squeeze(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  check.expect_same_elements();
  const auto axes = check.options().vector<int32_t>(0);
  if (!input) return;
  for (uint32_t i = 0; i < axes.size(); ++i) {
    const size_t axis = check.expect_axis("squeeze_dims", axes[i], input->rank());
    if (is_known((*input)[axis]) && (*input)[axis] != 1)
      check.refuse("dimension ", axis, " of ", text(*input), " is not 1");
  }
}

void expand_dims(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.set_type(0, check.type(0));
  check.expect_same_elements();
  const auto axis = check.constant_ints(1);
  if (axis && axis->size() != 1) check.refuse("axis has ", axis->size(), " elements, expected 1");
  if (input && axis) check.expect_axis("axis", (*axis)[0], input->rank() + 1);
}

void pad(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  const auto paddings = check.constant_ints(1);
  if (!input || !paddings) return;
  Shape output = *input;
  if (paddings->size() != 2 * input->rank())
    check.refuse("paddings has ", paddings->size(), " elements, expected ", 2 * input->rank());
  for (size_t i = 0; i < input->rank(); ++i) {
    const int64_t before = (*paddings)[2 * i];
    const int64_t after = (*paddings)[2 * i + 1];
    check.expect_amount("paddings", before);
    check.expect_amount("paddings", after);
    if (is_known(output[i])) output[i] += before + after;
  }
  check.expect_output(0, output);
}

void mirror_pad(const TfliteCheck& check) {
  pad(check);
  check.expect_enum("mode", check.option(0, 1, 0), 1);
  const Dims input = check.shape(0);
  const auto paddings = check.constant_ints(1);
  if (!input || !paddings) return;
  for (size_t i = 0; i < paddings->size(); ++i) {
    const int64_t dim = (*input)[i / 2];
    if (is_known(dim) && (*paddings)[i] > dim - (check.option(0, 1, 0) == 0 ? 1 : 0)) {
      check.refuse("padding of ", (*paddings)[i], " mirrors more than dimension ", i / 2, " of ", text(*input));
    }
  }
}

void transpose(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  const auto order = check.constant_ints(1);
  if (!input || !order) return;
  if (order->size() != input->rank())
    check.refuse("permutation of ", order->size(), " dimensions, input ", text(*input));
  Shape output = *input;
  uint32_t seen = 0;
  for (size_t i = 0; i < order->size(); ++i) {
    const size_t from = check.expect_axis("permutation", (*order)[i], input->rank());
    if ((seen & (1u << from)) != 0) check.refuse("permutation names dimension ", from, " twice");
    seen |= 1u << from;
    output[i] = (*input)[from];
  }
  check.expect_output(0, output);
}

void split(const TfliteCheck& check) {
  const int64_t parts = check.option(0, 4, 0);
  if (parts < 1 || parts != check.operation().outputs.size())
    check.refuse("num_splits ", parts, ", but ", check.operation().outputs.size(), " outputs");
  const auto axes = check.constant_ints(0);
  if (axes && axes->size() != 1) check.refuse("axis has ", axes->size(), " elements, expected 1");
  const Dims input = check.shape(1);
  if (!axes || !input) return;
  const size_t axis = check.expect_axis("axis", (*axes)[0], input->rank());
  Shape part = *input;
  if (is_known(part[axis])) {
    if (part[axis] % parts != 0) check.refuse("dimension ", axis, " of ", text(*input), " does not divide by ", parts);
    part[axis] /= parts;
  }
  for (uint32_t i = 0; i < check.operation().outputs.size(); ++i) {
    check.expect_type(i, check.type(1));
    check.expect_output(i, part);
  }
}

void split_v(const TfliteCheck& check) {
  const int64_t parts = check.option(0, 4, 0);
  if (parts < 1 || parts != check.operation().outputs.size())
    check.refuse("num_splits ", parts, ", but ", check.operation().outputs.size(), " outputs");
  const auto sizes = check.constant_ints(1);
  const auto axes = check.constant_ints(2);
  if (axes && axes->size() != 1) check.refuse("axis has ", axes->size(), " elements, expected 1");
  if (sizes && sizes->size() != static_cast<size_t>(parts))
    check.refuse("size_splits has ", sizes->size(), " elements, expected ", parts);
  const Dims input = check.shape(0);
  if (!sizes || !axes || !input) return;
  const size_t axis = check.expect_axis("axis", (*axes)[0], input->rank());
  int64_t sum = 0;
  bool has_rest = false;
  for (const int64_t size : *sizes) {
    if (size < -1 || (size == -1 && has_rest) || size > kMaxDim) check.refuse("size_splits has an element ", size);
    has_rest = has_rest || size == -1;
    sum += std::max<int64_t>(size, 0);
  }
  const int64_t dim = (*input)[axis];
  if (!is_known(dim)) return;
  if (has_rest ? sum > dim : sum != dim)
    check.refuse("size_splits sum to ", sum, ", dimension ", axis, " of ", text(*input));
  for (uint32_t i = 0; i < check.operation().outputs.size(); ++i) {
    Shape part = *input;
    check.expect_same_type(i);
    part[axis] = (*sizes)[i] == -1 ? dim - sum : (*sizes)[i];
    check.expect_output(i, part);
  }
}

void pack(const TfliteCheck& check) {
  const int64_t count = check.option(0, 4, 0);
  if (count != check.operation().inputs.size())
    check.refuse("values_count ", count, ", but ", check.operation().inputs.size(), " inputs");
  const Dims first = check.shape(0);
  if (!first) return;
  const size_t axis = check.expect_axis("axis", check.option(1, 4, 0), first->rank() + 1);
  for (uint32_t i = 1; i < check.operation().inputs.size(); ++i) {
    const Dims next = check.shape(i);
    if (!next) return;
    if (!agrees(*next, *first)) check.refuse("input ", i, " ", text(*next), ", expected ", text(*first));
    if (check.type(i) != check.type(0))
      check.refuse("input ", i, " of type ", name(check.type(i)), ", expected ", name(check.type(0)));
  }
  std::vector<int64_t> output(first->begin(), first->end());
  output.insert(output.begin() + static_cast<std::ptrdiff_t>(axis), count);
  check.expect_same_type(0);
  check.expect_output(0, Shape(std::span<const int64_t>(output)));
}

void unpack(const TfliteCheck& check) {
  const int64_t count = check.option(0, 4, 0);
  if (count != check.operation().outputs.size())
    check.refuse("num ", count, ", but ", check.operation().outputs.size(), " outputs");
  const Dims input = check.shape(0);
  if (!input) return;
  const size_t axis = check.expect_axis("axis", check.option(1, 4, 0), input->rank());
  if (is_known((*input)[axis]) && (*input)[axis] != count)
    check.refuse("dimension ", axis, " of ", text(*input), ", expected ", count);
  std::vector<int64_t> output(input->begin(), input->end());
  output.erase(output.begin() + static_cast<std::ptrdiff_t>(axis));
  for (uint32_t i = 0; i < check.operation().outputs.size(); ++i) {
    check.expect_same_type(i);
    check.expect_output(i, Shape(std::span<const int64_t>(output)));
  }
}

void strided_slice(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  const auto begin = check.constant_ints(1);
  const auto end = check.constant_ints(2);
  const auto strides = check.constant_ints(3);
  if (strides) {
    for (const int64_t stride : *strides) {
      if (stride == 0) check.refuse("a stride of 0");
    }
  }
  for (const auto* list : {&begin, &end, &strides}) {
    if (input && *list && (*list)->size() > Shape::kMaxRank)
      check.refuse("a slice of ", (*list)->size(), " dimensions of ", text(*input));
    if (*list && begin && (*list)->size() != begin->size()) check.refuse("begin, end and strides differ in length");
  }
  for (uint32_t mask = 0; mask < 5; ++mask) {
    const int64_t bits = check.option(mask, 4, 0);
    if (bits < 0 || bits >= (1 << Shape::kMaxRank))
      check.refuse("mask ", mask, " is ", bits, ", expected 0 to ", (1 << Shape::kMaxRank) - 1);
  }
}

void slice(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  const auto begin = check.constant_ints(1);
  const auto size = check.constant_ints(2);
  if (!input) return;
  for (const auto* list : {&begin, &size}) {
    if (*list && (*list)->size() != input->rank())
      check.refuse("a slice of ", (*list)->size(), " dimensions of ", text(*input));
  }
  if (!begin || !size) return;
  Shape output = *input;
  for (size_t i = 0; i < input->rank(); ++i) {
    const int64_t first = (*begin)[i];
    const int64_t count = (*size)[i];
    if (first < 0 || count < -1 || first > kMaxDim || count > kMaxDim ||
        (is_known((*input)[i]) && first + std::max<int64_t>(count, 0) > (*input)[i])) {
      check.refuse("dimension ", i, " of ", text(*input), " sliced from ", first, " by ", count);
    }
    output[i] = count >= 0 ? count : is_known((*input)[i]) ? (*input)[i] - first : -1;
  }
  check.expect_output(0, output);
}

void gather(const TfliteCheck& check) {
  const Dims values = check.shape(0);
  const Dims indices = check.shape(1);
  check.set_type(0, check.type(0));
  if (!values) return;
  const size_t axis = check.expect_axis("axis", check.option(0, 4, 0), values->rank());
  if (!indices) return;
  int64_t batch_dims = check.option(1, 4, 0);
  if (batch_dims < 0) batch_dims += static_cast<int64_t>(indices->rank());
  if (batch_dims < 0 || static_cast<size_t>(batch_dims) > axis || static_cast<size_t>(batch_dims) > indices->rank()) {
    check.refuse("batch_dims ", check.option(1, 4, 0), " for indices ", text(*indices), " along axis ", axis);
  }
  const auto batch = static_cast<size_t>(batch_dims);
  for (size_t i = 0; i < batch; ++i) {
    if (is_known((*values)[i]) && is_known((*indices)[i]) && (*values)[i] != (*indices)[i]) {
      check.refuse("values ", text(*values), " and indices ", text(*indices), " differ in batch dimension ", i);
    }
  }
  check.expect_indices(1, (*values)[axis]);
  std::vector<int64_t> output(values->begin(), values->begin() + axis);
  output.insert(output.end(), indices->begin() + batch, indices->end());
  output.insert(output.end(), values->begin() + axis + 1, values->end());
  if (output.size() <= Shape::kMaxRank) check.expect_output(0, Shape(std::span<const int64_t>(output)));
}

void stablehlo_gather(const TfliteCheck& check) { check.expect_elements(0); }

void depth_to_space(const TfliteCheck& check) {
  const int64_t block = check.expect_block(check.option(0, 4, 0));
  const Dims input = check.expect_rank(0, 4);
  check.expect_same_type(0);
  if (!input) return;
  if (is_known((*input)[3]) && (*input)[3] % (block * block) != 0)
    check.refuse("input ", text(*input), " for blocks of ", block);
  check.expect_output(0, Shape{(*input)[0], check.scaled((*input)[1], block), check.scaled((*input)[2], block),
                               is_known((*input)[3]) ? (*input)[3] / (block * block) : -1});
}

void space_to_depth(const TfliteCheck& check) {
  const int64_t block = check.expect_block(check.option(0, 4, 0));
  const Dims input = check.expect_rank(0, 4);
  check.expect_same_type(0);
  if (!input) return;
  for (const size_t axis : {size_t{1}, size_t{2}}) {
    if (is_known((*input)[axis]) && (*input)[axis] % block != 0)
      check.refuse("input ", text(*input), " for blocks of ", block);
  }
  check.expect_output(
      0, Shape{(*input)[0], is_known((*input)[1]) ? (*input)[1] / block : -1,
               is_known((*input)[2]) ? (*input)[2] / block : -1, check.scaled((*input)[3], block * block)});
}

// BATCH_TO_SPACE_ND and SPACE_TO_BATCH_ND: input, block shape, crops or paddings.
void blocks_nd(const TfliteCheck& check) {
  check.expect_same_type(0);
  const auto block = check.constant_ints(1);
  const auto margins = check.constant_ints(2);
  if (block) {
    for (const int64_t size : *block) check.expect_block(size);
  }
  if (margins) {
    for (const int64_t margin : *margins) check.expect_amount("paddings or crops", margin);
  }
  if (block && margins && margins->size() != 2 * block->size()) {
    check.refuse(margins->size(), " paddings or crops for ", block->size(), " block dimensions");
  }
  const Dims input = check.shape(0);
  if (input && block && block->size() + 2 != input->rank())
    check.refuse("input ", text(*input), " for ", block->size(), " block dimensions");
}

void tile(const TfliteCheck& check) {
  const Dims input = check.shape(0);
  check.expect_same_type(0);
  const auto multiples = check.constant_ints(1);
  if (!input || !multiples) return;
  if (multiples->size() != input->rank()) check.refuse(multiples->size(), " multiples for input ", text(*input));
  Shape output = *input;
  for (size_t i = 0; i < output.rank(); ++i) {
    check.expect_amount("multiples", (*multiples)[i]);
    output[i] = check.scaled(output[i], (*multiples)[i]);
  }
  check.expect_output(0, output);
}

void fill(const TfliteCheck& check) {
  check.set_type(0, check.type(1));
  if (const auto dims = check.constant_ints(0)) check.expect_output(0, check.dims_of("dims", *dims));
}

void broadcast_to(const TfliteCheck& check) {
  check.expect_same_type(0);
  if (const auto dims = check.constant_ints(1)) {
    const Dims output = check.dims_of("shape", *dims);
    check.broadcast(check.shape(0), output);
    check.expect_output(0, output);
  }
}

void top_k(const TfliteCheck& check) {
  check.expect_same_type(0);
  const Dims input = check.shape(0);
  const auto count = check.constant_ints(1);
  if (count && count->size() != 1) check.refuse("k has ", count->size(), " elements, expected 1");
  if (!input || !count) return;
  if (input->rank() == 0) check.refuse("a scalar input");
  Shape output = *input;
  int64_t& last = output[output.rank() - 1];
  if ((*count)[0] < 0 || (is_known(last) && (*count)[0] > last))
    check.refuse("k of ", (*count)[0], " for input ", text(*input));
  last = (*count)[0];
  check.expect_output(0, output);
  check.expect_output(1, output);
}

void one_hot(const TfliteCheck& check) {
  const auto depth = check.constant_ints(1);
  if (depth && (depth->size() != 1 || (*depth)[0] < 0 || (*depth)[0] > kMaxDim))
    check.refuse("a depth outside 0 to ", kMaxDim);
  if (const Dims indices = check.shape(0)) check.expect_axis("axis", check.option(0, 4, 0), indices->rank() + 1);
}

void reverse(const TfliteCheck& check) {
  check.expect_same_spec();
  const Dims input = check.shape(0);
  const auto axes = check.constant_ints(1);
  if (!axes || !input) return;
  for (const int64_t axis : *axes) check.expect_axis("axis", axis, input->rank());
}

void reverse_sequence(const TfliteCheck& check) {
  check.expect_same_spec();
  const Dims input = check.shape(0);
  if (!input) return;
  const size_t axis = check.expect_axis("seq_dim", check.option(0, 4, 0), input->rank());
  const size_t batch = check.expect_axis("batch_dim", check.option(1, 4, 0), input->rank());
  const auto lengths = check.constant_ints(1);
  if (!lengths) return;
  if (is_known((*input)[batch]) && lengths->size() != static_cast<size_t>((*input)[batch])) {
    check.refuse(lengths->size(), " lengths for dimension ", batch, " of ", text(*input));
  }
  for (const int64_t length : *lengths) {
    if (length < 0 || (is_known((*input)[axis]) && length > (*input)[axis])) {
      check.refuse("a length of ", length, " for dimension ", axis, " of ", text(*input));
    }
  }
}

void broadcast_args(const TfliteCheck& check) {
  const auto left = check.constant_ints(0);
  const auto right = check.constant_ints(1);
  if (left && right) check.broadcast(check.dims_of("input 0", *left), check.dims_of("input 1", *right));
}

// A delegate unpacks into the output by the output's own shape.
void densify(const TfliteCheck& check) {
  const TfliteValue& input = *check.find_input(0);
  if (!input.is_sparse) check.refuse("input 0 is not sparse");
  check.expect_same_type(0);
  if (!(check.output(0).shape == input.shape)) {
    check.refuse("output 0 ", text(check.output(0).shape), ", expected ", text(input.shape));
  }
}

// The kernel reads a diagonal of the matrices' type, one element for each row that has a column.
void matrix_set_diag(const TfliteCheck& check) {
  check.expect_same_spec();
  if (check.type(1) != check.type(0))
    check.refuse("input 1 of type ", name(check.type(1)), ", expected ", name(check.type(0)));
  const Dims matrices = check.shape(0);
  const Dims diagonals = check.shape(1);
  if (!matrices || !diagonals) return;
  if (matrices->rank() < 2) check.refuse("input ", text(*matrices), ", expected at least rank 2");
  std::vector<int64_t> expected(matrices->begin(), matrices->end() - 1);
  const int64_t columns = (*matrices)[matrices->rank() - 1];
  expected.back() = is_known(expected.back()) && is_known(columns) ? std::min(expected.back(), columns) : -1;
  if (!agrees(*diagonals, Shape(std::span<const int64_t>(expected))))
    check.refuse("diagonals ", text(*diagonals), " of matrices ", text(*matrices));
}

void random(const TfliteCheck& check) {
  if (const auto dims = check.constant_ints(0)) check.expect_output(0, check.dims_of("shape", *dims));
}

void multinomial(const TfliteCheck& check) {
  const Dims logits = check.expect_rank(0, 2);
  if (logits && (*logits)[1] == 0) check.refuse("logits ", text(*logits), ", expected a class");
  const auto count = check.constant_ints(1);
  if (!count) return;
  if (count->size() != 1) check.refuse("num_samples has ", count->size(), " elements, expected 1");
  check.expect_amount("num_samples", (*count)[0]);
  if (logits) check.expect_output(0, Shape{(*logits)[0], (*count)[0]});
}

}  // namespace edgeward::tflite_shaping
