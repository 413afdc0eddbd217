#include "python/errors.h"

#include <pybind11/stl.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "error.h"

namespace edgeward {
namespace {

// Escapes control characters and invalid UTF-8, which names in a file or an engine's message may contain.
py::object message_of(const Error& error) {
  std::string line;
  for (const char* c = error.what(); *c != 0; ++c) {
    const auto byte = static_cast<unsigned char>(*c);
    if (byte >= ' ' && byte != 0x7F) {
      line += *c;
      continue;
    }
    constexpr const char* kDigits = "0123456789abcdef";
    line += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
  }
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(line.data(), static_cast<Py_ssize_t>(line.size()), "backslashreplace"));
}

void set_error(const Error& error) {
  const py::dict classes = py::module_::import("edgeward.errors").attr("BY_CODE");
  const py::object type = classes[py::str(std::string(code_name(error.code())))];
  PyErr_SetObject(type.ptr(), message_of(error).ptr());
}

// The core throws only Error and std::bad_alloc. Any other exception was thrown by an engine, through its C functions.
Error thrown_by_engine(const std::exception& error) {
  return Error(Code::engine_failed, "engine: expected a status, got an exception: ", error.what());
}

std::vector<std::string> error_codes() { return {std::begin(kCodeNames), std::end(kCodeNames)}; }

}  // namespace

void set_python_error() {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const Error& error) {
    set_error(error);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    set_error(thrown_by_engine(error));
  }
}

void bind_errors(py::module_& module) {
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Error& error) {
      set_error(error);
    } catch (const std::filesystem::filesystem_error& error) {
      const auto path = py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(error.path1().c_str()));
      errno = error.code().value();
      PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path.ptr());
    } catch (const std::logic_error& error) {
      set_error(thrown_by_engine(error));
    }
  });
  module.def("error_codes", &error_codes, "Every code that the core fails with, as the classes of errors spell it.");
}

}  // namespace edgeward
