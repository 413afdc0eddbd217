#include "engines/weight_pages.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "rigs/directory.h"
#include "rigs/refusal.h"
#include "system/resident.h"

namespace edgeward {
namespace {

constexpr size_t kModelBytes = size_t{3} << 20;

// A model's file, its bytes in memory, and two ranges of weights in it.
struct Model {
  Model() {
    std::string text(kModelBytes, '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 4096);
    write(0, text);
    source = std::make_shared<const File>("model file", path, File::Links::followed);
    block = read_file(*source, 1);
    expected = text;
    const Bytes bytes{block.data(), kModelBytes};
    const std::vector<Bytes> weights = {bytes.subspan(1000, 300'000), bytes.subspan(400'003, 2'000'000)};
    pages = WeightPages::try_make(bytes, weights, source);
    REQUIRE(pages != nullptr);
  }
  void write(off_t offset, const std::string& text) const {
    const int number = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(pwrite(number, text.data(), text.size(), offset) == static_cast<ssize_t>(text.size()));
    close(number);
  }
  void set_aside(bool is_away) const {
    pages->set_aside();
    if (is_away) pages->give_back();
  }
  bool is_whole() const { return std::equal(expected.begin(), expected.end(), reinterpret_cast<char*>(block.data())); }

  Directory folder;
  std::string path = folder.at("model.tflite");
  std::string expected;
  std::shared_ptr<const File> source;
  Block block;
  std::unique_ptr<WeightPages> pages;
};

}  // namespace

TEST_CASE("pages are restored, from where they are meanwhile or from the file, as often as that happens") {
  const Model model;
  CHECK(model.pages->size_bytes() > 2'200'000);
  CHECK(model.pages->size_bytes() <= 2'300'000);
  for (int i = 0; i < 6; ++i) {
    CAPTURE(i);
    model.pages->set_aside();
    REQUIRE_FALSE(model.pages->is_kept());
    model.pages->set_aside();
    CHECK_FALSE(model.pages->are_away());
    if (i % 2 == 1) {
      model.pages->give_back();
      model.pages->give_back();
      model.pages->set_aside();
      CHECK(model.pages->are_away());
    }
    CHECK(resident_bytes(model.block.data(), kModelBytes) < kModelBytes - 2'200'000);
    CHECK_FALSE(model.pages->were_read());
    model.pages->restore();
    model.pages->restore();
    CHECK_FALSE(model.pages->are_away());
    CHECK_FALSE(model.pages->is_kept());
    CHECK(model.is_whole());
  }
}

TEST_CASE("whoever reads or writes one of them is found out, and then they stay") {
  for (const bool is_away : {false, true}) {
    for (const size_t at : {size_t{4096}, size_t{299'000}, size_t{1'500'000}, size_t{2'390'000}}) {
      for (const bool writes : {false, true}) {
        CAPTURE(is_away);
        CAPTURE(at);
        CAPTURE(writes);
        const Model model;
        model.set_aside(is_away);
        auto* bytes = static_cast<volatile std::byte*>(model.block.data());
        if (writes) {
          bytes[at] = std::byte{1};
        } else {
          CHECK(bytes[at] == std::byte{0});
        }
        CHECK(model.pages->were_read());
        model.pages->restore();
        CHECK(model.is_whole());
        CHECK(model.pages->is_kept());
        model.set_aside(is_away);
        CHECK(model.is_whole());
      }
    }
  }
}

TEST_CASE("what lies beside them stays, and whoever reads it is nobody's concern") {
  for (const bool is_away : {false, true}) {
    const Model model;
    model.set_aside(is_away);
    for (const size_t at :
         {size_t{0}, size_t{999}, size_t{301'056}, size_t{350'000}, size_t{2'404'352}, kModelBytes - 1})
      CHECK(static_cast<volatile char*>(static_cast<void*>(model.block.data()))[at] == model.expected[at]);
    CHECK_FALSE(model.pages->were_read());
  }
}

TEST_CASE("a file that was written to is refused, at whichever byte, and one that was renamed or deleted is not") {
  for (const off_t at : {off_t{4096}, off_t{299'007}, off_t{1'500'001}, off_t{2'396'159}}) {
    CAPTURE(at);
    const Model model;
    model.set_aside(true);
    model.write(at, std::string(1, static_cast<char>(model.expected[static_cast<size_t>(at)] ^ 1)));
    check_refusal(Code::bad_input, {"model.tflite", "loaded"}, [&] { model.pages->restore(); });
    check_refusal(Code::bad_input, {"model.tflite", "loaded"}, [&] { model.pages->keep(); });
    CHECK_FALSE(model.pages->is_kept());
    CHECK(model.pages->are_away());
    CHECK_FALSE(model.pages->were_read());
    model.write(at, std::string(1, model.expected[static_cast<size_t>(at)]));
    model.pages->restore();
    CHECK(model.is_whole());
  }
  const Model model;
  model.set_aside(true);
  unlink(model.path.c_str());
  model.pages->restore();
  CHECK(model.is_whole());
}

TEST_CASE("that somebody has read them is remembered while the file has other bytes") {
  const Model model;
  model.set_aside(true);
  CHECK(static_cast<volatile std::byte*>(model.block.data())[4096] == std::byte{0});
  model.write(4096, std::string(1, static_cast<char>(model.expected[4096] ^ 1)));
  check_refusal(Code::bad_input, {"loaded"}, [&] { model.pages->restore(); });
  CHECK(model.pages->were_read());
}

TEST_CASE("a file that became shorter is refused") {
  const Model model;
  model.set_aside(true);
  REQUIRE(truncate(model.path.c_str(), 1 << 20) == 0);
  check_refusal(Code::bad_input, {"model.tflite"}, [&] { model.pages->restore(); });
}

TEST_CASE("a file is not needed for what is only aside") {
  const Model model;
  model.set_aside(false);
  REQUIRE(truncate(model.path.c_str(), 0) == 0);
  model.pages->restore();
  CHECK(model.is_whole());
}

TEST_CASE("pages that are kept stay") {
  for (const bool is_away : {false, true}) {
    const Model model;
    model.set_aside(is_away);
    model.pages->keep();
    CHECK(model.pages->is_kept());
    CHECK(model.is_whole());
    model.set_aside(is_away);
    CHECK_FALSE(model.pages->are_away());
    CHECK(model.is_whole());
  }
}

TEST_CASE("there are none without a file, of another file, or of small weights") {
  const Model model;
  const Bytes bytes{model.block.data(), kModelBytes};
  const std::vector<Bytes> weights = {bytes.subspan(0, 1 << 20)};
  const std::vector<Bytes> small = {bytes.subspan(1, 68'000), bytes.subspan(200'000, 0)};
  CHECK(WeightPages::try_make(bytes, weights, model.source) != nullptr);
  CHECK(WeightPages::try_make(bytes, weights, nullptr) == nullptr);
  CHECK(WeightPages::try_make(bytes, small, model.source) == nullptr);
  CHECK(WeightPages::try_make(bytes, {}, model.source) == nullptr);
  CHECK(WeightPages::try_make(bytes.subspan(0, kModelBytes - 1), weights, model.source) == nullptr);
}

}  // namespace edgeward
