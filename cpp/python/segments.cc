// What Python sees of segments: one line for each method and field. Whatever waits for a disk, or copies records, gives
// up the GIL. A Segment belongs to one thread at a time.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>

#include "captures/moment.h"
#include "captures/record.h"
#include "captures/record_block.h"
#include "captures/segment_index.h"
#include "captures/segment_name.h"
#include "captures/segment_reader.h"
#include "captures/segment_recovery.h"
#include "error.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/interpreter.h"
#include "python/words.h"
#include "system/memory.h"

namespace edgeward {
namespace {

constexpr Word<Reason> kReasons[] = {
    {kSampled, "sampled"}, {kPredicate, "predicate"}, {kManual, "manual"},
    {kFailed, "failed"},   {kPreRoll, "pre_roll"},    {kPostRoll, "post_roll"},
};
constexpr Word<SegmentState> kStates[] = {
    {SegmentState::sealed, "sealed"},
    {SegmentState::recovered, "recovered"},
    {SegmentState::open, "open"},
    {SegmentState::damaged, "damaged"},
    {SegmentState::unauthenticated, "unauthenticated"},
};
constexpr RecordField kFields[] = {
    RecordField::sequence,    RecordField::monotonic_ns,   RecordField::wall_ns,  RecordField::latency_ns,
    RecordField::lost_before, RecordField::correlation_id, RecordField::replaces, RecordField::reasons,
};

py::array read_only(py::array array) {
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return array;
}

py::dtype dtype_of(RecordField field) {
  if (field == RecordField::wall_ns) return py::dtype::of<int64_t>();
  return field == RecordField::reasons ? py::dtype::of<uint32_t>() : py::dtype::of<uint64_t>();
}

struct PyTensor {
  bool is_output;
  uint32_t index;
  std::string_view dtype;
  py::array array;
};

// What the records of a block have in common.
struct PyForm {
  bool is_output;
  uint32_t index;
  std::string_view dtype;
  std::vector<int64_t> shape;
  uint64_t size_bytes;
};

struct PyRecord {
  uint64_t ring_id;
  RecordHead head;
  py::bytes user;
  py::list tensors;
};

py::tuple reasons_of(const PyRecord& record) {
  py::list words;
  for (const auto& [reason, word] : kReasons) {
    if ((record.head.reason & reason) != 0) words.append(word);
  }
  return words;
}

// Records of one form, stacked: arrays of room for `capacity` of them.
struct PyBatch {
  std::vector<std::byte> rows;
  uint64_t capacity;
  uint64_t count = 0;
  std::vector<py::array> fields;  // as kFields
  py::array_t<uint64_t> ring_ids;
  std::vector<py::array> tensors;
  std::vector<std::byte> user;
  std::vector<int64_t> user_ends;

  py::object filled(const py::array& array) const {
    py::array rows(array[py::slice(0, static_cast<py::ssize_t>(count), 1)]);
    // A view would keep the room for all of a batch that is far from full.
    if (count < capacity / 2) rows = py::array(rows.attr("copy")());
    return read_only(rows);
  }
};

// A segment, and the block of it that was loaded last.
class PySegment {
 public:
  PySegment(const std::string& path, const PrivateKey* key) : reader_(path, key) {}

  const SegmentReader& reader() const { return reader_; }
  // Read when it is asked for first.
  const SegmentIndex& index() {
    if (!index_) {
      const Unlocked released;
      index_ = read_index(reader_);
    }
    return *index_;
  }

  // Nothing where the frame is not whole. The index has been read.
  std::optional<Bytes> payload(uint64_t frame) {
    block_.reset();
    const FrameRow& row = index_->rows.at(frame);
    const auto read = reader_.try_read(row.offset, frame);
    if (!read || !fits(read->head, row)) return std::nullopt;
    return read->payload;
  }

  bool try_load(uint64_t frame) {
    auto bytes = payload(frame);
    if (!bytes) return false;
    const FrameRow& row = index_->rows.at(frame);
    if (row.type == static_cast<uint32_t>(FrameType::record)) {
      const auto record = try_read_record(*bytes);
      if (!record) return false;
      RecordBlockBuilder builder;
      builder.add(row.ring_id, *record);
      builder.lay_out(converted_);
      bytes = converted_;
    }
    auto block = RecordBlock::try_read(*bytes);
    if (!block) return false;
    const RecordSpan span = block->span();
    if (span.record_count != row.record_count || span.first_sequence != row.first_sequence ||
        span.last_sequence != row.last_sequence)
      return false;
    ring_id_ = row.ring_id;
    block_ = std::move(block);
    return true;
  }

  const RecordBlock& block() const {
    if (!block_)
      throw Error(Code::bad_input, "segment \"", reader_.path(), "\": expected a block to be loaded, got none");
    return *block_;
  }
  uint64_t ring_id() const { return ring_id_; }

 private:
  SegmentReader reader_;
  std::optional<SegmentIndex> index_;
  uint64_t ring_id_ = 0;
  std::vector<std::byte> converted_;  // the block that a record of format 1 makes
  std::optional<RecordBlock> block_;
};

std::unique_ptr<PySegment> open_segment(const py::object& path, const PrivateKey* key) {
  const std::string segment = path_of(path);
  const Unlocked released;
  return std::make_unique<PySegment>(segment, key);
}

py::object payload_of(PySegment& self, uint64_t frame) {
  std::optional<Bytes> payload;
  self.index();
  {
    const Unlocked released;
    payload = self.payload(frame);
  }
  return payload ? py::object(python_bytes(*payload)) : py::none();
}

py::list forms_of(const PySegment& self) {
  py::list forms;
  for (const RecordTensor& tensor : self.block().tensors()) {
    const Shape shape = storage_shape(tensor.dtype, tensor.shape);
    forms.append(PyForm{tensor.side == RecordSide::output,
                        tensor.index,
                        name(tensor.dtype),
                        {shape.begin(), shape.end()},
                        tensor.size_bytes});
  }
  return forms;
}

py::array field_of(const PySegment& self, size_t index) {
  const RecordField field = kFields[std::min(index, std::size(kFields) - 1)];
  const Bytes bytes = self.block().field(field);
  return py::array(dtype_of(field), std::vector<py::ssize_t>{static_cast<py::ssize_t>(self.block().count())},
                   bytes.data());
}

PyRecord record_of(const PySegment& self, uint32_t index) {
  const RecordBlock& block = self.block();
  if (index >= block.count()) throw py::index_error();
  // The tensors become views of one piece of memory, which the arrays keep alive.
  uint64_t size_bytes = 0;
  for (const RecordTensor& tensor : block.tensors()) size_bytes += round_up(tensor.size_bytes, kBlockAlignment);
  auto memory = std::make_unique<Block>(Block::uninitialized(size_bytes));
  std::byte* data = memory->data();
  const py::capsule owner(memory.release(), [](void* held) { delete static_cast<Block*>(held); });
  py::list tensors(block.tensors().size());
  for (size_t i = 0; i < block.tensors().size(); ++i) {
    const RecordTensor& tensor = block.tensors()[i];
    const Bytes bytes = block.tensor(i, index);
    if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
    const py::array view = read_only(array_over(tensor.dtype, tensor.shape, data, owner));
    tensors[i] = py::cast(PyTensor{tensor.side == RecordSide::output, tensor.index, name(tensor.dtype), view});
    data += round_up(bytes.size(), kBlockAlignment);
  }
  return PyRecord{self.ring_id(), block.head(index), python_bytes(block.user(index)), tensors};
}

std::unique_ptr<PyBatch> batch_for(const PySegment& self, uint64_t capacity) {
  const RecordBlock& block = self.block();
  auto batch = std::make_unique<PyBatch>();
  batch->rows.assign(block.rows().begin(), block.rows().end());
  batch->capacity = capacity;
  const auto extent = static_cast<py::ssize_t>(capacity);
  for (const RecordField field : kFields) batch->fields.emplace_back(dtype_of(field), std::vector<py::ssize_t>{extent});
  batch->ring_ids = py::array_t<uint64_t>(extent);
  for (const RecordTensor& tensor : block.tensors()) {
    const Shape shape = storage_shape(tensor.dtype, tensor.shape);
    std::vector<py::ssize_t> dims(shape.begin(), shape.end());
    dims.insert(dims.begin(), extent);
    batch->tensors.emplace_back(array_dtype(tensor.dtype), dims);
  }
  return batch;
}

// Copies records from `begin` to `end` of the loaded block behind those that the batch has.
void copy_into(const PySegment& self, PyBatch& batch, uint32_t begin, uint32_t end) {
  const RecordBlock& block = self.block();
  const bool is_same = std::equal(block.rows().begin(), block.rows().end(), batch.rows.begin(), batch.rows.end());
  if (begin > end || end > block.count() || end - begin > batch.capacity - batch.count || !is_same)
    throw Error(Code::bad_input, "batch: expected records of its form, and room for them, got ", begin, " to ", end);
  std::vector<std::byte*> targets;
  for (py::array& array : batch.fields) targets.push_back(static_cast<std::byte*>(array.mutable_data()));
  for (py::array& array : batch.tensors) targets.push_back(static_cast<std::byte*>(array.mutable_data()));
  uint64_t* ring_ids = batch.ring_ids.mutable_data();
  const Unlocked released;
  const auto copy = [&](std::byte* target, Bytes source, uint64_t element_bytes) {
    const Bytes part = source.subspan(begin * element_bytes, (end - begin) * element_bytes);
    if (!part.empty()) std::memcpy(target + batch.count * element_bytes, part.data(), part.size());
  };
  auto target = targets.begin();
  for (const RecordField field : kFields)
    copy(*target++, block.field(field), block.field(field).size() / block.count());
  for (size_t i = 0; i < block.tensors().size(); ++i) copy(*target++, block.tensor(i), block.tensors()[i].size_bytes);
  std::fill_n(ring_ids + batch.count, end - begin, self.ring_id());
  for (uint32_t i = begin; i < end; ++i) {
    const Bytes user = block.user(i);
    batch.user.insert(batch.user.end(), user.begin(), user.end());
    batch.user_ends.push_back(static_cast<int64_t>(batch.user.size()));
  }
  batch.count += end - begin;
}

py::dict recovered_dict(const py::object& path) {
  const std::string segment = path_of(path);
  Recovered recovered{{}, 0, 0, 0};
  {
    const Unlocked released;
    recovered = recover_segment(segment);
  }
  py::dict dict;
  dict["path"] = recovered.path.empty() ? py::object(py::none()) : py::str(recovered.path);
  dict["frame_count"] = recovered.frame_count;
  dict["lost_bytes"] = recovered.lost_bytes;
  dict["hole_count"] = recovered.hole_count;
  return dict;
}

// ---- The tables.

void bind_records(py::module_& module) {
  py::class_<PyTensor>(module, "RecordTensor", "One tensor of a Record.")
      .def_readonly("is_output", &PyTensor::is_output)
      .def_readonly("index", &PyTensor::index, "Of the signature's inputs or outputs.")
      .def_readonly("dtype", &PyTensor::dtype, "The model's.")
      .def_readonly("array", &PyTensor::array, "A read-only view of the record's memory, which it keeps alive.");
  py::class_<PyForm>(module, "TensorForm", "What the records of a block have in common of one tensor.")
      .def_readonly("is_output", &PyForm::is_output)
      .def_readonly("index", &PyForm::index, "Of the signature's inputs or outputs.")
      .def_readonly("dtype", &PyForm::dtype, "The model's.")
      .def_readonly("shape", &PyForm::shape, "Of the array that holds it.")
      .def_readonly("size_bytes", &PyForm::size_bytes, "Of one record.");

  const auto head = [](auto field) { return [field](const PyRecord& self) { return self.head.*field; }; };
  py::class_<PyRecord>(module, "Record", "One captured inference.")
      .def_readonly("ring_id", &PyRecord::ring_id)
      .def_property_readonly("sequence", head(&RecordHead::sequence), "Of its ring, from 1; gaps are losses.")
      .def_property_readonly("monotonic_ns", head(&RecordHead::monotonic_ns), "When the run began.")
      .def_property_readonly("wall_ns", head(&RecordHead::wall_ns), "The same in Unix time.")
      .def_property_readonly("latency_ns", head(&RecordHead::latency_ns))
      .def_property_readonly("lost_before", head(&RecordHead::lost_before), "Records of its ring that were lost.")
      .def_property_readonly("correlation_id", head(&RecordHead::correlation_id))
      .def_property_readonly("replaces", head(&RecordHead::replaces),
                             "Sequence of the record that a reservoir gave up for this one; 0: none.")
      .def_property_readonly("reasons", &reasons_of, "Words: why it was kept.")
      .def_readonly("user", &PyRecord::user)
      .def_readonly("tensors", &PyRecord::tensors, "A list of RecordTensor.");
}

void bind_batch(py::module_& module) {
  const auto field = [](size_t index) {
    return [index](const PyBatch& self) { return self.filled(self.fields[index]); };
  };
  py::class_<PyBatch>(module, "RecordBatch", "Records of one form, stacked. Arrays have a first axis of them.")
      .def_readonly("count", &PyBatch::count)
      .def_readonly("capacity", &PyBatch::capacity)
      .def_property_readonly("ring_ids", [](const PyBatch& self) { return self.filled(self.ring_ids); })
      .def_property_readonly("sequences", field(0))
      .def_property_readonly("monotonic_ns", field(1))
      .def_property_readonly("wall_ns", field(2))
      .def_property_readonly("latency_ns", field(3))
      .def_property_readonly("lost_before", field(4))
      .def_property_readonly("correlation_ids", field(5))
      .def_property_readonly("reasons", field(7), "Bits, by their place in REASONS.")
      .def_property_readonly(
          "tensors",
          [](const PyBatch& self) {
            py::list arrays;
            for (const py::array& array : self.tensors) arrays.append(self.filled(array));
            return arrays;
          },
          "Arrays, in the order of the forms.")
      .def_property_readonly(
          "user", [](const PyBatch& self) { return python_bytes(self.user); },
          "Those of all records, one behind another.")
      .def_property_readonly(
          "user_ends",
          [](const PyBatch& self) {
            return read_only(py::array_t<int64_t>(static_cast<py::ssize_t>(self.count), self.user_ends.data()));
          },
          "Where those of each record end.");
}

// Made when rows are first asked for: it imports numpy, which a command may do without.
const py::dtype& row_dtype() {
  static const py::dtype* const dtype = [] {
    PYBIND11_NUMPY_DTYPE(FrameRow, offset, ring_id, first_sequence, last_sequence, least_wall_ns, most_wall_ns,
                         least_monotonic_ns, most_monotonic_ns, type, record_count, reasons, flags);
    return new py::dtype(py::dtype::of<FrameRow>());
  }();
  return *dtype;
}

py::array rows_of(PySegment& self) {
  return py::array(row_dtype(), std::vector<py::ssize_t>{static_cast<py::ssize_t>(self.index().rows.size())},
                   self.index().rows.data());
}

void bind_moment(py::module_& module) {
  module.attr("LEAST_WALL_NS") = kLeastWall_ns;
  py::class_<Moment>(module, "Moment", "When something was made, as far as its device knew.")
      .def_property_readonly(
          "boot_id", [](const Moment& self) { return python_bytes(self.boot); },
          "16 bytes, of the device's boot; zeros: not known.")
      .def_readonly("monotonic_ns", &Moment::monotonic_ns, "On the monotonic clock of that boot.")
      .def_readonly("wall_ns", &Moment::wall_ns, "Unix time; below LEAST_WALL_NS the clock was never set.");
  module.def("moment_now", &moment_now, "What this device's clocks say.");
  module.def("segment_number_of", &segment_number_of, py::arg("name"),
             "The number with which the name of a segment or window begins; None of another name.");
  module.def(
      "next_segment_number",
      [](int64_t wall_ns, const std::vector<std::string>& names) { return next_segment_number(wall_ns, names); },
      py::arg("wall_ns"), py::arg("names"), "The Unix time, or one more than the greatest number among the names.");
}

}  // namespace

void bind_segments(py::module_& module) {
  bind_moment(module);
  bind_records(module);
  bind_batch(module);
  module.attr("REASONS") = all_words(kReasons);
  module.attr("SEGMENT_STATES") = all_words(kStates);
  module.attr("OPEN_SUFFIX") = kOpenSuffix;
  module.attr("SEALED_SUFFIX") = kSealedSuffix;
  module.attr("SEGMENT_HEAD_BYTES") = kSegmentHeadBytes;
  module.attr("RING_FRAME") = static_cast<uint32_t>(FrameType::ring);
  module.attr("RECORD_FRAME") = static_cast<uint32_t>(FrameType::record);
  module.attr("COUNTERS_FRAME") = static_cast<uint32_t>(FrameType::counters);
  module.attr("BLOCK_FRAME") = static_cast<uint32_t>(FrameType::block);
  module.attr("REPLACING_FLAG") = kReplacingFlag;
  module.attr("ODD_FLAG") = kOddFlag;

  py::class_<PySegment>(module, "Segment", "What a segment holds, and the block of it that was loaded last.")
      .def_property_readonly("state", [](PySegment& self) { return word_of(kStates, self.index().state); })
      .def_property_readonly(
          "fault", [](PySegment& self) { return self.index().fault; }, "\"frame 7\", \"end\"; empty for none.")
      .def_property_readonly(
          "boot_id", [](const PySegment& self) { return python_bytes(self.reader().moment().boot); },
          "16 bytes, of the device's boot in which it was begun; zeros: not known.")
      .def_property_readonly(
          "monotonic_ns", [](const PySegment& self) { return self.reader().moment().monotonic_ns; },
          "When it was begun.")
      .def_property_readonly(
          "wall_ns", [](const PySegment& self) { return self.reader().moment().wall_ns; }, "The same in Unix time.")
      .def_property_readonly("is_encrypted", [](const PySegment& self) { return self.reader().is_encrypted(); })
      .def_property_readonly(
          "is_readable", [](const PySegment& self) { return self.reader().is_readable(); },
          "Not encrypted, or with its key.")
      .def_property_readonly(
          "hole_count", [](PySegment& self) { return self.index().hole_count; },
          "Whole frames behind the first broken one.")
      .def_property_readonly("record_count", [](PySegment& self) { return self.index().record_count; })
      .def_property_readonly("rows", &rows_of, "What is known of each frame, a structured array.")
      .def("payload", &payload_of, py::arg("frame"), "Of the frame of this index; None where it is not whole.")
      .def(
          "load",
          [](PySegment& self, uint64_t frame) {
            self.index();
            const Unlocked released;
            return self.try_load(frame);
          },
          py::arg("frame"), "Whether the frame of this index is whole, and its records are loaded.")
      .def_property_readonly("ring_id", &PySegment::ring_id, "Of the loaded records.")
      .def_property_readonly(
          "count", [](const PySegment& self) { return self.block().count(); }, "Of loaded records.")
      .def_property_readonly("forms", &forms_of, "A TensorForm for each tensor of the loaded records.")
      .def_property_readonly(
          "form_id", [](const PySegment& self) { return python_bytes(self.block().rows()); },
          "The same for all records of the same tensors.")
      .def_property_readonly(
          "record_sequences", [](const PySegment& self) { return field_of(self, 0); }, "Of the loaded records.")
      .def_property_readonly(
          "record_monotonic_ns", [](const PySegment& self) { return field_of(self, 1); }, "When their runs began.")
      .def_property_readonly(
          "record_wall_ns", [](const PySegment& self) { return field_of(self, 2); }, "The same in Unix time.")
      .def_property_readonly(
          "record_replaced", [](const PySegment& self) { return field_of(self, 6); },
          "Sequences of those that they replace; 0: none.")
      .def_property_readonly(
          "record_reasons", [](const PySegment& self) { return field_of(self, 7); }, "Bits, by their place in REASONS.")
      .def("record", &record_of, py::arg("index"), "One of the loaded records.")
      .def("make_batch", &batch_for, py::arg("capacity"), "A RecordBatch for records of the loaded form.")
      .def("copy_into", &copy_into, py::arg("batch"), py::arg("begin"), py::arg("end"),
           "Copies loaded records behind those that the batch has. Raises BadInput without room.");
  module.def("open_segment", &open_segment, py::arg("path"), py::arg("key"),
             "A Segment. Raises MalformedCapture, WrongKey.");
  module.def("recover_segment", &recovered_dict, py::arg("path"), "Seal a segment that a crash left open.");
}

}  // namespace edgeward
