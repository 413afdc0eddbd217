#include "model_files/tflite_recurrent.h"

#include <cmath>
#include <optional>

namespace edgeward::tflite_recurrent {
namespace {

const TfliteValue& required(const TfliteCheck& check, uint32_t index) {
  const TfliteValue* value = check.find_input(index);
  if (value == nullptr) check.refuse("input ", index, " is absent");
  if (value->is_sparse) check.unsupported("input ", index, " is sparse, expected dense weights");
  if (!value->has_shape) check.unsupported("input ", index, " of unknown rank");
  return *value;
}

void expect_input_type(const TfliteCheck& check, uint32_t index, TfliteType expected) {
  if (required(check, index).type != expected) {
    check.refuse("input ", index, " of type ", name(check.type(index)), ", expected ", name(expected));
  }
}

void expect_tensor(const TfliteCheck& check, uint32_t index, TfliteType type, const Shape& shape) {
  expect_input_type(check, index, type);
  const Shape& got = required(check, index).shape;
  if (!agrees(got, shape)) check.refuse("input ", index, " ", text(got), ", expected ", text(shape));
}

// What a kernel sizes its memory by must be in the file: a positive matrix.
Shape matrix(const TfliteCheck& check, uint32_t index) {
  const Shape& shape = required(check, index).shape;
  if (shape.rank() != 2) check.refuse("input ", index, " ", text(shape), ", expected rank 2");
  if (shape.is_dynamic()) check.unsupported("input ", index, " ", text(shape), ", expected known dimensions");
  check.expect_positive_dims("weights", shape);
  return shape;
}

// The shape of the sequence or batch of vectors that `index` is.
Shape vectors(const TfliteCheck& check, uint32_t index, size_t rank) {
  const Shape& shape = required(check, index).shape;
  if (shape.rank() != rank) check.refuse("input ", index, " ", text(shape), ", expected rank ", rank);
  return shape;
}

// A variable of `batch` rows; kernels take one or two dimensions.
void expect_state(const TfliteCheck& check, uint32_t index, TfliteType type, int64_t batch, int64_t width) {
  expect_input_type(check, index, type);
  const TfliteValue& state = required(check, index);
  if (!state.is_variable) check.refuse("input ", index, ", the state, is no variable");
  const std::optional<int64_t> elements = check.element_count(state.shape);
  if (!elements || *elements == 0 || *elements % width != 0 || (is_known(batch) && *elements != batch * width)) {
    check.refuse("input ", index, " ", text(state.shape), ", expected ", text(Shape{batch, width}));
  }
}

void expect_scales(const TfliteCheck& check, std::initializer_list<uint32_t> inputs) {
  for (const uint32_t index : inputs) {
    if (check.find_input(index) != nullptr) check.expect_scale("input", check.find_input(index));
  }
  check.expect_scale("output", &check.output(0));
}

// Weights of a float kernel may be integers, which it turns into floats.
TfliteType weight_type(const TfliteCheck& check, uint32_t index) {
  const TfliteType type = required(check, index).type;
  if (type != TfliteType::float32 && type != TfliteType::int8 && type != TfliteType::uint8) {
    check.refuse("input ", index, " of type ", name(type), ", expected float32, int8 or uint8");
  }
  return type;
}

// One direction of a recurrent layer whose five inputs begin with the weights at `first`.
void expect_rnn_cell(const TfliteCheck& check, uint32_t first, int64_t width, int64_t batch, TfliteType weights) {
  const int64_t units = matrix(check, first)[0];
  expect_tensor(check, first, weights, Shape{units, width});
  expect_tensor(check, first + 1, weights, Shape{units, units});
  expect_tensor(check, first + 2, TfliteType::float32, Shape{units});
  expect_state(check, first + 3, TfliteType::float32, batch, units);
  const Shape& state = required(check, first + 3).shape;
  if (state.rank() != 2) check.refuse("input ", first + 3, " ", text(state), ", expected rank 2");
}

// Where the inputs of one direction of an LSTM begin; 0 where the operator has none.
struct LstmInputs {
  uint32_t weights;  // input to gates, recurrent to gates, cell to gates, biases, projection and its bias
  uint32_t states;
  uint32_t norms;
  uint32_t auxiliary;  // weights of the auxiliary input
};

struct LstmTypes {
  TfliteType weights, peephole, bias, norm, output_state, cell_state;
};

LstmTypes lstm_types(const TfliteCheck& check, uint32_t weights) {
  using T = TfliteType;
  const TfliteType input = required(check, 0).type;
  if (input == T::int8) return {T::int8, T::int16, T::int32, T::int16, T::int8, T::int16};
  if (input != T::float32) check.refuse("input 0 of type ", name(input), ", expected float32 or int8");
  const TfliteType type = weight_type(check, weights);
  return {type, type, T::float32, T::float32, T::float32, T::float32};
}

// Either all of `count` inputs from `first` on or none; the input gate's, which is the first, only with that gate.
bool has_group(const TfliteCheck& check, uint32_t first, uint32_t count, bool has_input_gate) {
  const bool has_any = check.find_input(first + count - 1) != nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    const bool is_expected = has_any && (i != 0 || has_input_gate || count == 1);
    if ((check.find_input(first + i) != nullptr) != is_expected) {
      check.refuse("input ", first + i, is_expected ? " is absent" : " is present", ", but input ", first + count - 1,
                   has_any ? " is present" : " is absent");
    }
  }
  return has_any;
}

void expect_gates(const TfliteCheck& check, uint32_t first, uint32_t count, TfliteType type, const Shape& shape) {
  for (uint32_t i = 0; i < count; ++i) {
    if (check.find_input(first + i) != nullptr) expect_tensor(check, first + i, type, shape);
  }
}

// Returns how many outputs the cell has. `may_be_diagonal`: recurrent weights may be vectors.
int64_t expect_lstm_cell(const TfliteCheck& check, const LstmInputs& inputs, int64_t width, int64_t batch,
                         bool may_be_diagonal) {
  const uint32_t first = inputs.weights;
  const LstmTypes types = lstm_types(check, first + 3);
  const int64_t cells = matrix(check, first + 3)[0];
  const bool has_input_gate = check.find_input(first) != nullptr;
  has_group(check, first, 4, has_input_gate);
  expect_gates(check, first, 4, types.weights, Shape{cells, width});

  required(check, first + 7);
  has_group(check, first + 4, 4, has_input_gate);
  const bool is_diagonal = may_be_diagonal && required(check, first + 7).shape.rank() == 1;
  const int64_t outputs = is_diagonal ? cells : matrix(check, first + 7)[1];
  expect_gates(check, first + 4, 4, is_diagonal ? TfliteType::float32 : types.weights,
               is_diagonal ? Shape{cells} : Shape{cells, outputs});

  has_group(check, first + 8, 3, has_input_gate);
  expect_gates(check, first + 8, 3, types.peephole, Shape{cells});
  required(check, first + 14);
  has_group(check, first + 11, 4, has_input_gate);
  expect_gates(check, first + 11, 4, types.bias, Shape{cells});
  const bool is_projected = check.find_input(first + 15) != nullptr;
  expect_gates(check, first + 15, 1, types.weights, Shape{outputs, cells});
  expect_gates(check, first + 16, 1, types.bias, Shape{outputs});
  if (check.find_input(first + 16) != nullptr && !is_projected) check.refuse("a bias of a projection that is absent");
  // The kernels project in memory that is sized for the cells.
  if (is_projected ? outputs > cells : outputs != cells) {
    check.refuse(outputs, " outputs of ", cells, " cells", is_projected ? "" : " without a projection");
  }

  expect_state(check, inputs.states, types.output_state, batch, outputs);
  expect_state(check, inputs.states + 1, types.cell_state, batch, cells);
  if (inputs.norms != 0 && check.find_input(inputs.norms + 1) != nullptr) {
    has_group(check, inputs.norms, 4, has_input_gate);
    expect_gates(check, inputs.norms, 4, types.norm, Shape{cells});
  }
  return outputs;
}

void expect_clips(const TfliteCheck& check) {
  for (const uint32_t field : {1u, 2u}) {
    if (!(check.options().scalar<float>(field, 0) >= 0)) check.refuse("a clip that is negative or no number");
  }
}

// The integer kernels read the scales of everything, and those of intermediate tensors that stand for no data.
void expect_integer_lstm(const TfliteCheck& check, bool may_have_twelve) {
  const std::vector<const TfliteValue*> intermediates = check.intermediates();
  const bool has_twelve = may_have_twelve && intermediates.size() == 12;
  if (intermediates.size() != 5 && !has_twelve) {
    check.refuse(intermediates.size(), " intermediates, expected 5", may_have_twelve ? " or 12" : "");
  }
  const bool is_normalized = check.find_input(21) != nullptr;
  for (size_t i = has_twelve || is_normalized ? 0 : 4; i < intermediates.size(); ++i) {
    check.expect_scale("intermediate", intermediates[i]);
    if (intermediates[i]->zero_points.empty()) check.refuse("intermediate ", i, " without a zero point");
  }
  expect_scales(check, {0, 18, 19});
  if (has_twelve) return;
  // The kernel takes the exponent of the state's scale for how many bits of it are whole.
  int exponent = 0;
  const double scale = check.expect_scale("input 19", check.find_input(19));
  if (std::frexp(scale, &exponent) != 0.5 || exponent - 1 < -15 || exponent - 1 > -9) {
    check.refuse("cell state of scale ", scale, ", expected a power of 2 from 2^-15 to 2^-9");
  }
}

void expect_float_output(const TfliteCheck& check, uint32_t index, const Shape& shape) {
  check.expect_type(index, TfliteType::float32);
  check.expect_output(index, shape);
}

void basic_lstm(const TfliteCheck& check) {
  using T = TfliteType;
  check.expect_count("inputs", check.operation().inputs.size(), 5, 5);
  check.expect_count("outputs", check.operation().outputs.size(), 4, 4);
  const bool is_float = required(check, 0).type == T::float32;
  const TfliteType activation = is_float ? T::float32 : T::uint8;
  const TfliteType state = is_float ? T::float32 : T::int16;
  const Shape input = vectors(check, 0, 2);
  const Shape previous = matrix(check, 1);
  const int64_t depth = previous[1];
  const int64_t total = is_known(input[1]) ? input[1] + depth : -1;
  expect_input_type(check, 0, activation);
  expect_state(check, 1, activation, input[0], depth);
  expect_tensor(check, 2, activation, Shape{4 * depth, total});
  matrix(check, 2);
  expect_tensor(check, 3, is_float ? T::float32 : T::int32, Shape{4 * depth});
  expect_tensor(check, 4, state, previous);
  expect_state(check, 4, state, input[0], depth);
  const TfliteType types[] = {activation, state, activation, state};
  const Shape shapes[] = {previous, previous, Shape{input[0], total}, Shape{input[0], 4 * depth}};
  for (uint32_t i = 0; i < 4; ++i) {
    check.expect_type(i, types[i]);
    check.expect_output(i, shapes[i]);
  }
}

}  // namespace

void svdf(const TfliteCheck& check) {
  using T = TfliteType;
  const int64_t rank = check.option(0, 4, 0);
  check.expect_activation(1);
  const Shape input = vectors(check, 0, 2);
  const Shape features = matrix(check, 1);
  const Shape times = matrix(check, 2);
  const int64_t filters = features[0];
  if (rank < 1 || filters % rank != 0) check.refuse("rank ", rank, " of ", filters, " filters");
  const bool is_integer = check.type(0) == T::int8;
  const TfliteType weights = is_integer ? T::int8 : weight_type(check, 1);
  if (!is_integer) expect_input_type(check, 0, T::float32);
  expect_tensor(check, 1, weights, Shape{filters, input[1]});
  expect_tensor(check, 2, is_integer ? T::int16 : weights, Shape{filters, times[1]});
  if (check.find_input(3) != nullptr)
    expect_tensor(check, 3, is_integer ? T::int32 : T::float32, Shape{filters / rank});
  expect_state(check, 4, is_integer ? T::int16 : T::float32, input[0], filters * times[1]);
  check.expect_type(0, is_integer ? T::int8 : T::float32);
  check.expect_output(0, Shape{input[0], filters / rank});
  if (is_integer) expect_scales(check, {0, 1, 2, 4});
}

void rnn(const TfliteCheck& check) {
  check.expect_activation(0);
  const Shape input = vectors(check, 0, 2);
  expect_input_type(check, 0, TfliteType::float32);
  expect_rnn_cell(check, 1, input[1], input[0], weight_type(check, 1));
  expect_float_output(check, 0, Shape{input[0], matrix(check, 1)[0]});
}

void sequence_rnn(const TfliteCheck& check) {
  check.expect_activation(1);
  const Shape input = vectors(check, 0, 3);
  const int64_t batch = check.option(0, 1, 0) != 0 ? input[1] : input[0];
  expect_input_type(check, 0, TfliteType::float32);
  expect_rnn_cell(check, 1, input[2], batch, weight_type(check, 1));
  expect_float_output(check, 0, Shape{input[0], input[1], matrix(check, 1)[0]});
}

void bidirectional_rnn(const TfliteCheck& check) {
  check.expect_activation(1);
  const Shape input = vectors(check, 0, 3);
  const bool is_merged = check.option(2, 1, 0) != 0;
  const int64_t batch = check.option(0, 1, 0) != 0 ? input[1] : input[0];
  check.expect_count("outputs", check.operation().outputs.size(), is_merged ? 1 : 2, is_merged ? 1 : 2);
  expect_input_type(check, 0, TfliteType::float32);
  const TfliteType weights = weight_type(check, 1);
  const int64_t forward = matrix(check, 1)[0];
  const int64_t backward = matrix(check, 5)[0];
  const bool has_weights = has_group(check, 10, 2, true);
  // Without weights of its own, the second input replaces the first for the backward direction.
  const bool has_auxiliary = check.find_input(9) != nullptr;
  if (has_weights && !has_auxiliary) check.refuse("weights of an auxiliary input that is absent");
  if (has_auxiliary) expect_tensor(check, 9, TfliteType::float32, Shape{input[0], input[1], -1});
  const int64_t width = has_auxiliary ? required(check, 9).shape[2] : -1;
  expect_rnn_cell(check, 1, input[2], batch, weights);
  expect_rnn_cell(check, 5, has_auxiliary && !has_weights ? width : input[2], batch, weights);
  if (has_weights) {
    expect_tensor(check, 10, weights, Shape{forward, width});
    expect_tensor(check, 11, weights, Shape{backward, width});
  }
  expect_float_output(check, 0, Shape{input[0], input[1], is_merged ? forward + backward : forward});
  if (!is_merged) expect_float_output(check, 1, Shape{input[0], input[1], backward});
}

void lstm(const TfliteCheck& check) {
  check.expect_activation(0);
  if (check.option(3, 1, 0) == 1) return basic_lstm(check);
  check.expect_enum("kernel_type", check.option(3, 1, 0), 1);
  if (check.operation().inputs.size() != 20) check.expect_count("inputs", check.operation().inputs.size(), 24, 24);
  check.expect_count("outputs", check.operation().outputs.size(), 1, 1);
  expect_clips(check);
  const Shape input = vectors(check, 0, 2);
  const int64_t outputs = expect_lstm_cell(check, {1, 18, 20, 0}, input[1], input[0], false);
  check.expect_type(0, check.type(0));
  check.expect_output(0, Shape{input[0], outputs});
  if (check.type(0) == TfliteType::int8) expect_integer_lstm(check, true);
}

void sequence_lstm(const TfliteCheck& check) {
  check.expect_activation(0);
  if (check.operation().inputs.size() != 20) check.expect_count("inputs", check.operation().inputs.size(), 24, 24);
  expect_clips(check);
  const Shape input = vectors(check, 0, 3);
  const int64_t batch = check.option(3, 1, 0) != 0 ? input[1] : input[0];
  const bool is_integer = check.type(0) == TfliteType::int8;
  const int64_t outputs = expect_lstm_cell(check, {1, 18, 20, 0}, input[2], batch, !is_integer);
  check.expect_type(0, check.type(0));
  check.expect_output(0, Shape{input[0], input[1], outputs});
  if (is_integer) expect_integer_lstm(check, false);
}

void bidirectional_lstm(const TfliteCheck& check) {
  check.expect_activation(0);
  check.expect_count("inputs", check.operation().inputs.size(), 48, 48);
  const bool is_merged = check.option(3, 1, 0) != 0;
  const bool is_time_major = check.option(4, 1, 1) != 0;
  check.expect_count("outputs", check.operation().outputs.size(), is_merged ? 1 : 2, is_merged ? 1 : 2);
  expect_clips(check);
  const Shape input = vectors(check, 0, 3);
  expect_input_type(check, 0, TfliteType::float32);
  const int64_t batch = is_time_major ? input[1] : input[0];
  const bool has_weights = has_group(check, 40, 4, check.find_input(1) != nullptr);
  if (has_group(check, 44, 4, check.find_input(18) != nullptr) != has_weights)
    check.refuse("weights of an auxiliary input for one direction only");
  const bool has_auxiliary = check.find_input(39) != nullptr;
  if (has_weights && !has_auxiliary) check.refuse("weights of an auxiliary input that is absent");
  if (has_auxiliary) expect_tensor(check, 39, TfliteType::float32, Shape{input[0], input[1], -1});
  const int64_t width = has_auxiliary ? required(check, 39).shape[2] : -1;
  const int64_t forward = expect_lstm_cell(check, {1, 35, 0, 40}, input[2], batch, false);
  const int64_t backward =
      expect_lstm_cell(check, {18, 37, 0, 44}, has_auxiliary && !has_weights ? width : input[2], batch, false);
  if (check.type(21) != check.type(4)) check.refuse("weights of two types");
  for (const uint32_t direction : {0u, 1u}) {
    const int64_t cells = matrix(check, direction == 0 ? 4 : 21)[0];
    if (has_weights) expect_gates(check, direction == 0 ? 40 : 44, 4, check.type(4), Shape{cells, width});
  }
  // Batch by batch, the kernel steps through the states by the width of the output, which is that of both directions.
  const Shape& state = required(check, 35).shape;
  if (is_merged && !is_time_major && check.element_count(state) != forward) {
    check.unsupported("merged outputs with a batch of more than 1 that is not time-major");
  }
  expect_float_output(check, 0, Shape{input[0], input[1], is_merged ? forward + backward : forward});
  if (!is_merged) expect_float_output(check, 1, Shape{input[0], input[1], backward});
}

}  // namespace edgeward::tflite_recurrent
