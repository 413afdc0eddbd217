#include "model_files/tflite_file.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "error.h"
#include "model_files/flatbuffer.h"
#include "model_files/tflite_buffers.h"
#include "model_files/tflite_calls.h"
#include "model_files/tflite_code.h"
#include "model_files/tflite_delegation.h"
#include "model_files/tflite_operators.h"
#include "model_files/tflite_packing.h"
#include "model_files/tflite_plan.h"
#include "model_files/tflite_schema.h"
#include "model_files/tflite_sparsity.h"
#include "model_files/tflite_state.h"
#include "model_files/tflite_unwritten.h"

namespace edgeward {
namespace {

namespace schema = tflite_schema;

// What produces a tensor when operators run in file order.
enum class Source : uint8_t {
  none,
  constant,
  variable,
  input,
  output
};

class Reader {
 public:
  explicit Reader(Bytes file) : Reader(file, schema::read_tables(file)) {}

  TfliteFile file() {
    const auto version = root_.scalar<uint32_t>(schema::model::version, 0);
    if (version != 3) refuse("model: version: expected 3, got ", version);
    if (!root_.tables(schema::model::external_buffers).empty()) {
      throw Error(Code::unsupported_model, "model: ", root_.tables(schema::model::external_buffers).size(),
                  " external buffers, expected none: a model is one file");
    }
    codes_ = root_.tables(schema::model::operator_codes);
    buffers_ = TfliteBuffers(file_, end_, root_.tables(schema::model::buffers));
    subgraphs_ = root_.tables(schema::model::subgraphs);
    if (subgraphs_.empty()) refuse("model: no subgraph");
    check_metadata();
    for (uint32_t i = 0; i < codes_.size(); ++i) check_operator_code(i);
    for (uint32_t i = 0; i < subgraphs_.size(); ++i) {
      interfaces_.push_back({subgraphs_[i].vector<int32_t>(schema::subgraph::inputs).size(),
                             subgraphs_[i].vector<int32_t>(schema::subgraph::outputs).size()});
    }
    TfliteFile file;
    file.node_count = subgraphs_[0].tables(schema::subgraph::operators).size();
    calls_ = TfliteCalls(subgraphs_.size());
    for (uint32_t i = 0; i < subgraphs_.size(); ++i) check_subgraph(i);
    calls_.check();
    plan();
    state_.check_variables();
    file.is_pack_told_by_buffers = packing_.is_told_by_buffers();
    file.packing_bytes = packing_.packing_bytes();
    if (subgraphs_.size() == 1) {
      const auto outputs = subgraphs_[0].vector<int32_t>(schema::subgraph::outputs);
      file.only_packed = packing_.only_packed(values_[0], outputs);
    }
    file.has_loop = calls_.has_loop();
    file.may_delegate = delegation_.is_safe();
    file.has_named_variables = state_.has_named_variables();
    file.is_stateful = file.has_named_variables || state_.has_variable_tensors();
    file.marks = std::move(marks_);
    file.signatures = signatures();
    note_unwritten(file);
    file.custom_operators = std::move(custom_operators_);
    file.blockwise_tensor = std::move(blockwise_tensor_);
    if (root_.tables(schema::model::signature_defs).empty()) file.mistakable_names = mistakable_names();
    file.is_restorable = true;
    for (TfliteSignature& signature : file.signatures)
      file.is_restorable = try_add_state(signature) && file.is_restorable;
    return file;
  }

 private:
  Reader(Bytes file, const ProvenFlatbuffer& proven) : file_(file), end_(proven.end), root_(proven.root) {}

  template <class... Parts>
  [[noreturn]] static void refuse(const Parts&... parts) {
    throw Error(Code::malformed_model, parts...);
  }

  void check_metadata() const {
    const FlatTables entries = root_.tables(schema::model::metadata);
    for (uint32_t i = 0; i < entries.size(); ++i) {
      if (!entries[i].has(schema::metadata::name)) refuse("metadata ", i, ": no name");
      const auto buffer = entries[i].scalar<uint32_t>(schema::metadata::buffer, 0);
      if (buffer >= buffers_.size()) {
        refuse("metadata ", i, ": buffer ", buffer, ", but the model has ", buffers_.size(), " buffers");
      }
    }
    const auto legacy = root_.vector<int32_t>(schema::model::metadata_buffer);
    for (uint32_t i = 0; i < legacy.size(); ++i) {
      if (legacy[i] < 0 || static_cast<uint32_t>(legacy[i]) >= buffers_.size()) {
        refuse("metadata_buffer ", i, ": buffer ", legacy[i], ", but the model has ", buffers_.size(), " buffers");
      }
    }
  }

  int32_t builtin_code(uint32_t index) const {
    return std::max<int32_t>(codes_[index].scalar<int8_t>(schema::operator_code::deprecated_builtin_code, 0),
                             codes_[index].scalar<int32_t>(schema::operator_code::builtin_code, 0));
  }

  void check_operator_code(uint32_t index) const {
    if (codes_[index].scalar<int8_t>(schema::operator_code::deprecated_builtin_code, 0) < 0 ||
        codes_[index].scalar<int32_t>(schema::operator_code::builtin_code, 0) < 0) {
      refuse("operator code ", index, ": a negative number");
    }
    const auto version = codes_[index].scalar<int32_t>(schema::operator_code::version, 1);
    if (version < 1) refuse("operator code ", index, ": version ", version, ", expected at least 1");
    if (builtin_code(index) == tflite_code::kCustom &&
        codes_[index].string(schema::operator_code::custom_code).empty()) {
      refuse("operator code ", index, ": a custom operator without a name");
    }
  }

  static std::string tensor_text(size_t subgraph, size_t tensor) {
    return "subgraph " + std::to_string(subgraph) + ", tensor " + std::to_string(tensor);
  }

  void check_subgraph(uint32_t index) {
    const FlatTable subgraph = subgraphs_[index];
    const FlatTables tensors = subgraph.tables(schema::subgraph::tensors);
    std::vector<TfliteValue>& values = values_.emplace_back();
    values.reserve(tensors.size());
    for (uint32_t i = 0; i < tensors.size(); ++i) values.push_back(value(index, i, tensors[i], tensors.size()));
    std::vector<Source> sources(values.size(), Source::none);
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].is_constant) sources[i] = Source::constant;
      if (values[i].is_variable) sources[i] = Source::variable;
    }
    check_inputs(index, sources);
    unwritten_.emplace_back(values);
    packing_.enter();
    delegation_.enter();
    state_.enter(subgraph.vector<int32_t>(schema::subgraph::inputs), interfaces_[index].output_count,
                 std::any_of(values.begin(), values.end(), [](const TfliteValue& value) { return value.is_variable; }));
    const FlatTables operators = subgraph.tables(schema::subgraph::operators);
    for (uint32_t i = 0; i < operators.size(); ++i) check_operator_at(index, i, operators[i], sources);
    const auto outputs = subgraph.vector<int32_t>(schema::subgraph::outputs);
    for (uint32_t i = 0; i < outputs.size(); ++i) {
      check_index("subgraph ", index, ": output ", i, outputs[i], values.size());
      if (sources[static_cast<size_t>(outputs[i])] == Source::none) {
        refuse("subgraph ", index, ": output ", i, " is tensor ", outputs[i], ", which no operator produces");
      }
      if (values[static_cast<size_t>(outputs[i])].is_sparse) {
        throw Error(Code::unsupported_model, "subgraph ", index, ": output ", i, " has sparse data, expected dense");
      }
    }
  }

  // From the last subgraph to the first, because each runs only those behind it.
  void plan() {
    plans_.resize(subgraphs_.size());
    for (uint32_t i = subgraphs_.size(); i-- > 0;) {
      TflitePlanner planner(values_[i], plans_);
      const FlatTables operators = subgraphs_[i].tables(schema::subgraph::operators);
      for (uint32_t at = 0; at < operators.size(); ++at) planner.add(operation_at(i, at, operators[at]));
      plans_[i] = std::move(planner).plan();
    }
  }

  static void check_index(std::string_view before, size_t number, std::string_view what, uint32_t position,
                          int32_t tensor, size_t tensor_count) {
    if (tensor < 0 || static_cast<size_t>(tensor) >= tensor_count) {
      refuse(before, number, what, position, " is tensor ", tensor, ", but the subgraph has ", tensor_count,
             " tensors");
    }
  }

  void check_inputs(uint32_t index, std::vector<Source>& sources) {
    const auto inputs = subgraphs_[index].vector<int32_t>(schema::subgraph::inputs);
    for (uint32_t i = 0; i < inputs.size(); ++i) {
      check_index("subgraph ", index, ": input ", i, inputs[i], sources.size());
      Source& source = sources[static_cast<size_t>(inputs[i])];
      if (source == Source::constant)
        refuse("subgraph ", index, ": input ", i, " is tensor ", inputs[i], ", a constant");
      if (source == Source::input)
        refuse("subgraph ", index, ": input ", i, " is tensor ", inputs[i], ", listed before");
      // A variable may be listed by converters of recurrent models; it stays a variable.
      if (source == Source::none) source = Source::input;
      // Until the caller sets another shape, an engine takes an input without dimensions for a scalar.
      if (index == 0) values_[0][static_cast<size_t>(inputs[i])].has_shape = true;
    }
  }

  // Reads one tensor and checks what does not depend on others.
  TfliteValue value(size_t subgraph, size_t index, const FlatTable& tensor, uint32_t tensor_count) {
    TfliteValue value{};
    const auto type = tensor.scalar<int8_t>(schema::tensor::type, 0);
    if (type < 0 || type >= kTfliteTypeCount) {
      throw Error(Code::unsupported_model, tensor_text(subgraph, index), ": element type ", int{type},
                  ", expected 0 to ", kTfliteTypeCount - 1);
    }
    value.type = static_cast<TfliteType>(type);
    value.is_variable = tensor.scalar<uint8_t>(schema::tensor::is_variable, 0) != 0;
    if (value.is_variable) marks_.push_back({tensor.position(schema::tensor::is_variable), 1});
    if (tensor.scalar<uint32_t>(schema::tensor::external_buffer, 0) != 0) {
      throw Error(Code::unsupported_model, tensor_text(subgraph, index), ": data in another file, expected one file");
    }
    check_shape(subgraph, index, tensor, value);
    check_data(subgraph, index, tensor, value);
    check_quantization(subgraph, index, tensor.table(schema::tensor::quantization), tensor_count, value);
    return value;
  }

  void check_shape(size_t subgraph, size_t index, const FlatTable& tensor, TfliteValue& value) {
    const auto dims = tensor.vector<int32_t>(schema::tensor::shape);
    const auto signature = tensor.vector<int32_t>(schema::tensor::shape_signature);
    if (dims.size() > Shape::kMaxRank) {
      throw Error(Code::unsupported_model, tensor_text(subgraph, index), ": rank ", dims.size(), ", expected at most ",
                  Shape::kMaxRank);
    }
    if (!signature.empty() && signature.size() != dims.size()) {
      refuse(tensor_text(subgraph, index), ": shape_signature has ", signature.size(), " dimensions, shape has ",
             dims.size());
    }
    int64_t shape[Shape::kMaxRank] = {};
    uint64_t elements = 1;
    for (uint32_t i = 0; i < dims.size(); ++i) {
      if (dims[i] < 0)
        refuse(tensor_text(subgraph, index), ": dimension ", i, " is ", dims[i], ", expected at least 0");
      shape[i] = dims[i];
      if (!signature.empty()) {
        if (signature[i] != -1 && signature[i] != dims[i]) {
          refuse(tensor_text(subgraph, index), ": shape_signature dimension ", i, " is ", signature[i],
                 ", expected -1 or ", dims[i]);
        }
        shape[i] = signature[i];
      }
      const auto product = checked_multiply<uint64_t>(elements, static_cast<uint64_t>(std::max(dims[i], 1)));
      if (!product || *product > kMaxActivationBytes) {
        refuse(tensor_text(subgraph, index), ": more than ", kMaxActivationBytes, " elements");
      }
      elements = *product;
    }
    value.shape = Shape(std::span<const int64_t>(shape, dims.size()));
    value.has_shape = !dims.empty() || tensor.scalar<uint8_t>(schema::tensor::has_rank, 0) != 0;
    const bool is_empty = std::any_of(value.shape.begin(), value.shape.end(), [](int64_t dim) { return dim == 0; });
    stored_elements_ = is_empty ? 0 : elements;
  }

  void check_data(size_t subgraph, size_t index, const FlatTable& tensor, TfliteValue& value) {
    const auto buffer = tensor.scalar<uint32_t>(schema::tensor::buffer, 0);
    const std::optional<DType> element = dtype(value.type);
    uint64_t expected = element ? (stored_elements_ * bits(*element) + 7) / 8 : 0;
    if (buffer != 0 && buffer >= buffers_.size()) {
      refuse(tensor_text(subgraph, index), ": buffer ", buffer, ", but the model has ", buffers_.size(), " buffers");
    }
    const std::optional<Bytes> data = buffer == 0 ? std::nullopt : buffers_.data(buffer);
    if (!data || (data->empty() && stored_elements_ != 0)) return count_memory(subgraph, index, expected);
    if (value.is_variable) refuse(tensor_text(subgraph, index), ": a variable with constant data");
    value.is_constant = true;
    value.has_shape = true;
    value.data = *data;
    if (value.shape.is_dynamic()) refuse(tensor_text(subgraph, index), ": a constant of shape ", text(value.shape));
    if (value.type == TfliteType::string) return check_strings(subgraph, index, value);
    if (!element) refuse(tensor_text(subgraph, index), ": a constant of type ", name(value.type));
    if (const FlatTable sparsity = tensor.table(schema::tensor::sparsity)) {
      count_memory(subgraph, index, expected);  // of the dense tensor
      value.is_sparse = true;
      expected = (stored_elements(sparsity, value.shape, tensor_text(subgraph, index)) * bits(*element) + 7) / 8;
    }
    if (data->size() < expected) {
      refuse(tensor_text(subgraph, index), ": ", name(value.type), " ", text(value.shape), " needs ", expected,
             " bytes, buffer ", buffer, " has ", data->size());
    }
    value.data = data->first(expected);
    // As far as data inside the flatbuffer is aligned, which kernels read where it is.
    const size_t alignment = std::clamp<size_t>(bits(*element) / 8, 1, 4);
    if (static_cast<size_t>(data->data() - file_.data()) % alignment != 0) {
      refuse(tensor_text(subgraph, index), ": buffer ", buffer, " at offset ", data->data() - file_.data(),
             " is not aligned to ", alignment);
    }
  }

  void count_memory(size_t subgraph, size_t index, uint64_t size_bytes) {
    activation_bytes_ += size_bytes;
    if (activation_bytes_ <= kMaxActivationBytes) return;
    throw Error(Code::unsupported_model, tensor_text(subgraph, index),
                ": with this tensor, tensors that are not constant need ", activation_bytes_,
                " bytes, expected at most ", kMaxActivationBytes);
  }

  // A constant of strings: int32 count, count + 1 offsets from the start, then the characters.
  void check_strings(size_t subgraph, size_t index, const TfliteValue& value) const {
    const auto count = try_read<int32_t>(value.data, 0);
    if (!count || *count < 0 || static_cast<uint64_t>(*count) != stored_elements_) {
      refuse(tensor_text(subgraph, index), ": string ", text(value.shape), " holds ", count.value_or(-1), " strings");
    }
    int64_t last = 4 + 4 * (int64_t{*count} + 1);
    for (int64_t i = 0; i <= *count; ++i) {
      const auto offset = try_read<int32_t>(value.data, 4 + 4 * static_cast<uint64_t>(i));
      if (!offset || *offset < last || static_cast<uint64_t>(*offset) > value.data.size() ||
          (i == 0 && *offset != last)) {
        refuse(tensor_text(subgraph, index), ": string ", i, " does not lie inside the buffer of ", value.data.size(),
               " bytes");
      }
      last = *offset;
    }
  }

  void check_quantization(size_t subgraph, size_t index, const FlatTable& quantization, uint32_t tensor_count,
                          TfliteValue& value) {
    if (!quantization) return;
    const auto details = quantization.scalar<uint8_t>(schema::quantization::details_type, 0);
    if (details != 0) {
      if (blockwise_tensor_.empty()) blockwise_tensor_ = tensor_text(subgraph, index);
      check_details(subgraph, index, details, quantization.table(schema::quantization::details), tensor_count, value);
      return;
    }
    value.scales = quantization.vector<float>(schema::quantization::scale);
    value.zero_points = quantization.vector<int64_t>(schema::quantization::zero_point);
    value.quantized_dimension = quantization.scalar<int32_t>(schema::quantization::quantized_dimension, 0);
    if (value.zero_points.size() != value.scales.size()) {
      refuse(tensor_text(subgraph, index), ": ", value.scales.size(), " scales, but ", value.zero_points.size(),
             " zero points");
    }
    if (value.scales.empty()) return;
    const int32_t axis = value.quantized_dimension;
    const size_t rank = value.shape.rank();
    if (axis < 0 || (rank != 0 && static_cast<size_t>(axis) >= rank)) {
      refuse(tensor_text(subgraph, index), ": quantized_dimension ", axis, " of shape ", text(value.shape));
    }
    const int64_t channels = rank == 0 ? -1 : value.shape[static_cast<size_t>(axis)];
    if (value.scales.size() != 1 && channels != value.scales.size()) {
      refuse(tensor_text(subgraph, index), ": ", value.scales.size(), " scales for dimension ", axis, " of shape ",
             text(value.shape));
    }
    const std::optional<ZeroPointRange> range = zero_point_range(value.type);
    if (!range) return;
    for (uint32_t i = 0; i < value.scales.size(); ++i) {
      if (!is_scale(value.scales[i])) {
        refuse(tensor_text(subgraph, index), ": scale ", i, " is ", value.scales[i],
               ", expected a normal positive number");
      }
      if (value.zero_points[i] < range->lowest || value.zero_points[i] > range->highest) {
        refuse(tensor_text(subgraph, index), ": zero point ", i, " is ", value.zero_points[i], ", expected ",
               range->lowest, " to ", range->highest, " for ", name(value.type));
      }
    }
  }

  void check_details(size_t subgraph, size_t index, uint8_t member, const FlatTable& details, uint32_t tensor_count,
                     const TfliteValue& value) const {
    constexpr uint8_t kCustomQuantization = 1;
    constexpr uint8_t kMultiAxis = 3;
    if (member == kCustomQuantization) return;  // opaque bytes that no engine reads
    namespace block = schema::blockwise;
    const auto scales = details.scalar<int32_t>(block::scales, 0);
    const auto zero_points = details.scalar<int32_t>(block::zero_points, 0);
    const auto block_size = details.scalar<int32_t>(block::block_size, 0);
    check_index(tensor_text(subgraph, index) + ": scales of block ", 0, ", item ", 0, scales, tensor_count);
    if (zero_points != -1)
      check_index(tensor_text(subgraph, index) + ": zero points of block ", 0, ", item ", 0, zero_points, tensor_count);
    if (block_size < (member == kMultiAxis ? 0 : 1)) refuse(tensor_text(subgraph, index), ": block size ", block_size);
    if (member != kMultiAxis) return;
    const auto axes = details.vector<int32_t>(schema::multi_axis::quantized_dimensions);
    if (axes.empty()) refuse(tensor_text(subgraph, index), ": no quantized dimensions");
    for (uint32_t i = 0; i < axes.size(); ++i) {
      if (axes[i] < 0 || static_cast<size_t>(axes[i]) >= value.shape.rank()) {
        refuse(tensor_text(subgraph, index), ": quantized dimension ", axes[i], " of shape ", text(value.shape));
      }
    }
  }

  TfliteOperator operation_at(uint32_t subgraph, uint32_t index, const FlatTable& table) const {
    const auto code = table.scalar<uint32_t>(schema::operation::opcode_index, 0);
    if (code >= codes_.size()) {
      refuse("subgraph ", subgraph, ", operator ", index, ": operator code ", code, ", but the model has ",
             codes_.size());
    }
    TfliteOperator operation{};
    operation.subgraph_index = subgraph;
    operation.index = index;
    operation.code = builtin_code(code);
    operation.custom_name = codes_[code].string(schema::operator_code::custom_code);
    operation.custom_options = custom_options(table, operation);
    operation.options_type = table.scalar<uint8_t>(schema::operation::builtin_options_type, 0);
    operation.options = table.table(schema::operation::builtin_options);
    operation.options_2_type = table.scalar<uint8_t>(schema::operation::builtin_options_2_type, 0);
    operation.options_2 = table.table(schema::operation::builtin_options_2);
    operation.inputs = table.vector<int32_t>(schema::operation::inputs);
    operation.outputs = table.vector<int32_t>(schema::operation::outputs);
    operation.intermediates = table.vector<int32_t>(schema::operation::intermediates);
    return operation;
  }

  // Those inside the flatbuffer, if there are any, even of no bytes: engines look behind it only where there are none.
  Bytes custom_options(const FlatTable& table, const TfliteOperator& operation) const {
    const auto options = table.vector<uint8_t>(schema::operation::custom_options);
    Bytes bytes(options.data(), options.size());
    const auto offset = table.scalar<uint64_t>(schema::operation::large_custom_options_offset, 0);
    if (offset <= 1) return bytes;
    const auto size = table.scalar<uint64_t>(schema::operation::large_custom_options_size, 0);
    const Bytes behind = bytes_behind(file_, end_, offset, size, text(operation) + ": options");
    return table.has(schema::operation::custom_options) ? bytes : behind;
  }

  void check_operator_at(uint32_t subgraph, uint32_t index, const FlatTable& table, std::vector<Source>& sources) {
    std::vector<TfliteValue>& values = values_[subgraph];
    const TfliteOperator operation = operation_at(subgraph, index, table);
    for (uint32_t i = 0; i < operation.inputs.size(); ++i) {
      const int32_t input = operation.inputs[i];
      if (input == -1 && is_optional_input(operation, i)) continue;
      check_tensor(operation, "input ", i, input, values.size());
      const auto at = static_cast<size_t>(input);
      if (sources[at] == Source::none && !is_empty(values[at])) {
        refuse(text(operation), ": input ", i, " is tensor ", input, ", which nothing before it produces");
      }
      if (values[at].is_retyped && !meets_its_type(operation, values, i)) {
        refuse(text(operation), ": input ", i, " is of type ", name(values[at].type), ", and of another by the file");
      }
      if (values[at].is_sparse && operation.code != tflite_code::kDensify) {
        // Kernels and delegates take the stored elements for all of them.
        throw Error(Code::unsupported_model, text(operation), ": input ", i,
                    " has sparse weights, expected a DENSIFY that unpacks them");
      }
    }
    const FlatVector<int32_t>& intermediates = operation.intermediates;
    for (uint32_t i = 0; i < intermediates.size(); ++i) {
      check_tensor(operation, "intermediate ", i, intermediates[i], values.size());
    }
    const auto mutating = table.vector<uint8_t>(schema::operation::mutating_variable_inputs);
    if (!mutating.empty() && mutating.size() != operation.inputs.size()) {
      refuse(text(operation), ": ", mutating.size(), " mutating_variable_inputs for ", operation.inputs.size(),
             " inputs");
    }
    mark_length(intermediates);
    mark_length(mutating);
    for (uint32_t i = 0; i < operation.outputs.size(); ++i) {
      const int32_t output = operation.outputs[i];
      check_tensor(operation, "output ", i, output, values.size());
      Source& source = sources[static_cast<size_t>(output)];
      if (source != Source::none) {
        constexpr std::string_view kWhat[] = {"", "a constant", "a variable", "an input of the subgraph",
                                              "produced before"};
        refuse(text(operation), ": output ", i, " is tensor ", output, ", ", kWhat[static_cast<size_t>(source)]);
      }
      source = Source::output;
    }
    check_operator(operation, values, interfaces_);
    calls_.add(operation);
    if (operation.code == tflite_code::kCustom) custom_operators_.emplace_back(operation.custom_name);
    unwritten_[subgraph].add(operation);
    packing_.add(operation, values);
    delegation_.add(operation, values);
    state_.add(operation, values);
  }

  template <class T>
  void mark_length(const FlatVector<T>& vector) {
    if (!vector.empty()) marks_.push_back({static_cast<uint32_t>(vector.data() - file_.data()) - 4, 4});
  }

  // A delegate that goes by the types in the file leaves a sum of two types to the kernel, which knows better.
  static bool meets_its_type(const TfliteOperator& operation, const std::vector<TfliteValue>& values, uint32_t input) {
    constexpr int32_t kAdd = 0, kSub = 41;
    if ((operation.code != kAdd && operation.code != kSub) || operation.inputs.size() != 2) return false;
    const int32_t other = operation.inputs[1 - input];
    if (other < 0 || static_cast<size_t>(other) >= values.size()) return false;
    const TfliteValue& value = values[static_cast<size_t>(other)];
    return !value.is_retyped && value.type == values[static_cast<size_t>(operation.inputs[input])].type;
  }

  static void check_tensor(const TfliteOperator& operation, std::string_view what, uint32_t position, int32_t tensor,
                           size_t tensor_count) {
    if (tensor < 0 || static_cast<size_t>(tensor) >= tensor_count) {
      refuse(text(operation), ": ", what, position, " is tensor ", tensor, ", but the subgraph has ", tensor_count,
             " tensors");
    }
  }

  // A constant without elements looks like a tensor that no operator produces.
  static bool is_empty(const TfliteValue& value) {
    return std::any_of(value.shape.begin(), value.shape.end(), [](int64_t dim) { return dim == 0; });
  }

  void note_unwritten(TfliteFile& file) const {
    file.leaves_unwritten = false;
    for (TfliteSignature& signature : file.signatures) {
      const TfliteUnwritten& own = unwritten_[signature.subgraph_index];
      signature.partial_tensors = own.partial_tensors();
      if (file.spreading_operator.empty()) file.spreading_operator = own.spreading_operator();
      for (const TfliteTensor& output : signature.outputs) {
        file.leaves_unwritten = file.leaves_unwritten || own.is_partial(output.tensor_index);
        if (const std::string keeper = own.keeping_operator(output.tensor_index); !keeper.empty()) {
          throw Error(Code::unsupported_model, keeper,
                      ": expected an output of the model that each run writes, got one that an engine computes once");
        }
      }
      for (size_t i = signature.subgraph_index + 1; own.has_calls() && i < unwritten_.size(); ++i) {
        if (unwritten_[i].partial_tensors().empty()) continue;
        throw Error(Code::unsupported_model, unwritten_[i].partial_operator(),
                    ": leaves bytes unwritten within a subgraph that another one runs, expected it in none");
      }
    }
  }

  std::vector<TfliteSignature> signatures() const {
    std::vector<TfliteSignature> signatures;
    const FlatTables tables = root_.tables(schema::model::signature_defs);
    for (uint32_t i = 0; i < tables.size(); ++i) signatures.push_back(signature(tables[i]));
    std::unordered_set<std::string_view> keys;
    for (const TfliteSignature& signature : signatures) {
      if (!keys.insert(signature.key).second) refuse("signature \"", signature.key, "\" is there twice");
    }
    if (signatures.empty()) signatures.push_back(placeholder());
    return signatures;
  }

  // Returns false when the signature has state that it cannot describe, or a copy not show.
  bool try_add_state(TfliteSignature& signature) const {
    const std::vector<TfliteValue>& values = values_[signature.subgraph_index];
    const FlatTable subgraph = subgraphs_[static_cast<uint32_t>(signature.subgraph_index)];
    const auto inputs = subgraph.vector<int32_t>(schema::subgraph::inputs);
    std::unordered_set<int32_t> listed;
    for (uint32_t i = 0; i < inputs.size(); ++i) listed.insert(inputs[i]);
    signature.initializers = state_.initializers(signature.subgraph_index);
    bool is_described = state_.is_restorable(signature.subgraph_index);
    for (size_t i = 0; i < values.size(); ++i) {
      const auto index = static_cast<int32_t>(i);
      if (!values[i].is_variable || listed.count(index) != 0) continue;
      const std::optional<DType> element = dtype(values[i].type);
      if (element && !values[i].shape.is_dynamic() && !is_empty(values[i])) {
        signature.variables.push_back({{}, index, *element, values[i].shape, quantization(values[i]), false, true});
      } else {
        is_described = false;
      }
    }
    // Without signatures, an engine goes by the tensors' names.
    std::unordered_set<std::string_view> names;
    const FlatTables tensors = subgraph.tables(schema::subgraph::tensors);
    if (root_.tables(schema::model::signature_defs).empty() && !signature.variables.empty()) {
      for (uint32_t i = 0; i < tensors.size(); ++i) {
        if (!values[i].is_variable && listed.count(static_cast<int32_t>(i)) == 0) continue;
        const std::string_view name = tensors[i].string(schema::tensor::name);
        is_described = is_described && !name.empty() && names.insert(name).second;
      }
    }
    return is_described && (signature.variables.empty() || !inputs.empty()) &&
           (signature.initializers.empty() || root_.has(schema::model::signature_defs));
  }

  TfliteSignature placeholder() const {
    TfliteSignature signature{};
    signature.key = kPlaceholderSignature;
    signature.open_operator = plans_[0].open_operator;
    for (const uint32_t side : {schema::subgraph::inputs, schema::subgraph::outputs}) {
      const std::string_view what = side == schema::subgraph::inputs ? "input" : "output";
      const auto indices = subgraphs_[0].vector<int32_t>(side);
      std::vector<std::string> names = distinct_names(what, side);
      auto& list = side == schema::subgraph::inputs ? signature.inputs : signature.outputs;
      for (uint32_t i = 0; i < indices.size(); ++i) {
        list.push_back(endpoint("subgraph 0", what, 0, static_cast<uint32_t>(indices[i]), std::move(names[i])));
      }
    }
    return signature;
  }

  // What the file calls the inputs or outputs of subgraph 0.
  std::vector<std::string_view> written_names(uint32_t side) const {
    const FlatTables tensors = subgraphs_[0].tables(schema::subgraph::tensors);
    const auto indices = subgraphs_[0].vector<int32_t>(side);
    std::vector<std::string_view> names;
    for (uint32_t i = 0; i < indices.size(); ++i) {
      names.push_back(tensors[static_cast<uint32_t>(indices[i])].string(schema::tensor::name));
    }
    return names;
  }

  std::vector<std::string> distinct_names(std::string_view what, uint32_t side) const {
    const std::vector<std::string_view> written = written_names(side);
    std::unordered_map<std::string_view, uint32_t> counts;
    for (const std::string_view name : written) ++counts[name];
    std::vector<std::string> names;
    for (size_t i = 0; i < written.size(); ++i) {
      std::string name(written[i]);
      if (name.empty() || counts[written[i]] > 1) {
        name = std::string(what) + "_" + std::to_string(i);
        while (counts.count(name) != 0) name += '_';
      }
      names.push_back(std::move(name));
    }
    return names;
  }

  // LiteRT finds the tensors of a file without signatures by these names: a name of two tensors leads to one of them,
  // and a tensor without a name is "input0" or "output0", by its place.
  std::vector<size_t> mistakable_names() const {
    std::vector<size_t> offsets;
    for (const uint32_t side : {schema::subgraph::inputs, schema::subgraph::outputs}) {
      const std::vector<std::string_view> written = written_names(side);
      const auto indices = subgraphs_[0].vector<int32_t>(side);
      std::unordered_map<std::string, int32_t> tensors;
      bool is_mistakable = false;
      for (uint32_t i = 0; i < written.size(); ++i) {
        std::string name(written[i]);
        if (name.empty()) name = (side == schema::subgraph::inputs ? "input" : "output") + std::to_string(i);
        const auto [entry, is_first] = tensors.emplace(std::move(name), indices[i]);
        is_mistakable = is_mistakable || (!is_first && entry->second != indices[i]);
      }
      if (!is_mistakable) continue;
      for (const std::string_view name : written) {
        if (!name.empty())
          offsets.push_back(static_cast<size_t>(reinterpret_cast<const std::byte*>(name.data()) - file_.data()) - 4);
      }
    }
    return offsets;
  }

  TfliteSignature signature(const FlatTable& table) const {
    TfliteSignature signature{};
    signature.key = std::string(table.string(schema::signature::signature_key));
    if (signature.key.empty()) refuse("a signature has no key");
    const std::string where = "signature \"" + signature.key + "\"";
    signature.subgraph_index = table.scalar<uint32_t>(schema::signature::subgraph_index, 0);
    if (signature.subgraph_index >= subgraphs_.size()) {
      refuse(where, ": subgraph ", signature.subgraph_index, ", but the model has ", subgraphs_.size());
    }
    signature.open_operator = plans_[signature.subgraph_index].open_operator;
    signature.inputs = endpoints(where, "input", signature.subgraph_index, table.tables(schema::signature::inputs),
                                 schema::subgraph::inputs);
    signature.outputs = endpoints(where, "output", signature.subgraph_index, table.tables(schema::signature::outputs),
                                  schema::subgraph::outputs);
    check_names(where, signature);
    return signature;
  }

  // The tensors that `maps` names, in the order of the subgraph's own list.
  std::vector<TfliteTensor> endpoints(const std::string& where, std::string_view what, size_t subgraph_index,
                                      const FlatTables& maps, uint32_t side) const {
    const FlatTable subgraph = subgraphs_[static_cast<uint32_t>(subgraph_index)];
    const auto list = subgraph.vector<int32_t>(side);
    if (maps.size() != list.size()) {
      refuse(where, ": ", maps.size(), " ", what, "s, but subgraph ", subgraph_index, " has ", list.size());
    }
    std::unordered_map<uint32_t, uint32_t> positions;
    for (uint32_t i = 0; i < list.size(); ++i) positions.emplace(static_cast<uint32_t>(list[i]), i);
    std::vector<std::pair<uint32_t, TfliteTensor>> sorted;
    std::unordered_set<uint32_t> named;
    for (uint32_t i = 0; i < maps.size(); ++i) {
      const auto tensor = maps[i].scalar<uint32_t>(schema::tensor_map::tensor_index, 0);
      const auto position = positions.find(tensor);
      if (position == positions.end()) {
        refuse(where, ": ", what, " ", i, " is tensor ", tensor, ", which is no ", what, " of subgraph ",
               subgraph_index);
      }
      std::string name(maps[i].string(schema::tensor_map::name));
      if (name.empty()) refuse(where, ": ", what, " ", i, " has no name");
      sorted.emplace_back(position->second, endpoint(where, what, subgraph_index, tensor, std::move(name)));
      named.insert(tensor);
    }
    // An input without a name could not be set: kernels would read what its memory holds.
    for (const auto& [tensor, position] : positions) {
      if (!named.contains(tensor)) refuse(where, ": ", what, " ", position, ", tensor ", tensor, ", has no name");
    }
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<TfliteTensor> tensors;
    tensors.reserve(sorted.size());
    for (auto& [position, tensor] : sorted) tensors.push_back(std::move(tensor));
    return tensors;
  }

  TfliteTensor endpoint(const std::string& where, std::string_view what, size_t subgraph, uint32_t index,
                        std::string name) const {
    const TfliteValue& value = values_[subgraph][index];
    const std::optional<DType> element = value.type == TfliteType::string ? DType::string : dtype(value.type);
    if (!element) {
      throw Error(Code::unsupported_model, where, ": ", what, " \"", name, "\" has elements of type ",
                  edgeward::name(value.type), ", expected numbers, booleans or strings");
    }
    const bool is_output = what == "output";
    return {std::move(name),
            static_cast<int32_t>(index),
            *element,
            is_output ? output_shape(subgraph, index) : value.shape,
            quantization(value),
            plans_[subgraph].is_open[index],
            value.is_variable};
  }

  // Where the file tells none, and where it tells a guess, the run does.
  Shape output_shape(size_t subgraph, uint32_t index) const {
    const TfliteValue& value = values_[subgraph][index];
    const TflitePlan& plan = plans_[subgraph];
    if (!value.has_shape) return Shape::unknown();
    if (plan.open_operator.empty() || !plan.is_open[index] || value.shape.is_dynamic()) return value.shape;
    const std::vector<int64_t> dims(value.shape.rank(), -1);
    return dims.empty() ? Shape::unknown() : Shape(dims);
  }

  static Quantization quantization(const TfliteValue& value) {
    Quantization quantization;
    if (!zero_point_range(value.type)) return quantization;
    for (uint32_t i = 0; i < value.scales.size(); ++i) {
      quantization.scales.push_back(value.scales[i]);
      quantization.zero_points.push_back(value.zero_points[i]);
    }
    quantization.axis = value.quantized_dimension;
    return quantization;
  }

  // Names are how tensors are bound, so two inputs cannot share one; nor two outputs.
  static void check_names(const std::string& where, const TfliteSignature& signature) {
    for (const auto* side : {&signature.inputs, &signature.outputs}) {
      std::unordered_set<std::string_view> names;
      for (const TfliteTensor& tensor : *side) {
        if (!names.insert(tensor.name).second) {
          refuse(where, ": two ", side == &signature.inputs ? "inputs" : "outputs", " are named \"", tensor.name, "\"");
        }
      }
    }
  }

  Bytes file_;
  uint64_t end_;  // of the flatbuffer in it
  FlatTable root_;
  FlatTables codes_;
  TfliteBuffers buffers_;
  FlatTables subgraphs_;
  std::vector<TfliteInterface> interfaces_;
  std::vector<std::vector<TfliteValue>> values_;  // by subgraph, then by tensor
  std::vector<TflitePlan> plans_;                 // by subgraph
  std::vector<TfliteUnwritten> unwritten_;        // by subgraph
  uint64_t activation_bytes_ = 0;
  uint64_t stored_elements_ = 0;  // of the tensor that is being read, by its shape in the file
  TfliteCalls calls_{0};
  TfliteState state_;
  TflitePacking packing_;
  TfliteDelegation delegation_;
  std::vector<TfliteMark> marks_;
  std::vector<std::string> custom_operators_;
  std::string blockwise_tensor_;
};

}  // namespace

TfliteFile read_tflite(Bytes file) { return Reader(file).file(); }

}  // namespace edgeward
