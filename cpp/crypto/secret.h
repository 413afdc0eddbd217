// Secret: 32 bytes that must not leave this process: a private key or a content key. Secrets are located in
// pages that are excluded from core dumps, swap and forked children, where every use is an error; where the kernel has
// memfd_secret, they are also removed from the kernel's direct map. Wiped by the destructor. Moved, not copied. One
// thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "bytes/bytes.h"
#include "system/fork.h"

namespace edgeward {

inline constexpr size_t kSecretBytes = 32;

// Overwrites with zeros in a way that no optimizer removes.
void wipe(std::span<std::byte> bytes);

class Secret {
 public:
  // Zeros, to be filled. Throws Error(out_of_memory).
  Secret();
  // A copy; the caller wipes its own. `bytes` are kSecretBytes.
  explicit Secret(Bytes bytes);
  ~Secret();
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  // Throws Error(forked) in a child of the process that made it.
  std::span<std::byte> bytes();
  Bytes bytes() const;

 private:
  ForkMark home_;
  std::byte* data_;  // a slot of such a page; null once moved from
};

}  // namespace edgeward
