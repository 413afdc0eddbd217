// WeightPages: pages of a model's bytes that an engine reads while it packs weights, and not afterwards. Between
// compilations the system has them back; what reads them then finds zeroes, and is found out by the pages that it made
// resident. They are read again from the model's file, which stays open. Decision: docs/decisions/0028.
//
// Pages are here, aside or away. Whoever compiles or plans, and whoever moves them or asks here, holds the mutex; so
// does a run that has not been checked.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "bytes/bytes.h"
#include "system/file.h"

namespace edgeward {

class WeightPages {
 public:
  // The whole pages of `weights`, which are parts of `model`, in order and apart; `source` has the same bytes. Null
  // when they are too few to matter. `model` must outlive it, in private anonymous memory to which nothing else writes.
  static std::unique_ptr<WeightPages> try_make(Bytes model, std::span<const Bytes> weights,
                                               std::shared_ptr<const File> source);
  ~WeightPages();
  WeightPages(const WeightPages&) = delete;
  WeightPages& operator=(const WeightPages&) = delete;

  std::mutex& mutex() { return mutex_; }

  // Leaves zeroes in their place, and keeps the bytes elsewhere. Keeps the pages where the system cannot move them.
  void set_aside();
  // Gives what is aside back to the system.
  void give_back();
  // They have their bytes again; for good, if somebody has read zeroes. Throws Error(bad_input) when they were given
  // back and the file has others by now, and std::filesystem::filesystem_error.
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

  WeightPages(Bytes model, std::vector<Run> runs, std::shared_ptr<const File> source);
  uint64_t digest() const;
  void put_back();
  void read_again();

  Bytes model_;
  std::vector<Run> runs_;
  std::shared_ptr<const File> source_;
  size_t size_bytes_ = 0;
  uint64_t digest_ = 0;  // of the pages, once they were given back
  bool has_digest_ = false;
  bool has_readers_ = false;  // somebody reads these pages where they are
  bool is_aside_ = false;
  std::atomic<bool> is_away_{false};
  bool is_kept_ = false;
  std::mutex mutex_;
};

}  // namespace edgeward
