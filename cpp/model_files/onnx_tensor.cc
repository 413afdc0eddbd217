#include "model_files/onnx_tensor.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <set>
#include <string>

#include "error.h"
#include "model_files/onnx_operators.h"
#include "model_files/protobuf.h"

namespace edgeward {
namespace {

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw Error(Code::malformed_model, parts...);
}

// The bytes that the tensor's elements take, as far as its dimensions and type make sense.
uint64_t stored_bytes(const OnnxTensor& tensor) {
  const std::optional<OnnxElement> element = onnx_element(tensor.type);
  uint64_t elements = 1;
  for (const int64_t dim : tensor.dims) {
    const auto product = checked_multiply<uint64_t>(elements, static_cast<uint64_t>(std::max<int64_t>(dim, 0)));
    if (!product || *product > kMaxOnnxElements) return 0;  // check_tensor refuses it
    elements = *product;
  }
  return element ? (elements * element->bits + 7) / 8 : 0;
}

// `raw_bytes` are those of its field raw_data, or of its part of another file.
void check_tensor(OnnxTensor& tensor, std::string_view what, std::optional<uint64_t> raw_bytes, const uint64_t* counts,
                  uint64_t string_count) {
  const std::string named = std::string(what) + " \"" + std::string(tensor.name) + "\"";
  if (tensor.dims.size() > kMaxOnnxRank) {
    throw Error(Code::unsupported_model, named, ": rank ", tensor.dims.size(), ", expected at most ", kMaxOnnxRank);
  }
  bool is_empty = false;
  for (const int64_t dim : tensor.dims) {
    if (dim < 0) refuse(named, ": dimension ", dim, ", expected at least 0");
    is_empty = is_empty || dim == 0;
    const auto product = checked_multiply<uint64_t>(tensor.elements, static_cast<uint64_t>(std::max<int64_t>(dim, 1)));
    if (!product || *product > kMaxOnnxElements) refuse(named, ": more than ", kMaxOnnxElements, " elements");
    tensor.elements = *product;
  }
  if (is_empty) tensor.elements = 0;
  const std::optional<OnnxElement> element = onnx_element(tensor.type);
  if (!element) throw Error(Code::unsupported_model, named, ": element type ", tensor.type);
  uint64_t others = 0;
  for (int k = 0; k < 5; ++k) others += k == element->store ? 0 : counts[k];
  if (element->store == kOnnxStringStore ? others != 0 || raw_bytes : string_count != 0 || others != 0) {
    refuse(named, ": data in a field of another element type");
  }
  if (element->store == kOnnxStringStore) {
    if (string_count != tensor.elements) refuse(named, ": ", string_count, " strings, expected ", tensor.elements);
    return;
  }
  const uint64_t typed = counts[element->store];
  if (raw_bytes) {
    const uint64_t expected = (tensor.elements * element->bits + 7) / 8;
    if (typed != 0) refuse(named, ": raw_data beside ", typed, " typed elements");
    if (*raw_bytes != expected) refuse(named, ": ", *raw_bytes, " bytes of data, expected ", expected);
    return;
  }
  // Elements below a byte share an int32 as they share a byte; a complex number takes two.
  const uint64_t expected =
      element->bits < 8 ? (tensor.elements * element->bits + 7) / 8 : tensor.elements * element->stored_per_element;
  if (typed != expected) refuse(named, ": ", typed, " elements, expected ", expected);
}

}  // namespace

void check_onnx_entry(Bytes bytes) {
  ProtobufFields fields(bytes, "StringStringEntryProto");
  ProtobufField field;
  while (fields.next(field)) {
    if (field.number <= 2) field.text();
  }
}

OnnxTensor OnnxTensorReader::read(Bytes bytes, std::string_view what, OnnxTensorPlace allowed) {
  OnnxTensor tensor;
  std::vector<Bytes> entries;
  bool is_elsewhere = false;
  std::optional<uint64_t> raw_bytes;
  uint64_t counts[5] = {};  // float_data, int32_data, int64_data, double_data, uint64_data
  uint64_t string_count = 0;
  ProtobufFields fields(bytes, "TensorProto");
  ProtobufField field;
  while (fields.next(field)) {
    switch (field.number) {
      case 1:
        field.numbers(ProtobufWire::varint,
                      [&](uint64_t value) { tensor.dims.push_back(static_cast<int64_t>(value)); });
        break;
      case 2: tensor.type = field.integer(); break;
      case 3: throw Error(Code::unsupported_model, what, " in segments, expected it whole");
      case 4: counts[0] += field.count(ProtobufWire::fixed32); break;
      case 5: counts[1] += field.count(ProtobufWire::varint); break;
      case 6:
        field.message();
        ++string_count;
        break;
      case 7: counts[2] += field.count(ProtobufWire::varint); break;
      case 8: tensor.name = field.text(); break;
      case 9: raw_bytes = field.message().size(); break;
      case 10: counts[3] += field.count(ProtobufWire::fixed64); break;
      case 11: counts[4] += field.count(ProtobufWire::varint); break;
      case 12: field.text(); break;
      case 13: entries.push_back(field.message()); break;
      case 14: is_elsewhere = field.integer() != 0; break;
      case 16: check_onnx_entry(field.message()); break;
      default: break;
    }
  }
  if (is_elsewhere || !entries.empty()) {
    if (allowed == OnnxTensorPlace::inside || !is_elsewhere) {
      throw Error(Code::unsupported_model, what, " \"", tensor.name,
                  "\": data in another file, expected it here: only the main graph's initializers may be outside");
    }
    if (raw_bytes || string_count != 0 || std::any_of(counts, std::end(counts), [](uint64_t n) { return n != 0; }))
      refuse(what, " \"", tensor.name, "\": data here and in another file");
    const Elsewhere elsewhere = read_elsewhere(entries, tensor.name);
    tensor.location = elsewhere.location;
    tensor.offset = elsewhere.offset;
    tensor.outside_bytes = outside_bytes(tensor, elsewhere);
    raw_bytes = tensor.outside_bytes;
  }
  check_tensor(tensor, what, raw_bytes, counts, string_count);
  return tensor;
}

OnnxTensorReader::Elsewhere OnnxTensorReader::read_elsewhere(const std::vector<Bytes>& entries, std::string_view name) {
  Elsewhere elsewhere;
  const auto number = [&](std::string_view key, std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      refuse("initializer \"", name, "\": external ", key, ": expected a whole number, got \"", text, "\"");
    return value;
  };
  std::set<std::string_view> keys;
  for (const Bytes& bytes : entries) {
    std::string_view key;
    std::string_view value;
    ProtobufFields fields(bytes, "StringStringEntryProto");
    ProtobufField field;
    while (fields.next(field)) {
      if (field.number == 1) key = field.text();
      if (field.number == 2) value = field.text();
    }
    if (!keys.insert(key).second) refuse("initializer \"", name, "\": external ", key, " is there twice");
    if (key == "location") {
      elsewhere.location = value;
    } else if (key == "offset") {
      elsewhere.offset = number(key, value);
    } else if (key == "length") {
      // 0 is what the engine takes for no length, too.
      if (const uint64_t size_bytes = number(key, value); size_bytes != 0) elsewhere.size_bytes = size_bytes;
    } else if (key != "checksum") {
      refuse("initializer \"", name, "\": external data: expected location, offset, length or checksum, got \"", key,
             "\"");
    }
  }
  if (elsewhere.location.empty()) refuse("initializer \"", name, "\": external data without a location");
  return elsewhere;
}

uint64_t OnnxTensorReader::outside_bytes(const OnnxTensor& tensor, const Elsewhere& elsewhere) {
  locations_.insert(elsewhere.location);
  const std::optional<OnnxElement> element = onnx_element(tensor.type);
  if (element && element->store == kOnnxStringStore)
    refuse("initializer \"", tensor.name, "\": strings in another file, expected them here");
  const uint64_t size_bytes = elsewhere.size_bytes.value_or(stored_bytes(tensor));
  if (external_ == nullptr) return size_bytes;
  const auto file = std::find_if(external_->begin(), external_->end(),
                                 [&](const ExternalData& data) { return data.name == elsewhere.location; });
  if (file == external_->end()) {
    throw Error(
        Code::unsupported_model, "initializer \"", tensor.name, "\": data in \"", elsewhere.location,
        "\", expected it in the model's own file, or beside it (load the model by its path, or from a package)");
  }
  const uint64_t left = file->bytes.size_bytes() - std::min<uint64_t>(elsewhere.offset, file->bytes.size_bytes());
  if (size_bytes > left) {
    refuse("initializer \"", tensor.name, "\": ", size_bytes, " bytes at ", elsewhere.offset, " of \"",
           elsewhere.location, "\", which has ", file->bytes.size_bytes());
  }
  return size_bytes;
}

}  // namespace edgeward
