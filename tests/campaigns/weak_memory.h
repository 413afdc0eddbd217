// A machine whose memory is weak, and every run that a program of a few threads can take on it. For the C library of
// GNU: threads are stacks that _longjmp switches between, which _FORTIFY_SOURCE would refuse.
//
// Memory is the one of J. Kang, C.-K. Hur, O. Lahav, V. Vafeiadis, D. Dreyer, "A promising semantics for relaxed-memory
// concurrency" (POPL 2017), less the promises: a location keeps all that was stored there, a thread's view says how old
// a store it may still find in each location, and releases, acquires and fences hand views from one thread to another.
// What promises would add, a load that takes effect after a store behind it, is caught another way: a thread that
// stores over what another thread has loaded must have heard from it since.
//
// A thread that is killed has done what came before its last fence or system call. Of what came after, any part may be
// done, but never a release without all that is before it: so it is with what compilers and processors may put off.
//
// Runs are explored depth first, with the threads' own code run again from the start for each. Others go on between
// what a thread does that they can see and its next load, and nowhere else: a load just before the next such deed finds
// all that it could have found earlier. What a thread does next depends on nothing but what its steps gave it so far:
// two runs in which all threads and places agree go on alike, and the second is cut off. A loop comes to its end
// because a load finds what is not the newest kMaxStale times running, no more, which is as often as the ring loads a
// location between two deeds.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace weak_memory {

inline constexpr size_t kMaxLocations = 28;
inline constexpr size_t kMaxThreads = 4;
inline constexpr unsigned kMaxStale = 4;
inline constexpr size_t kStackBytes = size_t{256} << 10;

enum class Act : uint8_t {
  load,
  store,
  fence
};

// An order that the code asks for: what is weakened to see whether it is needed.
struct Ordering {
  std::string function;
  Act act;
  auto operator<=>(const Ordering&) const = default;
};

struct View {
  std::array<uint8_t, kMaxLocations> stores{};  // the newest store known of each location
  std::array<uint16_t, kMaxThreads> loads{};    // how many of each thread's, of plain words, are known to be done
  void join(const View& other) {
    for (size_t i = 0; i < kMaxLocations; ++i) stores[i] = std::max(stores[i], other.stores[i]);
    for (size_t i = 0; i < kMaxThreads; ++i) loads[i] = std::max(loads[i], other.loads[i]);
  }
};

// What may become of a thread. One that is replaced by another of its kind is so once.
enum class End : uint8_t {
  returned,
  killed,
  replaced
};

// Thrown through a thread's code to end it, where it may be thrown.
struct Killed {};

class Machine {
 public:
  using Body = std::function<void()>;

  // ---- For the program, before it runs.

  void add_thread(const char* name, End end, Body body) {
    if (threads_.size() == kMaxThreads) std::abort();
    threads_.push_back({});
    Thread& thread = threads_.back();
    thread.name = name;
    thread.end = end;
    thread.body = std::move(body);
  }

  // ---- For the threads.

  uint64_t load(uintptr_t at, std::memory_order order, const char* function) {
    if (running_->is_dead || (running_->has_acted && !step())) return 0;
    Thread& me = *running_;
    const size_t where = location_of(at);
    Location& location = locations_[where];
    size_t from = me.now.stores[where];
    const size_t newest = location.stores.size() - 1;
    if (from > newest) std::abort();  // somebody has heard of what was then undone
    if (from < newest && me.stale[where] == kMaxStale) ++from;
    const size_t loaded = from + choose(newest - from + 1);
    if (loaded == newest || loaded > me.now.stores[where]) me.stale[where] = 0;
    if (loaded < newest) ++me.stale[where];
    Store& store = location.stores[loaded];
    store.is_seen |= store.thread != running_index_;
    me.now.stores[where] = std::max(me.now.stores[where], static_cast<uint8_t>(loaded));
    if (location.is_plain) {
      location.loads[running_index_] = ++me.now.loads[running_index_];
      me.has_acted = true;
    }
    me.heard.join(me.now);
    me.heard.join(store.view);
    if (is_kept(order, std::memory_order_acquire, Act::load, function)) me.now.join(store.view);
    me.remember(store.value);
    trace(function, "load", where, store.value);
    return store.value;
  }

  void store(uintptr_t at, uint64_t value, std::memory_order order, const char* function) {
    if (running_->is_dead) return;
    Thread& me = *running_;
    const size_t where = location_of(at);
    Location& location = locations_[where];
    for (size_t other = 0; other < threads_.size(); ++other) {
      const bool is_unheard = location.loads[other] > me.now.loads[other];
      if (!is_reader_careful && other != running_index_ && location.is_plain && is_unheard &&
          !threads_[other].is_dead) {
        fail(std::string(me.name) + " stores over what " + threads_[other].name + " may still be loading");
        throw Killed{};
      }
    }
    const bool is_release = is_kept(order, std::memory_order_release, Act::store, function);
    me.now.stores[where] = static_cast<uint8_t>(location.stores.size());
    me.heard.join(me.now);
    Store store{value, is_release ? me.now : me.fenced, running_index_, false};
    store.view.stores[where] = me.now.stores[where];
    if (location.stores.size() > 250) std::abort();
    if (me.end != End::returned) me.unfenced.push_back({where, location.stores.size(), is_release});
    location.stores.push_back(store);
    me.remember(1);
    me.has_acted = true;
    *location.memory = value;
    trace(function, "store", where, value);
  }

  void fence(std::memory_order order, const char* function) {
    if (running_->is_dead || !is_kept(order, std::memory_order_seq_cst, Act::fence, function)) return;
    if (running_->has_acted && !step()) return;
    Thread& me = *running_;
    me.now = me.heard;
    me.now.join(fences_);
    fences_ = me.heard = me.fenced = me.now;
    me.unfenced.clear();
    me.has_acted = true;
    trace(function, "fence", 0, 0);
  }

  // What goes through the kernel on both sides, such as a lock or a pipe, hands on all that its giver knows.
  void give(View& view) const { view.join(running_->now); }
  void take(const View& view) {
    running_->now.join(view);
    running_->heard.join(running_->now);
  }

  // Here others may go on. False in one that is killed, where it is not thrown.
  bool step() {
    if (!running_->is_dead) {
      running_->has_acted = false;
      running_->stale = {};
      swap(running_->at, scheduler_);
    }
    if (!running_->is_dead) return true;
    if (std::uncaught_exceptions() == 0 && !running_->is_ending) throw Killed{};
    return false;
  }
  // A destructor begins: nothing is thrown from here on.
  void begin_end() { running_->is_ending = true; }
  // A system call begins. What came before is done whatever happens, as for whoever has been told of it.
  bool call() {
    if (!step()) return false;
    running_->unfenced.clear();
    running_->has_acted = true;
    return true;
  }
  void wait_until(std::function<bool()> is_time) {
    running_->is_time = std::move(is_time);
    step();
    running_->is_time = nullptr;
  }
  // Something was done that outlives this thread.
  void act() { running_->has_acted = true; }
  void remember(uint64_t fact) { running_->remember(fact); }
  // What the running thread does from here on depends on `facts` and no more of what its steps gave it.
  void forget_all_but(std::initializer_list<uint64_t> facts) {
    running_->history = 0;
    for (const uint64_t fact : facts) running_->remember(fact);
  }
  // From here on the newest store is found, as it is sooner or later.
  void refresh(uintptr_t at) {
    const size_t where = location_of(at);
    Store& store = locations_[where].stores.back();
    store.is_seen |= store.thread != running_index_;
    running_->now.stores[where] = static_cast<uint8_t>(locations_[where].stores.size() - 1);
    running_->heard.join(running_->now);
  }
  bool is_fresh(uintptr_t at) {
    const size_t where = location_of(at);
    return running_->now.stores[where] + size_t{1} == locations_[where].stores.size();
  }
  uint64_t newest(uintptr_t at) { return locations_[location_of(at)].stores.back().value; }
  size_t self() const { return running_index_; }
  bool is_over(size_t thread) const { return threads_[thread].is_over || threads_[thread].is_dead; }
  const View& last_view(size_t thread) const { return threads_[thread].now; }

  // Ends the run: `what` is wrong with it.
  void fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  void require(bool is_right, const char* what) {
    if (is_right) return;
    fail(what);
    if (running_ != nullptr && !running_->is_dead) throw Killed{};
  }

  // ---- For the explorer.

  static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15;
    return hash ^ hash >> 29;
  }

  // A word of the program's memory becomes a location when it is first used. Over a plain one, which is no atomic,
  // nobody stores who has not heard from whoever loaded it.
  struct Word {
    uint64_t* memory;
    bool is_plain;
    bool is_own;  // loaded by nobody but who stores there
  };

  // Explores `program`, which adds its threads and says what to do at the end of each run. `weakened` is asked for
  // as relaxed. Stops at the first run that is wrong, whose steps are printed if `is_printed`.
  template <class Program>
  bool explore(Program&& program, const Ordering* weakened, bool is_printed) {
    weakened_ = weakened;
    choices_.clear();
    visited_.clear();
    runs_ = 0;
    for (;;) {
      run(program);
      if (!failure_.empty()) break;
      while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().count) choices_.pop_back();
      if (choices_.empty()) return true;
      ++choices_.back().taken;
    }
    const std::string failure = failure_;
    if (is_printed) {
      is_traced_ = true;
      run(program);
      is_traced_ = false;
    }
    failure_ = failure;
    return false;
  }

  uint64_t run_count() const { return runs_; }
  size_t state_count() const { return visited_.size(); }
  const std::string& failure() const { return failure_; }
  // Every ordering that was asked for so far.
  const std::set<Ordering>& orderings() const { return orderings_; }

  bool is_reader_careful = false;  // a load may meet a store: who loads asks afterwards, and drops what it has
  std::function<Word(uintptr_t)> word_at;
  std::function<void(size_t thread)> on_death;
  std::function<uint64_t()> facts;        // of the program's own state, outside of its threads
  std::vector<const View*> kernel_views;  // that are handed on through the kernel

 private:
  struct Store {
    uint64_t value;
    View view;
    size_t thread;
    bool is_seen;  // by another thread
  };
  struct Location {
    uint64_t* memory;
    bool is_plain;
    bool is_own;
    std::vector<Store> stores;
    std::array<uint16_t, kMaxThreads> loads{};  // the last one of each thread
  };
  struct Undone {
    size_t location;
    size_t store;
    bool is_release;
  };
  struct Thread {
    const char* name = "";
    End end = End::returned;
    Body body;
    jmp_buf at{};
    bool has_acted = true;  // since others could go on
    bool is_over = false;
    bool is_dead = false;
    bool is_ending = false;
    std::function<bool()> is_time;
    uint64_t history = 0;
    View now;     // what it knows
    View heard;   // what it would know after an acquire fence
    View fenced;  // what it knew at its last release fence
    std::vector<Undone> unfenced;
    // How often it found the store that it knows, though there is a newer one.
    std::array<uint8_t, kMaxLocations> stale{};
    void remember(uint64_t fact) { history = mix(history, fact); }
  };
  struct Choice {
    size_t count;
    size_t taken;
  };

  bool is_kept(std::memory_order asked, std::memory_order wanted, Act act, const char* function) {
    if (asked == std::memory_order_relaxed) return false;
    if (asked != wanted) std::abort();  // not an order that this machine has
    orderings_.insert({function, act});
    return weakened_ == nullptr || weakened_->act != act || weakened_->function != function;
  }

  size_t location_of(uintptr_t at) {
    for (size_t i = 0; i < locations_.size(); ++i) {
      if (addresses_[i] == at) return i;
    }
    if (locations_.size() == kMaxLocations) std::abort();
    const Word word = word_at(at);
    addresses_.push_back(at);
    locations_.push_back({word.memory, word.is_plain, word.is_own, {}, {}});
    locations_.back().stores.push_back({0, {}, kMaxThreads, true});
    return locations_.size() - 1;
  }

  size_t choose(size_t count) {
    if (count == 1) return 0;
    if (depth_ == choices_.size()) choices_.push_back({count, 0});
    if (choices_[depth_].count != count) std::abort();  // the program is not the same each time
    return choices_[depth_++].taken;
  }

  template <class Program>
  void run(Program& program) {
    ++runs_;
    for (const Location& location : locations_) *location.memory = 0;
    locations_.clear();
    addresses_.clear();
    threads_.clear();
    failure_.clear();
    fences_ = {};
    depth_ = 0;
    const std::function<void()> at_end = program(*this);
    const bool is_whole = run_threads();
    end_threads();
    if (is_whole && failure_.empty()) at_end();
  }

  // Until all have come to their end. False if the run goes on as one that was seen before.
  bool run_threads() {
    for (size_t i = 0; i < threads_.size(); ++i) start(i);
    while (failure_.empty()) {
      // Each thread may go on, or be killed where it is.
      std::array<std::pair<size_t, bool>, 2 * kMaxThreads> options;
      size_t count = 0;
      bool is_stuck = true;
      for (size_t i = 0; i < threads_.size(); ++i) {
        const Thread& thread = threads_[i];
        if (thread.is_over || thread.is_dead) continue;
        const bool may_run = !thread.is_time || thread.is_time();
        is_stuck &= !may_run;
        if (may_run) options[count++] = {i, false};
        if (thread.end != End::returned) options[count++] = {i, true};
      }
      if (is_stuck) {
        const bool is_end =
            std::ranges::all_of(threads_, [](const Thread& thread) { return thread.is_over || thread.is_dead; });
        if (!is_end) fail("a thread waits for ever");
        return true;
      }
      if (depth_ == choices_.size() && !visited_.insert(state()).second) return false;
      const auto [chosen, is_kill] = options[choose(count)];
      if (is_kill) {
        kill(chosen);
      } else {
        resume(chosen);
      }
    }
    return true;
  }

  void resume(size_t index) {
    Thread& thread = threads_[index];
    running_ = &thread;
    running_index_ = index;
    swap(scheduler_, thread.at);
    running_ = nullptr;
  }
  // Its stack is switched to by makecontext once, and then by longjmp, which leaves the signal mask alone.
  void start(size_t index) {
    if (!stacks_[index]) stacks_[index] = std::make_unique<std::byte[]>(kStackBytes);
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks_[index].get();
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    const auto self = reinterpret_cast<uintptr_t>(this);
    makecontext(&context, reinterpret_cast<void (*)()>(&Machine::begin), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
    running_ = &threads_[index];
    running_index_ = index;
    if (_setjmp(scheduler_) == 0) setcontext(&context);
    running_ = nullptr;
  }
  [[gnu::noinline]] static void swap(jmp_buf& from, jmp_buf& to) {
    if (_setjmp(from) == 0) _longjmp(to, 1);
  }
  static void begin(unsigned high, unsigned low) {
    Machine& machine = *reinterpret_cast<Machine*>(uintptr_t{high} << 32 | low);
    Thread& me = *machine.running_;
    try {
      me.body();
      if (me.end != End::returned) machine.step();
    } catch (const Killed&) {
      // It ends here.
    } catch (const std::exception& error) {
      machine.fail(std::string(me.name) + " throws: " + error.what());
    }
    me.is_over = true;
    _longjmp(machine.scheduler_, 1);
  }

  void kill(size_t index) {
    Thread& thread = threads_[index];
    trace("", "kill", 0, index);
    thread.is_dead = true;
    thread.history = 0;
    // From the last to the first: what a release had before it is done if the release is.
    bool is_all_done = false;
    std::array<bool, kMaxLocations> is_done{};
    for (auto undone = thread.unfenced.rbegin(); undone != thread.unfenced.rend(); ++undone) {
      Location& location = locations_[undone->location];
      if (is_all_done || is_done[undone->location] || location.stores.back().is_seen || choose(2) == 0) {
        is_done[undone->location] = true;
        is_all_done |= undone->is_release;
        continue;
      }
      location.stores.pop_back();
      *location.memory = location.stores.back().value;
      trace("", "undo", undone->location, location.stores.back().value);
    }
    thread.unfenced.clear();
    for (size_t i = 0; i < locations_.size(); ++i) {
      thread.now.stores[i] = std::min(thread.now.stores[i], static_cast<uint8_t>(locations_[i].stores.size() - 1));
    }
    if (on_death) on_death(index);
    if (thread.end != End::replaced) return;
    // What the dead one had done is long done when its successor comes, and what it loaded is loaded.
    resume(index);
    for (Location& location : locations_) location.loads[index] = 0;
    Thread next;
    next.name = thread.name;
    next.body = thread.body;
    next.now = next.heard = next.fenced = thread.now;
    next.history = 1;
    thread = std::move(next);
    start(index);
  }

  // What their code has on its stack is let go of.
  void end_threads() {
    for (size_t i = 0; i < threads_.size(); ++i) {
      threads_[i].is_dead = true;
      if (!threads_[i].is_over) resume(i);
    }
  }

  // The same for any two states that go on alike. Nothing is said of stores that no thread can find any more, and of
  // loads only which of them a view knows.
  uint64_t state() const {
    uint64_t hash = facts ? facts() : 0;
    std::array<uint8_t, kMaxLocations> oldest;
    oldest.fill(255);
    for (const Thread& thread : threads_) {
      if (thread.is_over || thread.is_dead) continue;
      for (size_t i = 0; i < locations_.size(); ++i) oldest[i] = std::min(oldest[i], thread.now.stores[i]);
    }
    const auto rank = [this](size_t thread, uint16_t load) {
      if (threads_[thread].is_over || threads_[thread].is_dead) return ptrdiff_t{0};
      return std::ranges::count_if(locations_, [thread, load](const Location& location) {
        return location.loads[thread] != 0 && location.loads[thread] <= load;
      });
    };
    const auto mix_view = [&](const View& view) {
      uint64_t word = 0;
      for (size_t i = 0; i < locations_.size(); ++i) {
        if (!locations_[i].is_own)
          word = word << 8 | static_cast<uint8_t>(std::max(view.stores[i], oldest[i]) - oldest[i]);
        if (i % 8 == 7) hash = mix(hash, std::exchange(word, 0));
      }
      hash = mix(hash, word);
      for (size_t i = 0; i < threads_.size(); ++i) hash = mix(hash, static_cast<uint64_t>(rank(i, view.loads[i])));
    };
    for (const Thread& thread : threads_) {
      hash = mix(hash, thread.history);
      hash = mix(hash, thread.is_over | thread.is_dead << 1 | (thread.is_time != nullptr) << 2 |
                           static_cast<uint64_t>(thread.end) << 3);
      if (thread.is_over || thread.is_dead) continue;
      for (const Undone& undone : thread.unfenced) {
        const bool is_seen = locations_[undone.location].stores[undone.store].is_seen;
        hash = mix(hash, undone.location << 2 | undone.is_release << 1 | is_seen);
      }
      mix_view(thread.now);
      mix_view(thread.heard);
      mix_view(thread.fenced);
    }
    for (size_t i = 0; i < locations_.size(); ++i) {
      const Location& location = locations_[i];
      hash = mix(hash, location.stores.back().value);
      if (location.is_own) continue;
      for (size_t k = oldest[i]; k < location.stores.size(); ++k) {
        hash = mix(hash, location.stores[k].value);
        mix_view(location.stores[k].view);
      }
      for (size_t k = 0; k < threads_.size(); ++k) hash = mix(hash, static_cast<uint64_t>(rank(k, location.loads[k])));
    }
    mix_view(fences_);
    for (const View* view : kernel_views) mix_view(*view);
    return hash;
  }

  void trace(const char* function, const char* what, size_t where, uint64_t value) const {
    if (!is_traced_) return;
    std::printf("    %-8s %-14s %-6s location %zu  %#lx\n", running_ != nullptr ? running_->name : "", function, what,
                where, value);
  }

  std::vector<Location> locations_;
  std::vector<uintptr_t> addresses_;
  std::vector<Thread> threads_;
  std::array<std::unique_ptr<std::byte[]>, kMaxThreads> stacks_;
  jmp_buf scheduler_{};
  Thread* running_ = nullptr;
  size_t running_index_ = 0;
  View fences_;
  std::vector<Choice> choices_;
  size_t depth_ = 0;
  std::unordered_set<uint64_t> visited_;
  uint64_t runs_ = 0;
  std::string failure_;
  bool is_traced_ = false;
  const Ordering* weakened_ = nullptr;
  std::set<Ordering> orderings_;
};

}  // namespace weak_memory
