// Owned: an object behind a C API's opaque pointer, destroyed by that API's own function together with its owner.
#pragma once

#include <utility>

namespace edgeward {

using Handle = void*;

class Owned {
 public:
  Owned(Handle handle, void (*destroy)(Handle)) : handle_(handle), destroy_(destroy) {}
  ~Owned() {
    if (handle_ != nullptr) destroy_(handle_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Handle get() const { return handle_; }
  // The caller destroys it from then on.
  Handle release() { return std::exchange(handle_, nullptr); }

 private:
  Handle handle_;
  void (*destroy_)(Handle);
};

}  // namespace edgeward
