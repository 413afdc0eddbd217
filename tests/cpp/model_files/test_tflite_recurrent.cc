// What the operators with state ask of their weights, biases and states.
#include "model_files/tflite_recurrent.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "rigs/tflite_model.h"

namespace edgeward {
namespace {

using namespace testing;

constexpr int32_t kSvdf = 27, kSequenceRnn = 35;

void make_variable(FlatNode& model, size_t index) {
  set(tensor_of(model, index), scalar<uint8_t>(schema::tensor::is_variable, 1));
}

// Two filters of rank `rank` over four columns and three steps of memory.
FlatNode svdf(int32_t rank = 1) {
  FlatNode model =
      one_op({kSvdf, 6, {scalar<int32_t>(0, rank)}},
             {floats({1, 4}), weights({2, 4}), weights({2, 3}), weights({2}), floats({1, 6})}, {floats({1, 2})});
  make_variable(model, 4);
  return model;
}

FlatNode rnn() {
  FlatNode model =
      one_op({kSequenceRnn, 31}, {floats({1, 3, 4}), weights({2, 4}), weights({2, 2}), weights({2}), floats({1, 2})},
             {floats({1, 3, 2})});
  make_variable(model, 4);
  return model;
}

void reshape(FlatNode& model, size_t index, const Ints& shape) {
  set(tensor_of(model, index), vector<int32_t>(schema::tensor::shape, shape));
}

TEST_CASE("SVDF has a memory for each filter, and as many filters as units times rank") {
  const auto options = [](FlatNode& model, int32_t rank) {
    set(operator_of(model), table(schema::operation::builtin_options, {scalar<int32_t>(0, rank)}));
  };
  for (const int32_t rank : {-1, 0, 3}) {
    check_edit(Code::malformed_model, {"SVDF", "rank " + std::to_string(rank)}, svdf(),
               [&](FlatNode& model) { options(model, rank); });
  }
  check_edit(Code::malformed_model, {"SVDF", "input 4 [1, 7]"}, svdf(), [](FlatNode& model) {
    reshape(model, 4, {1, 7});
  });
  check_edit(Code::malformed_model, {"SVDF", "input 4, the state, is no variable"}, svdf(),
             [](FlatNode& model) { remove(tensor_of(model, 4), schema::tensor::is_variable); });
  check_edit(Code::malformed_model, {"SVDF", "input 0 [4], expected rank 2"}, svdf(),
             [](FlatNode& model) { reshape(model, 0, {4}); });
  check_edit(Code::malformed_model, {"SVDF", "input 1 [2, 4], expected [2, 5]"}, svdf(), [](FlatNode& model) {
    reshape(model, 0, {1, 5});
  });
  check_edit(Code::malformed_model, {"SVDF", "input 4 of type int8, expected float32"}, svdf(), [](FlatNode& model) {
    set(tensor_of(model, 4), scalar(schema::tensor::type, static_cast<int8_t>(TfliteType::int8)));
  });
  check_edit(Code::malformed_model, {"SVDF", "output 0 [1, 3], expected [1, 2]"}, svdf(), [](FlatNode& model) {
    reshape(model, 5, {1, 3});
  });
}

TEST_CASE("a recurrent layer has square recurrent weights and a state for each unit") {
  check_edit(Code::malformed_model, {"RNN", "input 2 [4, 1]"}, rnn(), [](FlatNode& model) {
    reshape(model, 2, {4, 1});
  });
  check_edit(Code::malformed_model, {"RNN", "input 3 [2, 1], expected [2]"}, rnn(), [](FlatNode& model) {
    reshape(model, 3, {2, 1});
  });
  check_edit(Code::malformed_model, {"RNN", "input 4 [3, 2]"}, rnn(), [](FlatNode& model) {
    reshape(model, 4, {3, 2});
  });
  check_edit(Code::malformed_model, {"RNN", "input 0 [1, 12], expected rank 3"}, rnn(), [](FlatNode& model) {
    reshape(model, 0, {1, 12});
  });
}

// The four gates of two cells over three columns, and two outputs.
FlatNode lstm() {
  std::vector<Value> inputs = {floats({1, 3})};
  for (int i = 0; i < 4; ++i) inputs.push_back(weights({2, 3}));
  for (int i = 0; i < 4; ++i) inputs.push_back(weights({2, 2}));
  for (int i = 0; i < 3; ++i) inputs.push_back(weights({2}));
  for (int i = 0; i < 4; ++i) inputs.push_back(weights({2}));
  inputs.push_back(weights({2, 2}));
  inputs.push_back(weights({2}));
  inputs.push_back(floats({1, 2}));
  inputs.push_back(floats({1, 2}));
  FlatNode model = one_op({16, 14}, inputs, {floats({1, 2})});
  make_variable(model, 18);
  make_variable(model, 19);
  return model;
}

void leave_out(FlatNode& model, size_t index) {
  Ints inputs(20);
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = i == index ? -1 : static_cast<int32_t>(i);
  set(operator_of(model), vector<int32_t>(schema::operation::inputs, inputs));
}

TEST_CASE("an LSTM has the inputs of all gates, of the sizes of its cells") {
  for (const size_t index : {2u, 6u, 9u, 10u, 12u, 14u}) {
    check_edit(Code::malformed_model, {"LSTM", "is absent"}, lstm(), [&](FlatNode& model) { leave_out(model, index); });
  }
  for (const size_t index : {1u, 5u, 13u, 17u, 19u}) {
    const std::string what = "input " + std::to_string(index);
    check_edit(Code::malformed_model, {"LSTM", what}, lstm(), [&](FlatNode& model) {
      set(tensor_of(model, index), scalar(schema::tensor::type, static_cast<int8_t>(TfliteType::int32)));
    });
  }
  check_edit(Code::malformed_model, {"LSTM", "2 outputs of 1 cells"}, lstm(), [](FlatNode& model) {
    for (const size_t gate : {1u, 2u, 3u, 4u})
      set(tensor_of(model, gate), vector<int32_t>(schema::tensor::shape, {1, 6}));
    reshape(model, 0, {1, 6});
    for (const size_t gate : {5u, 6u, 7u, 8u}) {
      Value value = weights({1, 2});
      reshape(model, gate, {1, 2});
      at(model, schema::model::buffers).nodes[gate] = {{schema::buffer::data, FlatField::Kind::vector, 1, value.data}};
    }
    for (size_t i = 9; i < 16; ++i) {
      reshape(model, i, {1});
      at(model, schema::model::buffers).nodes[i] = {
          {schema::buffer::data, FlatField::Kind::vector, 1, std::string(4, '\0')}};
    }
    reshape(model, 16, {2, 1});
    at(model, schema::model::buffers).nodes[16] = {
        {schema::buffer::data, FlatField::Kind::vector, 1, std::string(8, '\0')}};
  });
}

}  // namespace
}  // namespace edgeward
