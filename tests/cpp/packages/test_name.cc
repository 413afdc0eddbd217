// Names: which texts are names, and which of them one file could have.
#include "packages/name.h"

#include <doctest/doctest.h>

#include <string>

using namespace edgeward;

TEST_CASE("a character of a name is one of those that the format lists") {
  const std::string allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  size_t count = 0;
  for (int byte = 0; byte < 256; ++byte) {
    CAPTURE(byte);
    const bool is_allowed = allowed.find(static_cast<char>(byte)) != std::string::npos;
    CHECK(is_name_character(static_cast<char>(byte)) == is_allowed);
    count += is_allowed;
  }
  CHECK(count == allowed.size());
}

TEST_CASE("a name has a character and no dot first") {
  const struct {
    const char* text;
    bool is_name, is_target;
  } rows[] = {
      {"demo", true, true},         {"Edge-Manager-Model-2", true, false},
      {"linux-x86_64", true, true}, {"Linux-x86_64", true, false},
      {"-a", true, true},           {"_.a", true, true},
      {"", false, false},           {".demo", false, false},
      {"..", false, false},         {"a b", false, false},
      {"a/b", false, false},        {"a\xC3\xA4", false, false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CHECK(is_name(row.text) == row.is_name);
    CHECK(is_target(row.text) == row.is_target);
  }
  CHECK_FALSE(is_name(std::string_view("a\0b", 3)));
}

TEST_CASE("a folded name has no capitals, and is otherwise the same") {
  CHECK(folded("Labels.TXT") == "labels.txt");
  CHECK(folded("az-AZ_09.@[`{") == "az-az_09.@[`{");
  CHECK(folded("") == "");
}
