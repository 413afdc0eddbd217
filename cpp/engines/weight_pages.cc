#include "engines/weight_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

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

WeightSource WeightSource::of(std::shared_ptr<const File> file) {
  const uint64_t size_bytes = file->size_bytes();
  std::string name = "model file \"" + file->path() + "\"";
  const auto read = [file = std::move(file)](std::span<const FilePart> parts) {
    for (const FilePart& part : parts) file->read_at(part.offset, part.bytes);
  };
  return {size_bytes, std::move(name), false, read};
}

WeightPages::Lock::Lock(WeightPages* pages) : pages_(pages) {
  if (pages == nullptr) return;
  {
    const Waiting waiting;
    lock_ = std::unique_lock(pages->mutex_);
  }
  pages->unguard();
}

WeightPages::Lock::~Lock() {
  if (pages_ != nullptr) pages_->guard();
}

std::unique_ptr<WeightPages> WeightPages::try_make(const Block& model, std::span<const Bytes> weights,
                                                   WeightSource source) {
  std::vector<Run> runs;
  for (const Bytes bytes : weights) {
    const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
    const uintptr_t first = round_up(begin, page_bytes());
    const uintptr_t end = (begin + bytes.size()) / page_bytes() * page_bytes();
    if (end <= first || end - first < kMinRunBytes) continue;
    runs.push_back({{const_cast<std::byte*>(bytes.data()) + (first - begin), end - first}});
  }
  if (runs.empty() || source.read == nullptr || source.size_bytes != model.size_bytes()) return nullptr;
  return std::unique_ptr<WeightPages>(new WeightPages(model, std::move(runs), std::move(source)));
}

WeightPages::WeightPages(const Block& model, std::vector<Run> runs, WeightSource source)
    : model_(model), runs_(std::move(runs)), source_(std::move(source)) {
  for (const Run& run : runs_) size_bytes_ += run.pages.size();
}

WeightPages::~WeightPages() {
  unguard();  // for the owner of the memory, who may wipe it
  for (Run& run : runs_) drop_aside(run);
}

void WeightPages::drop_aside(Run& run) {
  if (run.aside == nullptr) return;
  if (model_.is_secret()) wipe_pages({run.aside, run.pages.size()});
  munmap(run.aside, run.pages.size());
  run.aside = nullptr;
}

void WeightPages::guard() {
  if (!are_away() || is_guarded_) return;
  is_guarded_ = true;
  for (const Run& run : runs_) mprotect(run.pages.data(), run.pages.size(), PROT_NONE);
}

void WeightPages::unguard() {
  if (!is_guarded_) return;
  is_guarded_ = false;
  for (const Run& run : runs_) mprotect(run.pages.data(), run.pages.size(), PROT_READ | PROT_WRITE);
}

void WeightPages::set_aside() {
  if (is_kept_ || is_aside_ || are_away()) return;
  if (!model_.has_one_owner()) return keep();
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
  if (!has_digest_ && !source_.is_verified) {
    digest_ = digest();
    has_digest_ = true;
  }
  const Unmeasured unmeasured;
  for (Run& run : runs_) drop_aside(run);
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
  if (has_readers_) keep();
}

// Copied, since a mapping that is moved over another can fail when the other is gone.
void WeightPages::put_back() {
  for (Run& run : runs_) {
    if (run.aside == nullptr) continue;
    std::memcpy(run.pages.data(), run.aside, run.pages.size());
    drop_aside(run);
    // A mapping that is moved leaves an unlocked one. What it had locked counts no more.
    if (model_.is_secret()) try_lock(run.pages);
  }
  is_aside_ = false;
}

void WeightPages::read_again() {
  constexpr const char* kWhy = ", because the engine packs its weights again";
  std::vector<FilePart> parts;
  for (const Run& run : runs_) parts.push_back({static_cast<uint64_t>(run.pages.data() - model_.data()), run.pages});
  try {
    for (const Run& run : runs_) {
      if (model_.is_secret() && !try_lock(run.pages)) {
        throw Error(Code::out_of_memory, source_.name, ": expected to lock ", size_bytes_,
                    " bytes of an encrypted model in memory", kWhy, ", got less (RLIMIT_MEMLOCK)");
      }
    }
    source_.read(parts);
    if (has_digest_ && digest() != digest_) {
      throw Error(Code::bad_input, source_.name, ": expected the bytes that it had when it was loaded", kWhy,
                  ", got others");
    }
  } catch (const Error& error) {
    drop_pages();
    if (error.code() != Code::malformed_package) throw;
    throw Error(Code::bad_input, error.what(), " (it is read again", kWhy, ")");
  } catch (...) {
    drop_pages();
    throw;
  }
  is_away_.store(false, std::memory_order_relaxed);
}

void WeightPages::drop_pages() {
  for (const Run& run : runs_) {
    if (model_.is_secret()) {
      wipe_pages(run.pages);
      munlock(run.pages.data(), run.pages.size());  // or it has to stay
    }
    madvise(run.pages.data(), run.pages.size(), MADV_DONTNEED);
  }
}

void WeightPages::keep() {
  restore();
  is_kept_ = true;
  source_ = {};
}

bool WeightPages::were_read() const {
  if (has_readers_) return true;
  if (!is_aside_ && !are_away()) return false;
  return std::any_of(runs_.begin(), runs_.end(),
                     [](const Run& run) { return resident_bytes(run.pages.data(), run.pages.size()) != 0; });
}

}  // namespace edgeward
