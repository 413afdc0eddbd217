// Models of one custom operator, with the map of numbers that its options are.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "rigs/tflite_model.h"

namespace edgeward::testing {

using FlexNumbers = std::map<std::string, int32_t>;

// A flexbuffer of which every offset, count and value has 4 bytes.
inline std::string flexbuffer(const FlexNumbers& numbers) {
  std::string bytes;
  const auto put = [&](size_t value) {
    const auto word = static_cast<uint32_t>(value);
    bytes.append(reinterpret_cast<const char*>(&word), 4);
  };
  std::vector<size_t> names;
  for (const auto& [name, value] : numbers) {
    names.push_back(bytes.size());
    bytes += name + '\0';
  }
  put(names.size());
  const size_t keys = bytes.size();
  for (const size_t name : names) put(bytes.size() - name);
  put(bytes.size() - keys);
  put(4);
  put(names.size());
  const size_t values = bytes.size();
  for (const auto& [name, value] : numbers) put(static_cast<uint32_t>(value));
  bytes.append(names.size(), static_cast<char>(1 << 2 | 2));
  put(bytes.size() - values);
  return bytes + static_cast<char>(9 << 2 | 2) + '\4';
}

inline void set_options(FlatNode& model, std::string options) {
  set(operator_of(model), {schema::operation::custom_options, FlatField::Kind::vector, 1, std::move(options)});
}

inline FlatNode custom(const std::string& name, const FlexNumbers& options, const std::vector<Value>& inputs,
                       const std::vector<Value>& outputs) {
  FlatNode model = one_op({32}, inputs, outputs);
  set(at(model, schema::model::operator_codes).nodes[0], string(schema::operator_code::custom_code, name));
  set_options(model, flexbuffer(options));
  return model;
}

inline const FlexNumbers kDetectorOptions = {{"max_detections", 2},
                                             {"max_classes_per_detection", 1},
                                             {"num_classes", 3},
                                             {"nms_score_threshold", 0},
                                             {"nms_iou_threshold", 1},
                                             {"y_scale", 1},
                                             {"x_scale", 1},
                                             {"h_scale", 1},
                                             {"w_scale", 1}};

// Of boxes, scores with a background, and anchors, all of them inputs of the model.
inline FlatNode detector(const FlexNumbers& options = kDetectorOptions,
                         const std::vector<Value>& inputs = {floats({1, 6, 4}), floats({1, 6, 4}), floats({6, 4})}) {
  return custom("TFLite_Detection_PostProcess", options, inputs,
                {floats({1, 2, 4}), floats({1, 2}), floats({1, 2}), floats({1})});
}

}  // namespace edgeward::testing
