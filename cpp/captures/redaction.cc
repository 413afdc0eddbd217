#include "captures/redaction.h"

#include <algorithm>

#include "captures/ring_copy.h"
#include "error.h"

namespace edgeward {
namespace {

const Shape kDigestShape{static_cast<int64_t>(sizeof(Digest))};

void copy_first(const TensorView& view, size_t axis, int64_t count, RingCopy& copy) {
  size_t blocks = 1;
  for (size_t i = 0; i < axis; ++i) blocks *= static_cast<size_t>(view.shape[i]);
  if (blocks == 0) return;
  const size_t block_bytes = view.size_bytes / blocks;
  const auto all = static_cast<size_t>(view.shape[axis]);
  const size_t kept_bytes = all == 0 ? 0 : block_bytes / all * std::min(all, static_cast<size_t>(count));
  for (size_t i = 0; i < blocks; ++i) copy.copy(view.data + i * block_bytes, kept_bytes);
}

}  // namespace

Redaction::Redaction(const std::vector<RedactionRule>& rules, const Signature& signature)
    : inputs_(signature.inputs.size()), outputs_(signature.outputs.size()) {
  const auto add_to = [&](std::vector<Tensor>& tensors, const std::vector<TensorSpec>& specs,
                          const RedactionRule& rule) {
    for (size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].name == rule.tensor) add(tensors[i], rule, specs[i], signature);
    }
  };
  for (const RedactionRule& rule : rules) {
    add_to(inputs_, signature.inputs, rule);
    add_to(outputs_, signature.outputs, rule);
  }
}

void Redaction::add(Tensor& tensor, const RedactionRule& rule, const TensorSpec& spec, const Signature& signature) {
  const auto refuse = [&](const auto&... parts) {
    throw Error(Code::bad_input, "redact: ", name(rule.kind), " of \"", spec.name, "\": expected ", parts...);
  };
  tensor.rank = spec.shape.rank();
  const bool is_image = rule.kind == RedactionKind::blank || rule.kind == RedactionKind::keep_regions ||
                        rule.kind == RedactionKind::downsample;
  if (!tensor.is_whole() && !(is_image && tensor.image)) refuse("no other rule for this tensor, got two");
  if (is_image) {
    RedactedImage image(spec, rule.layout);
    if (tensor.image && tensor.image->layout() != image.layout())
      refuse("the layout ", tensor.image->layout(), " as in the rule before, got ", image.layout());
    if (!tensor.image) tensor.image = std::move(image);
  }
  switch (rule.kind) {
    case RedactionKind::drop: tensor.is_dropped = true; break;
    case RedactionKind::blank: tensor.image->leave_out(BoxReader(rule.boxes, BoxRounding::outward, signature)); break;
    case RedactionKind::keep_regions: tensor.image->keep(BoxReader(rule.boxes, BoxRounding::inward, signature)); break;
    case RedactionKind::downsample:
      if (rule.factor < 2) refuse("a factor of at least 2, got ", rule.factor);
      if (tensor.image->factor() != 1) refuse("no other factor for this tensor, got two");
      tensor.image->thin(rule.factor);
      break;
    case RedactionKind::first: {
      const auto rank = static_cast<int64_t>(spec.shape.rank());
      if (rule.count < 1) refuse("a count of at least 1, got ", rule.count);
      if (rule.axis < -rank || rule.axis >= rank) refuse("an axis of ", text(spec.shape), ", got ", rule.axis);
      if (is_packed(spec.dtype)) refuse("elements of at least a byte, got ", edgeward::name(spec.dtype));
      tensor.first = First{rule.count, static_cast<size_t>(rule.axis < 0 ? rule.axis + rank : rule.axis)};
      break;
    }
    case RedactionKind::hash:
      if (rule.key == nullptr) refuse("a key, got none");
      tensor.key = rule.key;
      hashes_any_ = true;
      break;
  }
}

TensorView Redaction::recorded(RecordSide side, size_t index, const TensorView& view) const {
  const Tensor& tensor = this->tensor(side, index);
  if (tensor.key != nullptr) return {DType::uint8, kDigestShape, nullptr, sizeof(Digest)};
  // An engine may give other dimensions than the model says: then nothing is known of them, and nothing is kept.
  if (!tensor.is_whole() && view.shape.rank() != tensor.rank) return {view.dtype, Shape{0}, nullptr, 0};
  TensorView recorded{view.dtype, view.shape, nullptr, view.size_bytes};
  if (tensor.image) recorded.shape = tensor.image->recorded(view.shape);
  if (tensor.first) {
    int64_t& dim = recorded.shape[tensor.first->axis];
    dim = std::min(dim, tensor.first->count);
  }
  if (tensor.image || tensor.first) recorded.size_bytes = size_bytes(view.dtype, recorded.shape).value_or(0);
  return recorded;
}

Signature Redaction::recorded(Signature signature) const {
  const auto change = [&](RecordSide side, std::vector<TensorSpec>& specs) {
    for (size_t i = 0; i < specs.size(); ++i) {
      TensorSpec& spec = specs[i];
      const Tensor& tensor = this->tensor(side, i);
      const TensorView left = recorded(side, i, {spec.dtype, spec.shape, nullptr, 0});
      spec.dtype = left.dtype;
      spec.shape = left.shape;
      Quantization& quantization = spec.quantization;
      if (tensor.key != nullptr) quantization = {};
      // A scale for each index of the axis that was cut.
      if (tensor.first && quantization.scales.size() > 1 &&
          static_cast<size_t>(quantization.axis) == tensor.first->axis) {
        const size_t count = std::min(quantization.scales.size(), static_cast<size_t>(tensor.first->count));
        quantization.scales.resize(count);
        quantization.zero_points.resize(count);
      }
    }
  };
  change(RecordSide::input, signature.inputs);
  change(RecordSide::output, signature.outputs);
  return signature;
}

std::vector<TensorView> Redaction::counted(RecordSide side, std::span<const TensorView> views) const {
  std::vector<TensorView> counted(views.begin(), views.end());
  for (size_t i = 0; i < views.size(); ++i) {
    if (tensor(side, i).key != nullptr) counted[i].size_bytes = 0;
  }
  return counted;
}

void Redaction::look_at(std::span<const TensorView> inputs, std::span<const TensorView> outputs) {
  const auto look = [&](std::vector<Tensor>& tensors, std::span<const TensorView> views) {
    for (size_t i = 0; i < views.size(); ++i) {
      Tensor& tensor = tensors[i];
      if (tensor.image && views[i].shape.rank() == tensor.rank) tensor.image->look_at(views[i].shape, outputs);
      if (tensor.key != nullptr)
        tensor.digest = hmac_sha256(tensor.key->bytes(), Bytes(views[i].data, views[i].size_bytes));
    }
  };
  look(inputs_, inputs);
  look(outputs_, outputs);
}

void Redaction::copy(RecordSide side, size_t index, const TensorView& view, std::span<std::byte> target) noexcept {
  Tensor& tensor = this->tensor(side, index);
  if (target.empty()) return;
  if (tensor.image) {
    tensor.image->copy(view, target.data());
    return;
  }
  RingCopy copy(target.data(), target.size());
  if (tensor.key != nullptr) {
    copy.copy(tensor.digest.data(), tensor.digest.size());
  } else if (tensor.first) {
    copy_first(view, tensor.first->axis, tensor.first->count, copy);
  } else {
    copy.copy(view.data, view.size_bytes);
  }
}

}  // namespace edgeward
