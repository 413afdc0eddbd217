#include "system/boot_id.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

namespace edgeward {

TEST_CASE("a boot id is the sixteen bytes of the kernel's text") {
  const BootId id = boot_id_of("01234567-89ab-cdef-FEDC-ba9876543210\n");
  CHECK(id == boot_id_of("01234567-89ab-cdef-fedc-ba9876543210"));
  const unsigned bytes[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                            0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
  for (size_t i = 0; i < id.size(); ++i) CHECK(id[i] == static_cast<std::byte>(bytes[i]));
}

TEST_CASE("any other text is no boot id") {
  const std::string text = "01234567-89ab-cdef-fedc-ba9876543210";
  REQUIRE(boot_id_of(text) != BootId{});
  for (size_t size = 0; size < text.size(); ++size) {
    CAPTURE(size);
    CHECK(boot_id_of(text.substr(0, size)) == BootId{});
  }
  CHECK(boot_id_of(text + "0") == BootId{});
  CHECK(boot_id_of(text + "\n\n") == BootId{});
  for (const char other : {'g', ' ', '+', '\0'}) CHECK(boot_id_of(std::string(1, other) + text.substr(1)) == BootId{});
  CHECK(boot_id_of(std::string(36, '-')) == BootId{});
  CHECK(boot_id_of(std::string(36, '0')) == BootId{});
}

TEST_CASE("this boot's id is what the kernel says, each time") {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string line;
  REQUIRE(std::getline(file, line));
  CHECK(boot_id() == boot_id_of(line));
  CHECK(boot_id() == boot_id());
  CHECK(boot_id() != BootId{});
}

}  // namespace edgeward
