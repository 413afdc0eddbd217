#include "system/relay.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>
#include <utility>

#include "error.h"

namespace edgeward {
namespace {

constexpr int kMaxEvents = 64;  // taken at once, under the mutex
constexpr uint64_t kWake = UINT64_MAX;

bool is_passing(int error) { return error == EAGAIN || error == EINTR; }

struct Side {
  Side(Descriptor descriptor, uint64_t event_mark) : socket(std::move(descriptor)), mark(event_mark) {}

  Descriptor socket;
  uint64_t mark;                   // of its events: the id of its pair, and which side it is
  uint32_t interest = 0;           // as epoll has it; 0: epoll does not have the socket
  bool has_ended = false;          // it sends nothing more, and the other side knows
  std::vector<std::byte> waiting;  // for this side to take
  size_t taken_bytes = 0;          // of those
};

struct Pair {
  Pair(Descriptor outer_socket, Descriptor inner_socket, uint64_t id, uint64_t tag_of_pair)
      : outer(std::move(outer_socket), id * 2), inner(std::move(inner_socket), id * 2 + 1), tag(tag_of_pair) {}

  Side outer;
  Side inner;
  uint64_t tag;
};

// Sends what waits for a side; false when the pair must end.
bool send_waiting(Side& side) {
  const ssize_t sent = send(side.socket.number(), side.waiting.data() + side.taken_bytes,
                            side.waiting.size() - side.taken_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return is_passing(errno);
  side.taken_bytes += static_cast<size_t>(sent);
  if (side.taken_bytes == side.waiting.size()) {
    side.waiting = {};
    side.taken_bytes = 0;
  }
  return true;
}

}  // namespace

struct Relay::Loop {
  Loop() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kWake;
    if (epoll_ctl(epoll.number(), EPOLL_CTL_ADD, wake.number(), &event) != 0) refuse();
    // Signals are the application's: none is delivered to this thread.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::exception_ptr error;
    try {
      thread = std::thread([this] { run(); });
    } catch (...) {
      error = std::current_exception();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error) std::rethrow_exception(error);
  }

  [[noreturn]] static void refuse(int number = errno) {
    throw std::filesystem::filesystem_error("relay", "relay", {number, std::generic_category()});
  }

  void run() {
    std::array<epoll_event, kMaxEvents> events{};
    for (;;) {
      const int count = epoll_wait(epoll.number(), events.data(), kMaxEvents, -1);
      const std::lock_guard lock(mutex);
      if (is_over) return;
      for (int i = 0; i < count; ++i) serve(events[static_cast<size_t>(i)]);
    }
  }

  void serve(const epoll_event& event) {
    const auto entry = pairs.find(event.data.u64 / 2);
    if (entry == pairs.end()) return;  // ended by an event before this one
    Pair& pair = entry->second;
    const bool is_inner = event.data.u64 % 2 != 0;
    Side& side = is_inner ? pair.inner : pair.outer;
    Side& other = is_inner ? pair.outer : pair.inner;
    bool is_well = true;
    try {
      // EPOLLHUP and EPOLLERR come unasked: what is tried then says what they mean.
      if ((event.events & ~uint32_t{EPOLLIN}) != 0 && !side.waiting.empty()) is_well = send_waiting(side);
      if (is_well && (event.events & ~uint32_t{EPOLLOUT}) != 0 && is_read(side, other)) is_well = pass_on(side, other);
    } catch (const std::bad_alloc&) {
      is_well = false;
    }
    is_well = is_well && watch(side, other) && watch(other, side);
    if (!is_well || (side.has_ended && other.has_ended)) forget(entry);
  }

  // Nothing is read while bytes before it wait: the end of a side's bytes is then behind all of them.
  static bool is_read(const Side& source, const Side& target) { return !source.has_ended && target.waiting.empty(); }

  // Sends at once what a side has, and keeps the rest; false when the pair must end.
  bool pass_on(Side& source, Side& target) {
    const ssize_t size_bytes = recv(source.socket.number(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (size_bytes < 0) return is_passing(errno);
    if (size_bytes == 0) {
      source.has_ended = true;
      return shutdown(target.socket.number(), SHUT_WR) == 0;
    }
    const ssize_t sent =
        send(target.socket.number(), chunk.data(), static_cast<size_t>(size_bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && !is_passing(errno)) return false;
    if (sent < size_bytes) target.waiting.assign(chunk.data() + (sent < 0 ? 0 : sent), chunk.data() + size_bytes);
    return true;
  }

  // Asks epoll for what a side is waited for; false when epoll refuses.
  bool watch(Side& side, const Side& other) const {
    const uint32_t interest =
        (is_read(side, other) ? uint32_t{EPOLLIN} : 0) | (side.waiting.empty() ? 0 : uint32_t{EPOLLOUT});
    if (interest == side.interest) return true;
    // Without interest the socket goes: an end that nobody looks at would be told without end.
    const int operation = interest == 0 ? EPOLL_CTL_DEL : side.interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    epoll_event event{};
    event.events = interest;
    event.data.u64 = side.mark;
    if (epoll_ctl(epoll.number(), operation, side.socket.number(), &event) != 0) return false;
    side.interest = interest;
    return true;
  }

  using Entry = std::unordered_map<uint64_t, Pair>::iterator;

  void forget(Entry entry) noexcept {
    for (const Side* side : {&entry->second.outer, &entry->second.inner}) {
      // Closing does neither while a child that has not run its program yet shares the descriptor.
      if (side->interest != 0) epoll_ctl(epoll.number(), EPOLL_CTL_DEL, side->socket.number(), nullptr);
      shutdown(side->socket.number(), SHUT_RDWR);
    }
    ended.push_back(entry->second.tag);
    pairs.erase(entry);
  }

  Descriptor epoll{epoll_create1(EPOLL_CLOEXEC), "relay"};
  Descriptor wake{eventfd(0, EFD_CLOEXEC), "relay"};
  std::mutex mutex;                          // guards what follows
  std::unordered_map<uint64_t, Pair> pairs;  // by id
  std::vector<uint64_t> ended;               // tags; has room for all pairs, so that forget() cannot fail
  std::vector<std::byte> chunk = std::vector<std::byte>(kChunkBytes);
  uint64_t last_id = 0;
  bool is_over = false;
  std::thread thread;
};

Relay::Relay() : loop_(std::make_unique<Loop>()) {}

Relay::~Relay() {
  // The parent's thread may be in the midst of anything that the child has a copy of.
  if (fork_mark_.is_foreign()) {
    leave_alone(loop_);
    return;
  }
  end();
}

void Relay::add(Descriptor outer, Descriptor inner, uint64_t tag) {
  fork_mark_.require_same_process("relay");
  const std::lock_guard lock(loop_->mutex);
  if (loop_->is_over) throw Error(Code::closed, "relay: expected use before its end, got a pair after it");
  loop_->ended.reserve(loop_->ended.size() + loop_->pairs.size() + 1);
  const uint64_t id = ++loop_->last_id;
  const auto entry = loop_->pairs.try_emplace(id, std::move(outer), std::move(inner), id, tag).first;
  Side& first = entry->second.outer;
  Side& second = entry->second.inner;
  if (loop_->watch(first, second) && loop_->watch(second, first)) return;
  const int error = errno;
  loop_->forget(entry);
  loop_->ended.pop_back();
  Loop::refuse(error);
}

std::vector<uint64_t> Relay::take_ended() {
  fork_mark_.require_same_process("relay");
  const std::lock_guard lock(loop_->mutex);
  std::vector<uint64_t> ended;
  ended.reserve(loop_->pairs.size());
  std::swap(ended, loop_->ended);
  return ended;
}

void Relay::end() {
  fork_mark_.require_same_process("relay");
  {
    const std::lock_guard lock(loop_->mutex);
    if (std::exchange(loop_->is_over, true)) return;
    while (!loop_->pairs.empty()) loop_->forget(loop_->pairs.begin());
  }
  const uint64_t once = 1;
  [[maybe_unused]] const ssize_t written = write(loop_->wake.number(), &once, sizeof(once));
  loop_->thread.join();
}

}  // namespace edgeward
