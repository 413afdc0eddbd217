// What Python sees of captures: one line per method. Whatever waits for a disk does so without the interpreter lock.
#include <pybind11/stl.h>

#include <algorithm>

#include "captures/capture.h"
#include "captures/drain_thread.h"
#include "captures/record.h"
#include "captures/segment.h"
#include "captures/statistics.h"
#include "error.h"
#include "python/bindings.h"

namespace edgeward {
namespace {

constexpr std::pair<RuleKind, const char*> kRuleKinds[] = {
    {RuleKind::fraction, "fraction"},   {RuleKind::every, "every"},     {RuleKind::per_second, "per_second"},
    {RuleKind::reservoir, "reservoir"}, {RuleKind::quota, "quota"},     {RuleKind::below, "below"},
    {RuleKind::above, "above"},         {RuleKind::between, "between"}, {RuleKind::argmax_in, "argmax_in"},
    {RuleKind::margin, "margin"},       {RuleKind::entropy, "entropy"}, {RuleKind::not_a_number, "nan"},
    {RuleKind::failed, "failed"},       {RuleKind::all, "all"},         {RuleKind::any, "any"},
};

RuleKind rule_kind(const std::string& word) {
  for (const auto& [kind, spelled] : kRuleKinds) {
    if (word == spelled) return kind;
  }
  throw Error(Code::bad_input, "capture: expected a rule, got \"", word, "\"");
}

// (kind, limit, upper, count, window_ns, output, classes, parts)
Rule rule_from(const py::tuple& given) {
  if (given.size() != 8) throw Error(Code::bad_input, "capture: expected a rule, got a tuple of ", given.size());
  Rule rule{rule_kind(given[0].cast<std::string>())};
  rule.limit = given[1].cast<double>();
  rule.upper = given[2].cast<double>();
  rule.count = given[3].cast<uint64_t>();
  rule.window_ns = given[4].cast<uint64_t>();
  rule.output = given[5].cast<std::string>();
  rule.classes = given[6].cast<std::vector<int64_t>>();
  for (const py::handle part : given[7].cast<py::tuple>()) rule.parts.push_back(rule_from(part.cast<py::tuple>()));
  return rule;
}

std::shared_ptr<Capture> make_capture(const py::object& ring_directory, uint64_t ring_bytes, bool keeps_newest,
                                      const std::optional<py::tuple>& rule, uint64_t seed,
                                      const std::optional<std::vector<std::string>>& tensors, uint64_t pre_roll_count,
                                      uint64_t pre_roll_ns, uint64_t pre_roll_bytes, bool has_statistics,
                                      const std::map<std::string, std::vector<double>>& edges,
                                      const std::map<std::string, std::string>& descriptions) {
  CapturePlan plan{path_of(ring_directory),
                   ring_bytes,
                   keeps_newest ? Keep::newest : Keep::oldest,
                   std::nullopt,
                   seed,
                   tensors,
                   pre_roll_count,
                   pre_roll_ns,
                   pre_roll_bytes,
                   has_statistics,
                   edges,
                   descriptions};
  if (rule) plan.rule = rule_from(*rule);
  return std::make_shared<Capture>(std::move(plan));
}

py::dict counters_dict(const RingCounters& counters) {
  py::dict made;
  made["sampled_out"] = counters.sampled_out;
  made["committed"] = counters.committed;
  made["lost_full"] = counters.lost_full;
  made["lost_large"] = counters.lost_large;
  made["overwritten"] = counters.overwritten;
  return made;
}

py::dict drain_dict(const DrainCounters& counters) {
  py::dict made;
  made["records"] = counters.records;
  made["duplicates"] = counters.duplicates;
  made["recovered_frames"] = counters.recovered_frames;
  made["lost_bytes"] = counters.lost_bytes;
  made["evicted_segments"] = counters.evicted_segments;
  made["evicted_records"] = counters.evicted_records;
  made["evicted_bytes"] = counters.evicted_bytes;
  made["refused_rings"] = counters.refused_rings;
  made["failures"] = counters.failures;
  return made;
}

void capture_next(Capture& self, uint64_t correlation_id, const py::bytes& user) {
  const std::string_view bytes = user;
  const Bytes given = std::as_bytes(std::span(bytes));
  self.capture_next({correlation_id, {given.begin(), given.end()}});
}

// ---- Statistics.

py::array counts_array(const std::vector<uint64_t>& counts) {
  return py::array_t<uint64_t>(static_cast<py::ssize_t>(counts.size()), counts.data());
}

py::dict statistics_dict(const Statistics& self) {
  py::dict made;
  made["run_count"] = self.run_count();
  made["error_count"] = self.error_count();
  made["latency_counts"] = counts_array(self.latency().counts());
  py::list tensors;
  for (const Statistics::Tensor& tensor : self.tensors()) {
    const TensorStatistics& one = tensor.statistics;
    py::dict row;
    row["side"] = tensor.is_output ? "output" : "input";
    row["name"] = tensor.name;
    row["dtype"] = std::string(name(tensor.dtype));
    row["finite_count"] = one.finite_count;
    row["nan_count"] = one.nan_count;
    row["infinite_count"] = one.infinite_count;
    row["min"] = one.min;
    row["max"] = one.max;
    row["mean"] = one.mean;
    row["variance"] = one.finite_count == 0 ? 0.0 : one.squares / static_cast<double>(one.finite_count);
    row["edges"] = one.edges;
    row["counts"] = counts_array(one.bins);
    row["class_counts"] = counts_array(one.classes);
    tensors.append(row);
  }
  made["tensors"] = tensors;
  return made;
}

py::array least_latencies() {
  std::vector<uint64_t> edges(LatencyHistogram::kBuckets);
  for (size_t i = 0; i < edges.size(); ++i) edges[i] = LatencyHistogram::least_of(i);
  return counts_array(edges);
}

// The bins of a tensor without reference, in order of value: index, least, most.
py::list bit_bins() {
  std::vector<std::tuple<float, size_t>> bins;
  for (size_t bin = 0; bin < TensorStatistics::kBitBins; ++bin) {
    const float value = TensorStatistics::least_of_bits(bin);
    if (value == value && value - value == 0) bins.emplace_back(value, bin);
  }
  std::sort(bins.begin(), bins.end());
  py::list made;
  for (const auto& [value, bin] : bins) made.append(py::make_tuple(bin, value));
  return made;
}

// ---- Drain.

std::unique_ptr<DrainThread> make_drain(const py::object& ring_directory, const py::object& capture_directory,
                                        uint64_t segment_bytes, uint64_t most_bytes, uint64_t least_free_bytes,
                                        uint64_t most_age_ns, bool evicts_closest,
                                        const std::optional<PublicKey>& recipient) {
  const std::string rings = path_of(ring_directory);
  const std::string captures = path_of(capture_directory);
  const Budget budget{segment_bytes, most_bytes, least_free_bytes, static_cast<int64_t>(most_age_ns),
                      evicts_closest ? Evict::closest : Evict::oldest};
  const Unlocked released;
  return std::make_unique<DrainThread>(std::make_unique<Drain>(rings, captures, budget, recipient));
}

// Ends the thread without the interpreter lock, whoever drops the last reference.
class PyDrain {
 public:
  explicit PyDrain(std::unique_ptr<DrainThread> thread) : thread_(std::move(thread)) {}
  ~PyDrain() { close(); }
  void close() {
    if (thread_ == nullptr) return;
    const Unlocked released;
    last_ = thread_->counters();
    thread_.reset();
  }
  DrainThread* thread() const { return thread_.get(); }
  DrainCounters counters() const { return thread_ == nullptr ? last_ : thread_->counters(); }

 private:
  std::unique_ptr<DrainThread> thread_;
  DrainCounters last_;
};

// ---- Reading.

py::object frame_of(SegmentReader& self) {
  std::optional<Frame> frame;
  {
    const Unlocked released;
    frame = self.next();
  }
  if (!frame) return py::none();
  const auto text = [](Bytes bytes) { return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()); };
  if (frame->type != FrameType::record)
    return py::make_tuple(static_cast<uint32_t>(frame->type), frame->ring_id, text(frame->payload));
  // The tensors become views of one piece of memory, which the arrays keep alive.
  auto block = std::make_unique<Block>(Block::uninitialized(frame->payload.size()));
  std::memcpy(block->data(), frame->payload.data(), frame->payload.size());
  std::byte* data = block->data();
  const auto record = try_read_record({data, frame->payload.size()});
  if (!record) return py::make_tuple(static_cast<uint32_t>(frame->type), frame->ring_id, text(frame->payload));
  const py::capsule owner(block.release(), [](void* held) { delete static_cast<Block*>(held); });
  py::list tensors;
  for (const RecordTensor& tensor : record->tensors) {
    const Shape shape = storage_shape(tensor.dtype, tensor.shape);
    py::array view(array_dtype(tensor.dtype), std::vector<py::ssize_t>(shape.begin(), shape.end()),
                   data + tensor.offset, owner);
    view.attr("flags").attr("writeable") = false;
    tensors.append(
        py::make_tuple(tensor.side == RecordSide::output, tensor.index, std::string(name(tensor.dtype)), view));
  }
  const RecordHead& head = record->head;
  return py::make_tuple(
      static_cast<uint32_t>(frame->type), frame->ring_id,
      py::make_tuple(head.sequence, head.monotonic_ns, head.wall_ns, head.latency_ns, head.lost_before,
                     head.correlation_id, head.replaces, head.reason, text(record->user), tensors));
}

py::dict recovered_dict(const py::object& path) {
  const std::string place = path_of(path);
  Recovered recovered{{}, 0, 0, 0};
  {
    const Unlocked released;
    recovered = recover_segment(place);
  }
  py::dict made;
  made["path"] = recovered.path.empty() ? py::object(py::none()) : py::str(recovered.path);
  made["frame_count"] = recovered.frame_count;
  made["lost_bytes"] = recovered.lost_bytes;
  made["hole_count"] = recovered.hole_count;
  return made;
}

}  // namespace

void bind_statistics(py::module_& module) {
  py::class_<Statistics>(module, "Statistics", "Counts over every inference of a signature.")
      .def_static(
          "from_bytes",
          [](const py::bytes& bytes) {
            const std::string_view text = bytes;
            return Statistics::from_bytes(std::as_bytes(std::span(text)));
          },
          py::arg("data"), "What to_bytes made. Raises MalformedCapture.")
      .def(
          "to_bytes",
          [](const Statistics& self) {
            const auto bytes = self.bytes();
            return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          },
          "Versioned bytes, for from_bytes.")
      .def("merge", &Statistics::merge, py::arg("other"), "Add what another session or device counted.")
      .def("report", &statistics_dict, "All of it as a dict; counts are arrays.");
}

void bind_captures(py::module_& module) {
  py::class_<Capture, std::shared_ptr<Capture>>(module, "Capture", "What one model's sessions capture.")
      .def_property_readonly("counters", [](const Capture& self) { return counters_dict(self.counters()); })
      .def_property_readonly("failure", &Capture::failure, "Why a session captures nothing; empty when all do.")
      .def_property_readonly("statistics", &Capture::statistics, "A Statistics for each signature that ran.")
      .def("capture_next", &capture_next, py::arg("correlation_id"), py::arg("user"),
           "Keep the next inference, with these bytes of the caller's.");
  module.def("make_capture", &make_capture, py::arg("ring_directory"), py::arg("ring_bytes"), py::arg("keeps_newest"),
             py::arg("rule"), py::arg("seed"), py::arg("tensors"), py::arg("pre_roll_count"), py::arg("pre_roll_ns"),
             py::arg("pre_roll_bytes"), py::arg("has_statistics"), py::arg("edges"), py::arg("descriptions"),
             "A Capture, to be attached to a model.");
  module.def(
      "attach", [](PyModel& model, std::shared_ptr<Capture> capture) { model.core->attach(std::move(capture)); },
      py::arg("model"), py::arg("capture"), "Let `model` capture so.");
  module.def(
      "detach",
      [](PyModel& model, const std::shared_ptr<Capture>& capture) {
        if (model.core->capture() == capture) model.core->attach(nullptr);
      },
      py::arg("model"), py::arg("capture"), "Let `model` capture no more, if it is by this one.");

  module.def("least_latencies", &least_latencies, "The least nanoseconds of each bucket of latency_counts.");
  module.def("bit_bins", &bit_bins, "(bin, value nearest to zero) of each bin of a tensor without edges, by value.");

  py::class_<PyDrain>(module, "Drain", "A thread that brings records from rings to disk.")
      .def_property_readonly("counters", [](const PyDrain& self) { return drain_dict(self.counters()); })
      .def_property_readonly(
          "complaint",
          [](const PyDrain& self) { return self.thread() == nullptr ? std::string() : self.thread()->complaint(); })
      .def(
          "flush",
          [](const PyDrain& self, int timeout_ms) {
            const Unlocked released;
            return self.thread() == nullptr || self.thread()->flush(timeout_ms);
          },
          py::arg("timeout_ms"), "Whether all that was committed before is on the disk now.")
      .def("close", &PyDrain::close, "Bring everything to disk, seal it, and end the thread.");

  py::class_<SegmentReader>(module, "SegmentReader", "The frames of a segment, one by one.")
      .def("next", &frame_of, "(type, ring id, content) of the next frame, or None.")
      .def_property_readonly("is_complete", &SegmentReader::is_complete, "Whether it was sealed, and read to its end.")
      .def_property_readonly("is_encrypted", &SegmentReader::is_encrypted)
      .def_property_readonly("hole_count", &SegmentReader::hole_count, "Whole frames behind the first broken one.");
  module.def(
      "make_drain",
      [](const py::object& rings, const py::object& captures, uint64_t segment_bytes, uint64_t most_bytes,
         uint64_t least_free_bytes, uint64_t most_age_ns, bool evicts_closest,
         const std::optional<PublicKey>& recipient) {
        return std::make_unique<PyDrain>(make_drain(rings, captures, segment_bytes, most_bytes, least_free_bytes,
                                                    most_age_ns, evicts_closest, recipient));
      },
      py::arg("ring_directory"), py::arg("capture_directory"), py::arg("segment_bytes"), py::arg("most_bytes"),
      py::arg("least_free_bytes"), py::arg("most_age_ns"), py::arg("evicts_closest"), py::arg("recipient"),
      "A Drain that has begun. Raises Busy when another one has the directory.");
  module.def(
      "open_segment",
      [](const py::object& path, const PrivateKey* key) { return std::make_unique<SegmentReader>(path_of(path), key); },
      py::arg("path"), py::arg("key"), "A SegmentReader at its first frame. Raises MalformedCapture, WrongKey.");
  module.def("recover_segment", &recovered_dict, py::arg("path"), "Seal a segment that a crash left open.");
}

}  // namespace edgeward
