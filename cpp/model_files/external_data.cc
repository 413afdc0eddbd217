#include "model_files/external_data.h"

#include <algorithm>
#include <filesystem>

#include "error.h"
#include "system/file.h"

namespace edgeward {

namespace fs = std::filesystem;

namespace {

// The real path of a file beside the model. Links are resolved before they are judged, and the result is opened without
// following any: what is judged is what is read.
fs::path real_path_of(const fs::path& model, const std::string& name) {
  const fs::path named(name);
  if (named.filename() != named || name == "." || name == "..") {
    // The format allows a path below the model's folder, and no other.
    const bool leads_out =
        named.is_absolute() || std::find(named.begin(), named.end(), fs::path("..")) != named.end() || name == ".";
    throw Error(leads_out ? Code::malformed_model : Code::unsupported_model, "model file \"", model.string(),
                "\": external data: expected the name of a file beside it, got \"", name, "\"",
                leads_out ? "" : " (save the model with a location that is a name alone)");
  }
  const fs::path folder = model.has_parent_path() ? model.parent_path() : ".";
  fs::path real = fs::canonical(folder / named);
  // A store of models may keep both files elsewhere, under links: then they are beside each other there.
  if (real.parent_path() != fs::canonical(folder) && real.parent_path() != fs::canonical(model).parent_path()) {
    throw Error(Code::malformed_model, "model file \"", model.string(), "\": external data \"", name,
                "\": expected a file in the same folder, got a link to \"", real.string(), "\"");
  }
  return real;
}

}  // namespace

std::vector<ExternalData> read_external_data(const std::string& model_path, const std::vector<std::string>& names) {
  std::vector<ExternalData> external;
  for (const std::string& name : names) {
    const File file("external data", real_path_of(model_path, name).string(), File::Links::refused);
    Block bytes = Block::pages(file.size_bytes());
    file.read_at(0, {bytes.data(), bytes.size_bytes()});
    external.push_back({name, std::move(bytes)});
  }
  return external;
}

}  // namespace edgeward
