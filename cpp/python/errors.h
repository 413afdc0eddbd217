// From an exception of the core to one of Python's: the class of edgeward.errors that has its code.
#pragma once

#include <pybind11/pybind11.h>

namespace edgeward {

namespace py = pybind11;

// Sets the Python exception for the C++ one in flight. Call in a catch block.
void set_python_error();

// Has pybind11 do the same for whatever leaves a bound function, and adds the core's list of codes.
void bind_errors(py::module_& module);

}  // namespace edgeward
