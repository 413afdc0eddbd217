// What check_onnx passes and what it refuses. Files are written field by field, as protobuf has them.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "model_files/onnx_file.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

// Protobuf, written.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string number(uint32_t field, int64_t value) { return varint(field << 3) + varint(static_cast<uint64_t>(value)); }
std::string text(uint32_t field, const std::string& bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + bytes;
}

constexpr int64_t kFloat = 1, kInt64 = 7, kString = 8, kInt4 = 22;

std::string type(const std::vector<int64_t>& dims, int64_t element = kFloat) {
  std::string shape;
  for (const int64_t dim : dims) shape += text(1, number(1, dim));
  return text(1, number(1, element) + text(2, shape));
}
std::string value(const std::string& name, const std::vector<int64_t>& dims = {1, 4}, int64_t element = kFloat) {
  return text(1, name) + text(2, type(dims, element));
}
std::string raw_tensor(const std::string& name, const std::vector<int64_t>& dims, int64_t element, size_t size_bytes) {
  std::string tensor;
  for (const int64_t dim : dims) tensor += number(1, dim);
  return tensor + number(2, element) + text(8, name) + text(9, std::string(size_bytes, '\0'));
}
std::string node(const std::string& type, const std::vector<std::string>& inputs,
                 const std::vector<std::string>& outputs, const std::string& attributes = {}) {
  std::string bytes;
  for (const std::string& name : inputs) bytes += text(1, name);
  for (const std::string& name : outputs) bytes += text(2, name);
  return bytes + text(4, type) + attributes;
}
std::string ints_attribute(const std::string& name, const std::vector<int64_t>& values) {
  std::string packed;
  for (const int64_t value : values) packed += varint(static_cast<uint64_t>(value));
  return text(5, text(1, name) + text(8, packed) + number(20, 7));
}

// The parts of a model, each to be replaced by a test.
struct Model {
  std::string ir_version = number(1, 10);
  std::string opset = text(8, number(2, 21));
  std::string nodes = text(1, node("Add", {"x", "w"}, {"y"}));
  std::string initializers = text(5, raw_tensor("w", {4}, kFloat, 16));
  std::string inputs = text(11, value("x"));
  std::string outputs = text(12, value("y"));
  std::string rest = {};

  std::string bytes() const { return ir_version + opset + text(7, nodes + initializers + inputs + outputs) + rest; }
};

OnnxFacts check(const std::string& bytes) {
  return check_onnx({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, {});
}

template <class Edit>
void check_edit(Code code, const std::vector<std::string_view>& words, const Edit& edit) {
  Model model;
  REQUIRE_NOTHROW(check(model.bytes()));
  edit(model);
  check_refusal(code, words, [&] { check(model.bytes()); });
}

TEST_CASE("a sound model passes") { CHECK_NOTHROW(check(Model().bytes())); }

TEST_CASE("a file cut at any byte is refused") {
  const std::string bytes = Model().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(check(bytes.substr(0, size)), Error);
  }
}

TEST_CASE("bytes after the model are fields of it, or refused") {
  CHECK_NOTHROW(check(Model().bytes() + text(2, "producer")));
  check_refusal(Code::malformed_model, {"ModelProto", "field number 0"},
                [] { check(Model().bytes() + std::string(3, '\0')); });
  check_refusal(Code::malformed_model, {"two graphs"}, [] { check(Model().bytes() + text(7, "")); });
}

TEST_CASE("every flipped bit gives a file that is passed or refused") {
  const std::string bytes = Model().bytes();
  size_t refused = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    try {
      check(damaged);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > bytes.size() * 3);
}

TEST_CASE("the frame is whole") {
  check_edit(Code::malformed_model, {"no ir_version"}, [](Model& model) { model.ir_version = {}; });
  check_edit(Code::malformed_model, {"ir_version -1"}, [](Model& model) { model.ir_version = number(1, -1); });
  check_edit(Code::malformed_model, {"no opset_import"}, [](Model& model) { model.opset = {}; });
  check_edit(Code::malformed_model, {"operator set", "version 0"},
             [](Model& model) { model.opset = text(8, text(1, "")); });
  check_edit(Code::unsupported_model, {"training"}, [](Model& model) { model.rest = text(20, ""); });
  check_refusal(Code::malformed_model, {"no graph"}, [] { check(Model().ir_version); });
}

TEST_CASE("a file that begins with no field of a model is another kind of file") {
  const std::string model = Model().bytes();
  const std::string files[] = {
      "", std::string(64, '\0'), "\xff\xff\xff", number(2, 5) + model, text(1, "x") + model, text(99, "x")};
  for (const std::string& file : files) {
    CAPTURE(file);
    check_refusal(Code::malformed_model,
                  {"model: expected a .tflite, .onnx or .ort file, got one that is none", "read"},
                  [&] { check(file); });
  }
  CHECK_NOTHROW(check(text(99, "of a later version") + model));
}

TEST_CASE("wire types are those of the fields") {
  check_edit(Code::malformed_model, {"ModelProto, field 2", "wire type 0, expected 2"},
             [](Model& model) { model.rest = number(2, 5); });
  check_edit(Code::malformed_model, {"wire type 3"}, [](Model& model) { model.rest = varint(15 << 3 | 3); });
  check_edit(Code::malformed_model, {"more than"},
             [](Model& model) { model.rest = varint(5 << 3) + std::string(10, '\xff') + '\1'; });
  check_edit(Code::malformed_model, {"not UTF-8"}, [](Model& model) { model.rest = text(2, "\xc0\x80"); });
}

TEST_CASE("names lead to something, and to one thing") {
  check_edit(Code::malformed_model, {"node 0 (Add)", "input 1 is \"v\"", "nothing before it produces"},
             [](Model& model) {
               model.nodes = text(1, node("Add", {"x", "v"}, {"y"}));
             });
  check_edit(Code::malformed_model, {"node 0 (Add)", "\"a\"", "nothing before it"}, [](Model& model) {
    model.nodes = text(1, node("Add", {"a", "x"}, {"y"})) + text(1, node("Neg", {"y"}, {"a"}));
  });
  check_edit(Code::malformed_model, {"output 0 is \"x\"", "there before it"}, [](Model& model) {
    model.nodes = text(1, node("Add", {"x", "w"}, {"x"}));
  });
  check_edit(Code::malformed_model, {"graph output \"z\""}, [](Model& model) { model.outputs = text(12, value("z")); });
  check_edit(Code::malformed_model, {"graph input \"x\" is there twice"},
             [](Model& model) { model.inputs += text(11, value("x")); });
  check_edit(Code::malformed_model, {"initializer \"w\" is there twice"},
             [](Model& model) { model.initializers += model.initializers; });
  check_edit(Code::malformed_model, {"node 0", "no operator type"},
             [](Model& model) { model.nodes = text(1, node("", {"x"}, {"y"})); });
}

TEST_CASE("an input may have its default among the initializers, and an optional input may be absent") {
  Model model;
  model.initializers += text(5, raw_tensor("x", {1, 4}, kFloat, 16));
  model.nodes = text(1, node("Clip", {"x", "", "w"}, {"y"}));
  CHECK_NOTHROW(check(model.bytes()));
}

TEST_CASE("an initializer has exactly its elements") {
  const auto refused = [](Code code, const std::vector<std::string_view>& words, const std::string& tensor) {
    check_edit(code, words, [&](Model& model) { model.initializers = text(5, tensor); });
  };
  refused(Code::malformed_model, {"initializer \"w\": 15 bytes of data, expected 16"},
          raw_tensor("w", {4}, kFloat, 15));
  refused(Code::malformed_model, {"expected 2"}, raw_tensor("w", {3}, kInt4, 3));
  refused(Code::malformed_model, {"dimension -4"}, raw_tensor("w", {-4}, kFloat, 16));
  refused(Code::malformed_model, {"more than"}, raw_tensor("w", {int64_t{1} << 40, int64_t{1} << 40}, kFloat, 16));
  refused(Code::unsupported_model, {"element type 99"}, raw_tensor("w", {4}, 99, 16));
  const std::string head = number(1, 2) + number(2, kInt64) + text(8, "w");
  CHECK_NOTHROW([&] {
    Model model;
    model.initializers = text(5, head + text(7, varint(1) + varint(300)));
    check(model.bytes());
  }());
  refused(Code::malformed_model, {"1 elements, expected 2"}, head + text(7, varint(1)));
  refused(Code::malformed_model, {"raw_data beside 2"},
          head + text(7, varint(1) + varint(2)) + text(9, std::string(16, '\0')));
  refused(Code::malformed_model, {"field of another element type"}, head + text(4, std::string(8, '\0')));
  refused(Code::malformed_model, {"1 strings, expected 2"},
          number(1, 2) + number(2, kString) + text(8, "w") + text(6, "a"));
  refused(Code::malformed_model, {"without a name"}, raw_tensor("", {4}, kFloat, 16));
}

namespace {

std::string entry(const std::string& key, const std::string& value) { return text(13, text(1, key) + text(2, value)); }

// A float initializer "w" of 4 elements whose data lies where `entries` say.
std::string outside(const std::string& entries, int64_t element = kFloat) {
  return number(1, 4) + number(2, element) + text(8, "w") + entries + number(14, 1);
}

// What the model's own package holds beside it: 40 bytes.
std::vector<ExternalData> companions() {
  std::vector<ExternalData> files;
  files.push_back({"weights.bin", Block::zeroed(40)});
  return files;
}

void check_outside(const std::string& initializer, const std::vector<ExternalData>& files) {
  Model model;
  model.initializers = text(5, initializer);
  const std::string bytes = model.bytes();
  check_onnx({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, files);
}

std::vector<std::string> names_outside(const std::string& initializers) {
  Model model;
  model.initializers = initializers;
  const std::string bytes = model.bytes();
  return external_data_names({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

}  // namespace

TEST_CASE("a tensor that is too large for a message is told, and where its data is") {
  const auto facts_of = [](uint64_t elements) {
    std::vector<ExternalData> files;
    files.push_back({"weights.bin", Block::sparse(4 * elements + 24)});  // never touched
    Model model;
    model.initializers = text(5, number(1, 2) + number(1, elements / 2) + number(2, kFloat) + text(8, "w") +
                                     entry("location", "weights.bin") + entry("offset", "24") + number(14, 1));
    const std::string bytes = model.bytes();
    return check_onnx({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, files);
  };
  constexpr uint64_t kFirst = uint64_t{1} << 29;
  CHECK(facts_of(kFirst - 2).large_tensors.empty());
  const OnnxFacts facts = facts_of(kFirst);
  REQUIRE(facts.large_tensors.size() == 1);
  const OnnxLargeTensor& tensor = facts.large_tensors[0];
  CHECK(tensor.name == "w");
  CHECK(tensor.type == kFloat);
  CHECK(tensor.dims == std::vector<int64_t>{2, kFirst / 2});
  CHECK(tensor.location == "weights.bin");
  CHECK(tensor.offset == 24);
  CHECK(tensor.size_bytes == 4 * kFirst);
}

TEST_CASE("data in another file is found among those that came along, and nowhere else") {
  const auto files = companions();
  const std::string location = entry("location", "weights.bin");
  CHECK_NOTHROW(check_outside(outside(location + entry("length", "16")), files));
  CHECK_NOTHROW(check_outside(outside(location + entry("offset", "24") + entry("length", "16")), files));
  // Without a length it is the tensor's, whatever follows.
  CHECK_NOTHROW(check_outside(outside(location + entry("offset", "24")), files));
  CHECK_NOTHROW(check_outside(outside(location + entry("offset", "8")), files));
  CHECK_NOTHROW(check_outside(outside(location), files));
  CHECK_NOTHROW(check_outside(outside(location + entry("length", "0")), files));
  CHECK_NOTHROW(check_outside(outside(location + entry("offset", "24") + entry("checksum", "00")), files));

  const auto refused = [&](Code code, const std::vector<std::string_view>& words, const std::string& initializer) {
    check_refusal(code, words, [&] { check_outside(initializer, files); });
  };
  for (const char* name :
       {"other.bin", "../weights.bin", "/weights.bin", "./weights.bin", "weights.bin ", "WEIGHTS.BIN"})
    refused(Code::unsupported_model, {"\"w\"", name, "beside it"},
            outside(entry("location", name) + entry("length", "16")));
  refused(Code::malformed_model, {"without a location"}, outside(""));
  refused(Code::malformed_model, {"without a location"}, outside(entry("length", "16")));
  refused(Code::malformed_model, {"location is there twice"}, outside(location + location));
  refused(Code::malformed_model, {"got \"path\""}, outside(location + entry("path", "x")));
  for (const char* number : {"", "-1", "+1", "1 ", " 1", "0x1", "1.0", "18446744073709551616", "x"}) {
    refused(Code::malformed_model, {"offset", "whole number"}, outside(location + entry("offset", number)));
    refused(Code::malformed_model, {"length", "whole number"}, outside(location + entry("length", number)));
  }
  const std::string whole = entry("length", "16");
  refused(Code::malformed_model, {"16 bytes at 25", "40"}, outside(location + whole + entry("offset", "25")));
  refused(Code::malformed_model, {"16 bytes at 25", "40"}, outside(location + entry("offset", "25")));
  refused(Code::malformed_model, {"16 bytes at 41", "40"}, outside(location + whole + entry("offset", "41")));
  refused(Code::malformed_model, {"18446744073709551615"},
          outside(location + whole + entry("offset", "18446744073709551615")));
  refused(Code::malformed_model, {"18446744073709551615"},
          outside(location + entry("length", "18446744073709551615") + entry("offset", "1")));
  refused(Code::malformed_model, {"15 bytes", "expected 16"}, outside(location + entry("length", "15")));
  refused(Code::malformed_model, {"here and in another file"},
          outside(location + whole) + text(9, std::string(16, '\0')));
  refused(Code::malformed_model, {"strings"}, outside(location + whole, kString));
  refused(Code::unsupported_model, {"expected it here"}, number(1, 4) + number(2, kFloat) + text(8, "w") + location);
}

TEST_CASE("without a package, a model is one file") {
  check_refusal(Code::unsupported_model, {"\"w\"", "weights.bin", "own file"},
                [] { check_outside(outside(entry("location", "weights.bin")), {}); });
  check_edit(Code::unsupported_model, {"sparse"}, [](Model& model) { model.initializers += text(15, ""); });
}

TEST_CASE("only the main graph's initializers may lie outside") {
  const std::string tensor = outside(entry("location", "weights.bin") + entry("length", "16"));
  check_edit(Code::unsupported_model, {"attribute tensor", "expected it here"}, [&](Model& model) {
    model.nodes += text(1, node("Constant", {}, {"c"}, text(5, text(1, "value") + text(5, tensor) + number(20, 4))));
  });
}

TEST_CASE("the files that a model needs are told once each, in order") {
  const std::string b = text(5, outside(entry("location", "b.bin")));
  const std::string other =
      text(5, number(1, 4) + number(2, kFloat) + text(8, "v") + entry("location", "a.bin") + number(14, 1));
  const std::string third = text(5, number(1, 4) + number(2, kFloat) + text(8, "u") + entry("location", "b.bin") +
                                        entry("offset", "999999") + entry("length", "16") + number(14, 1));
  CHECK(names_outside(b + other + third) == std::vector<std::string>{"a.bin", "b.bin"});
  CHECK(names_outside(text(5, raw_tensor("w", {4}, kFloat, 16))).empty());
  const std::string bytes = Model().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(external_data_names({reinterpret_cast<const std::byte*>(bytes.data()), size}), Error);
  }
}

TEST_CASE("inputs and outputs are tensors within rank and memory") {
  const auto refused = [](Code code, const std::vector<std::string_view>& words, const std::string& input) {
    check_edit(code, words, [&](Model& model) { model.inputs = text(11, input); });
  };
  refused(Code::unsupported_model, {"input \"x\": expected a tensor, got a sequence of tensors"},
          text(1, "x") + text(2, text(4, text(1, type({4})))));
  refused(Code::unsupported_model, {"got a sequence of maps"},
          text(1, "x") + text(2, text(4, text(1, text(5, number(1, 7) + text(2, type({4})))))));
  refused(Code::unsupported_model, {"got a map"}, text(1, "x") + text(2, text(5, number(1, 7) + text(2, type({4})))));
  refused(Code::unsupported_model, {"got an optional sequence"},
          text(1, "x") + text(2, text(9, text(1, text(4, text(1, type({4})))))));
  refused(Code::unsupported_model, {"got a sparse tensor"}, text(1, "x") + text(2, text(8, number(1, 1))));
  refused(Code::unsupported_model, {"got a value of no type"}, text(1, "x") + text(2, ""));
  refused(Code::malformed_model, {"input \"x\": no type"}, text(1, "x"));
  refused(Code::malformed_model, {"input \"x\": no element type"}, text(1, "x") + text(2, text(1, "")));
  refused(Code::unsupported_model, {"rank 9"}, value("x", std::vector<int64_t>(9, 1)));
  refused(Code::malformed_model, {"dimension -7"}, value("x", {-7}));
  refused(Code::unsupported_model, {"declared tensors need"}, value("x", {1 << 15, 1 << 15}));
}

TEST_CASE("inputs and outputs without a shape are named, and scalars are not") {
  Model model;
  CHECK(check(model.bytes()).without_shape.empty());
  model.outputs = text(12, value("y", {}));
  CHECK(check(model.bytes()).without_shape.empty());
  model.outputs = text(12, text(1, "y") + text(2, text(1, number(1, kFloat))));
  model.rest = text(13, text(1, "w") + text(2, text(1, number(1, kFloat))));
  CHECK(check(model.bytes()).without_shape == std::set<std::string>{"y"});
}

TEST_CASE("a subgraph sees the names around it, and nests 32 deep at most") {
  const auto branch = [](const std::string& source) {
    return text(5, text(1, "then_branch") + text(6, text(1, node("Neg", {source}, {"z"})) + text(12, value("z"))) +
                       number(20, 5));
  };
  Model model;
  model.nodes = text(1, node("If", {"x"}, {"y"}, branch("w")));
  CHECK_NOTHROW(check(model.bytes()));
  check_edit(Code::malformed_model, {"node 0 (Neg)", "\"q\""},
             [&](Model& broken) { broken.nodes = text(1, node("If", {"x"}, {"y"}, branch("q"))); });
  std::string graph = text(12, value("x"));
  for (int level = 0; level < 40; ++level) {
    graph = text(
        1, node("If", {"x"}, {"y" + std::to_string(level)}, text(5, text(1, "a") + text(6, graph) + number(20, 5))));
  }
  check_edit(Code::malformed_model, {"nested deeper than 32"},
             [&](Model& deep) { deep.nodes = graph + text(1, node("Neg", {"x"}, {"y"})); });
}

TEST_CASE("an operator that empty tensors are fatal to is named, unless it is a convolution of constant weights") {
  const auto fatal = [](const std::string& nodes, const std::string& inputs = {}) {
    Model model;
    model.nodes = nodes;
    model.inputs += inputs;
    const std::string bytes = model.bytes();
    return check_onnx(std::as_bytes(std::span(bytes)), {}).fatal_when_empty;
  };
  const std::string weight_input = text(11, value("v"));
  const std::string end = text(1, node("Relu", {"z"}, {"y"}));
  CHECK(fatal(text(1, node("Add", {"x", "w"}, {"y"}))).empty());
  CHECK(fatal(text(1, node("GRU", {"x", "w", "w"}, {"y"}))) == "GRU");
  CHECK(fatal(text(1, node("Conv", {"x", "w"}, {"y"}))).empty());
  CHECK(fatal(text(1, node("Conv", {"x", "v"}, {"y"})), weight_input) == "Conv");
  CHECK(fatal(text(1, node("Conv", {"w", "x"}, {"z"})) + end) == "Conv");
  CHECK(fatal(text(1, node("QLinearConv", {"x", "w", "w", "w"}, {"y"}))).empty());
  CHECK(fatal(text(1, node("QLinearConv", {"w", "w", "w", "x"}, {"y"}))) == "QLinearConv");
  // Through what lies between stored weights and a kernel, and not through what computes.
  CHECK(fatal(text(1, node("DequantizeLinear", {"w", "w"}, {"d"})) + text(1, node("Conv", {"x", "d"}, {"y"}))).empty());
  CHECK(fatal(text(1, node("Identity", {"x"}, {"d"})) + text(1, node("Conv", {"x", "d"}, {"y"}))) == "Conv");
  CHECK(fatal(text(1, node("Add", {"w", "x"}, {"d"})) + text(1, node("Conv", {"x", "d"}, {"y"}))) == "Conv");
  // An initializer of an input's name is a default.
  CHECK(fatal(text(1, node("Conv", {"x", "w"}, {"y"})), text(11, value("w", {4}))) == "Conv");
}

TEST_CASE("windows are positive") {
  const auto with = [](const std::string& name, std::vector<int64_t> values) {
    return text(1, node("MaxPool", {"x"}, {"y"}, ints_attribute(name, values)));
  };
  Model model;
  model.nodes = with("strides", {1, 1});
  CHECK_NOTHROW(check(model.bytes()));
  for (const char* name : {"strides", "kernel_shape", "dilations"}) {
    check_edit(Code::malformed_model, {"node 0 (MaxPool)", name, "0, expected 1 to"}, [&](Model& broken) {
      broken.nodes = with(name, {1, 0});
    });
  }
  check_edit(Code::malformed_model, {"attribute \"strides\" is there twice"}, [&](Model& broken) {
    broken.nodes =
        text(1, node("MaxPool", {"x"}, {"y"}, ints_attribute("strides", {1}) + ints_attribute("strides", {1})));
  });
}

}  // namespace
}  // namespace edgeward
