// Whether weights that XNNPACK has packed can be told apart by their buffers. Its cache knows packed weights by the
// buffers of kernel and bias, and by a few of their dimensions. Two operators that read the same buffers and differ in
// anything else that goes into a pack, such as a scale of their outputs, would get each other's weights from it.
// And which bytes of the file nothing reads once they are packed.
// Fed with every operator of a file, subgraph after subgraph, once its indices are checked. Borrows the file. One
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "model_files/tflite_check.h"

namespace edgeward {

class TflitePacking {
 public:
  // Begins the next subgraph.
  void enter();
  void add(const TfliteOperator& operation, std::span<const TfliteValue> tensors);

  // True when no two operators read one buffer of weights and pack it differently.
  bool is_told_by_buffers() const { return is_told_by_buffers_; }
  // What packed weights take at least, where XNNPACK runs the operators: as much as their elements, each buffer once.
  uint64_t packing_bytes() const { return packing_bytes_; }

  // The bytes of weights that no operator reads otherwise, none of them a part of another constant, in the order of the
  // file and apart from each other. `tensors` are those of the only subgraph, and `outputs` its outputs.
  std::vector<Bytes> only_packed(std::span<const TfliteValue> tensors, const FlatVector<int32_t>& outputs) const;

 private:
  void note_uses(const TfliteOperator& operation, std::span<const TfliteValue> tensors);
  // The bytes of a constant, also when an operator unpacks them for `tensor`; null when it has none.
  const std::byte* constant(int32_t tensor, std::span<const TfliteValue> tensors) const;
  void add_weights(const TfliteOperator& operation, int32_t weights, std::span<const TfliteValue> tensors);
  // What goes into a pack besides elements.
  std::string description(const TfliteOperator& operation, std::span<const TfliteValue> tensors) const;

  std::map<int32_t, const std::byte*> unpacked_;          // tensors that are a constant in another form
  std::map<const std::byte*, std::string> descriptions_;  // from the bytes of weights to what goes into their pack
  bool is_told_by_buffers_ = true;
  uint64_t packing_bytes_ = 0;
  std::set<int32_t> weights_;         // tensors of the last subgraph that are packed
  std::set<int32_t> otherwise_read_;  // and that an operator reads as something else
};

}  // namespace edgeward
