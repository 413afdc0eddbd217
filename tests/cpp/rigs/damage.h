// Every way to damage a message a little: cut at each byte, one bit turned over, bytes put behind its end.
// What is handed on ends where memory ends: a reader that goes past it ends the process.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>

#include "rigs/guarded_pages.h"
#include "rigs/octets.h"

namespace edgeward {

class Damage {
 public:
  explicit Damage(Bytes whole)
      : whole_(whole.begin(), whole.end()), pages_(whole.size() / GuardedPages::kPageBytes + 2) {
    REQUIRE_FALSE(whole.empty());
  }

  // `act` on the first 0, 1, ... bytes, never on all of them.
  template <class Act>
  void for_each_cut(Act&& act) const {
    for (size_t size = 0; size < whole_.size(); ++size) {
      CAPTURE(size);
      act(at_the_edge(Bytes(whole_).first(size)));
    }
  }

  // `act` on the message with one bit other than it was, for each of its bits.
  template <class Act>
  void for_each_flip(Act&& act) const {
    Octets flipped = whole_;
    for (size_t bit = 0; bit < 8 * whole_.size(); ++bit) {
      CAPTURE(bit);
      const auto mask = static_cast<std::byte>(1u << bit % 8);
      flipped[bit / 8] ^= mask;
      act(at_the_edge(flipped));
      flipped[bit / 8] ^= mask;
    }
  }

  // `act` on the message and one byte more, for each value of that byte.
  template <class Act>
  void for_each_byte_more(Act&& act) const {
    Octets longer = whole_;
    longer.push_back({});
    for (int value = 0; value < 256; ++value) {
      CAPTURE(value);
      longer.back() = static_cast<std::byte>(value);
      act(at_the_edge(longer));
    }
  }

 private:
  Bytes at_the_edge(Bytes bytes) const {
    std::byte* begin = pages_.end() - bytes.size();
    std::copy(bytes.begin(), bytes.end(), begin);
    return {begin, bytes.size()};
  }

  Octets whole_;
  GuardedPages pages_;
};

}  // namespace edgeward
