// WeightPages: pages of a model's bytes that an engine reads while it packs weights, and not afterwards. Between
// compilations the system has them back. They are read again from where the model came from, which stays open.
// Decision: docs/decisions/0028.
//
// Pages are here, aside or away. Whoever compiles or plans, and whoever moves them or asks here, holds a Lock; so does
// a run that has not been checked. Under a Lock, what reads pages that are aside or away finds zeroes, and is found out
// by the pages that it made resident. Without one, pages that are away cannot be touched: SIGSEGV, and no wrong answer.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "bytes/bytes.h"
#include "system/file.h"
#include "system/memory.h"

namespace edgeward {

// Where a model's bytes can be read again.
struct WeightSource {
  // A file that was read.
  static WeightSource of(std::shared_ptr<const File> file);

  uint64_t size_bytes = 0;                                // of the model
  std::string name{};                                     // for messages: model file "a.tflite"
  bool is_verified = false;                               // `read` throws for other bytes than those of the first time
  std::function<void(std::span<const FilePart>)> read{};  // null: nowhere. Takes parts in order and apart
};

class WeightPages {
 public:
  // The whole pages of `weights`, which are parts of `model`, in order and apart; `source` has the same bytes. Null
  // when they are too few to matter. `model` must outlive it, in private anonymous memory to which nothing else writes.
  static std::unique_ptr<WeightPages> try_make(const Block& model, std::span<const Bytes> weights, WeightSource source);
  ~WeightPages();
  WeightPages(const WeightPages&) = delete;
  WeightPages& operator=(const WeightPages&) = delete;

  // While it lasts, nobody else has one.
  class Lock {
   public:
    // Of nothing when `pages` is null.
    explicit Lock(WeightPages* pages);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    WeightPages* pages_;
    std::unique_lock<std::mutex> lock_;
  };

  // Leaves zeroes in their place, and keeps the bytes elsewhere. Keeps the pages where the system cannot move them, and
  // where somebody else has the model's memory, who may read it.
  void set_aside();
  // Gives what is aside back to the system; a secret is wiped first.
  void give_back();
  // They have their bytes again; for good, if somebody has read zeroes. Throws Error(bad_input) when they were given
  // back and the source has others by now, std::filesystem::filesystem_error, and Error(out_of_memory) for a secret
  // that could then be swapped.
  void restore();
  // Restores them for good.
  void keep();

  bool is_kept() const { return is_kept_; }
  // Any thread may ask.
  bool are_away() const { return is_away_.load(std::memory_order_relaxed); }
  // Whether anybody has ever read or written one while they were aside or away.
  bool were_read() const;

  size_t size_bytes() const { return size_bytes_; }

 private:
  struct Run {
    std::span<std::byte> pages;
    std::byte* aside = nullptr;  // where their bytes are meanwhile
  };

  WeightPages(const Block& model, std::vector<Run> runs, WeightSource source);
  uint64_t digest() const;
  void put_back();
  void read_again();
  void drop_aside(Run& run);
  void drop_pages();
  // Lets nobody touch what is away, or everybody.
  void guard();
  void unguard();

  const Block& model_;
  std::vector<Run> runs_;
  WeightSource source_;
  size_t size_bytes_ = 0;
  uint64_t digest_ = 0;  // of the pages, once they were given back, where the source does not verify them
  bool has_digest_ = false;
  bool has_readers_ = false;  // somebody reads these pages where they are
  bool is_aside_ = false;
  bool is_guarded_ = false;
  std::atomic<bool> is_away_{false};
  bool is_kept_ = false;
  std::mutex mutex_;
};

}  // namespace edgeward
