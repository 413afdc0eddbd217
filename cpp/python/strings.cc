#include "python/strings.h"

#include <pybind11/numpy.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "tensor/string_block.h"

namespace edgeward {
namespace {

std::string shape_text(const py::array& array) {
  std::string line = "[";
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis)
    line += (axis > 0 ? ", " : "") + std::to_string(array.shape(axis));
  return line + "]";
}

[[noreturn]] void refuse(const TensorSpec& spec, const std::string& got) {
  throw Error(Code::bad_input, "input \"", spec.name, "\": expected ", text(spec.dtype, spec.shape), ", got ", got);
}

// An array whose elements are Python objects.
py::array objects_of(py::handle object, const TensorSpec& spec) {
  const py::module_ numpy = py::module_::import("numpy");
  const bool is_single = PyUnicode_Check(object.ptr()) != 0 || PyBytes_Check(object.ptr()) != 0;
  const bool is_list = PyList_Check(object.ptr()) != 0 || PyTuple_Check(object.ptr()) != 0;
  const auto type = [&] { return std::string("a ") + Py_TYPE(object.ptr())->tp_name; };
  try {
    if (is_single || is_list) return numpy.attr("array")(object, py::arg("dtype") = "O");
    if (PyType_Check(object.ptr()) != 0 || !py::hasattr(object, "__array__"))
      refuse(spec, type() + ", which is no array");
    if (py::hasattr(object, "mask") && numpy.attr("ma").attr("is_masked")(object).cast<bool>())
      refuse(spec, "a masked array, which has elements without a value");
    const py::array array = numpy.attr("asarray")(object);
    // Of numpy's kinds: O objects, U str, S bytes, T StringDType.
    if (std::string_view("OUST").find(array.dtype().kind()) == std::string_view::npos)
      refuse(spec, py::str(array.dtype()).cast<std::string>() + " " + shape_text(array));
    return array.attr("astype")("O", py::arg("copy") = false);
  } catch (const py::error_already_set& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    std::string reason = py::str(error.value());
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    refuse(spec, type() + " that numpy cannot read: " + reason);
  }
}

// "element [1, 0]", of the element at `index` in the order of C.
std::string element_text(const Shape& shape, size_t index) {
  Shape indices = shape;
  for (size_t axis = shape.rank(); axis-- > 0;) {
    const auto size = static_cast<size_t>(shape[axis]);
    indices[axis] = static_cast<int64_t>(index % size);
    index /= size;
  }
  return "element " + text(indices);
}

std::string_view bytes_of(PyObject* element, const TensorSpec& spec, const Shape& shape, size_t index) {
  const auto refuse_element = [&](const std::string& expected, const std::string& got) {
    throw Error(Code::bad_input, "input \"", spec.name, "\": ", element_text(shape, index), ": expected ", expected,
                ", got ", got);
  };
  if (element != nullptr && PyBytes_Check(element) != 0)
    return {PyBytes_AS_STRING(element), static_cast<size_t>(PyBytes_GET_SIZE(element))};
  if (element == nullptr || PyUnicode_Check(element) == 0)
    refuse_element("str or bytes", element == nullptr ? "nothing" : Py_TYPE(element)->tp_name);
  Py_ssize_t size = 0;
  const char* encoded = PyUnicode_AsUTF8AndSize(element, &size);
  if (encoded == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    refuse_element("text that UTF-8 has", "a str with a lone surrogate");
  }
  return {encoded, static_cast<size_t>(size)};
}

// A str each, or nothing when one of them is not UTF-8.
py::object text_list(const StringBlock& strings) {
  py::list items(strings.count());
  for (size_t i = 0; i < strings.count(); ++i) {
    const std::string_view bytes = strings[i];
    PyObject* item = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "strict");
    if (item == nullptr) {
      if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError) == 0) throw py::error_already_set();
      PyErr_Clear();
      return {};
    }
    PyList_SET_ITEM(items.ptr(), static_cast<Py_ssize_t>(i), item);
  }
  return items;
}

py::tuple dims_of(const Shape& shape) {
  py::tuple dims(shape.rank());
  for (size_t axis = 0; axis < shape.rank(); ++axis) dims[axis] = shape[axis];
  return dims;
}

}  // namespace

Strings strings_from(py::handle object, const TensorSpec& spec) {
  const py::array objects = objects_of(object, spec);
  const auto rank = static_cast<size_t>(objects.ndim());
  if (rank > Shape::kMaxRank) refuse(spec, "an array " + shape_text(objects));
  const std::vector<int64_t> dims(objects.shape(), objects.shape() + objects.ndim());
  const Shape shape{std::span(dims)};
  const auto count = static_cast<size_t>(objects.size());
  const py::array flat = objects.attr("ravel")();  // in the order of C, contiguous; keeps the elements alive
  const auto* elements = static_cast<PyObject* const*>(flat.data());
  std::vector<std::string_view> strings;
  strings.reserve(count);
  size_t text_bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    strings.push_back(bytes_of(elements[i], spec, shape, i));
    text_bytes += strings.back().size();
  }
  if (!spec.shape.is_unknown() && rank != spec.shape.rank()) refuse(spec, "string " + shape_text(objects));
  const auto size = string_block_bytes(count, text_bytes);
  if (!size) {
    throw Error(Code::bad_input, "input \"", spec.name, "\": expected strings that fit 2^31 bytes, got ", text_bytes,
                " bytes in ", text(shape));
  }
  auto block = std::make_shared<Block>(Block::uninitialized(*size));
  StringBlockWriter writer({block->data(), *size}, count);
  for (const std::string_view string : strings)
    std::copy_n(std::as_bytes(std::span(string)).data(), string.size(), writer.add(string.size()));
  return {shape, std::move(block)};
}

py::object strings_array(const TensorView& view) {
  const auto strings = StringBlock::try_read({view.data, view.size_bytes});
  if (!strings || strings->count() != element_count(view.shape))
    throw Error(Code::engine_failed, "expected the strings of ", text(view.shape), ", got memory without them");
  const py::module_ numpy = py::module_::import("numpy");
  const py::object dtypes = py::getattr(numpy, "dtypes", py::none());
  if (py::hasattr(dtypes, "StringDType")) {
    const py::object items = text_list(*strings);
    if (items) return numpy.attr("array")(items, dtypes.attr("StringDType")()).attr("reshape")(dims_of(view.shape));
  }
  const py::array array = numpy.attr("empty")(strings->count(), "O");
  for (size_t i = 0; i < strings->count(); ++i)
    array.attr("__setitem__")(i, py::bytes((*strings)[i].data(), (*strings)[i].size()));
  return array.attr("reshape")(dims_of(view.shape));
}

py::object empty_strings_array(const Shape& shape) {
  return py::module_::import("numpy").attr("full")(dims_of(shape), "", "O");
}

}  // namespace edgeward
