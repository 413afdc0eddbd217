// What the core asks of an engine library: Engine holds one model's weights, EngineSession runs them. These are the
// only abstract classes. An engine is asked for little: memory, checks, pools and threads are decided once for all
// engines, in models/session.h and models/model.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "error.h"
#include "system/memory.h"
#include "tensor/signature.h"
#include "tensor/tensor.h"

namespace edgeward {

// The engine's own object around a piece of memory (a LiteRtTensorBuffer, an OrtValue); null when there is none.
using Binding = void*;

enum class Side : uint8_t {
  input,
  output
};

// What a caller's memory must fulfil for the engine to use it in place, and a dimension of an input to be taken at all.
struct MemoryRules {
  size_t alignment_bytes;       // of the first byte
  size_t slack_bytes;           // readable past the end of an input
  int64_t least_dimension = 1;  // 0: tensors without elements are taken
};

// Which kernels run the nodes. node_count and fallback_count are -1 when the engine does not report them.
struct EngineReport {
  std::string name;      // "litert", "onnx", "tflite"
  std::string version;   // of the library
  std::string delegate;  // "XNNPACK", "CPUExecutionProvider", "none"; "" when that depends on shapes
  int64_t node_count = -1;
  int64_t fallback_count = -1;  // nodes that the delegate leaves to the engine's own kernels
  bool shares_weights = false;  // as Engine::shares_weights(); filled in by Model
  bool is_shared = false;       // as Engine::is_shared(); filled in by Model
};

// What an engine holds for one model, in bytes that are resident.
struct EngineMemory {
  uint64_t file_bytes = 0;    // of the model file, as far as it is kept
  uint64_t packed_bytes = 0;  // weights that sessions share as they are packed for the processor
  int64_t arenas_bytes = 0;   // what Growth has measured of objects that belong to no single session
};

// What run() throws when an output has another shape than output_shape() said, since the model declares a wrong one:
// output_shape() says -1 from then on, and a run with null for that output has its values.
struct OtherShapes : Error {
  using Error::Error;
};

// Runs one signature. One thread at a time, except that release() is called from any thread, also during a run;
// construction and destruction may happen on any thread. May outlive its Engine.
class EngineSession {
 public:
  virtual ~EngineSession() = default;

  // Makes these the input shapes, one per input, every dimension known and as memory_rules() says, each admitted by its
  // spec.
  // Every earlier binding is void for run() and must be released. Throws Error(engine_failed).
  virtual void resize(std::span<const Shape> input_shapes) = 0;

  // The shape output `index` will have. A dimension of -1: known only after a run, which must pass null for it.
  virtual Shape output_shape(size_t index) const = 0;

  // Wraps `view`, whose shape is the one in force and whose memory keeps memory_rules() and outlives the binding.
  // Touches no byte of it, except that an engine may copy strings, whose block then holds what a run reads.
  virtual Binding bind(Side side, size_t index, const TensorView& view) = 0;
  virtual void release(Binding binding) noexcept = 0;

  // One run. A null in `outputs` is replaced by a binding to memory of the engine's own, valid until released.
  // Throws Error(engine_failed), OtherShapes; the outputs' contents are then undefined, and nothing is left to release.
  virtual void run(std::span<const Binding> inputs, std::span<Binding> outputs) = 0;

  // The memory of a binding that run() created. Strings are packed into `copy`, which the view then borrows; for other
  // elements `copy` is left alone. Throws Error(engine_failed).
  virtual TensorView view(Binding binding, Block& copy) const = 0;

  // Restores the initial state. Does nothing for a model without variable tensors.
  virtual void reset() = 0;

  // True when a session that is made now shares memory which this one has for itself. Any thread.
  virtual bool is_outdated() const { return false; }
};

// One model's weights, opened by one engine. Any thread; immutable after construction.
class Engine {
 public:
  virtual ~Engine() = default;

  virtual const std::vector<Signature>& signatures() const = 0;  // at least one
  virtual MemoryRules memory_rules() const = 0;
  // True when a run depends on earlier ones, so that a session must be reset between unrelated calls.
  virtual bool is_stateful() const = 0;
  // True when a run may leave bytes of an output as they were, so that a session must zero the outputs before it.
  virtual bool leaves_unwritten() const = 0;
  // May run the model once to find out. Throws Error(engine_failed).
  virtual EngineReport report() const = 0;
  // Whether sessions run on one copy of the weights as they are packed for the processor, as far as is known.
  virtual bool shares_weights() const = 0;
  // Whether that copy is in a file which other processes of this user map too.
  virtual bool is_shared() const { return false; }
  // Whether the model file that is kept is mapped from a file, so that its pages are no growth of this process.
  virtual bool is_file_mapped() const { return false; }
  virtual EngineMemory memory() const = 0;
  // Whether what sessions take stays with the engine when they end, for others.
  virtual bool keeps_arenas() const { return false; }
  // What the next session packs, for itself or for all: a lower bound, as far as the file tells.
  virtual uint64_t packing_bytes() const { return 0; }
  virtual std::unique_ptr<EngineSession> make_session(size_t signature_index) const = 0;
};

}  // namespace edgeward
