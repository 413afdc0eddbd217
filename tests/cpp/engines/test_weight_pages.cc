#include "engines/weight_pages.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <string>

#include "rigs/child.h"
#include "rigs/directory.h"
#include "rigs/mapping.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "rigs/unmapping.h"
#include "system/resident.h"

namespace edgeward {
namespace {

constexpr size_t kModelBytes = size_t{3} << 20;

// A model's file, its bytes in memory, and two ranges of weights in it.
struct Model {
  explicit Model(bool is_secret = false) {
    std::string text(kModelBytes, '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 4096);
    write(0, text);
    source = std::make_shared<const File>("model file", path, File::Links::followed);
    block = is_secret ? Block::secret(kModelBytes) : Block::pages(kModelBytes);
    source->read_at(0, {block.data(), kModelBytes});
    expected = text;
    const Bytes bytes{block.data(), kModelBytes};
    const std::vector<Bytes> weights = {bytes.subspan(1000, 300'000), bytes.subspan(400'003, 2'000'000)};
    pages = WeightPages::try_make(block, weights, WeightSource::of(source));
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
  const WeightSource source = WeightSource::of(model.source);
  CHECK(WeightPages::try_make(model.block, weights, source) != nullptr);
  CHECK(WeightPages::try_make(model.block, weights, {}) == nullptr);
  CHECK(WeightPages::try_make(model.block, small, source) == nullptr);
  CHECK(WeightPages::try_make(model.block, {}, source) == nullptr);
  CHECK(WeightPages::try_make(model.block.part(0, kModelBytes - 1), weights, source) == nullptr);
}

TEST_CASE("nobody can touch pages that are away but under a lock, and then they are what they were") {
  const Model model;
  auto* bytes = static_cast<volatile std::byte*>(model.block.data());
  const auto is_zero_in_child = [&](size_t at) {
    return outcome_in_child([&] {
      signal(SIGSEGV, SIG_DFL);  // a sanitizer and doctest have handlers
      return bytes[at] == std::byte{0};
    });
  };
  {
    const WeightPages::Lock lock(model.pages.get());
    model.pages->set_aside();
    CHECK(is_zero_in_child(4096) == "");
    model.pages->give_back();
  }
  for (int i = 0; i < 2; ++i) {
    CHECK(is_zero_in_child(4096) == "dies by signal 11");
    CHECK(is_zero_in_child(2'396'159) == "dies by signal 11");
    CHECK(bytes[4095] == static_cast<std::byte>(model.expected[4095]));
    const WeightPages::Lock lock(model.pages.get());
    CHECK(is_zero_in_child(4096) == "");
    CHECK_FALSE(model.pages->were_read());
  }
  {
    const WeightPages::Lock lock(model.pages.get());
    model.pages->restore();
  }
  CHECK(model.is_whole());
}

TEST_CASE("pages stay as long as another block has the memory, and for good") {
  const Model model;
  {
    const Block other = model.block.part(0, 100);
    model.set_aside(true);
  }
  CHECK(model.pages->is_kept());
  CHECK_FALSE(model.pages->are_away());
  model.set_aside(true);
  CHECK(model.is_whole());
}

TEST_CASE("a source is let go when pages stay for good") {
  const Model model;
  const long open_count = model.source.use_count();
  model.set_aside(true);
  CHECK(model.source.use_count() == open_count);
  model.pages->keep();
  CHECK(model.source.use_count() < open_count);
}

TEST_CASE("a secret's pages are in no core dump and locked as they were, wherever they are") {
  const Model model(true);
  const bool was_locked = try_mapping_of(model.block.data() + 4096)->flags.count("lo") == 1;
  const auto check_here = [&](const std::byte* page) {
    const auto mapping = try_mapping_of(page);
    REQUIRE(mapping);
    CHECK(mapping->flags.count("dd") == 1);
    CHECK((mapping->flags.count("lo") == 1) == was_locked);
  };
  const auto aside = [&] {  // the mapping that begins with the first page's bytes
    for (const Mapping& mapping : mappings()) {
      const auto* begin = std::bit_cast<const std::byte*>(mapping.begin);
      if (mapping.permissions == "rw-p" && mapping.end - mapping.begin == 299'008 - 4096 &&
          begin != model.block.data() + 4096 && begin[100] == static_cast<std::byte>(model.expected[4196]))
        return begin;
    }
    return static_cast<const std::byte*>(nullptr);
  };
  for (const bool is_away : {false, true}) {
    model.pages->set_aside();
    REQUIRE_FALSE(model.pages->is_kept());
    REQUIRE(aside() != nullptr);
    check_here(aside());
    if (is_away) {
      model.pages->give_back();
      CHECK(aside() == nullptr);
    }
    model.pages->restore();
    CHECK(model.is_whole());
    check_here(model.block.data() + 4096);
  }
}

TEST_CASE("a secret's pages are wiped before the system has them, given back or put back") {
  for (const bool is_away : {false, true}) {
    const auto wiped = [&](bool is_secret) {
      return bytes_when_unmapped([&](const auto& watch) {
        const Model model(is_secret);
        const auto before = mappings();
        model.pages->set_aside();
        for (const Mapping& mapping : mappings()) {
          const auto is_new = std::none_of(before.begin(), before.end(), [&](const Mapping& other) {
            return other.begin <= mapping.begin && mapping.end <= other.end;
          });
          if (is_new && mapping.end - mapping.begin == 299'008 - 4096) watch(std::bit_cast<void*>(mapping.begin));
        }
        is_away ? model.pages->give_back() : model.pages->restore();
      });
    };
    CAPTURE(is_away);
    const Octets secret = wiped(true);
    CHECK(secret.size() == 299'008 - 4096);
    CHECK(is_zero(secret));
    CHECK_FALSE(is_zero(wiped(false)));  // the watching itself
  }
}

TEST_CASE("what was read of a secret before its source failed is gone") {
  const Model model(true);
  model.set_aside(true);
  REQUIRE(truncate(model.path.c_str(), 1 << 20) == 0);
  check_refusal(Code::bad_input, {"model.tflite"}, [&] { model.pages->restore(); });
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // where munlock does nothing
  CHECK(resident_bytes(model.block.data(), kModelBytes) < kModelBytes - 2'200'000);
  CHECK_FALSE(model.pages->were_read());
#endif
  CHECK(model.block.data()[4096] == std::byte{0});
}

}  // namespace edgeward
