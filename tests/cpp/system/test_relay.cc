#include "system/relay.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "rigs/child.h"
#include "rigs/refusal.h"
#include "rigs/threads.h"
#include "rigs/waiting_child.h"

namespace edgeward {
namespace {

constexpr uint64_t kTag = 1000;

struct Sockets {
  Sockets() {
    int numbers[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, numbers) == 0);
    ours = std::make_unique<Descriptor>(numbers[0], "ours");
    theirs = std::make_unique<Descriptor>(numbers[1], "theirs");
  }
  std::unique_ptr<Descriptor> ours;
  std::unique_ptr<Descriptor> theirs;
};

// The far ends of a pair that is relayed.
struct Ends {
  Ends(Relay& relay, uint64_t tag) {
    Sockets outer;
    Sockets inner;
    relay.add(std::move(*outer.theirs), std::move(*inner.theirs), tag);
    client = std::move(outer.ours);
    server = std::move(inner.ours);
  }
  std::unique_ptr<Descriptor> client;
  std::unique_ptr<Descriptor> server;
};

void say(const Descriptor& socket, const std::string& text) {
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t size = send(socket.number(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    REQUIRE(size > 0);
    sent += static_cast<size_t>(size);
  }
}

// So many bytes, or those before the end.
std::string heard(const Descriptor& socket, size_t size) {
  std::string text(size, '\0');
  const ssize_t got = recv(socket.number(), text.data(), size, MSG_WAITALL);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

std::string heard_to_end(const Descriptor& socket) {
  std::string all;
  for (std::string part; !(part = heard(socket, 1 << 20)).empty();) all += part;
  return all;
}

// A text in which every place is told from its neighbours.
std::string long_text(size_t size) {
  std::string text;
  for (uint32_t n = 0; text.size() < size; ++n) text += std::to_string(n) + ' ';
  text.resize(size);
  return text;
}

// Says what a socket takes until nothing more is taken: `round_trip` shows that the relay's thread has come by.
template <class RoundTrip>
size_t said_until_full(const Descriptor& socket, const std::string& text, RoundTrip&& round_trip) {
  size_t taken = 0;
  for (int idle = 0; idle < 100;) {
    const ssize_t size = send(socket.number(), text.data() + taken, text.size() - taken, MSG_DONTWAIT | MSG_NOSIGNAL);
    idle = size > 0 ? 0 : idle + 1;
    if (size > 0) taken += static_cast<size_t>(size);
    REQUIRE(taken < text.size());
    round_trip();
  }
  return taken;
}

void round_trip(const Ends& ends) {
  say(*ends.client, "?");
  REQUIRE(heard(*ends.server, 1) == "?");
  say(*ends.server, "!");
  REQUIRE(heard(*ends.client, 1) == "!");
}

// The next tags that the relay tells, in order of size.
std::vector<uint64_t> awaited(Relay& relay, size_t count) {
  std::vector<uint64_t> tags;
  while (tags.size() < count) {
    for (const uint64_t tag : relay.take_ended()) tags.push_back(tag);
    std::this_thread::yield();
  }
  std::sort(tags.begin(), tags.end());
  return tags;
}

// How many descriptors the epoll instances of this process watch.
int watched_count() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone) != "anon_inode:[eventpoll]") continue;
    std::ifstream info("/proc/self/fdinfo/" + entry.path().filename().string());
    for (std::string line; std::getline(info, line);) count += line.starts_with("tfd:") ? 1 : 0;
  }
  return count;
}

size_t descriptor_count() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

}  // namespace

TEST_CASE("bytes pass in both directions, whatever their number") {
  Relay relay;
  const Ends ends(relay, kTag);
  for (const size_t size :
       {size_t{1}, Relay::kChunkBytes - 1, Relay::kChunkBytes, Relay::kChunkBytes + 1, size_t{9'000'000}}) {
    CAPTURE(size);
    const std::string text = long_text(size);
    std::thread client([&] { say(*ends.client, text); });
    std::thread server([&] { say(*ends.server, text); });
    std::thread listener([&] { CHECK(heard(*ends.client, size) == text); });
    CHECK(heard(*ends.server, size) == text);
    client.join();
    server.join();
    listener.join();
  }
  CHECK(relay.take_ended().empty());
}

TEST_CASE("the end of one side's bytes is passed on behind all of them, and the other side goes on") {
  Relay relay;
  const std::string text = long_text(3'000'000);
  for (const bool is_client_first : {true, false}) {
    CAPTURE(is_client_first);
    const Ends ends(relay, kTag);
    const Descriptor& first = is_client_first ? *ends.client : *ends.server;
    const Descriptor& second = is_client_first ? *ends.server : *ends.client;
    std::thread sender([&] {
      say(first, text);
      shutdown(first.number(), SHUT_WR);
    });
    CHECK(heard_to_end(second) == text);
    sender.join();
    CHECK(relay.take_ended().empty());
    std::thread answerer([&] {
      say(second, text);
      shutdown(second.number(), SHUT_WR);
    });
    CHECK(heard_to_end(first) == text);
    answerer.join();
    CHECK(awaited(relay, 1) == std::vector<uint64_t>{kTag});
  }
}

TEST_CASE("a slow reader holds up nobody else, costs a bounded number of bytes, and gets all of them at last") {
  Relay relay;
  const Ends slow(relay, kTag);
  const Ends other(relay, kTag);
  const std::string text = long_text(30'000'000);
  const size_t taken = said_until_full(*slow.client, text, [&] { round_trip(other); });
  int kernel_bytes = 0;
  socklen_t size = sizeof(kernel_bytes);
  REQUIRE(getsockopt(slow.client->number(), SOL_SOCKET, SO_SNDBUF, &kernel_bytes, &size) == 0);
  // Of 30 MB. Each of the two sockets may take one message more than its limit.
  CHECK(taken <= Relay::kChunkBytes + 4 * static_cast<size_t>(kernel_bytes));
  round_trip(Ends(relay, kTag));
  say(*slow.server, "the other direction");
  CHECK(heard(*slow.client, 19) == "the other direction");
  std::thread sender([&] {
    say(*slow.client, text.substr(taken));
    shutdown(slow.client->number(), SHUT_WR);
  });
  CHECK(heard_to_end(*slow.server) == text);
  sender.join();
}

TEST_CASE("a side that is gone ends its pair, also while bytes wait for it") {
  Relay relay;
  const Ends other(relay, 0);
  const std::string text = long_text(30'000'000);
  for (const bool is_waited_for : {true, false}) {
    CAPTURE(is_waited_for);
    Ends ends(relay, kTag);
    if (is_waited_for) said_until_full(*ends.client, text, [&] { round_trip(other); });
    ends.server.reset();
    heard_to_end(*ends.client);
    while (send(ends.client->number(), "x", 1, MSG_NOSIGNAL) > 0) std::this_thread::yield();
    CHECK(awaited(relay, 1) == std::vector<uint64_t>{kTag});
  }
  round_trip(other);
}

TEST_CASE("what a side said before it went is heard in full") {
  Relay relay;
  const Ends other(relay, 0);
  const std::string text = long_text(30'000'000);
  Ends ends(relay, kTag);
  const size_t taken = said_until_full(*ends.client, text, [&] { round_trip(other); });
  ends.client.reset();
  round_trip(other);
  CHECK(heard_to_end(*ends.server) == text.substr(0, taken));
  ends.server.reset();
  CHECK(awaited(relay, 1) == std::vector<uint64_t>{kTag});
}

TEST_CASE("a connection that was reset ends its pair") {
  Relay relay;
  Ends ends(relay, kTag);
  say(*ends.server, "unread");
  pollfd readable{ends.client->number(), POLLIN, 0};
  REQUIRE(poll(&readable, 1, -1) == 1);
  ends.client.reset();  // with bytes that nobody has read
  CHECK(heard_to_end(*ends.server) == "");
  ends.server.reset();
  CHECK(awaited(relay, 1) == std::vector<uint64_t>{kTag});
}

TEST_CASE("thousands of pairs have their bytes, each its own, and their end") {
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const size_t before = descriptor_count();
  const auto count = static_cast<size_t>(std::min<rlim_t>((limit.rlim_max - before - 64) / 4, 10'000));
  MESSAGE(count, " pairs");
  REQUIRE(count >= 200);
  auto relay = std::make_unique<Relay>();
  std::vector<Ends> pairs;
  for (size_t n = 0; n < count; ++n) pairs.emplace_back(*relay, n);
  for (size_t round = 0; round < 3; ++round) {
    for (size_t n = 0; n < count; ++n) say(*pairs[n].client, std::to_string(100'000 + n));
    for (size_t n = 0; n < count; ++n) REQUIRE(heard(*pairs[n].server, 6) == std::to_string(100'000 + n));
    for (size_t n = 0; n < count; ++n) say(*pairs[n].server, std::to_string(200'000 + n));
    for (size_t n = 0; n < count; ++n) REQUIRE(heard(*pairs[n].client, 6) == std::to_string(200'000 + n));
  }
  pairs.clear();
  const std::vector<uint64_t> tags = awaited(*relay, count);
  for (size_t n = 0; n < count; ++n) REQUIRE(tags[n] == n);
  CHECK(watched_count() == 1);  // what wakes the thread
  relay.reset();
  CHECK(descriptor_count() == before);
}

TEST_CASE("pairs that come and go from several threads are each told once") {
  Relay relay;
  constexpr uint64_t kOfThread = 300;
  std::vector<std::thread> threads;
  for (uint64_t n = 0; n < 4; ++n) {
    threads.emplace_back([&, n] {
      for (uint64_t i = 0; i < kOfThread; ++i) round_trip(Ends(relay, n * kOfThread + i));
    });
  }
  const std::vector<uint64_t> tags = awaited(relay, 4 * kOfThread);
  for (std::thread& thread : threads) thread.join();
  for (uint64_t tag = 0; tag < tags.size(); ++tag) REQUIRE(tags[tag] == tag);
  CHECK(relay.take_ended().empty());
}

TEST_CASE("the end of a relay ends its pairs, and no other begins") {
  Relay relay;
  const Ends ends(relay, kTag);
  relay.end();
  CHECK(heard_to_end(*ends.client) == "");
  CHECK(heard_to_end(*ends.server) == "");
  CHECK(relay.take_ended() == std::vector<uint64_t>{kTag});
  const size_t before = descriptor_count();
  check_refusal(Code::closed, {"relay"}, [&] { const Ends refused(relay, kTag); });
  CHECK(descriptor_count() == before);
  CHECK(relay.take_ended().empty());
  CHECK_NOTHROW(relay.end());
}

TEST_CASE("what cannot be relayed is refused, and closed") {
  Relay relay;
  Sockets sockets;
  const size_t before = descriptor_count();
  const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);  // epoll takes no device
  CHECK_THROWS_AS(relay.add(std::move(*sockets.theirs), Descriptor(file, "file"), kTag),
                  std::filesystem::filesystem_error);
  CHECK(descriptor_count() == before - 1);
  CHECK(heard_to_end(*sockets.ours) == "");
  CHECK(relay.take_ended().empty());
  CHECK(watched_count() == 1);
  round_trip(Ends(relay, kTag));
}

TEST_CASE("a relay without a descriptor is refused") {
  CHECK(outcome_in_child([] {
          const rlimit none{0, 0};
          if (setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
          try {
            const Relay relay;
            return false;
          } catch (const std::filesystem::filesystem_error& error) {
            return error.code().value() == EMFILE;
          }
        }) == "");
}

TEST_CASE("a pair ends for both sides also while a child has its descriptors, and nothing of it stays watched") {
  Relay relay;
  Ends ends(relay, kTag);
  const Ends other(relay, kTag);
  const Descriptor client(dup(ends.client->number()), "client");
  const WaitingChild child([] {});
  shutdown(client.number(), SHUT_WR);
  CHECK(heard_to_end(*ends.server) == "");
  shutdown(ends.server->number(), SHUT_WR);
  CHECK(heard_to_end(client) == "");
  CHECK(awaited(relay, 1) == std::vector<uint64_t>{kTag});
  CHECK(watched_count() == 3);  // what wakes the thread, and the other pair
  round_trip(other);
}

TEST_CASE("a forked child may not use the relay, and can drop it without an end to the pairs") {
  auto relay = std::make_unique<Relay>();
  const Ends ends(*relay, kTag);
  CHECK(outcome_in_child([&] {
          try {
            relay->take_ended();
            return false;
          } catch (const Error& error) {
            return error.code() == Code::forked;
          }
        }) == "");
  CHECK(outcome_in_child([&] {
          relay.reset();
          return true;
        }) == "");
  round_trip(ends);
  CHECK(relay->take_ended().empty());
}

TEST_CASE("no signal is delivered to the thread of a relay") {
  std::unique_ptr<Relay> relay;
  const std::string before = told_of(static_cast<int>(getpid()), "SigBlk:");
  check_no_signal_reaches(thread_made_by([&] { relay = std::make_unique<Relay>(); }));
  CHECK(told_of(static_cast<int>(getpid()), "SigBlk:") == before);
}

}  // namespace edgeward
