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
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), destroy_(other.destroy_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  Handle get() const { return handle_; }
  // The caller destroys it from then on.
  Handle release() { return std::exchange(handle_, nullptr); }

 private:
  Handle handle_;
  void (*destroy_)(Handle);
};

}  // namespace edgeward
