#include "captures/moment.h"

#include <algorithm>
#include <map>
#include <optional>

#include "captures/tick_clock.h"

namespace edgeward {
namespace {

constexpr BootId kUnknownBoot{};
constexpr int64_t kMaxWall_ns = 7'258'118'400'000'000'000;  // in the year 2200
constexpr int64_t kMaxUptime_ns = 1'000'000'000'000'000'000;

// Moments are read from files that anybody may have written: sums of these stay within 64 bits.
bool is_set(int64_t wall_ns) { return wall_ns >= kLeastWall_ns && wall_ns <= kMaxWall_ns; }
bool has_boot(const Moment& moment) {
  return moment.boot != kUnknownBoot && moment.monotonic_ns >= 0 && moment.monotonic_ns <= kMaxUptime_ns;
}

// The wall's time at the beginning of each boot, as the last moment says that knows it.
std::map<BootId, int64_t> boot_walls_ns(std::span<const Moment> moments) {
  std::map<BootId, int64_t> walls_ns;
  for (const Moment& moment : moments) {
    if (has_boot(moment) && is_set(moment.wall_ns)) walls_ns[moment.boot] = moment.wall_ns - moment.monotonic_ns;
  }
  return walls_ns;
}

}  // namespace

Moment moment_now() { return {boot_id(), static_cast<int64_t>(monotonic_ns()), wall_ns()}; }

std::vector<int64_t> ages_ns(std::span<const Moment> moments, const Moment& now) {
  const std::map<BootId, int64_t> walls_ns = boot_walls_ns(moments);
  const auto wall_age_ns = [&](const Moment& moment) -> std::optional<int64_t> {
    int64_t wall_ns = moment.wall_ns;
    const auto boot_wall_ns = walls_ns.find(moment.boot);
    if (wall_ns < kLeastWall_ns && has_boot(moment) && boot_wall_ns != walls_ns.end())
      wall_ns = boot_wall_ns->second + moment.monotonic_ns;
    if (!is_set(wall_ns) || wall_ns > now.wall_ns) return std::nullopt;
    return now.wall_ns - wall_ns;
  };
  std::vector<int64_t> ages;
  int64_t most_ns = INT64_MAX;  // what came before is at least as old
  for (const Moment& moment : moments) {
    const bool is_of_this_boot = has_boot(moment) && has_boot(now) && moment.boot == now.boot;
    if (is_of_this_boot) {
      most_ns = std::max<int64_t>(now.monotonic_ns - moment.monotonic_ns, 0);
      ages.push_back(most_ns);
    } else if (const auto age_ns = wall_age_ns(moment)) {
      most_ns = std::min(most_ns, *age_ns);
      ages.push_back(most_ns);
    } else {
      ages.push_back(has_boot(moment) && has_boot(now) ? now.monotonic_ns : 0);
    }
  }
  for (size_t i = ages.size(); i > 1; --i) ages[i - 2] = std::max(ages[i - 2], ages[i - 1]);
  return ages;
}

}  // namespace edgeward
