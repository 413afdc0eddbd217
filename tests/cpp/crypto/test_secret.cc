#include "crypto/secret.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "rigs/child.h"
#include "rigs/mapping.h"
#include "rigs/octets.h"
#include "rigs/refusal.h"
#include "system/file.h"

namespace edgeward {
namespace {

const auto kPageBytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// How often a page that is not hidden can be locked. Sanitizers turn mlock off.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kMostLocks = 0;
#else
constexpr size_t kMostLocks = 1;
#endif

bool has_memfd_secret() {
#ifdef SYS_memfd_secret
  const auto file = static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC));
  if (file < 0) return false;
  close(file);
  return true;
#else
  return false;
#endif
}

// From here on this process may lock no memory, so that memfd_secret has no pages to give. True when it is so.
bool give_up_locked_memory() {
  // Root may lock what it likes.
  constexpr uid_t kNobody = 65534;
  if (geteuid() == 0 && setresuid(kNobody, kNobody, kNobody) != 0) return false;
  const rlimit none{0, 0};
  return setrlimit(RLIMIT_MEMLOCK, &none) == 0;
}

// From here on the kernel answers this process as one that has no memfd_secret. True when it is so.
bool give_up_memfd_secret() {
#ifdef SYS_memfd_secret
  sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_secret, 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    return false;
#endif
  return !has_memfd_secret();
}

bool is_hidden(const Secret& secret) {
  const auto mapping = try_mapping_of(secret.bytes().data());
  return mapping && mapping->name.find("secretmem") != std::string::npos;
}

void* page_of(const Secret& secret) {
  auto* bytes = const_cast<std::byte*>(secret.bytes().data());
  return bytes - reinterpret_cast<uintptr_t>(bytes) % kPageBytes;
}

bool is_forked_refusal(Secret& secret) {
  try {
    (void)secret.bytes();
    return false;
  } catch (const Error& error) {
    if (error.code() != Code::forked) return false;
  }
  try {
    (void)std::as_const(secret).bytes();
    return false;
  } catch (const Error& error) {
    return error.code() == Code::forked && std::string(error.what()).starts_with("key: ");
  }
}

}  // namespace

TEST_CASE("a wipe leaves zeros, and only where it was told to") {
  Octets bytes(100, std::byte{7});
  wipe(std::span(bytes).subspan(1, 98));
  CHECK(is_zero(Bytes(bytes).subspan(1, 98)));
  CHECK(bytes.front() == std::byte{7});
  CHECK(bytes.back() == std::byte{7});
  wipe({});
}

TEST_CASE("a secret is zeros until it is filled, or a copy of 32 bytes") {
  Secret empty;
  CHECK(empty.bytes().size() == kSecretBytes);
  CHECK(is_zero(empty.bytes()));
  std::fill(empty.bytes().begin(), empty.bytes().end(), std::byte{3});
  CHECK(is_same(std::as_const(empty).bytes(), Octets(32, std::byte{3})));

  std::mt19937_64 random(6);
  const Octets bytes = random_octets(random, 64);
  CHECK(is_same(Secret(Bytes(bytes).first(32)).bytes(), Bytes(bytes).first(32)));
  for (size_t size = 0; size <= bytes.size(); ++size) {
    if (size == kSecretBytes) continue;
    check_refusal(Code::malformed_key, {"expected 32 bytes", "got " + std::to_string(size)},
                  [&] { Secret(Bytes(bytes).first(size)); });
  }
}

TEST_CASE("a secret that moves keeps its place, and two that change places keep theirs") {
  Secret first(Octets(32, std::byte{1}));
  const std::byte* page = first.bytes().data();
  Secret second(std::move(first));
  CHECK(second.bytes().data() == page);
  CHECK(is_same(second.bytes(), Octets(32, std::byte{1})));

  Secret three(Octets(32, std::byte{3}));
  three = std::move(second);
  CHECK(three.bytes().data() == page);
  CHECK(is_same(three.bytes(), Octets(32, std::byte{1})));
}

TEST_CASE("secrets share no byte, and a place that served before is zeros again") {
  // More than one page holds.
  const size_t kCount = 3 * kPageBytes / kSecretBytes + 1;
  std::set<const std::byte*> places;
  for (int round = 0; round < 2; ++round) {
    std::vector<Secret> secrets(kCount);
    std::vector<const std::byte*> begins;
    for (Secret& secret : secrets) {
      CHECK(is_zero(secret.bytes()));
      std::fill(secret.bytes().begin(), secret.bytes().end(), std::byte{0xFF});
      begins.push_back(secret.bytes().data());
    }
    std::sort(begins.begin(), begins.end());
    for (size_t i = 1; i < begins.size(); ++i) CHECK(begins[i] - begins[i - 1] >= std::ptrdiff_t{kSecretBytes});
    // The second round needs no page that the first did not.
    if (round == 1) CHECK(std::all_of(begins.begin(), begins.end(), [&](auto* begin) { return places.count(begin); }));
    places.insert(begins.begin(), begins.end());
  }
}

TEST_CASE("a secret's page is in no core dump, is not swapped, and hidden from the kernel's own map where it can be") {
  const Secret secret(Octets(32, std::byte{1}));
  const auto mapping = try_mapping_of(secret.bytes().data());
  REQUIRE(mapping);
  CHECK(mapping->flags.count("dd") == 1);
  CHECK(mapping->flags.count("dc") == 1);
  CHECK(mapping->permissions.starts_with("rw-"));
  CHECK(is_hidden(secret) == has_memfd_secret());
  if (!is_hidden(secret)) {
    MESSAGE("no memfd_secret here: hidden pages are not tested");
    return;
  }
  const Descriptor memory(open("/proc/self/mem", O_RDONLY | O_CLOEXEC), "memory");
  std::byte seen{};
  CHECK(pread(memory.number(), &seen, 1, static_cast<off_t>(mapping->begin)) == -1);
}

TEST_CASE("a secret's page is not there in a forked child, where every use is an error") {
  Secret secret(Octets(32, std::byte{1}));
  const std::byte* page = secret.bytes().data();
  CHECK(outcome_in_child([&] { return is_forked_refusal(secret); }) == "");
  CHECK(outcome_in_child([&] { return !try_mapping_of(page); }) == "");
  CHECK(is_same(secret.bytes(), Octets(32, std::byte{1})));
}

TEST_CASE("a forked child can end a secret of its parent's, move it, and end itself around it") {
  auto secret = std::make_unique<Secret>(Octets(32, std::byte{1}));
  CHECK(outcome_in_child([&] {
          secret.reset();
          return true;
        }) == "");
  CHECK(outcome_in_child([&] {
          Secret moved(std::move(*secret));
          Secret other;
          other = std::move(moved);
          return is_forked_refusal(other);
        }) == "");
  // Where the child has a page of its own at the same address, that one is left alone.
  CHECK(outcome_in_child([&, page = page_of(*secret)] {
          void* own =
              mmap(page, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
          if (own != page) return false;
          std::memset(own, 9, kPageBytes);
          secret.reset();
          return *static_cast<std::byte*>(own) == std::byte{9};
        }) == "");
  // Its exit handlers destroy it.
  static std::unique_ptr<Secret> until_exit;
  until_exit = std::move(secret);
  std::fflush(nullptr);  // or the child would print it once more
  CHECK(outcome_in_child([]() -> bool { std::exit(0); }) == "");
  CHECK(is_same(until_exit->bytes(), Octets(32, std::byte{1})));
  until_exit.reset();
}

TEST_CASE("a secret made in a child is at home there") {
  const Secret parents;
  CHECK(outcome_in_child([] {
          Secret secret(Octets(32, std::byte{2}));
          Secret moved(std::move(secret));
          return is_same(moved.bytes(), Octets(32, std::byte{2}));
        }) == "");
}

TEST_CASE("where a page cannot be hidden, or locked either, it is still in no core dump and no child") {
  const auto is_kept = [](Secret& secret, size_t locks) {
    const std::byte* page = secret.bytes().data();
    const auto mapping = try_mapping_of(page);
    if (!mapping || is_hidden(secret)) return false;
    if (mapping->flags.count("dd") != 1 || mapping->flags.count("dc") != 1) return false;
    if (mapping->flags.count("lo") != locks) return false;
    return outcome_in_child([&] { return is_forked_refusal(secret) && !try_mapping_of(page); }).empty() &&
           is_same(secret.bytes(), Octets(32, std::byte{4}));
  };
  CHECK(outcome_in_child([&] {
          if (!give_up_memfd_secret()) return false;
          Secret secret(Octets(32, std::byte{4}));
          return is_kept(secret, kMostLocks);
        }) == "");
  CHECK(outcome_in_child([&] {
          if (!give_up_locked_memory()) return false;
          Secret secret(Octets(32, std::byte{4}));
          return is_kept(secret, 0);
        }) == "");
}

TEST_CASE("a secret for which there is no page is an error") {
  CHECK(outcome_in_child([] {
          const rlimit none{0, 0};
          if (setrlimit(RLIMIT_AS, &none) != 0) return false;
          try {
            Secret secret;
            return false;
          } catch (const Error& error) {
            return error.code() == Code::out_of_memory;
          }
        }) == "");
}

TEST_CASE("a secret's bytes are zeros once it ended, also one that moved, on a page of either kind") {
  const auto is_wiped = [] {
    const auto left_by = [](auto&& use) {
      Secret secret(Octets(32, std::byte{6}));
      const Bytes bytes = std::as_const(secret).bytes();
      use(secret);
      return bytes;
    };
    // Pages of secrets stay, so their places may be read.
    const Bytes ended = left_by([](Secret& secret) { Secret(std::move(secret)); });
    const Bytes moved = left_by([](Secret& secret) {
      Secret target;
      target = std::move(secret);
    });
    const Bytes destroyed = left_by([](Secret&) {});
    return is_zero(ended) && is_zero(moved) && is_zero(destroyed);
  };
  CHECK(is_wiped());
  CHECK(outcome_in_child([&] { return give_up_memfd_secret() && is_wiped(); }) == "");
}

TEST_CASE("secrets are made, moved and ended in several threads at once") {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 200; ++k) {
        Secret secret(Octets(32, std::byte{8}));
        Secret moved(std::move(secret));
        moved = Secret();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace edgeward
