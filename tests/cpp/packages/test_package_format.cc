// The package format: what a head says, and heads that say something else.
#include "packages/package_format.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "rigs/directory.h"
#include "rigs/package_bench.h"
#include "rigs/refusal.h"

using namespace edgeward;

TEST_CASE("the head says what was put into it") {
  const PackageBench bench;
  const auto model = demo_model(5000);
  auto source = demo_source(model, AeadAlgorithm::aes_256_gcm);
  source.hard_expiry_s = 1'900'000'000;
  source.metadata = R"({"schema":"ü"})";
  bench.seal(source);
  const PackageReader package = bench.open();
  const PackageFacts& facts = package.facts();
  CHECK(facts.name == "demo");
  CHECK(facts.version == "1.0.0");
  CHECK(facts.target == "any");
  CHECK(facts.publisher == "publisher");
  CHECK(facts.release_counter == 7);
  CHECK(facts.min_counter == 3);
  CHECK(facts.created_s == 1'700'000'000);
  CHECK(facts.hard_expiry_s == 1'900'000'000);
  CHECK(facts.metadata == source.metadata);
  CHECK(facts.aead == AeadAlgorithm::aes_256_gcm);
  CHECK(facts.signers == std::vector<Digest>{key_id(public_key(bench.publisher))});
  CHECK(package.entry().name == "model.tflite");
  CHECK_FALSE(facts.binding.has_value());
}

TEST_CASE("a file that is cut anywhere, or goes on, is refused") {
  const PackageBench bench;
  const auto model = demo_model(5000);
  bench.seal(demo_source(model, AeadAlgorithm::chacha20_poly1305));
  const std::string whole = content_of(bench.path());
  constexpr off_t kLengthAt = 24;
  for (uint64_t size = whole.size(); size-- > 0;) {
    CAPTURE(size);
    std::filesystem::resize_file(bench.path(), size);
    REQUIRE(is_refused(bench));
    if (size < kLengthAt + sizeof(size)) continue;
    // The preamble made to agree.
    const Descriptor file(open(bench.path().c_str(), O_WRONLY | O_CLOEXEC), bench.path());
    REQUIRE(pwrite(file.number(), &size, sizeof(size), kLengthAt) == sizeof(size));
    REQUIRE(is_refused(bench));
    REQUIRE(pwrite(file.number(), whole.data() + kLengthAt, sizeof(size), kLengthAt) == sizeof(size));
  }
  CHECK(is_refused(bench, whole + std::string(1, '\0')));
  CHECK(is_refused(bench, whole + whole));
}

TEST_CASE("a head of another version, or that is no head, is refused though it is signed") {
  const PackageBench bench;
  const auto model = demo_model(5000);
  bench.seal(demo_source(model, std::nullopt));
  const std::string whole = content_of(bench.path());
  const struct {
    size_t offset;
    const char* word;
  } rows[] = {
      {0, "magic"},
      {7, "magic"},
      {8, "major version"},
      {10, "minor version"},
      {14, "body length"},
      {16, "signature"},
      {20, "bytes 20 to 23"},
      {24, "file length"},
      {64, "magic"},
      {64 + 8, "major"},
      {64 + 10, "minor"},
      {64 + 12, "body length"},
      {64 + 18, "flags"},
      {64 + 20, "hash"},
      {64 + 22, "aead"},
      {64 + 24, "chunk size"},
      {64 + 31, "member count"},
      {64 + 32, "chunk"},
      {64 + 40, "payload"},
      {64 + 48, "file length"},
      {64 + 92, "92 to 95"},
      {64 + 352, "352"},
      {64 + 448 + 68, "68 to 71"},
      {64 + 448 + 120, "padding"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.offset);
    std::string content = whole;
    content[row.offset] ^= 0x40;
    write_file(bench.path(), resigned(content, bench.publisher));
    check_refusal(Code::malformed_package, {row.word}, [&] { bench.open(); });
  }
}

TEST_CASE("a model of any name that Edge Manager gave can be sealed, and names differ where their bytes do") {
  const PackageBench bench;
  const auto model = demo_model(100);
  // [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}
  for (const std::string& name : {std::string("A"), std::string("Person-Detector--V2"), std::string(63, 'Z')}) {
    auto source = demo_source(model, std::nullopt);
    source.name = name;
    bench.seal(source);
    CHECK(PackageReader::unverified(bench.path()).facts().name == name);
  }
}

TEST_CASE("a layout puts the payload on the first page behind the table") {
  using package_format::layout;
  const uint64_t fixed = 64 + 2304;  // preamble and slots
  const struct {
    uint64_t body_bytes, payload_bytes, chunk_bytes, chunk_count, payload_offset;
  } rows[] = {
      {608, 1, 65'536, 1, 4096},
      {608, 65'536, 65'536, 1, 4096},
      {608, 65'537, 65'536, 2, 4096},
      {4096 - fixed - 48, 65'536, 65'536, 1, 4096},
      {4096 - fixed - 48 + 8, 65'536, 65'536, 1, 8192},
      {4096 - fixed - 48, 65'537, 65'536, 2, 8192},
  };
  for (const auto& row : rows) {
    const auto layout_of_row = layout(row.body_bytes, row.payload_bytes, row.chunk_bytes);
    CHECK(layout_of_row.chunk_count == row.chunk_count);
    CHECK(layout_of_row.table_offset == fixed + row.body_bytes);
    CHECK(layout_of_row.payload_offset == row.payload_offset);
  }
}
