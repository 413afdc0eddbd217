// Tensors of strings: from numpy arrays and Python objects into the core's block, and back into new arrays. Strings are
// copied both ways, since neither numpy nor an engine has the other's layout. With the interpreter lock held.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "system/memory.h"
#include "tensor/tensor.h"

namespace edgeward {

namespace py = pybind11;

struct Strings {
  Shape shape;
  std::shared_ptr<Block> block;  // a StringBlock
};

// From a numpy array of dtype object, str, bytes or StringDType, another object with __array__, a list, or one string.
// Elements are str, which becomes UTF-8, or bytes, which are taken as they are. Throws Error(bad_input) that names the
// input and the element, and when the rank is not that of `spec`.
Strings strings_from(py::handle object, const TensorSpec& spec);

// A new array of the strings of `view`: numpy.dtypes.StringDType when numpy has it and all of them are UTF-8, else
// objects of type bytes. Throws Error(engine_failed) when the memory holds something else.
py::object strings_array(const TensorView& view);

// A new array of objects, each the empty str.
py::object empty_strings_array(const Shape& shape);

}  // namespace edgeward
