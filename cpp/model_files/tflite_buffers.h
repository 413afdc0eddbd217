// The buffers of a .tflite file: where the bytes of its constants lie, inside the flatbuffer or behind it in the same
// file. Rules: docs/model-files.md, section 2. Views of the file, which must outlive them; immutable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "model_files/flatbuffer.h"

namespace edgeward {

class TfliteBuffers {
 public:
  TfliteBuffers() = default;
  // `end` is where the flatbuffer ends. Throws Error(malformed_model) when a buffer's bytes are not in the file.
  TfliteBuffers(Bytes file, uint64_t end, const FlatTables& tables);

  uint32_t size() const { return static_cast<uint32_t>(buffers_.size()); }
  // None for a buffer that is there only to be counted; an empty one for a constant without elements.
  const std::optional<Bytes>& data(uint32_t index) const { return buffers_[index]; }

 private:
  std::vector<std::optional<Bytes>> buffers_;
};

// The `size` bytes at `offset` of a file whose flatbuffer ends at `end`; `what` owns them, for the message.
// Throws Error(malformed_model).
Bytes bytes_behind(Bytes file, uint64_t end, uint64_t offset, uint64_t size, const std::string& what);

}  // namespace edgeward
