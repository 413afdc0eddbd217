// numpy arrays over the core's memory; shapes and dtypes from numpy's spelling.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "tensor/tensor.h"

namespace edgeward {

namespace py = pybind11;

// numpy's dtype for the elements: the same type where numpy has it, objects for strings, else unsigned integers that
// hold the bits.
py::dtype array_dtype(DType dtype);

// An array over `data`, which `owner` keeps alive. Not for strings: strings_array() copies them.
py::array array_over(DType dtype, const Shape& tensor_shape, std::byte* data, py::handle owner);

// From one whole number, or a sequence of them. Throws Error(bad_input), naming `what`.
Shape shape_from(const py::object& sizes, const std::string& what);

// Adds edgeward.empty.
void bind_arrays(py::module_& module);

}  // namespace edgeward
