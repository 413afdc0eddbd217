// Detector: the outputs of a model that names boxes, as a test writes them down.
#pragma once

#include <string>
#include <vector>

#include "tensor/signature.h"
#include "tensor/tensor.h"

namespace edgeward {

class Detector {
 public:
  Detector(Shape shape, std::vector<float> boxes) : boxes_(std::move(boxes)), shape_(shape) {}
  explicit Detector(std::vector<float> boxes)
      : Detector({1, static_cast<int64_t>(boxes.size() / 4), 4}, std::move(boxes)) {}

  // Values of the outputs "scores", "classes" and "count".
  std::vector<float> scores;
  std::vector<float> classes;
  std::vector<float> count;

  // Inputs may be added.
  Signature signature() const {
    Signature signature{"main", {}, {}};
    signature.outputs.push_back({"boxes", DType::float32, shape_, {}});
    for (const char* name : {"scores", "classes", "count"})
      signature.outputs.push_back({name, DType::float32, {-1}, {}});
    return signature;
  }
  // Valid as long as nothing changes.
  std::vector<TensorView> outputs() { return {view(boxes_, shape_), view(scores), view(classes), view(count)}; }

 private:
  static TensorView view(std::vector<float>& values, const Shape& shape) {
    return {DType::float32, shape, reinterpret_cast<std::byte*>(values.data()), values.size() * sizeof(float)};
  }
  static TensorView view(std::vector<float>& values) { return view(values, {static_cast<int64_t>(values.size())}); }

  std::vector<float> boxes_;
  Shape shape_;
};

}  // namespace edgeward
