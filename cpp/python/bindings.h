// What each file of this room adds to the module edgeward._core.
#pragma once

#include <pybind11/pybind11.h>

namespace edgeward {

namespace py = pybind11;

// Adds what keys, trust roots and packages are to Python.
void bind_packages(py::module_& module);

// Adds what captures are to Python; statistics before models, which give them.
void bind_statistics(py::module_& module);
void bind_captures(py::module_& module);

}  // namespace edgeward
