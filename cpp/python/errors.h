// Turns an exception of the core into one of Python: the class of edgeward.errors that has its code.
#pragma once

#include <pybind11/pybind11.h>

namespace edgeward {

namespace py = pybind11;

// Sets the Python exception for the C++ exception that is being handled. Call in a catch block.
void set_python_error();

// Makes pybind11 do the same for every bound function, and adds the core's list of codes.
void bind_errors(py::module_& module);

}  // namespace edgeward
