// Sealing packages, and signing them again.
#include "packages/package_writer.h"

#include <doctest/doctest.h>

#include "bytes/hex.h"
#include "error.h"
#include "rigs/package_bench.h"
#include "rigs/refusal.h"

using namespace edgeward;

TEST_CASE("the published vectors come out byte for byte") {
  const struct {
    std::optional<AeadAlgorithm> aead;
    const char* package_id;
    const char* file;  // its name among the vectors
  } rows[] = {
      {std::nullopt, "3fd9879ef9456193ac436e707d92826c876517affce605fa647b4c96b189112c", "signed.ewp"},
      {AeadAlgorithm::aes_256_gcm, "d51b8278801929cab1d3ff0841aa5d8071f68a672e727dd499d98f8c6ac01c04",
       "sealed-aes.ewp"},
      {AeadAlgorithm::chacha20_poly1305, "4e16684c02466c1e8e4655c4fcf70493b163e24babbf43eaf9cb38cad83acc39",
       "sealed-chacha.ewp"},
  };
  const PackageBench bench;
  const auto model = demo_model(70'000);
  for (const auto& row : rows) {
    CAPTURE(row.file);
    CHECK(hex(bench.seal(demo_source(model, row.aead))) == row.package_id);
    const std::string content = content_of(bench.path());
    CHECK(content.size() == 77'832);
    CHECK(content == content_of(std::string(VECTORS_PATH) + "/package/" + row.file));
    bench.open_whole();
  }
  CHECK(hex(sha256(bytes_of(content_of(std::string(VECTORS_PATH) + "/package/sealed-aes.ewp")))) ==
        "8a08d96e56c187d7061fd8b8c3f582727c2d0d0297cb3c6a22083c68cc9486fe");
}

TEST_CASE("a member out of a file is sealed as its bytes are") {
  const PackageBench bench;
  const auto model = demo_model(70'000);
  const std::string path = write_file(bench.directory.at("model"), std::string(text_of(model)));
  const File file("model file", path, File::Links::followed);
  for (const auto aead : {std::optional<AeadAlgorithm>(), std::optional(AeadAlgorithm::aes_256_gcm)}) {
    auto source = demo_source(model, aead);
    const Digest expected = bench.seal(source);
    const std::string content = content_of(bench.path());
    source.members[0].bytes = {};
    source.members[0].file = &file;
    CHECK(bench.seal(source) == expected);
    CHECK(content_of(bench.path()) == content);
  }
  auto source = demo_source(model, std::nullopt);
  source.members[0].file = &file;
  std::filesystem::resize_file(path, 60'000);
  const std::string before = content_of(bench.path());
  check_refusal(Code::bad_input, {path, "it changed while it was read"}, [&] { bench.seal(source); });
  CHECK(content_of(bench.path()) == before);
}

TEST_CASE("two packages of one source have different keys") {
  const PackageBench bench;
  const auto model = demo_model(5000);
  const auto source = demo_source(model, AeadAlgorithm::aes_256_gcm);
  const Sealed first = seal_package(source, {&bench.publisher}, bench.directory.at("first.ewp"), {});
  const Sealed second = seal_package(source, {&bench.publisher}, bench.directory.at("second.ewp"), {});
  REQUIRE(first.content_key.has_value());
  CHECK(first.package_id != second.package_id);
  CHECK_FALSE(is_equal_secretly(first.content_key->bytes(), second.content_key->bytes()));
  const std::string first_content = content_of(bench.directory.at("first.ewp"));
  const std::string second_content = content_of(bench.directory.at("second.ewp"));
  CHECK(first_content.substr(kPayloadAt) != second_content.substr(kPayloadAt));
  CHECK(first_content.find(text_of(Bytes(model).first(64))) == std::string::npos);
}

TEST_CASE("progress ends with everything, and what it throws leaves no file") {
  const PackageBench bench;
  const auto model = demo_model(200'000);
  uint64_t last = 0;
  uint64_t total = 0;
  const auto source = demo_source(model, AeadAlgorithm::aes_256_gcm);
  seal_package(source, {&bench.publisher}, bench.path(), [&](uint64_t done, uint64_t all) {
    CHECK(done > last);
    last = done;
    total = all;
  });
  CHECK(last == total);
  CHECK(total == bench.open().facts().payload_bytes);
  CHECK_THROWS_AS(seal_package(source, {&bench.publisher}, bench.directory.at("other.ewp"),
                               [](uint64_t, uint64_t) { throw Error(Code::bad_input, "enough"); }),
                  Error);
  CHECK(bench.directory.names() == std::set<std::string>{"demo.ewp"});
}

TEST_CASE("a source that the format cannot hold is refused, and nothing is written") {
  const PackageBench bench;
  const auto model = demo_model(100);
  const struct {
    const char* word;
    void (*change)(PackageSource&);
  } rows[] = {
      {"name", [](PackageSource& s) { s.name = "demo 1"; }},
      {"name", [](PackageSource& s) { s.name = ""; }},
      {"name", [](PackageSource& s) { s.name = ".demo"; }},
      {"name", [](PackageSource& s) { s.name = std::string(65, 'a'); }},
      {"version", [](PackageSource& s) { s.version = "1 0"; }},
      {"version", [](PackageSource& s) { s.version = std::string(33, '1'); }},
      {"target", [](PackageSource& s) { s.target = "linux/arm"; }},
      {"target", [](PackageSource& s) { s.target = "Linux-aarch64"; }},
      {"publisher", [](PackageSource& s) { s.publisher = ""; }},
      {"counters", [](PackageSource& s) { s.min_counter = 0; }},
      {"counters", [](PackageSource& s) { s.min_counter = 8; }},
      {"chunk size", [](PackageSource& s) { s.chunk_bytes = 65'535; }},
      {"chunk size", [](PackageSource& s) { s.chunk_bytes = 1u << 23; }},
      {"members", [](PackageSource& s) { s.members.clear(); }},
      {"entry", [](PackageSource& s) { s.members[0].is_entry = false; }},
      {"entry", [](PackageSource& s) { s.members[1].is_entry = true; }},
      {"two", [](PackageSource& s) { s.members[1].name = s.members[0].name; }},
      {"in capitals or not, got two", [](PackageSource& s) { s.members[1].name = "Model.TFLITE"; }},
      {"member name", [](PackageSource& s) { s.members[1].name = "../x"; }},
      {"at least one byte", [](PackageSource& s) { s.members[1].bytes = {}; }},
      {"UTF-8", [](PackageSource& s) { s.metadata = "\xff"; }},
      {"metadata", [](PackageSource& s) { s.metadata = std::string((1u << 20) + 1, ' '); }},
  };
  for (const auto& row : rows) {
    auto source = demo_source(model, std::nullopt);
    row.change(source);
    check_refusal(Code::bad_input, {row.word}, [&] { bench.seal(source); });
  }
  check_refusal(Code::bad_input, {"signatures"},
                [&] { seal_demo(bench.path(), demo_source(model, std::nullopt), {}); });
  CHECK(bench.directory.names().empty());
}

TEST_CASE("new signatures change the head and nothing else") {
  const PackageBench bench;
  const auto model = demo_model(200'000);
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  const PrivateKey second = publisher_key("edgeward test publisher 2");
  resign(bench.open(), bench.directory.at("in-place.ewp"), {&second}, false);
  resign(bench.open(), bench.directory.at("beside.ewp"), {&second}, true);
  const std::string before = content_of(bench.path());
  const size_t payload_begin = 64 + 776 + 2304;
  for (const char* name : {"in-place.ewp", "beside.ewp"}) {
    const std::string after = content_of(bench.directory.at(name));
    REQUIRE(after.size() == before.size());
    CHECK(after.substr(payload_begin) == before.substr(payload_begin));
    CHECK(after.substr(64, 776) == before.substr(64, 776));
  }
  CHECK_NOTHROW(bench.open_whole("beside.ewp"));
  CHECK(PackageReader::unverified(bench.directory.at("beside.ewp")).facts().signers.size() == 2);
  check_refusal(Code::untrusted_package, {"signatures"}, [&] { bench.open("in-place.ewp"); });

  std::vector<Signer> many(16, &second);
  check_refusal(Code::bad_input, {"signatures", "17"},
                [&] { resign(bench.open(), bench.directory.at("many.ewp"), many, true); });
  std::string damaged = before;
  damaged.back() ^= 1;
  write_file(bench.directory.at("damaged.ewp"), damaged);
  check_refusal(Code::malformed_package, {"chunk"}, [&] {
    resign(PackageReader::unverified(bench.directory.at("damaged.ewp")), bench.directory.at("not.ewp"), {&second},
           false);
  });
  CHECK(bench.directory.names().count("not.ewp") == 0);
}
