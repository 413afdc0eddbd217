// A machine whose memory is weak, and every run that a program of a few threads can take on it.
//
// Memory is the one of J. Kang, C.-K. Hur, O. Lahav, V. Vafeiadis, D. Dreyer, "A promising semantics for relaxed-memory
// concurrency" (POPL 2017), less the promises: a place keeps all that was stored there, a thread's view says how old a
// store it may still find in each place, and releases, acquires and fences hand views from one thread to another. What
// promises would add, a load that takes effect after a store behind it, is caught another way: a thread that stores
// over what another thread has loaded must have heard from it since.
//
// A thread that is killed has done what came before its last fence. Of what came after, any part may be done, but never
// a release without all that is before it: so it is with what compilers and processors may put off.
//
// Runs are explored depth first, with the threads' own code run again from the start for each. What a thread does next
// depends on nothing but what its steps gave it so far: two runs in which all threads and places agree go on alike, and
// the second is cut off. To come to an end, a thread finds the same old store kMostStale times running, no more.
#pragma once

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
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

namespace weak_memory {

inline constexpr size_t kMostPlaces = 28;
inline constexpr size_t kMostThreads = 4;
inline constexpr unsigned kMostStale = 4;
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
  std::array<uint8_t, kMostPlaces> stores{};   // the newest one known of each place
  std::array<uint16_t, kMostThreads> loads{};  // how many of each thread's, of plain words, are known to be done
  void join(const View& other) {
    for (size_t i = 0; i < kMostPlaces; ++i) stores[i] = std::max(stores[i], other.stores[i]);
    for (size_t i = 0; i < kMostThreads; ++i) loads[i] = std::max(loads[i], other.loads[i]);
  }
};

// Thrown through a thread's code to end it, where it may be thrown.
struct Killed {};

class Machine {
 public:
  using Body = std::function<void()>;

  // ---- For the program, before it runs.

  void add_thread(const char* name, bool is_killable, Body body) {
    if (threads_.size() == kMostThreads) std::abort();
    threads_.push_back({});
    Thread& thread = threads_.back();
    thread.name = name;
    thread.is_killable = is_killable;
    thread.body = std::move(body);
  }

  // ---- For the threads.

  uint64_t load(uintptr_t at, std::memory_order order, const char* function) {
    if (!step()) return 0;
    Thread& me = *running_;
    const size_t where = place_of(at);
    Place& place = places_[where];
    size_t from = me.now.stores[where];
    const size_t newest = place.stores.size() - 1;
    if (from < newest && me.stale[where] == kMostStale) ++from;
    const size_t found = from + choose(newest - from + 1);
    if (found == newest || found > me.now.stores[where]) me.stale[where] = 0;
    if (found < newest) ++me.stale[where];
    Store& store = place.stores[found];
    store.is_seen |= store.thread != running_index_;
    me.now.stores[where] = std::max(me.now.stores[where], static_cast<uint8_t>(found));
    me.heard.join(me.now);
    me.heard.join(store.view);
    if (is_kept(order, std::memory_order_acquire, Act::load, function)) me.now.join(store.view);
    if (place.is_plain) place.loads[running_index_] = ++me.now.loads[running_index_];
    me.remember(store.value * 64 + found);
    trace(function, "load", where, store.value);
    return store.value;
  }

  // A relaxed one is done at once: whoever may find it later need not have found it, and a kill may undo it.
  void store(uintptr_t at, uint64_t value, std::memory_order order, const char* function) {
    if (order == std::memory_order_relaxed ? running_->is_dead : !step()) return;
    Thread& me = *running_;
    const size_t where = place_of(at);
    Place& place = places_[where];
    for (size_t other = 0; other < threads_.size(); ++other) {
      const bool is_unheard = place.loads[other] > me.now.loads[other];
      if (other != running_index_ && place.is_plain && is_unheard && !threads_[other].is_dead) {
        fail(std::string(me.name) + " stores over what " + threads_[other].name + " may still be loading");
        throw Killed{};
      }
    }
    const bool is_release = is_kept(order, std::memory_order_release, Act::store, function);
    me.now.stores[where] = static_cast<uint8_t>(place.stores.size());
    me.heard.join(me.now);
    Store store{value, is_release ? me.now : me.fenced, running_index_, false};
    store.view.stores[where] = me.now.stores[where];
    place.stores.push_back(store);
    if (place.stores.size() > 250) std::abort();
    me.unfenced.push_back({where, is_release});
    me.remember(1);
    *place.memory = value;
    trace(function, "store", where, value);
  }

  void fence(std::memory_order order, const char* function) {
    if (running_->is_dead || !is_kept(order, std::memory_order_seq_cst, Act::fence, function)) return;
    Thread& me = *running_;
    me.now = me.heard;
    me.now.join(fences_);
    fences_ = me.heard = me.fenced = me.now;
    me.unfenced.clear();
    trace(function, "fence", 0, 0);
  }

  // What goes through the kernel on both sides, such as a lock or a pipe, hands on all that its giver knows.
  void give(View& view) const { view.join(running_->now); }
  void take(const View& view) {
    running_->now.join(view);
    running_->heard.join(running_->now);
  }

  // Before what other threads may see of this one, or it of them. False in one that is killed, where it is not thrown.
  bool step() {
    if (!running_->is_dead) swapcontext(&running_->context, &scheduler_);
    if (!running_->is_dead) return true;
    if (std::uncaught_exceptions() == 0 && !running_->is_ending) throw Killed{};
    return false;
  }
  // A destructor begins: nothing is thrown from here on.
  void begin_end() { running_->is_ending = true; }
  void wait_until(std::function<bool()> is_time) {
    running_->is_time = std::move(is_time);
    step();
    running_->is_time = nullptr;
  }
  // All that was done is there whatever happens, as for whoever has been told of it.
  void be_told() { running_->unfenced.clear(); }
  void remember(uint64_t fact) { running_->remember(fact); }
  // What the running thread does from here on depends on `facts` and no more of what its steps gave it.
  void forget_all_but(std::initializer_list<uint64_t> facts) {
    running_->history = 0;
    for (const uint64_t fact : facts) running_->remember(fact);
  }
  // From here on the newest store is found, as it is sooner or later.
  void refresh(uintptr_t at) {
    const size_t where = place_of(at);
    Store& store = places_[where].stores.back();
    store.is_seen |= store.thread != running_index_;
    running_->now.stores[where] = static_cast<uint8_t>(places_[where].stores.size() - 1);
    running_->heard.join(running_->now);
  }
  bool is_fresh(uintptr_t at) {
    const size_t where = place_of(at);
    return running_->now.stores[where] + size_t{1} == places_[where].stores.size();
  }
  uint64_t newest(uintptr_t at) { return places_[place_of(at)].stores.back().value; }
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

  // A word of the program's memory becomes a place when it is first used. Over a plain one, which is no atomic, nobody
  // stores who has not heard from whoever loaded it.
  struct Word {
    uint64_t* memory;
    bool is_plain;
  };

  // Explores `program`, which adds its threads and says what to do at the end of each run. `weakened` is asked for
  // as relaxed. Stops at the first run that is wrong, whose steps are printed if `is_told`.
  template <class Program>
  bool explore(Program&& program, const Ordering* weakened, bool is_told) {
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
    if (is_told) {
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

  std::function<Word(uintptr_t)> word_at;

 private:
  struct Store {
    uint64_t value;
    View view;
    size_t thread;
    bool is_seen;  // by another thread
  };
  struct Place {
    uint64_t* memory;
    bool is_plain;
    std::vector<Store> stores;
    std::array<uint16_t, kMostThreads> loads{};  // the last one of each thread
  };
  struct Undone {
    size_t place;
    bool is_release;
  };
  struct Thread {
    const char* name = "";
    bool is_killable = false;
    Body body;
    ucontext_t context{};
    bool is_begun = false;
    bool is_over = false;
    bool is_dead = false;
    bool is_ending = false;
    std::function<bool()> is_time;
    uint64_t history = 0;
    View now;     // what it knows
    View heard;   // what it would know after an acquire fence
    View fenced;  // what it knew at its last release fence
    std::vector<Undone> unfenced;
    std::array<uint8_t, kMostPlaces> stale{};  // how often it found the store that it knows, though there is a newer one
    void remember(uint64_t fact) { history = mix(history, fact); }
  };
  struct Choice {
    size_t count;
    size_t taken;
  };

  static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15;
    return hash ^ hash >> 29;
  }

  bool is_kept(std::memory_order asked, std::memory_order wanted, Act act, const char* function) {
    if (asked == std::memory_order_relaxed) return false;
    if (asked != wanted) std::abort();  // not an order that this machine has
    orderings_.insert({function, act});
    return weakened_ == nullptr || weakened_->act != act || weakened_->function != function;
  }

  size_t place_of(uintptr_t at) {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (addresses_[i] == at) return i;
    }
    if (places_.size() == kMostPlaces) std::abort();
    const Word word = word_at(at);
    addresses_.push_back(at);
    places_.push_back({word.memory, word.is_plain, {}, {}});
    places_.back().stores.push_back({0, {}, kMostThreads, true});
    return places_.size() - 1;
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
    for (const Place& place : places_) *place.memory = 0;
    places_.clear();
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
    while (failure_.empty()) {
      // Each thread may take its step, or be killed before it.
      std::array<std::pair<size_t, bool>, 2 * kMostThreads> options;
      size_t count = 0;
      bool is_stuck = true;
      for (size_t i = 0; i < threads_.size(); ++i) {
        const Thread& thread = threads_[i];
        if (thread.is_over || thread.is_dead) continue;
        const bool may_run = !thread.is_time || thread.is_time();
        is_stuck &= !may_run;
        if (may_run) options[count++] = {i, false};
        if (thread.is_killable) options[count++] = {i, true};
      }
      if (is_stuck) {
        const bool is_end = std::ranges::all_of(threads_, [](const Thread& one) { return one.is_over || one.is_dead; });
        if (!is_end) fail("a thread waits for ever");
        return true;
      }
      if (depth_ == choices_.size() && !visited_.insert(state()).second) return false;
      const auto [chosen, is_kill] = options[choose(count)];
      if (is_kill) {
        kill(threads_[chosen]);
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
    if (!thread.is_begun) {
      thread.is_begun = true;
      if (!stacks_[index]) stacks_[index] = std::make_unique<std::byte[]>(kStackBytes);
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = stacks_[index].get();
      thread.context.uc_stack.ss_size = kStackBytes;
      thread.context.uc_link = &scheduler_;
      const auto self = reinterpret_cast<uintptr_t>(this);
      makecontext(&thread.context, reinterpret_cast<void (*)()>(&Machine::begin), 2, static_cast<unsigned>(self >> 32),
                  static_cast<unsigned>(self));
    }
    swapcontext(&scheduler_, &thread.context);
    running_ = nullptr;
  }
  static void begin(unsigned high, unsigned low) {
    Machine& machine = *reinterpret_cast<Machine*>(uintptr_t{high} << 32 | low);
    Thread& me = *machine.running_;
    try {
      me.body();
    } catch (const Killed&) {
      // It ends here.
    } catch (const std::exception& error) {
      machine.fail(std::string(me.name) + " throws: " + error.what());
    }
    me.is_over = true;
  }

  void kill(Thread& thread) {
    trace("", "kill", 0, static_cast<uint64_t>(&thread - threads_.data()));
    thread.is_dead = true;
    thread.history = 0;
    // From the last to the first: what a release had before it is done if the release is.
    bool is_all_done = false;
    std::array<bool, kMostPlaces> is_done{};
    for (auto undone = thread.unfenced.rbegin(); undone != thread.unfenced.rend(); ++undone) {
      Place& place = places_[undone->place];
      if (is_all_done || is_done[undone->place] || place.stores.back().is_seen || choose(2) == 0) {
        is_done[undone->place] = true;
        is_all_done |= undone->is_release;
        continue;
      }
      place.stores.pop_back();
      *place.memory = place.stores.back().value;
      trace("", "undo", undone->place, place.stores.back().value);
    }
    thread.unfenced.clear();
    for (size_t i = 0; i < places_.size(); ++i) {
      thread.now.stores[i] = std::min(thread.now.stores[i], static_cast<uint8_t>(places_[i].stores.size() - 1));
    }
    if (on_death) on_death(static_cast<size_t>(&thread - threads_.data()));
  }

  // What their code has on its stack is let go of.
  void end_threads() {
    for (size_t i = 0; i < threads_.size(); ++i) {
      threads_[i].is_dead = true;
      if (threads_[i].is_begun && !threads_[i].is_over) resume(i);
    }
  }

  uint64_t state() const {
    uint64_t hash = facts ? facts() : 0;
    const auto mix_view = [&hash](const View& view) {
      std::array<uint64_t, sizeof(View) / 8 + 1> words{};
      std::copy_n(view.stores.begin(), kMostPlaces, reinterpret_cast<uint8_t*>(words.data()));
      for (const uint64_t word : words) hash = mix(hash, word);
      for (const uint16_t load : view.loads) hash = mix(hash, load);
    };
    for (const Thread& thread : threads_) {
      hash = mix(hash, thread.history);
      hash = mix(hash, thread.is_begun | thread.is_over << 1 | thread.is_dead << 2 | (thread.is_time != nullptr) << 3);
      hash = mix(hash, thread.unfenced.size());
      if (thread.is_dead) continue;
      mix_view(thread.now);
      mix_view(thread.heard);
      mix_view(thread.fenced);
      for (const uint8_t count : thread.stale) hash = mix(hash, count);
    }
    for (const Place& place : places_) {
      hash = mix(hash, place.stores.size());
      for (const uint16_t load : place.loads) hash = mix(hash, load);
      for (const Store& store : place.stores) {
        hash = mix(hash, store.value * 2 + store.is_seen);
        mix_view(store.view);
      }
    }
    mix_view(fences_);
    return hash;
  }

  void trace(const char* function, const char* what, size_t where, uint64_t value) const {
    if (!is_traced_) return;
    std::printf("    %-8s %-14s %-6s place %zu  %#lx\n", running_ != nullptr ? running_->name : "", function, what, where,
                value);
  }

 public:
  std::function<void(size_t)> on_death;
  std::function<uint64_t()> facts;  // of the program's own state, outside of its threads

 private:
  std::vector<Place> places_;
  std::vector<uintptr_t> addresses_;
  std::vector<Thread> threads_;
  std::array<std::unique_ptr<std::byte[]>, kMostThreads> stacks_;
  ucontext_t scheduler_{};
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
