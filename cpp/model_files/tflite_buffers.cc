#include "model_files/tflite_buffers.h"

#include "error.h"
#include "model_files/tflite_schema.h"

namespace edgeward {

namespace schema = tflite_schema;

TfliteBuffers::TfliteBuffers(Bytes file, uint64_t end, const FlatTables& tables) {
  buffers_.reserve(tables.size());
  uint64_t behind_bytes = 0;
  for (uint32_t i = 0; i < tables.size(); ++i) {
    const auto offset = tables[i].scalar<uint64_t>(schema::buffer::offset, 0);
    const auto size = tables[i].scalar<uint64_t>(schema::buffer::size, 0);
    const std::string what = "buffer " + std::to_string(i);
    std::optional<Bytes>& buffer = buffers_.emplace_back();
    if (tables[i].has(schema::buffer::data)) {
      const auto data = tables[i].vector<uint8_t>(schema::buffer::data);
      buffer = Bytes(data.data(), data.size());
    }
    // Writers leave 0 or 1 where there is nothing behind the flatbuffer.
    if (offset <= 1) continue;
    if (buffer && !buffer->empty()) {
      throw Error(Code::malformed_model, what, ": ", buffer->size(), " bytes inside the flatbuffer and ", size,
                  " behind it, expected one of the two");
    }
    buffer = bytes_behind(file, end, offset, size, what);
    behind_bytes += size;
    if (behind_bytes / kMaxFlatSharing > file.size()) {
      throw Error(Code::malformed_model, what, ": with this buffer, those behind the flatbuffer reach more than ",
                  kMaxFlatSharing, " times the file's bytes");
    }
  }
}

Bytes bytes_behind(Bytes file, uint64_t end, uint64_t offset, uint64_t size, const std::string& what) {
  if (!contains(file, offset, size)) {
    throw Error(Code::malformed_model, what, ": ", size, " bytes at offset ", offset, " leave the file of ",
                file.size(), " bytes");
  }
  if (offset < end) {
    throw Error(Code::malformed_model, what, ": ", size, " bytes at offset ", offset,
                ", expected an offset behind the flatbuffer, which ends at ", end);
  }
  return file.subspan(offset, size);
}

}  // namespace edgeward
