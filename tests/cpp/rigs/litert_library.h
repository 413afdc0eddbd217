// The fake libLiteRt.so as the tests of one case see it: reset before, and with nothing left over after.
#pragma once

#include <doctest/doctest.h>

#include "engines/library.h"
#include "rigs/fake_litert.h"

namespace edgeward {

class LitertLibrary {
 public:
  LitertLibrary() : fake_(*Library(FAKE_LITERT_PATH).symbol<FakeLitert* (*)()>("fake_litert")()) {
    REQUIRE(fake_.live_objects == 0);
    fake_.compilations = 0;
    fake_.runs = 0;
    fake_.registrations = 0;
    fake_.packs = 0;
  }
  ~LitertLibrary() {
    CHECK(fake_.complaints == 0);
    CHECK(fake_.live_buffers == 0);
    CHECK(fake_.mapped == 0);
    CHECK(fake_.live_objects == 0);
    for (std::atomic<int>* status :
         {&fake_.environment_status, &fake_.model_status, &fake_.compile_status, &fake_.resize_status,
          &fake_.buffer_status, &fake_.run_status, &fake_.fallback_count, &fake_.rows_after_run}) {
      *status = 0;
    }
    fake_.input_name = "x";
    fake_.takes_caches = true;
  }
  LitertLibrary(const LitertLibrary&) = delete;
  LitertLibrary& operator=(const LitertLibrary&) = delete;

  FakeLitert* operator->() const { return &fake_; }

 private:
  FakeLitert& fake_;
};

}  // namespace edgeward
