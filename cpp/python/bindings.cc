// The module edgeward._core.
#include "python/bindings.h"

#include "python/arrays.h"
#include "python/errors.h"
#include "python/models.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ core of edgeward.";
  edgeward::bind_errors(module);
  edgeward::bind_statistics(module);  // before models, whose methods return them
  edgeward::bind_models(module);
  edgeward::bind_packages(module);
  edgeward::bind_captures(module);
  edgeward::bind_segments(module);
  edgeward::bind_relay(module);
  edgeward::bind_arrays(module);
}
