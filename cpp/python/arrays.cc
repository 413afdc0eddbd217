#include "python/arrays.h"

#include <memory>
#include <utility>
#include <vector>

#include "error.h"
#include "system/memory.h"

namespace edgeward {
namespace {

// edgeward.empty: `dtype` is numpy's, or the name of a type that numpy lacks.
py::array empty(const py::object& shape, const py::object& dtype) {
  const Shape wanted = shape_from(shape, "empty");
  std::string wanted_name = py::isinstance<py::str>(dtype) ? dtype.cast<std::string>() : "";
  const auto is_ours = [&](DType known) { return name(known) == wanted_name; };
  size_t index = 0;
  while (index < kDTypeCount && !is_ours(static_cast<DType>(index))) ++index;
  if (index == kDTypeCount) {
    const py::dtype numpy_dtype = py::dtype::from_args(dtype);
    wanted_name = numpy_dtype.byteorder() == '>' ? "big-endian" : py::str(numpy_dtype.attr("name")).cast<std::string>();
    index = 0;
    while (index < kDTypeCount && (is_packed(static_cast<DType>(index)) || !is_ours(static_cast<DType>(index))))
      ++index;
  }
  if (index == kDTypeCount) {
    throw Error(Code::bad_input, "empty: expected a dtype that models have, got ", py::str(dtype).cast<std::string>());
  }
  const auto known = static_cast<DType>(index);
  if (known == DType::string)
    throw Error(Code::bad_input, "empty: expected a dtype with elements of one size, got string (pass a list of str)");
  const auto bytes = size_bytes(known, wanted);
  if (!bytes) throw Error(Code::bad_input, "empty: expected a size that fits memory, got shape ", text(wanted));
  auto block = std::make_unique<Block>(Block::uninitialized(*bytes));
  std::byte* data = block->data();
  const py::capsule owner(block.release(), [](void* held) { delete static_cast<Block*>(held); });
  return array_over(known, wanted, data, owner);
}

}  // namespace

py::dtype array_dtype(DType dtype) {
  switch (dtype) {
    case DType::bfloat16: return py::dtype("uint16");
    case DType::string: return py::dtype("O");
    case DType::int2:
    case DType::int4:
    case DType::uint4:
    case DType::float8_e4m3fn:
    case DType::float8_e4m3fnuz:
    case DType::float8_e5m2:
    case DType::float8_e5m2fnuz:
    case DType::uint2:
    case DType::float8_e8m0fnu: return py::dtype("uint8");
    default: return py::dtype(std::string(name(dtype)));
  }
}

py::array array_over(DType dtype, const Shape& tensor_shape, std::byte* data, py::handle owner) {
  const Shape shape = storage_shape(dtype, tensor_shape);
  const std::vector<py::ssize_t> dims(shape.begin(), shape.end());
  return py::array(array_dtype(dtype), dims, data, owner);
}

Shape shape_from(const py::object& sizes, const std::string& what) {
  std::vector<int64_t> dims;
  const auto add = [&](py::handle dim) {
    const auto number =
        py::reinterpret_steal<py::object>(PyIndex_Check(dim.ptr()) != 0 ? PyNumber_Index(dim.ptr()) : nullptr);
    int overflow = 0;
    if (!number) PyErr_Clear();  // the refusal below says what is expected
    const long long value = number ? PyLong_AsLongLongAndOverflow(number.ptr(), &overflow) : -1;
    if (value < 0 || overflow != 0) dims.assign(Shape::kMaxRank + 1, 0);  // refused below
    if (dims.size() <= Shape::kMaxRank) dims.push_back(value);
  };
  if (py::isinstance<py::sequence>(sizes) && !py::isinstance<py::str>(sizes)) {
    for (const py::handle dim : sizes) add(dim);
  } else {
    add(sizes);
  }
  if (dims.size() > Shape::kMaxRank) {
    throw Error(Code::bad_input, what, ": expected a shape of at most ", Shape::kMaxRank, " whole numbers from 0, got ",
                py::repr(sizes).cast<std::string>());
  }
  return Shape(dims);
}

void bind_arrays(py::module_& module) {
  module.def("empty", &empty, py::arg("shape"), py::arg("dtype") = "float32",
             "An array whose memory every engine can use in place; contents undefined.\n\n"
             "`shape` is an int or a sequence; `dtype` a numpy dtype or a name such as \"bfloat16\" (then an array of "
             "its bits).");
}

}  // namespace edgeward
