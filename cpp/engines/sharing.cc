#include "engines/sharing.h"

#include "engines/weight_cache.h"
#include "engines/weight_directory.h"
#include "system/file.h"

namespace edgeward {

Block read_shared(const std::string& path, Sharing& sharing) {
  const File file("model file", path, File::Links::followed);
  const auto directory =
      file.size_bytes() < kMinPackedBytes ? nullptr : WeightDirectory::try_open(sharing.directory, sharing.threads);
  if (directory == nullptr) return read_file(file, sharing.threads);
  sharing.model = directory->digest_of(file);
  Block block = directory->try_map_model(sharing.model);
  if (!block) block = directory->try_keep_model(sharing.model, file);
  if (block) return block;
  block = read_file(file, sharing.threads);
  sharing.model = directory->digest_of(Bytes{block.data(), block.size_bytes()});
  return block;
}

}  // namespace edgeward
