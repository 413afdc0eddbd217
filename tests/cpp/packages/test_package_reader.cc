// Packages: what is sealed is what is opened; nothing else is.
#include "packages/package_reader.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "error.h"
#include "rigs/package_bench.h"
#include "rigs/refusal.h"

using namespace edgeward;

TEST_CASE("what was sealed is what is opened, whatever its size, mode and threads") {
  const PackageBench bench;
  for (const size_t size : {1, 63, 64, 4095, 4096, 4097, 65'535, 65'536, 65'537, 131'072, 200'001}) {
    const auto model = demo_model(size);
    for (const auto& aead : kModes) {
      CAPTURE(size);
      auto source = demo_source(model, aead);
      source.members.push_back({"more.bin", MemberType::auxiliary, false, Bytes(model).first(1)});
      const Digest package_id = bench.seal(source);
      const PackageReader package = bench.open();
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
      for (size_t i = 0; i < source.members.size(); ++i) {
        const Block member = package.read_member(package.facts().members[i], bench.key_to(package));
        CHECK(text_of({member.data(), member.size_bytes()}) == text_of(source.members[i].bytes));
      }
      package.check_stored(2);
      package.check_members(bench.key_to(package));
    }
  }
}

TEST_CASE(
    "parts of a member are read once more as they were, whatever chunks they lie in, and not when one has changed") {
  const PackageBench bench;
  const auto model = demo_model(400'000);
  for (const auto& aead : kModes) {
    auto source = demo_source(model, aead);
    source.members.insert(source.members.begin(),
                          {"first.bin", MemberType::auxiliary, false, Bytes(model).first(5000)});
    bench.seal(source);
    const PackageReader package = bench.open();
    const uint64_t size = package.entry().size_bytes;
    REQUIRE(package.entry().offset > 0);
    for (const int threads : {1, 3}) {
      std::vector<std::byte> read(size);
      std::vector<FilePart> parts;
      std::vector<std::byte> expected(size);
      for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 1},
                                       {10, 10},
                                       {60'000, 62'000},
                                       {62'000, 150'000},
                                       {200'000, 200'001},
                                       {300'000, 400'000}}) {
        parts.push_back({begin, std::span(read).subspan(begin, end - begin)});
        std::copy(model.begin() + static_cast<ptrdiff_t>(begin), model.begin() + static_cast<ptrdiff_t>(end),
                  expected.begin() + static_cast<ptrdiff_t>(begin));
      }
      package.read_parts(package.entry(), parts, bench.key_to(package), threads);
      CHECK(read == expected);
    }
    std::string content = content_of(bench.path());
    content[package.facts().payload_offset + 2 * 65'536 + 9] ^= 1;
    const int file = ::open(bench.path().c_str(), O_WRONLY | O_CLOEXEC);  // the reader has it open
    REQUIRE(pwrite(file, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
    close(file);
    std::vector<std::byte> read(size);
    const auto read_at = [&](size_t begin) {
      const FilePart part{begin, std::span(read).subspan(begin, 100)};
      package.read_parts(package.entry(), {&part, 1}, bench.key_to(package), 2);
    };
    CHECK_NOTHROW(read_at(0));
    check_refusal(Code::malformed_package, {"chunk 2", "signed"}, [&] { read_at(2 * 65'536); });
    if (aead) {
      const FilePart part{0, std::span(read).first(100)};
      check_refusal(Code::wrong_key, {}, [&] { package.read_parts(package.entry(), {&part, 1}, nullptr, 1); });
    }
  }
}

TEST_CASE("a key that is not the one committed to is refused before a byte is decrypted") {
  const PackageBench bench;
  const auto model = demo_model(5000);
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  const Secret other = secret_of("another key");
  const PackageReader package = bench.open();
  check_refusal(Code::wrong_key, {"content key"}, [&] { package.open_payload(&other, 1); });
  check_refusal(Code::wrong_key, {"got none"}, [&] { package.open_payload(nullptr, 1); });
}

TEST_CASE("whoever has the content key still cannot change a chunk") {
  // The insider: a device that may open the package seals another chunk under the same key, with a tag that fits.
  const PackageBench bench;
  const auto model = demo_model(70'000);
  auto forged_model = model;
  forged_model[5] ^= std::byte{1};
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  const std::string genuine = content_of(bench.path());
  const PrivateKey insider = publisher_key("insider");
  seal_demo(bench.directory.at("forged.ewp"), demo_source(forged_model, AeadAlgorithm::aes_256_gcm), {&insider});
  const std::string forged = content_of(bench.directory.at("forged.ewp"));
  // The forgery is right under the key: its own file opens, for those who trust the insider.
  CHECK_NOTHROW(PackageReader(bench.directory.at("forged.ewp"), demo_root(insider), demo_policy())
                    .open_payload(&bench.content_key, 1));

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
  const PackageBench bench;
  const auto model = demo_model(70'000);
  bench.seal(demo_source(model, AeadAlgorithm::aes_256_gcm));
  std::string content = content_of(bench.path());
  content[kTableAt + 40] ^= 1;  // in the first chunk's tag
  write_file(bench.path(), resigned(content, bench.publisher));
  check_refusal(Code::malformed_package, {"chunk 0", "tag"}, [&] { bench.open_whole(); });
}

TEST_CASE("no two chunks can change places") {
  const PackageBench bench;
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
  const PackageBench bench;
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

TEST_CASE("what is not a regular file is refused") {
  const PackageBench bench;
  const auto model = demo_model(100);
  bench.seal(demo_source(model, std::nullopt));
  std::filesystem::create_symlink(bench.path(), bench.directory.at("link.ewp"));
  check_refusal(Code::bad_input, {"link.ewp", "symbolic link"}, [&] { bench.open("link.ewp"); });
  REQUIRE(mkfifo(bench.directory.at("pipe.ewp").c_str(), 0600) == 0);
  check_refusal(Code::bad_input, {"pipe.ewp", "regular file"}, [&] { bench.open("pipe.ewp"); });
  CHECK_THROWS_AS(bench.open("missing.ewp"), std::filesystem::filesystem_error);
}

TEST_CASE("a file that changes while it is open gives the signed bytes or an error") {
  const PackageBench bench;
  const auto model = demo_model(1'000'000);
  for (const auto& aead : kModes) {
    bench.seal(demo_source(model, aead));
    const std::string whole = content_of(bench.path());
    const PackageReader package = bench.open();
    std::atomic<bool> is_over{false};
    // Writes into the payload, cuts the file and makes it whole again, as fast as it can.
    std::thread scribbler([&] {
      const int file = open(bench.path().c_str(), O_WRONLY | O_CLOEXEC);
      for (uint32_t round = 0; !is_over; ++round) {
        const char junk = static_cast<char>(round);
        const auto offset = static_cast<off_t>(kPayloadAt + round * 7919 % 900'000);
        if (pwrite(file, &junk, 1, offset) != 1) break;
        if (round % 16 == 0 && ftruncate(file, offset) != 0) break;
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

TEST_CASE("digests of members come with the payload, whoever opens which chunk") {
  const PackageBench bench;
  for (const size_t model_bytes : {size_t{1}, size_t{65'536}, size_t{65'537}, size_t{40 * 65'536 + 7}}) {
    for (const int threads : {1, 2, 5}) {
      CAPTURE(model_bytes);
      CAPTURE(threads);
      const auto model = demo_model(model_bytes);
      bench.seal(demo_source(model, std::nullopt));
      const PackageReader package = bench.open();
      auto [block, digests] = package.open_digested_payload(nullptr, threads);
      const auto& members = package.facts().members;
      REQUIRE(digests.size() == members.size());
      for (size_t i = 0; i < members.size(); ++i) {
        CHECK(digests[i] == members[i].digest);
        CHECK(sha256({block.data() + members[i].offset, static_cast<size_t>(members[i].size_bytes)}) == digests[i]);
      }
      CHECK_NOTHROW(package.check_digests(digests));
      digests.back()[0] ^= std::byte{1};
      check_refusal(Code::malformed_package, {members.back().name, "expected the digest in its row"},
                    [&] { package.check_digests(digests); });
    }
  }
}

TEST_CASE("the lowest chunk that is damaged is the one that is named") {
  const PackageBench bench;
  const auto model = demo_model(40 * 65'536);
  bench.seal(demo_source(model, std::nullopt));
  std::string content = content_of(bench.path());
  const uint64_t payload_at = bench.open().facts().payload_offset;
  content[payload_at + 3 * 65'536] ^= 1;
  write_file(bench.path(), content);
  check_refusal(Code::malformed_package, {"chunk 3"}, [&] { bench.payload(bench.open(), 1); });
  check_refusal(Code::malformed_package, {"chunk 3"}, [&] { bench.open().check_stored(1); });
  check_refusal(Code::malformed_package, {"chunk 3"}, [&] { bench.open().check_members(nullptr); });
}
