#include "engines/weight_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "error.h"
#include "system/growth.h"
#include "system/memory.h"
#include "system/resident.h"

namespace edgeward {
namespace {

// Linux 5.7; older headers lack it.
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

// Fewer pages in a row are not worth a mapping of their own.
constexpr size_t kMinRunBytes = size_t{64} << 10;

// Tells a file that was written to from one that was not; not an attacker's from its owner's. As fast as memory: four
// products at a time. Each step can be undone, so that one word that differs makes another result.
uint64_t mixed(std::span<const std::byte> bytes, uint64_t before) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  uint64_t lanes[4] = {before, before ^ 1, before ^ 2, before ^ 3};
  for (size_t at = 0; at + sizeof lanes <= bytes.size(); at += sizeof lanes) {
    uint64_t words[4];
    std::memcpy(words, bytes.data() + at, sizeof words);
    for (size_t lane = 0; lane < 4; ++lane) lanes[lane] = (std::rotl(lanes[lane], 29) ^ words[lane]) * kFactor;
  }
  uint64_t result = before;
  for (const uint64_t lane : lanes) result = (std::rotl(result, 31) ^ lane) * kFactor;
  return result;
}

}  // namespace

std::unique_ptr<WeightPages> WeightPages::try_make(Bytes model, std::span<const Bytes> weights,
                                                   std::shared_ptr<const File> source) {
  std::vector<Run> runs;
  for (const Bytes bytes : weights) {
    const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
    const uintptr_t first = round_up(begin, page_bytes());
    const uintptr_t end = (begin + bytes.size()) / page_bytes() * page_bytes();
    if (end <= first || end - first < kMinRunBytes) continue;
    runs.push_back({{const_cast<std::byte*>(bytes.data()) + (first - begin), end - first}});
  }
  if (runs.empty() || source == nullptr || source->size_bytes() != model.size()) return nullptr;
  return std::unique_ptr<WeightPages>(new WeightPages(model, std::move(runs), std::move(source)));
}

WeightPages::WeightPages(Bytes model, std::vector<Run> runs, std::shared_ptr<const File> source)
    : model_(model), runs_(std::move(runs)), source_(std::move(source)) {
  for (const Run& run : runs_) size_bytes_ += run.pages.size();
}

WeightPages::~WeightPages() {
  for (const Run& run : runs_)
    if (run.aside != nullptr) munmap(run.aside, run.pages.size());
}

void WeightPages::set_aside() {
  if (is_kept_ || is_aside_ || are_away()) return;
  is_aside_ = true;
  for (Run& run : runs_) {
    // A large page would bring back what was moved of it, and look like somebody who reads.
    madvise(run.pages.data(), run.pages.size(), MADV_NOHUGEPAGE);
    void* aside =
        mremap(run.pages.data(), run.pages.size(), run.pages.size(), MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr);
    if (aside == MAP_FAILED) return keep();
    run.aside = static_cast<std::byte*>(aside);
  }
  // Where pages are locked in memory, for example, zeroes are resident at once.
  if (were_read()) keep();
}

uint64_t WeightPages::digest() const {
  uint64_t digest = 0;
  for (const Run& run : runs_)
    digest = mixed({run.aside == nullptr ? run.pages.data() : run.aside, run.pages.size()}, digest);
  return digest;
}

void WeightPages::give_back() {
  if (!is_aside_) return;
  if (!has_digest_) digest_ = digest();
  has_digest_ = true;
  const Unmeasured unmeasured;
  for (Run& run : runs_) {
    munmap(run.aside, run.pages.size());
    run.aside = nullptr;
  }
  is_aside_ = false;
  is_away_.store(true, std::memory_order_relaxed);
}

void WeightPages::restore() {
  if (!is_aside_ && !are_away()) return;
  has_readers_ = were_read();
  const Unmeasured unmeasured;
  if (is_aside_) {
    put_back();
  } else {
    read_again();
  }
  is_kept_ = has_readers_;
}

// Copied, since a mapping that is moved over another can fail when the other is gone.
void WeightPages::put_back() {
  for (Run& run : runs_) {
    if (run.aside == nullptr) continue;
    std::memcpy(run.pages.data(), run.aside, run.pages.size());
    munmap(run.aside, run.pages.size());
    run.aside = nullptr;
  }
  is_aside_ = false;
}

void WeightPages::read_again() {
  try {
    for (const Run& run : runs_) source_->read_at(static_cast<uint64_t>(run.pages.data() - model_.data()), run.pages);
    if (digest() != digest_) {
      throw Error(Code::bad_input, "model file \"", source_->path(),
                  "\": expected the bytes that it had when it was loaded, because the engine packs its weights again, "
                  "got others");
    }
  } catch (...) {
    for (const Run& run : runs_) madvise(run.pages.data(), run.pages.size(), MADV_DONTNEED);
    throw;
  }
  is_away_.store(false, std::memory_order_relaxed);
}

void WeightPages::keep() {
  restore();
  is_kept_ = true;
}

bool WeightPages::were_read() const {
  if (has_readers_) return true;
  if (!is_aside_ && !are_away()) return false;
  return std::any_of(runs_.begin(), runs_.end(),
                     [](const Run& run) { return resident_bytes(run.pages.data(), run.pages.size()) != 0; });
}

}  // namespace edgeward
