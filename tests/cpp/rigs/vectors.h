// The published vectors of tests/vectors: a file of lines of fields, and the number of them that the README beside it
// promises. A file that lost a line, or was not read at all, fails the test.
#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "rigs/octets.h"

namespace edgeward {

class Vector {
 public:
  Vector(const std::vector<std::string>& names, const std::string& line) {
    std::istringstream fields(line);
    for (const std::string& name : names) {
      REQUIRE_MESSAGE(static_cast<bool>(fields >> fields_[name]), "a line without ", name, ": ", line);
    }
    std::string more;
    REQUIRE_FALSE(static_cast<bool>(fields >> more));
  }

  const std::string& text(const std::string& name) const { return fields_.at(name); }
  Octets bytes(const std::string& name) const { return text(name) == "-" ? Octets() : from_hex(text(name)); }
  size_t number(const std::string& name) const { return std::stoul(text(name)); }

 private:
  std::map<std::string, std::string> fields_;
};

// `set` is a folder of tests/vectors, `file` one of its files, whose first line names the fields.
inline std::vector<Vector> read_vectors(const std::string& set, const std::string& file) {
  const std::string folder = VECTORS_PATH "/" + set + "/";
  std::ifstream lines(folder + file);
  std::string line;
  REQUIRE_MESSAGE(static_cast<bool>(std::getline(lines, line)), "cannot read ", folder, file);
  REQUIRE(line.starts_with("# "));
  std::istringstream header(line.substr(2));
  const std::vector<std::string> names{std::istream_iterator<std::string>(header), {}};
  std::vector<Vector> vectors;
  while (std::getline(lines, line)) vectors.emplace_back(names, line);

  std::ifstream readme(folder + "README.md");
  const std::string text{std::istreambuf_iterator<char>(readme), {}};
  std::smatch row;
  REQUIRE_MESSAGE(std::regex_search(text, row, std::regex("\\| `" + file + "` \\| ([0-9]+) \\|")), folder,
                  "README.md has no row for ", file);
  REQUIRE(vectors.size() == std::stoul(row[1]));
  REQUIRE_FALSE(vectors.empty());
  return vectors;
}

}  // namespace edgeward
