// The tensors of an .onnx file: a TensorProto, whose data is in the file or in a file beside it. Throws
// Error(malformed_model), and Error(unsupported_model) for what the format allows and the core does not.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "bytes/bytes.h"
#include "model_files/external_data.h"

namespace edgeward {

// Views point into the file.
struct OnnxTensor {
  std::string_view name;
  int64_t type = 0;
  uint64_t elements = 1;
  std::vector<int64_t> dims;
  std::string_view location;   // the file beside the model that has its data; empty: the model's own
  uint64_t offset = 0;         // in that file
  uint64_t outside_bytes = 0;  // there
};

// Where a tensor may keep its data.
enum class OnnxTensorPlace : uint8_t {
  inside,   // in the file
  anywhere  // there, or in a file beside it
};

class OnnxTensorReader {
 public:
  // With `external` null, every file that a tensor names is assumed to exist and to be large enough. Borrows it.
  explicit OnnxTensorReader(const std::vector<ExternalData>* external) : external_(external) {}

  // Checks a TensorProto: its data has exactly the elements that its dimensions and type ask for. `what` names the kind
  // of tensor in messages: "initializer".
  OnnxTensor read(Bytes bytes, std::string_view what, OnnxTensorPlace allowed);

  // The names of the files beside the model that tensors have named. Views point into the file.
  const std::set<std::string_view>& locations() const { return locations_; }

 private:
  // A part of a file beside the model.
  struct Elsewhere {
    std::string_view location;
    uint64_t offset = 0;
    std::optional<uint64_t> size_bytes;  // none: those of the tensor
  };

  static Elsewhere read_elsewhere(const std::vector<Bytes>& entries, std::string_view name);
  uint64_t outside_bytes(const OnnxTensor& tensor, const Elsewhere& elsewhere);

  const std::vector<ExternalData>* external_;
  std::set<std::string_view> locations_;
};

// Checks a StringStringEntryProto.
void check_onnx_entry(Bytes bytes);

}  // namespace edgeward
