#include "model_files/external_data.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "rigs/refusal.h"

namespace edgeward {
namespace {

namespace fs = std::filesystem;

// A folder with a model and its data, and a secret outside of it.
struct Folder {
  Folder() : root(fs::canonical(fs::temp_directory_path()) / fs::path("external_data." + std::to_string(getpid()))) {
    fs::create_directories(root / "model");
    for (const char* name : {"model/model.onnx", "model/a.data", "model/b.data", "secret"})
      std::ofstream(root / name) << name;
  }
  ~Folder() { fs::remove_all(root); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::vector<std::string> read(const std::vector<std::string>& names, const std::string& model = "model/model.onnx") {
    std::vector<std::string> contents;
    for (const ExternalData& data : read_external_data((root / model).string(), names))
      contents.emplace_back(reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size_bytes());
    return contents;
  }

  fs::path root;
};

}  // namespace

TEST_CASE("files beside a model are read by their names") {
  Folder folder;
  CHECK(folder.read({}).empty());
  CHECK(folder.read({"b.data", "a.data"}) == std::vector<std::string>{"model/b.data", "model/a.data"});
  fs::create_symlink("a.data", folder.root / "model/inside");
  CHECK(folder.read({"inside"}) == std::vector<std::string>{"model/a.data"});
  const fs::path before = fs::current_path();
  fs::current_path(folder.root / "model");
  CHECK(read_external_data("model.onnx", {"a.data"}).size() == 1);
  fs::current_path(before);
}

TEST_CASE("a model and its data may both be links into one folder") {
  Folder folder;
  fs::create_directory(folder.root / "snapshot");
  for (const char* name : {"model.onnx", "a.data"})
    fs::create_symlink(folder.root / "model" / name, folder.root / "snapshot" / name);
  CHECK(folder.read({"a.data"}, "snapshot/model.onnx") == std::vector<std::string>{"model/a.data"});
}

TEST_CASE("no name leads out of the model's folder") {
  Folder folder;
  fs::create_symlink("../secret", folder.root / "model/out");
  const std::string absolute = (folder.root / "secret").string();
  for (const std::string& name : {std::string("../secret"), absolute, std::string("out"), std::string("."),
                                  std::string(".."), std::string("a/../../secret"), std::string("")}) {
    CAPTURE(name);
    check_refusal(Code::malformed_model, {"model.onnx", "external data", "expected"}, [&] { folder.read({name}); });
  }
}

TEST_CASE("a file below the model's folder is not supported, even where a link leads out") {
  Folder folder;
  fs::create_symlink("..", folder.root / "model/up");
  for (const std::string name : {"./a.data", "up/secret", "below/a.data"}) {
    CAPTURE(name);
    check_refusal(Code::unsupported_model, {"model.onnx", "a file beside it, got \"" + name + "\"", "a name alone"},
                  [&] { folder.read({name}); });
  }
}

TEST_CASE("what is missing or no regular file is refused") {
  Folder folder;
  CHECK_THROWS_AS(folder.read({"missing"}), fs::filesystem_error);
  REQUIRE(mkfifo((folder.root / "model/pipe").c_str(), 0600) == 0);
  check_refusal(Code::bad_input, {"pipe", "regular file"}, [&] { folder.read({"pipe"}); });
  fs::create_directory(folder.root / "model/inner");
  CHECK_THROWS_AS(folder.read({"inner"}), fs::filesystem_error);
}

}  // namespace edgeward
