// Packages: what is sealed is what is opened; nothing else is.
#include "packages/package.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "error.h"
#include "rigs/demo_package.h"
#include "rigs/directory.h"
#include "rigs/refusal.h"

using namespace edgeward;

namespace {

constexpr std::optional<AeadAlgorithm> kModes[] = {std::nullopt, AeadAlgorithm::aes_256_gcm,
                                                   AeadAlgorithm::chacha20_poly1305};
constexpr size_t kTableAt = 64 + 776 + 2304;  // of a demo package, whose body has 776 bytes
constexpr size_t kPayloadAt = 4096;

// A device that trusts one publisher, and where the package lies.
struct Bench {
  Directory directory;
  PrivateKey publisher = publisher_key();
  TrustRoot root = demo_root(publisher);
  Secret content_key = secret_of("edgeward test cek");

  std::string path() const { return directory.at("demo.ewp"); }
  Digest seal(const PackageSource& source, const std::string& name = "demo.ewp") const {
    return seal_demo(directory.at(name), source, {&publisher});
  }
  Package open(const std::string& name = "demo.ewp") const { return Package(directory.at(name), root, demo_policy()); }
  Block payload(const Package& package, int threads = 2) const {
    return package.open_payload(package.facts().aead ? &content_key : nullptr, threads);
  }
  // Every byte of the file checked, as a device would.
  void open_whole(const std::string& name = "demo.ewp") const { payload(open(name)); }
};

std::string text_of(const Block& block, const Member& member) {
  return {reinterpret_cast<const char*>(block.data()) + member.offset, member.size_bytes};
}

std::string text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Neither accepted nor anything but one of our errors.
bool is_refused(const Bench& bench) {
  try {
    bench.open_whole();
  } catch (const Error& error) {
    return error.code() == Code::malformed_package || error.code() == Code::untrusted_package ||
           error.code() == Code::wrong_key;
  }
  return false;
}

bool is_refused(const Bench& bench, const std::string& content) {
  write_file(bench.path(), content);
  return is_refused(bench);
}

// Hash, table and signature made to fit again: what a publisher could do, and who has only the content key could not.
std::string resigned(std::string content, const PrivateKey& signer) {
  const auto at = [&](size_t offset, size_t size) {
    return std::as_writable_bytes(std::span(content)).subspan(offset, size);
  };
  const size_t body_bytes = 776;
  const size_t rows = (kPayloadAt - kTableAt) / 48 >= 2 ? 2 : 1;
  const Digest table = sha256(at(kTableAt, 48 * rows));
  std::memcpy(content.data() + 64 + 96, table.data(), table.size());
  const Digest package_id = sha256(at(64, body_bytes));
  std::memcpy(content.data() + 32, package_id.data(), package_id.size());
  const auto message = pre_authentication_encoding("application/vnd.edgeward.ewp.body.v1", at(64, body_bytes));
  const SignatureBytes signature = sign(signer, message);
  std::memcpy(content.data() + 64 + body_bytes + 40, signature.data(), signature.size());
  return content;
}

}  // namespace

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
  const Bench bench;
  const auto model = demo_model(70'000);
  for (const auto& row : rows) {
    CAPTURE(row.file);
    CHECK(hex(bench.seal(demo_source(model, row.aead))) == row.package_id);
    const std::string made = content_of(bench.path());
    CHECK(made.size() == 77'832);
    CHECK(made == content_of(std::string(VECTORS_PATH) + "/package/" + row.file));
    bench.open_whole();
  }
  CHECK(hex(sha256(bytes_of(content_of(std::string(VECTORS_PATH) + "/package/sealed-aes.ewp")))) ==
        "8a08d96e56c187d7061fd8b8c3f582727c2d0d0297cb3c6a22083c68cc9486fe");
}

TEST_CASE("what was sealed is what is opened, whatever its size, mode and threads") {
  const Bench bench;
  for (const size_t size : {1, 63, 64, 4095, 4096, 4097, 65'535, 65'536, 65'537, 131'072, 200'001}) {
    const auto model = demo_model(size);
    for (const auto& aead : kModes) {
      CAPTURE(size);
      auto source = demo_source(model, aead);
      source.members.push_back({"more.bin", MemberType::auxiliary, false, Bytes(model).first(1)});
      const Digest package_id = bench.seal(source);
      const Package package = bench.open();
      CHECK(package.facts().package_id == package_id);
      REQUIRE(package.facts().members.size() == 3);
      for (const int threads : {1, 2, 8}) {
        const Block payload = bench.payload(package, threads);
        for (size_t i = 0; i < source.members.size(); ++i) {
          const Member& member = package.facts().members[i];
          CHECK(member.name == source.members[i].name);
          CHECK(member.offset % 4096 == 0);
          CHECK(member.digest == sha256(source.members[i].bytes));
          CHECK(text_of(payload, member) == text_of(source.members[i].bytes));
        }
      }
      package.check_stored(2);
    }
  }
}

TEST_CASE("the head says what was put into it") {
  const Bench bench;
  const auto model = demo_model(5000);
  auto source = demo_source(model, AeadAlgorithm::aes_256_gcm);
  source.hard_expiry_s = 1'900'000'000;
  source.metadata = R"({"schema":"ü"})";
  bench.seal(source);
  const Package package = bench.open();
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

TEST_CASE("two packages of one source have different keys") {
  const Bench bench;
  const auto model = demo_model(5000);
  const auto source = demo_source(model, AeadAlgorithm::aes_256_gcm);
  const Sealed first = seal_package(source, {&bench.publisher}, bench.directory.at("first.ewp"), {});
  const Sealed second = seal_package(source, {&bench.publisher}, bench.directory.at("second.ewp"), {});
  REQUIRE(first.content_key.has_value());
  CHECK(first.package_id != second.package_id);
  CHECK_FALSE(is_equal_secretly(first.content_key->bytes(), second.content_key->bytes()));
  const std::string one = content_of(bench.directory.at("first.ewp"));
  const std::string other = content_of(bench.directory.at("second.ewp"));
  CHECK(one.substr(kPayloadAt) != other.substr(kPayloadAt));
  CHECK(one.find(text_of(Bytes(model).first(64))) == std::string::npos);
}

TEST_CASE("progress ends with everything, and what it throws leaves no file") {
  const Bench bench;
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
  const Bench bench;
  const auto model = demo_model(100);
  const struct {
    const char* word;
    void (*change)(PackageSource&);
  } rows[] = {
      {"name", [](PackageSource& s) { s.name = "Demo"; }},
      {"name", [](PackageSource& s) { s.name = ""; }},
      {"name", [](PackageSource& s) { s.name = ".demo"; }},
      {"name", [](PackageSource& s) { s.name = std::string(65, 'a'); }},
      {"version", [](PackageSource& s) { s.version = "1 0"; }},
      {"version", [](PackageSource& s) { s.version = std::string(33, '1'); }},
      {"target", [](PackageSource& s) { s.target = "linux/arm"; }},
      {"publisher", [](PackageSource& s) { s.publisher = ""; }},
      {"counters", [](PackageSource& s) { s.min_counter = 0; }},
      {"counters", [](PackageSource& s) { s.min_counter = 8; }},
      {"chunk size", [](PackageSource& s) { s.chunk_bytes = 65'535; }},
      {"chunk size", [](PackageSource& s) { s.chunk_bytes = 1u << 23; }},
      {"members", [](PackageSource& s) { s.members.clear(); }},
      {"entry", [](PackageSource& s) { s.members[0].is_entry = false; }},
      {"entry", [](PackageSource& s) { s.members[1].is_entry = true; }},
      {"two", [](PackageSource& s) { s.members[1].name = s.members[0].name; }},
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
  const Bench bench;
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
  CHECK(Package::unverified(bench.directory.at("beside.ewp")).facts().signers.size() == 2);
  check_refusal(Code::untrusted_package, {"signatures"}, [&] { bench.open("in-place.ewp"); });

  std::vector<const PrivateKey*> many(16, &second);
  check_refusal(Code::bad_input, {"signatures", "17"},
                [&] { resign(bench.open(), bench.directory.at("many.ewp"), many, true); });
  std::string damaged = before;
  damaged.back() ^= 1;
  write_file(bench.directory.at("damaged.ewp"), damaged);
  check_refusal(Code::malformed_package, {"chunk"}, [&] {
    resign(Package::unverified(bench.directory.at("damaged.ewp")), bench.directory.at("not.ewp"), {&second}, false);
  });
  CHECK(bench.directory.names().count("not.ewp") == 0);
}

TEST_CASE("a key that is not the one committed to is refused before a byte is decrypted") {
  const Bench bench;
  const auto model = demo_model(5000);
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  const Secret other = secret_of("another key");
  const Package package = bench.open();
  check_refusal(Code::wrong_key, {"content key"}, [&] { package.open_payload(&other, 1); });
  check_refusal(Code::wrong_key, {"got none"}, [&] { package.open_payload(nullptr, 1); });
}

TEST_CASE("whoever has the content key still cannot change a chunk") {
  // The insider: a device that may open the package seals another chunk under the same key, with a tag that fits.
  const Bench bench;
  const auto model = demo_model(70'000);
  auto forged_model = model;
  forged_model[5] ^= std::byte{1};
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  const std::string genuine = content_of(bench.path());
  const PrivateKey insider = publisher_key("insider");
  seal_demo(bench.directory.at("forged.ewp"), demo_source(forged_model, AeadAlgorithm::aes_256_gcm), {&insider});
  const std::string forged = content_of(bench.directory.at("forged.ewp"));
  // The forgery is right under the key: its own file opens, for those who trust the insider.
  CHECK_NOTHROW(
      Package(bench.directory.at("forged.ewp"), demo_root(insider), demo_policy()).open_payload(&bench.content_key, 1));

  std::string chunk_only = genuine;
  chunk_only.replace(kPayloadAt, 65'536, forged, kPayloadAt, 65'536);
  std::string with_tag = chunk_only;
  with_tag.replace(kTableAt + 32, 16, forged, kTableAt + 32, 16);
  std::string with_row = chunk_only;
  with_row.replace(kTableAt, 48, forged, kTableAt, 48);
  std::string with_body = with_row;
  with_body.replace(32, 32, forged, 32, 32).replace(64, 776, forged, 64, 776);
  for (const std::string& content : {chunk_only, with_tag, with_row, with_body}) {
    CHECK(is_refused(bench, content));
  }
}

TEST_CASE("a chunk whose tag does not fit is refused though its hash is signed") {
  const Bench bench;
  const auto model = demo_model(70'000);
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  std::string content = content_of(bench.path());
  content[kTableAt + 40] ^= 1;  // in the first chunk's tag
  write_file(bench.path(), resigned(content, bench.publisher));
  check_refusal(Code::malformed_package, {"chunk 0", "tag"}, [&] { bench.open_whole(); });
}

TEST_CASE("no two chunks can change places") {
  const Bench bench;
  // No two chunks are alike.
  auto model = demo_model(16 * 65'536 - 4096 - 8);
  for (size_t i = 0; i < model.size(); ++i) model[i] ^= static_cast<std::byte>(i >> 16);
  for (const auto& aead : kModes) {
    auto source = demo_source(model, aead);
    bench.seal(source);
    const std::string whole = content_of(bench.path());
    const uint64_t payload_at = bench.open().facts().payload_offset;
    REQUIRE(bench.open().facts().chunk_count == 16);
    int count = 0;
    for (size_t a = 0; a < 16; ++a) {
      for (size_t b = a + 1; b < 16; ++b) {
        const size_t size = b == 15 ? whole.size() - payload_at - 15 * 65'536 : 65'536;
        std::string chunks = whole;
        chunks.replace(payload_at + a * 65'536, size, whole, payload_at + b * 65'536, size);
        chunks.replace(payload_at + b * 65'536, size, whole, payload_at + a * 65'536, size);
        CHECK(is_refused(bench, chunks));
        std::string rows = chunks;
        rows.replace(kTableAt + 48 * a, 48, whole, kTableAt + 48 * b, 48);
        rows.replace(kTableAt + 48 * b, 48, whole, kTableAt + 48 * a, 48);
        CHECK(is_refused(bench, rows));
        ++count;
      }
    }
    CHECK(count == 120);
  }
}

TEST_CASE("no part of one package fits into another") {
  const Bench bench;
  const auto model = demo_model(70'000);
  auto other_model = model;
  other_model[0] ^= std::byte{1};
  for (const auto& aead : kModes) {
    bench.seal(demo_source(model, aead), "a.ewp");
    seal_demo(bench.directory.at("b.ewp"), demo_source(other_model, aead), {&bench.publisher}, "another cek");
    const std::string a = content_of(bench.directory.at("a.ewp"));
    const std::string b = content_of(bench.directory.at("b.ewp"));
    REQUIRE(a.size() == b.size());
    const struct {
      size_t offset;
      size_t size;
    } parts[] = {{0, 64},
                 {32, 32},
                 {64, 776},
                 {64, 448},
                 {64 + 96, 32},
                 {64 + 128, 64},
                 {64 + 448, 160},
                 {64 + 776, 144},
                 {kTableAt, 48},
                 {kTableAt, 96},
                 {kTableAt + 32, 16},
                 {kPayloadAt, 65'536},
                 {kPayloadAt, a.size() - kPayloadAt},
                 {0, kTableAt},
                 {0, kPayloadAt},
                 {64, kPayloadAt - 64}};
    int different = 0;
    for (const auto& part : parts) {
      std::string spliced = a;
      spliced.replace(part.offset, part.size, b, part.offset, part.size);
      if (spliced == a || spliced == b) continue;
      CAPTURE(part.offset);
      CAPTURE(part.size);
      ++different;
      CHECK(is_refused(bench, spliced));
    }
    CHECK(different >= 8);
  }
}

TEST_CASE("a file that is cut anywhere, or goes on, is refused") {
  const Bench bench;
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

TEST_CASE("what is not a regular file is refused") {
  const Bench bench;
  const auto model = demo_model(100);
  bench.seal(demo_source(model, std::nullopt));
  std::filesystem::create_symlink(bench.path(), bench.directory.at("link.ewp"));
  check_refusal(Code::bad_input, {"link.ewp", "symbolic link"}, [&] { bench.open("link.ewp"); });
  REQUIRE(mkfifo(bench.directory.at("pipe.ewp").c_str(), 0600) == 0);
  check_refusal(Code::bad_input, {"pipe.ewp", "regular file"}, [&] { bench.open("pipe.ewp"); });
  CHECK_THROWS_AS(bench.open("missing.ewp"), std::filesystem::filesystem_error);
}

TEST_CASE("a file that changes while it is open gives the signed bytes or an error") {
  const Bench bench;
  const auto model = demo_model(1'000'000);
  for (const auto& aead : kModes) {
    bench.seal(demo_source(model, aead));
    const std::string whole = content_of(bench.path());
    const Package package = bench.open();
    std::atomic<bool> is_over{false};
    // Writes into the payload, cuts the file and makes it whole again, as fast as it can.
    std::thread scribbler([&] {
      const int file = open(bench.path().c_str(), O_WRONLY | O_CLOEXEC);
      for (uint32_t round = 0; !is_over; ++round) {
        const char junk = static_cast<char>(round);
        const auto place = static_cast<off_t>(kPayloadAt + round * 7919 % 900'000);
        if (pwrite(file, &junk, 1, place) != 1) break;
        if (round % 16 == 0 && ftruncate(file, place) != 0) break;
        if (pwrite(file, whole.data(), whole.size(), 0) != static_cast<ssize_t>(whole.size())) break;
      }
      close(file);
    });
    constexpr int kOpenings = 100;
    int good = 0;
    int refused = 0;
    for (int i = 0; i < kOpenings; ++i) {
      try {
        const Block payload = bench.payload(package);
        const bool is_right = std::memcmp(payload.data(), model.data(), model.size()) == 0;
        CHECK(is_right);
        ++good;
      } catch (const Error& error) {
        const bool is_expected = error.code() == Code::malformed_package || error.code() == Code::bad_input;
        CHECK(is_expected);
        ++refused;
      }
    }
    is_over = true;
    scribbler.join();
    CHECK(good + refused == kOpenings);
  }
}

TEST_CASE("the lowest chunk that is damaged is the one that is named") {
  const Bench bench;
  const auto model = demo_model(40 * 65'536);
  bench.seal(demo_source(model, std::nullopt));
  std::string content = content_of(bench.path());
  const uint64_t payload_at = bench.open().facts().payload_offset;
  content[payload_at + 3 * 65'536] ^= 1;
  write_file(bench.path(), content);
  check_refusal(Code::malformed_package, {"chunk 3"}, [&] { bench.payload(bench.open(), 1); });
  check_refusal(Code::malformed_package, {"chunk 3"}, [&] { bench.open().check_stored(1); });
}
