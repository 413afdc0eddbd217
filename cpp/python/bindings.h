// What each file of this room adds to the module edgeward._core.
#pragma once

#include <pybind11/pybind11.h>

namespace edgeward {

namespace py = pybind11;

// Adds keys, trust roots and packages.
void bind_packages(py::module_& module);

// Adds captures. Statistics come before models, whose methods return them.
void bind_statistics(py::module_& module);
void bind_captures(py::module_& module);
void bind_segments(py::module_& module);

// Adds the relay of connections.
void bind_relay(py::module_& module);

}  // namespace edgeward
