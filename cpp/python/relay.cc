// What Python sees of the relay. Its thread takes no interpreter lock, and no call waits with it.
#include "system/relay.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "python/bindings.h"
#include "python/interpreter.h"

namespace edgeward {
namespace {

void add(Relay& relay, int outer, int inner, uint64_t tag) {
  const Unlocked released;
  Descriptor outer_socket(outer, "outer");
  Descriptor inner_socket(inner, "inner");
  relay.add(std::move(outer_socket), std::move(inner_socket), tag);
}

std::vector<uint64_t> take_ended(Relay& relay) {
  const Unlocked released;
  return relay.take_ended();
}

void close_relay(Relay& relay) {
  const Unlocked released;
  relay.end();
}

}  // namespace

void bind_relay(py::module_& module) {
  py::class_<Relay>(module, "Relay", "Bytes between pairs of sockets, by one thread that never runs Python.")
      .def(py::init<>())
      .def("add", &add, py::arg("outer"), py::arg("inner"), py::arg("tag"),
           "Pass bytes on between two sockets, whose descriptors it owns from now on. Raises OSError and Closed.")
      .def("take_ended", &take_ended, "The tags of the pairs that have ended since the last call.")
      .def("close", &close_relay, "End all pairs and the thread.");
}

}  // namespace edgeward
