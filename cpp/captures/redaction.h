// Redaction: what the records of one session leave out of its tensors. Rules are data; a Redaction is what they come to
// for a signature, and makes the copy from a tensor into its record: nothing that is left out is written there, not
// even for a moment. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "captures/boxes.h"
#include "captures/record.h"
#include "captures/redacted_image.h"
#include "crypto/crypto.h"
#include "tensor/signature.h"

namespace edgeward {

enum class RedactionKind : uint8_t {
  drop,          // the tensor is in no record; statistics count it
  blank,         // the pixels in boxes are zero
  keep_regions,  // the pixels outside of boxes are zero
  downsample,    // one pixel of each `factor` in a row, of each `factor`-th row
  first,         // the first `count` along `axis`
  hash,          // HMAC-SHA256 of the tensor's bytes, as uint8 [32]; statistics do not count it
};

// As every language spells it.
constexpr const char* name(RedactionKind kind) {
  switch (kind) {
    case RedactionKind::drop: return "drop";
    case RedactionKind::blank: return "blank";
    case RedactionKind::keep_regions: return "keep_regions";
    case RedactionKind::downsample: return "downsample";
    case RedactionKind::first: return "first";
    case RedactionKind::hash: return "hash";
  }
  return "";
}

// A rule for one tensor. drop, first and hash stand alone on their tensor. blank and keep_regions, any number of them,
// go together, and with one downsample: what any of them blanks is blank, and boxes count in the model's pixels.
struct RedactionRule {
  RedactionKind kind = RedactionKind::drop;
  std::string tensor = {};                      // the name of an input or output; both, if both have it
  Boxes boxes = {};                             // of blank and keep_regions
  std::string layout = {};                      // of an image: see RedactedImage
  int64_t factor = 0;                           // of downsample: at least 2
  int64_t count = 0;                            // of first: at least 1
  int64_t axis = -1;                            // of first; a negative one counts from the last
  std::shared_ptr<const Secret> key = nullptr;  // of hash
};

class Redaction {
 public:
  // Rules for tensors that the signature lacks are ignored. Throws Error(bad_input) for one that does not fit its
  // tensor or the other rules of that tensor.
  Redaction(const std::vector<RedactionRule>& rules, const Signature& signature);

  // Whether records lack the tensor.
  bool drops(RecordSide side, size_t index) const { return tensor(side, index).is_dropped; }
  // Whether records have the tensor as it is.
  bool keeps(RecordSide side, size_t index) const { return tensor(side, index).is_whole(); }
  // Whether statistics count less than all tensors: what counted() leaves of those of a run. A tensor that is hashed
  // has no elements there: the least and greatest of ids are ids.
  bool hashes_any() const { return hashes_any_; }
  std::vector<TensorView> counted(RecordSide side, std::span<const TensorView> views) const;

  // The signature as records have it: dtypes, shapes and quantisation of what is left of each tensor.
  Signature recorded(Signature signature) const;
  // What a record holds of a tensor: its dtype, shape and size. `data` is null.
  TensorView recorded(RecordSide side, size_t index, const TensorView& view) const;

  // Reads the boxes and makes the hashes of a run; copy() is then of that run. Views are of all inputs and outputs; a
  // run that failed has no outputs, and then no box can be read. Throws std::bad_alloc, Error(out_of_memory).
  void look_at(std::span<const TensorView> inputs, std::span<const TensorView> outputs);
  // Writes what a record holds of the tensor to `target`, which has the size of recorded() and is aligned to 64 bytes.
  void copy(RecordSide side, size_t index, const TensorView& view, std::span<std::byte> target) noexcept;

 private:
  struct First {
    int64_t count;
    size_t axis;
  };
  // What is left of one tensor: all of it, or what one of these leaves.
  struct Tensor {
    size_t rank = 0;  // as the rules know it
    bool is_dropped = false;
    std::optional<RedactedImage> image;
    std::optional<First> first;
    std::shared_ptr<const Secret> key;
    Digest digest{};  // of the run
    bool is_whole() const { return !is_dropped && !image && !first && key == nullptr; }
  };
  void add(Tensor& tensor, const RedactionRule& rule, const TensorSpec& spec, const Signature& signature);
  Tensor& tensor(RecordSide side, size_t index) { return (side == RecordSide::input ? inputs_ : outputs_)[index]; }
  const Tensor& tensor(RecordSide side, size_t index) const {
    return (side == RecordSide::input ? inputs_ : outputs_)[index];
  }

  std::vector<Tensor> inputs_;  // all of the signature's
  std::vector<Tensor> outputs_;
  bool hashes_any_ = false;
};

}  // namespace edgeward
