// Secret: 32 bytes that must not leave this process: a private key or a content key. They lie in pages of their kind
// that are in no core dump, are not swapped and are not there in a forked child, where every use is an error; where the
// kernel has memfd_secret, not even the kernel's own map shows them. Wiped at the end. Moved, not copied; any thread,
// one at a time.
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
