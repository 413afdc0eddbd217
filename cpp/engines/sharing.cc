#include "engines/sharing.h"

#include <array>
#include <memory>

#include "engines/weight_cache.h"
#include "engines/weight_directory.h"
#include "model_files/model_format.h"

namespace edgeward {
namespace {

constexpr size_t kHeadBytes = 4096;

// Only an .ort that is made of it is kept: see onnx.cc.
bool is_onnx(const File& file) {
  std::array<std::byte, 8> head{};  // with the identifier of other formats
  file.read_at(0, head);
  return model_format(head) == ModelFormat::onnx;
}

}  // namespace

Block read_shared(const std::string& path, Sharing& sharing) {
  const auto opened = std::make_shared<const File>("model file", path, File::Links::followed);
  const File& file = *opened;
  const auto directory =
      file.size_bytes() < kMinPackedBytes ? nullptr : WeightDirectory::try_open(sharing.directory, sharing.threads);
  if (directory == nullptr) return read_file(file, sharing.threads);
  sharing.model = directory->digest_of(file);
  if (is_onnx(file)) {
    Block head = Block::uninitialized(kHeadBytes);
    file.read_at(0, {head.data(), head.size_bytes()});
    sharing.unread = opened;
    return head;
  }
  Block block = directory->try_map_model(sharing.model);
  if (!block) block = directory->try_keep_model(sharing.model, file);
  if (block) return block;
  block = read_file(file, sharing.threads);
  sharing.model = directory->digest_of(Bytes{block.data(), block.size_bytes()});
  return block;
}

}  // namespace edgeward
