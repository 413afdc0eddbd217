// Values as Python has them: what compares, hashes, pickles and shows itself by its members.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>
#include <vector>

#include "tensor/signature.h"

namespace edgeward {

namespace py = pybind11;

template <class T>
py::tuple tuple_of(const std::vector<T>& values) {
  py::tuple items(values.size());
  for (size_t i = 0; i < values.size(); ++i) items[i] = py::cast(values[i]);
  return items;
}

// A name that a file chose, in one line of at most some 60 bytes.
std::string shown(std::string_view name);

// A line of at most some 150 bytes: what goes in, and what comes out.
std::string signature_text(const Signature& signature);

// Compares, hashes and pickles by these members, of which `made_of` makes another value. It throws whatever it likes
// for others: a pickle is trusted.
template <class T, class Make>
void add_value_methods(py::class_<T>& type, std::vector<const char*> members, Make made_of) {
  const auto tuple = [members](const py::object& self) {
    py::tuple values(members.size());
    for (size_t i = 0; i < members.size(); ++i) values[i] = self.attr(members[i]);
    return values;
  };
  type.def("__eq__", [tuple](const py::object& self, const py::object& other) -> py::object {
    if (!py::isinstance<T>(other)) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
    return py::bool_(tuple(self).equal(tuple(py::reinterpret_borrow<py::object>(other))));
  });
  type.def("__hash__", [tuple](const py::object& self) { return py::hash(tuple(self)); });
  type.def(py::pickle(tuple, [made_of](const py::tuple& state) -> T { return made_of(state); }));
}

// Adds Quantization, TensorSpec, Signature and EngineReport.
void bind_values(py::module_& module);

}  // namespace edgeward
