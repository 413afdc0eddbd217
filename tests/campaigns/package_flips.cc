// Turns over every single bit of the published package in each of its modes, and has a device open each: a campaign,
// not a unit test. Prints how many were accepted, and how the others were refused; ends with status 1 unless all were.
//
//   package_flips [STRIDE]   every STRIDE-th bit, each time another one of them first; 1: all
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "error.h"
#include "rigs/demo_package.h"

using namespace edgeward;

namespace {

struct Tally {
  uint64_t flips = 0;
  uint64_t accepted = 0;
  uint64_t unexpected = 0;  // neither accepted nor refused by an error of ours
  std::map<std::string, uint64_t> refused;
};

// One thread's share of the bits, in a file of its own.
void flip(const std::string& whole, const std::string& path, size_t first, size_t step, Tally& tally) {
  { std::ofstream(path, std::ios::binary) << whole; }
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const PrivateKey publisher = publisher_key();
  const TrustRoot root = demo_root(publisher);
  const Policy policy = demo_policy();
  const Secret content_key = secret_of("edgeward test cek");
  for (size_t bit = first; bit < 8 * whole.size(); bit += step) {
    const char changed = static_cast<char>(whole[bit / 8] ^ (1 << bit % 8));
    if (pwrite(file, &changed, 1, static_cast<off_t>(bit / 8)) != 1) abort();
    ++tally.flips;
    try {
      const PackageReader package(path, root, policy);
      package.open_payload(package.facts().aead ? &content_key : nullptr, 1);
      ++tally.accepted;
      std::printf("accepted: bit %zu\n", bit);
    } catch (const Error& error) {
      ++tally.refused[std::string(code_name(error.code()))];
    } catch (...) {
      ++tally.unexpected;
    }
    if (pwrite(file, &whole[bit / 8], 1, static_cast<off_t>(bit / 8)) != 1) abort();
  }
  // Back to what it was: the file is the package again, and is accepted.
  const PackageReader package(path, root, policy);
  package.open_payload(package.facts().aead ? &content_key : nullptr, 1);
  close(file);
}

}  // namespace

int main(int count, char** words) {
  const size_t stride = count > 1 ? std::strtoul(words[1], nullptr, 10) : 1;
  if (stride == 0) return 2;
  std::string pattern = "/dev/shm/edgeward-flips-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) return 2;
  bool is_right = true;
  uint64_t flips = 0;
  for (const char* name : {"signed", "sealed-aes", "sealed-chacha"}) {
    std::ifstream source(std::string(VECTORS_PATH) + "/package/" + name + ".ewp", std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(source), {}};
    const size_t threads = std::max(1u, std::thread::hardware_concurrency());
    std::vector<Tally> tallies(threads);
    const size_t offset = static_cast<size_t>(time(nullptr)) % stride;
    {
      std::vector<std::jthread> workers;
      for (size_t i = 0; i < threads; ++i) {
        workers.emplace_back([&, i] {
          flip(whole, pattern + "/" + std::to_string(i), offset + i * stride, threads * stride, tallies[i]);
        });
      }
    }
    Tally all;
    for (const Tally& tally : tallies) {
      all.flips += tally.flips;
      all.accepted += tally.accepted;
      all.unexpected += tally.unexpected;
      for (const auto& [code, times] : tally.refused) all.refused[code] += times;
    }
    std::printf("%s: %zu bytes, %lu flips from bit %zu by %zu: %lu accepted, %lu unexpected", name, whole.size(),
                all.flips, offset, stride, all.accepted, all.unexpected);
    for (const auto& [code, times] : all.refused) std::printf(", %lu %s", times, code.c_str());
    std::printf("\n");
    std::fflush(stdout);
    flips += all.flips;
    is_right = is_right && all.accepted == 0 && all.unexpected == 0 && all.flips > 0;
  }
  std::filesystem::remove_all(pattern);
  std::printf("%lu flips in all\n", flips);
  return is_right ? 0 : 1;
}
