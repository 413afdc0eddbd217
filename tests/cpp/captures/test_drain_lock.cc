#include "captures/drain_lock.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "rigs/child.h"
#include "rigs/directory.h"

namespace edgeward {

using Names = std::vector<std::string>;

TEST_CASE("a lock has one holder, says who that is, and what it has open") {
  const Directory directory;
  DrainLock lock(directory.at(""));
  REQUIRE(lock.try_acquire());
  CHECK(lock.open_segments().empty());
  lock.write("/data/captures", {"2.open", "3.open"});
  CHECK(mode_of(directory.at(std::string(kDrainLockName))) == 0600);

  DrainLock other(directory.at(""));
  CHECK_FALSE(other.try_acquire());
  CHECK(other.holder() == "process " + std::to_string(getpid()) + ", which drains into \"/data/captures\"");
  CHECK(other.open_segments() == Names{"2.open", "3.open"});
  lock.write("/data/captures", {});
  CHECK(other.open_segments().empty());
}

TEST_CASE("a lock is free when its holder ends, and still says what that had open") {
  const Directory directory;
  const auto held = [&] {
    DrainLock lock(directory.at(""));
    return lock.try_acquire();
  };
  CHECK(outcome_in_child([&] {
          auto* lock = new DrainLock(directory.at(""));
          if (!lock->try_acquire()) return false;
          lock->write("there", {"1.open"});
          return true;
        }) == "");
  DrainLock lock(directory.at(""));
  REQUIRE(lock.try_acquire());
  CHECK(lock.open_segments() == Names{"1.open"});
  CHECK_FALSE(held());
}

TEST_CASE("into which captures rings are drained is read without taking part") {
  const Directory directory;
  CHECK(drained_into(directory.at("")) == "");
  CHECK(directory.names().empty());
  DrainLock lock(directory.at(""));
  CHECK(drained_into(directory.at("")) == "");
  REQUIRE(lock.try_acquire());
  lock.write("/data/captures", {"1.open"});
  CHECK(drained_into(directory.at("")) == "/data/captures");
  write_file(directory.at("captures"), "captures /else\n");
  std::filesystem::remove(directory.at(std::string(kDrainLockName)));
  std::filesystem::create_symlink(directory.at("captures"), directory.at(std::string(kDrainLockName)));
  CHECK_THROWS_AS(drained_into(directory.at("")), std::filesystem::filesystem_error);
}

TEST_CASE("a lock that its holder removed is acquired by nobody who had it open") {
  const Directory directory;
  DrainLock late(directory.at(""));
  {
    DrainLock lock(directory.at(""));
    REQUIRE(lock.try_acquire());
    lock.remove();
    CHECK(directory.names().empty());
    CHECK_FALSE(late.try_acquire());
    DrainLock next(directory.at(""));
    CHECK(next.try_acquire());
  }
  CHECK_FALSE(late.try_acquire());
  CHECK(DrainLock(directory.at("")).try_acquire());
}

TEST_CASE("a lock with any other text says nothing, and is a lock") {
  const Directory directory;
  for (const std::string& text : {std::string("\0\0\n\n", 4), std::string("process"), std::string("open\nprocess 1"),
                                  std::string(200'000, 'o'), std::string("captures x\n")}) {
    CAPTURE(text.size());
    write_file(directory.at(std::string(kDrainLockName)), text);
    DrainLock lock(directory.at(""));
    REQUIRE(lock.try_acquire());
    CHECK(lock.holder() == "a process that has not said which");
    CHECK(lock.open_segments().empty());
    lock.write("a\nopen b.open", {"c.open"});  // a path may have any byte
    CHECK(lock.open_segments() == Names{"c.open"});
    CHECK(lock.holder().find("\"a?open b.open\"") != std::string::npos);
  }
}

TEST_CASE("a lock in no directory is an error") {
  const Directory directory;
  CHECK_THROWS_AS(DrainLock(directory.at("missing")), std::filesystem::filesystem_error);
}

}  // namespace edgeward
