#include "captures/retention.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <vector>

#include "captures/sealed_statistics.h"
#include "captures/segment_index.h"
#include "captures/segment_reader.h"
#include "system/file.h"

namespace edgeward {
namespace {

// What of a directory counts toward its budget.
struct Listing {
  std::vector<std::string> segments;  // paths, in the order in which they were begun
  std::vector<uint64_t> sizes_bytes;
  uint64_t statistics_bytes = 0;
};

bool is_segment(std::string_view name) { return name.ends_with(kSealedSuffix) || name.ends_with(kDamagedSuffix); }

bool is_statistics(std::string_view name) {
  return name.ends_with(kStatisticsSuffix) || name.ends_with(kJsonStatisticsSuffix) ||
         name.ends_with(kSealedStatisticsSuffix);
}

Listing list(const std::string& directory) {
  Listing listing;
  for (const std::string& path : paths_in(directory, "")) {
    if (is_segment(path)) listing.segments.push_back(path);
    struct stat facts {};
    if (is_statistics(path) && stat(path.c_str(), &facts) == 0)
      listing.statistics_bytes += static_cast<uint64_t>(facts.st_size);
  }
  for (const std::string& path : listing.segments) {
    struct stat facts {};
    // What another drain has deleted meanwhile takes no room; it is evicted for nothing.
    listing.sizes_bytes.push_back(stat(path.c_str(), &facts) == 0 ? static_cast<uint64_t>(facts.st_size) : 0);
  }
  return listing;
}

}  // namespace

Moment Retention::moment_of(const std::string& path) {
  const auto known = moments_.find(path);
  if (known != moments_.end()) return known->second;
  Moment moment;
  try {
    moment = SegmentReader(path, nullptr).moment();
  } catch (const std::exception&) {
    // It has no head: it is as old as its neighbours say.
  }
  moments_.emplace(path, moment);
  return moment;
}

Retention::Evicted Retention::enforce(const Moment& now, size_t least_count) {
  Listing listing = list(directory_);
  std::erase_if(moments_, [&](const auto& entry) {
    return !std::binary_search(listing.segments.begin(), listing.segments.end(), entry.first);
  });
  std::vector<SealedSegment> segments;
  std::vector<Moment> moments;
  for (const std::string& path : listing.segments) moments.push_back(moment_of(path));
  const std::vector<int64_t> ages = ages_ns(moments, now);
  for (size_t i = 0; i < ages.size(); ++i) segments.push_back({listing.sizes_bytes[i], ages[i]});
  Budget budget = budget_;
  budget.least_count = least_count;
  budget.most_bytes -= std::min(budget.most_bytes, listing.statistics_bytes);
  Evicted evicted;
  // The file system is asked again after each: what a removed file frees is known to it alone.
  while (const auto index = next_eviction(budget, segments, free_bytes(directory_))) {
    const auto offset = static_cast<std::ptrdiff_t>(*index);
    const std::string& path = listing.segments[*index];
    const uint64_t records = record_count(path);
    if (unlink(path.c_str()) == 0) {
      ++evicted.segments;
      evicted.records += records;
      evicted.bytes += segments[*index].size_bytes;
    }
    listing.segments.erase(listing.segments.begin() + offset);
    segments.erase(segments.begin() + offset);
  }
  return evicted;
}

}  // namespace edgeward
