// What Python sees of captures: one line for each method and field. Whatever waits for a disk gives up the GIL.
#include <pybind11/stl.h>

#include <algorithm>

#include "captures/capture.h"
#include "captures/drain_lock.h"
#include "captures/drain_thread.h"
#include "captures/redaction.h"
#include "captures/ring_format.h"
#include "captures/sealed_statistics.h"
#include "captures/statistics_counter.h"
#include "captures/statistics_format.h"
#include "error.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/interpreter.h"
#include "python/models.h"
#include "python/words.h"

namespace edgeward {
namespace {

constexpr Word<RuleKind> kRuleKinds[] = {
    {RuleKind::fraction, "fraction"},   {RuleKind::every, "every"},     {RuleKind::per_second, "per_second"},
    {RuleKind::reservoir, "reservoir"}, {RuleKind::quota, "quota"},     {RuleKind::below, "below"},
    {RuleKind::above, "above"},         {RuleKind::between, "between"}, {RuleKind::argmax_in, "argmax_in"},
    {RuleKind::margin, "margin"},       {RuleKind::entropy, "entropy"}, {RuleKind::not_a_number, "nan"},
    {RuleKind::failed, "failed"},       {RuleKind::all, "all"},         {RuleKind::any, "any"},
};

constexpr Word<RedactionKind> spelled(RedactionKind kind) { return {kind, name(kind)}; }
constexpr Word<RedactionKind> kRedactionKinds[] = {
    spelled(RedactionKind::drop),       spelled(RedactionKind::blank), spelled(RedactionKind::keep_regions),
    spelled(RedactionKind::downsample), spelled(RedactionKind::first), spelled(RedactionKind::hash),
};
constexpr Word<BoxOrder> kBoxOrders[] = {{BoxOrder::xyxy, "xyxy"}, {BoxOrder::yxyx, "yxyx"}};
constexpr Word<BoxUnit> kBoxUnits[] = {{BoxUnit::pixels, "pixels"}, {BoxUnit::normalised, "normalised"}};

constexpr Word<Keep> kKeeps[] = {{Keep::oldest, "oldest"}, {Keep::newest, "newest"}};
constexpr Word<Evict> kEvicts[] = {{Evict::oldest, "oldest"}, {Evict::closest, "closest"}};

// Valid as long as `bytes`.
Bytes bytes_view(const py::bytes& bytes) { return std::as_bytes(std::span(std::string_view(bytes))); }

// A field that Python reads and sets as one of `words`.
template <class Struct, class T, size_t kCount>
void bind_word(py::class_<Struct>& type, const char* name, T Struct::*field, const Word<T> (&words)[kCount],
               const char* says) {
  type.def_property(
      name, [field, &words](const Struct& self) { return word_of(words, self.*field); },
      [field, name, &words](Struct& self, const std::string& word) { self.*field = value_of(words, word, name); },
      says);
}

// By the names that `listed` gives them.
template <class Counters, class Listed>
py::dict counters_dict(const Counters& counters, const Listed& listed) {
  py::dict dict;
  for (const auto& [name, member] : listed) dict[py::str(name)] = counters.*member;
  return dict;
}

void capture_next(Capture& self, uint64_t correlation_id, const py::bytes& user) {
  const Bytes bytes = bytes_view(user);
  self.capture_next({correlation_id, {bytes.begin(), bytes.end()}});
}

// ---- Statistics.

py::array counts_array(const std::vector<uint64_t>& counts) {
  return py::array_t<uint64_t>(static_cast<py::ssize_t>(counts.size()), counts.data());
}

const char* kind_text(const PartName& name) {
  return name.is_figure() ? "figure" : name.kind == PartKind::column ? "column" : "values";
}

py::dict part_dict(const Part& part) {
  const Moments& moments = part.moments;
  const std::vector<float> edges = part.bins.all_edges();
  py::dict row;
  row["kind"] = kind_text(part.name);
  row["name"] = part.name.text();
  row["finite_count"] = moments.count;
  row["nan_count"] = part.nan_count;
  row["infinite_count"] = part.infinite_count;
  row["min"] = moments.min;
  row["max"] = moments.max;
  row["mean"] = moments.mean;
  row["variance"] = moments.count == 0 ? 0.0 : moments.squares / static_cast<double>(moments.count);
  row["clipped_count"] = part.clipped_count;
  row["unchanged_count"] = part.unchanged_count;
  row["pair_count"] = part.pair_count;
  row["step_squares"] = part.step_squares;
  row["edges"] = py::array_t<double>(py::cast(edges));
  row["counts"] = part.bins.counts().empty() ? counts_array({0}) : counts_array(part.bins.counts());
  row["is_adaptive"] = part.bins.is_adaptive();
  return row;
}

py::dict statistics_dict(const Statistics& self) {
  py::dict report;
  report["run_count"] = self.run_count;
  report["error_count"] = self.error_count;
  report["latency_counts"] = counts_array(self.latency.counts());
  py::list tensors;
  for (const TensorStatistics& tensor : self.tensors) {
    py::dict row;
    row["side"] = tensor.is_output ? "output" : "input";
    row["name"] = tensor.name;
    row["dtype"] = std::string(name(tensor.dtype));
    py::list parts;
    for (const Part& part : tensor.parts) parts.append(part_dict(part));
    row["parts"] = parts;
    row["class_counts"] = counts_array(tensor.classes);
    tensors.append(row);
  }
  report["tensors"] = tensors;
  return report;
}

// Views of arrays by name, in the order of `specs`; `arrays` keeps those alive that had to be copied.
std::vector<TensorView> views_of(const std::vector<TensorSpec>& specs, const py::dict& by_name,
                                 std::vector<py::array>& arrays) {
  std::vector<TensorView> views;
  for (const TensorSpec& spec : specs) {
    const py::str key(spec.name);
    if (!by_name.contains(key))
      throw Error(Code::bad_input, "statistics: expected tensor \"", spec.name, "\", got none");
    const auto array = py::array::ensure(by_name[key], py::array::c_style);
    const py::dtype dtype = array_dtype(spec.dtype);
    if (!array || !array.dtype().equal(dtype) || array.ndim() > static_cast<py::ssize_t>(Shape::kMaxRank))
      throw Error(Code::bad_input, "statistics: tensor \"", spec.name, "\": expected ", name(spec.dtype), ", got ",
                  py::str(py::type::of(by_name[key])).cast<std::string>());
    const std::vector<int64_t> dims(array.shape(), array.shape() + array.ndim());
    auto* data = static_cast<std::byte*>(const_cast<void*>(array.data()));
    views.push_back({spec.dtype, Shape(dims), data, static_cast<size_t>(array.nbytes())});
    arrays.push_back(array);
  }
  return views;
}

// A counter, and the tensors that it counts.
struct PyStatisticsCounter {
  Signature signature;
  StatisticsCounter core;

  void add(const py::dict& inputs, const py::dict& outputs, uint64_t latency_ns) {
    std::vector<py::array> arrays;
    const std::vector<TensorView> in = views_of(signature.inputs, inputs, arrays);
    const std::vector<TensorView> out = views_of(signature.outputs, outputs, arrays);
    core.add(in, out, latency_ns);
  }
};

using EdgesBySide = std::map<std::pair<std::string, std::string>, std::vector<std::vector<float>>>;

TensorEdges tensor_edges(const EdgesBySide& by_side) {
  TensorEdges edges;
  for (const auto& [key, laid] : by_side) {
    if (key.first != "input" && key.first != "output")
      throw Error(Code::bad_input, "edges: expected the side input or output, got ", key.first);
    edges[{key.first == "output", key.second}] = laid;
  }
  return edges;
}

py::list part_names(const TensorSpec& spec, bool is_output) {
  py::list names;
  const TensorParts parts(spec, is_output);
  for (const PartName& name : parts.names()) names.append(py::make_tuple(kind_text(name), name.text()));
  return names;
}

py::array least_latencies() {
  std::vector<uint64_t> edges(LatencyHistogram::kBuckets);
  for (size_t i = 0; i < edges.size(); ++i) edges[i] = LatencyHistogram::least_of(i);
  return counts_array(edges);
}

// ---- Drain.

// Ends the thread without the interpreter lock, whoever drops the last reference.
class PyDrain {
 public:
  explicit PyDrain(std::unique_ptr<DrainThread> thread) : thread_(std::move(thread)) {}
  ~PyDrain() { close(); }
  void close() {
    if (thread_ == nullptr) return;
    const Unlocked released;
    thread_->end();
    last_ = thread_->counters();
    last_complaint_ = thread_->complaint();
    thread_.reset();
  }
  DrainThread* thread() const { return thread_.get(); }
  DrainCounters counters() const { return thread_ == nullptr ? last_ : thread_->counters(); }
  std::string complaint() const { return thread_ == nullptr ? last_complaint_ : thread_->complaint(); }

 private:
  std::unique_ptr<DrainThread> thread_;
  DrainCounters last_;
  std::string last_complaint_;
};

std::unique_ptr<PyDrain> make_drain(const py::object& ring_directory, const py::object& capture_directory,
                                    const Budget& budget) {
  const std::string rings = path_of(ring_directory);
  const std::string captures = path_of(capture_directory);
  const Unlocked released;
  return std::make_unique<PyDrain>(std::make_unique<DrainThread>(rings, captures, budget));
}

// ---- The tables.

void bind_rule(py::module_& module) {
  py::class_<Rule> rule(module, "Rule", "Which inferences are kept, a tree. Fields that are not set are empty, or 0.");
  rule.def(py::init<>())
      .def_readwrite("limit", &Rule::limit)
      .def_readwrite("upper", &Rule::upper, "Of \"between\".")
      .def_readwrite("count", &Rule::count)
      .def_readwrite("window_ns", &Rule::window_ns)
      .def_readwrite("output", &Rule::output, "The name of the output that the rule looks at.")
      .def_readwrite("classes", &Rule::classes)
      .def_readwrite("parts", &Rule::parts, "The rules that \"all\" and \"any\" join.");
  bind_word(rule, "kind", &Rule::kind, kRuleKinds, "One of RULE_KINDS.");
  module.attr("MAX_RESERVOIR_COUNT") = kMaxReservoirCount;
  module.attr("RULE_KINDS") = all_words(kRuleKinds);
}

void bind_redaction(py::module_& module) {
  py::class_<Boxes> boxes(module, "Boxes", "Which boxes of an output count. Names that are not set are empty.");
  boxes.def(py::init<>())
      .def_readwrite("output", &Boxes::output)
      .def_readwrite("margin", &Boxes::margin, "Added on each side, in parts of the box.")
      .def_readwrite("scores", &Boxes::scores)
      .def_readwrite("least", &Boxes::least, "The least score that counts.")
      .def_readwrite("classes", &Boxes::classes)
      .def_readwrite("among", &Boxes::among, "The classes that count.")
      .def_readwrite("count", &Boxes::count);
  bind_word(boxes, "order", &Boxes::order, kBoxOrders, "One of BOX_ORDERS.");
  bind_word(boxes, "unit", &Boxes::unit, kBoxUnits, "One of BOX_UNITS.");

  py::class_<RedactionRule> rule(module, "RedactionRule", "What records leave out of one tensor.");
  rule.def(py::init<>())
      .def_readwrite("tensor", &RedactionRule::tensor)
      .def_readwrite("boxes", &RedactionRule::boxes)
      .def_readwrite("layout", &RedactionRule::layout)
      .def_readwrite("factor", &RedactionRule::factor)
      .def_readwrite("count", &RedactionRule::count)
      .def_readwrite("axis", &RedactionRule::axis)
      .def(
          "set_key",
          [](RedactionRule& self, const py::bytes& key) {
            const Bytes bytes = bytes_view(key);
            if (bytes.size() != kSecretBytes)
              throw Error(Code::bad_input, "redact: key: expected ", kSecretBytes, " bytes, got ", bytes.size());
            self.key = std::make_shared<const Secret>(bytes);
          },
          py::arg("key"), "Of a hash: 32 bytes, which nothing gives back.");
  bind_word(rule, "kind", &RedactionRule::kind, kRedactionKinds, "One of REDACTION_KINDS.");
  module.def(
      "recorded_signature",
      [](const std::vector<RedactionRule>& rules, const Signature& signature) {
        return Redaction(rules, signature).recorded(signature);
      },
      py::arg("rules"), py::arg("signature"),
      "The tensors as records have them. Raises BadInput for a rule that does not fit.");
  module.attr("BOX_ORDERS") = all_words(kBoxOrders);
  module.attr("BOX_UNITS") = all_words(kBoxUnits);
  module.attr("REDACTION_KINDS") = all_words(kRedactionKinds);
}

void bind_plan(py::module_& module) {
  py::class_<CapturePlan> plan(module, "CapturePlan",
                               "What a Capture keeps and where. Fields that are not set are empty, or 0.");
  plan.def(py::init<>())
      .def_property(
          "ring_directory",
          [](const CapturePlan& self) {
            return py::reinterpret_steal<py::str>(PyUnicode_DecodeFSDefault(self.ring_directory.c_str()));
          },
          [](CapturePlan& self, const py::object& path) { self.ring_directory = path_of(path); }, "On tmpfs.")
      .def_readwrite("ring_bytes", &CapturePlan::ring_bytes, "Of each session's ring, a power of two.")
      .def_readwrite("recipient", &CapturePlan::recipient, "An x25519 key; None: anybody reads the records.")
      .def_property(
          "newest_count", [](const CapturePlan& self) { return self.newest.record_count; },
          [](CapturePlan& self, uint64_t count) { self.newest.record_count = count; },
          "Of the records that a ring of the newest keeps; 0: as many as fit.")
      .def_property(
          "newest_ns", [](const CapturePlan& self) { return self.newest.age_ns; },
          [](CapturePlan& self, uint64_t age_ns) { self.newest.age_ns = age_ns; },
          "By which they may be older than the last one; 0: any.")
      .def_readwrite("rule", &CapturePlan::rule, "None: only what capture_next asks for.")
      .def_readwrite("seed", &CapturePlan::seed, "Of the first session; each further one adds 1.")
      .def_readwrite("tensors", &CapturePlan::tensors, "The names of those that a record holds; None: all.")
      .def_readwrite("pre_roll_count", &CapturePlan::pre_roll_count)
      .def_readwrite("pre_roll_ns", &CapturePlan::pre_roll_ns, "How old a record of the pre-roll may be; 0: any age.")
      .def_readwrite("pre_roll_bytes", &CapturePlan::pre_roll_bytes, "Room for the pre-roll in each session.")
      .def_readwrite("post_roll_count", &CapturePlan::post_roll_count)
      .def_readwrite("post_roll_ns", &CapturePlan::post_roll_ns, "How late a record of it may begin; 0: at any time.")
      .def_readwrite("redactions", &CapturePlan::redactions, "A list of RedactionRule.")
      .def_readwrite("has_statistics", &CapturePlan::has_statistics)
      .def_property(
          "edges", nullptr, [](CapturePlan& self, const EdgesBySide& edges) { self.edges = tensor_edges(edges); },
          "Of the statistics' bins: by side and tensor, a list for each part; see StatisticsCounter.")
      .def_readwrite("descriptions", &CapturePlan::descriptions, "By signature: JSON for readers of its rings.")
      .def(
          "copy", [](const CapturePlan& self) { return self; }, "Another plan with the same fields.");
  bind_word(plan, "keep", &CapturePlan::keep, kKeeps, "One of KEEPS.");
  module.attr("MIN_RING_BYTES") = kMinRingBytes;
  module.attr("RING_HEAD_BYTES") = kRingDataOffset;
  module.attr("MAX_RING_BYTES") = kMaxRingBytes;
  module.attr("RING_SUFFIX") = kRingSuffix;
  py::tuple counters(kRingCounters.size());
  for (size_t i = 0; i < kRingCounters.size(); ++i) counters[i] = py::str(kRingCounters[i].name);
  module.attr("RING_COUNTERS") = counters;
  module.attr("KEEPS") = all_words(kKeeps);
}

void bind_capture(py::module_& module) {
  py::class_<Capture, std::shared_ptr<Capture>>(module, "Capture", "What one model's sessions capture.")
      .def_property_readonly("counters",
                             [](const Capture& self) { return counters_dict(self.counters(), kRingCounters); })
      .def_property_readonly("failure", &Capture::failure, "Why a session captures nothing; empty when all do.")
      .def_property_readonly("drained_count", &Capture::drained_count, "Records that are on the disk.")
      .def_property_readonly("complaint", &Capture::complaint, "Of a ring that nobody drains; empty when all are.")
      .def(
          "wait_drained",
          [](Capture& self, int timeout_ms, bool saves) {
            const Unlocked released;
            return self.wait_drained(timeout_ms, saves ? Capture::Saved::newest : Capture::Saved::ended);
          },
          py::arg("timeout_ms"), py::arg("saves"),
          "Whether all that was committed before the call is on the disk; of the newest, only what `saves` asks for.")
      .def_property_readonly("is_settled", &Capture::is_settled, "No session is left, and all is on the disk.")
      .def("end", &Capture::end, py::call_guard<py::gil_scoped_release>(), "Capture nothing more.")
      .def_property_readonly("statistics", &Capture::statistics, "A Statistics for each signature that ran.")
      .def("take_statistics", &Capture::take_statistics, "The same, of the inferences since the last call.")
      .def("capture_next", &capture_next, py::arg("correlation_id"), py::arg("user"),
           "Keep the next inference, with these bytes of the caller's.");
  module.def(
      "make_capture", [](const CapturePlan& plan) { return std::make_shared<Capture>(plan); }, py::arg("plan"),
      "A Capture, to be attached to a model.");
  module.def(
      "attach", [](PyModel& model, std::shared_ptr<Capture> capture) { model.core->attach(std::move(capture)); },
      py::arg("model"), py::arg("capture"), "Let `capture` record what `model` runs.");
  module.def(
      "detach",
      [](PyModel& model, const std::shared_ptr<Capture>& capture) {
        if (model.core->capture() == capture) model.core->attach(nullptr);
      },
      py::arg("model"), py::arg("capture"), "End the capture of `model`, if `capture` is the one it has.");
}

void bind_drain(py::module_& module) {
  py::class_<Budget> budget(module, "Budget", "How much the segments of a directory may take.");
  budget.def(py::init<>())
      .def_readwrite("segment_bytes", &Budget::segment_bytes, "A segment of this size is sealed.")
      .def_readwrite("most_span_ns", &Budget::most_span_ns, "One that was begun so long ago is sealed; 0: any.")
      .def_readwrite("most_bytes", &Budget::most_bytes, "Of all sealed segments.")
      .def_readwrite("least_free_bytes", &Budget::least_free_bytes, "Of the file system.")
      .def_readwrite("most_age_ns", &Budget::most_age_ns, "Of a segment; 0: any.");
  bind_word(budget, "evict", &Budget::evict, kEvicts, "One of EVICTS.");
  module.attr("EVICTS") = all_words(kEvicts);

  py::class_<PyDrain>(module, "Drain", "A thread that brings records from rings to disk.")
      .def_property_readonly("counters",
                             [](const PyDrain& self) { return counters_dict(self.counters(), kDrainCounters); })
      .def_property_readonly("complaint", &PyDrain::complaint)
      .def_property_readonly(
          "holder",
          [](const PyDrain& self) { return self.thread() == nullptr ? std::string() : self.thread()->holder(); },
          "Who drains instead; empty when this one does.")
      .def(
          "flush",
          [](const PyDrain& self, int timeout_ms) {
            const Unlocked released;
            return self.thread() == nullptr || self.thread()->flush(timeout_ms);
          },
          py::arg("timeout_ms"),
          "Whether all that was committed before the call is on the disk. True at once while another one drains.")
      .def("close", &PyDrain::close, "Bring everything to disk, seal it, and end the thread.");
  module.def("make_drain", &make_drain, py::arg("ring_directory"), py::arg("capture_directory"), py::arg("budget"),
             "A Drain that drains as soon as no other one has the rings. Raises OSError.");
  module.def("drained_into", &drained_into, py::arg("ring_directory"),
             "Into which captures these rings are drained, or were last; empty where no drain has said so. Raises "
             "OSError.");
}

void bind_sealed_statistics(py::module_& module) {
  module.attr("STATISTICS_SUFFIX") = kStatisticsSuffix;
  module.attr("JSON_STATISTICS_SUFFIX") = kJsonStatisticsSuffix;
  module.attr("SEALED_STATISTICS_SUFFIX") = kSealedStatisticsSuffix;
  module.def(
      "seal_statistics",
      [](const PublicKey& recipient, const py::bytes& document) {
        return python_bytes(seal_statistics(recipient, bytes_view(document)));
      },
      py::arg("recipient"), py::arg("document"), "Bytes that the owner of the recipient's private key can open.");
  module.def(
      "open_statistics",
      [](const py::bytes& sealed, const PrivateKey* key) {
        return python_bytes(open_statistics(bytes_view(sealed), key));
      },
      py::arg("sealed"), py::arg("key"), "What seal_statistics sealed. Raises MalformedCapture, WrongKey.");
}

}  // namespace

void bind_statistics(py::module_& module) {
  py::class_<Statistics>(module, "Statistics",
                         "Counts over every inference of a signature, kept or not. One thread at a time.")
      .def_static(
          "from_bytes", [](const py::bytes& bytes) { return statistics_from(bytes_view(bytes)); }, py::arg("data"),
          "What to_bytes made. Raises MalformedCapture.")
      .def(
          "to_bytes",
          [](const Statistics& self, const std::string& description) {
            return python_bytes(bytes_of(self, description));
          },
          py::arg("description") = "", "Versioned bytes, for from_bytes, which hold `description` too.")
      .def_readonly("description", &Statistics::description, "What to_bytes was called with.")
      .def_readonly("run_count", &Statistics::run_count, "Inferences counted, those that failed included.")
      .def("merge", &Statistics::merge, py::arg("other"),
           "Add what another session or device counted. Raises BadInput for other tensors or bins.")
      .def("report", &statistics_dict,
           "All of it as a dict: run_count, error_count, latency_counts, and tensors, a list; counts are arrays.")
      .def("__repr__",
           [](const Statistics& self) { return "<Statistics of " + std::to_string(self.run_count) + " runs>"; });
  py::class_<PyStatisticsCounter>(module, "StatisticsCounter",
                                  "Counts inferences of a signature. One thread at a time.")
      .def("add", &PyStatisticsCounter::add, py::arg("inputs"), py::arg("outputs"), py::arg("latency_ns") = 0,
           "Count one inference, of arrays by name. Raises BadInput.")
      .def(
          "add_failure", [](PyStatisticsCounter& self) { self.core.add_failure(); }, "Count one run that failed.")
      .def(
          "take", [](PyStatisticsCounter& self) { return self.core.take(); },
          "The Statistics of what was counted since the last call.");
}

void bind_captures(py::module_& module) {
  bind_rule(module);
  bind_redaction(module);
  bind_plan(module);
  bind_capture(module);
  bind_drain(module);
  bind_sealed_statistics(module);
  module.def("least_latencies", &least_latencies, "The least nanoseconds of each bucket of latency_counts.");
  module.def(
      "make_statistics_counter",
      [](const Signature& signature, const std::optional<EdgesBySide>& edges) {
        return PyStatisticsCounter{signature,
                                   StatisticsCounter(signature, edges ? tensor_edges(*edges) : TensorEdges())};
      },
      py::arg("signature"), py::arg("edges") = py::none(),
      "`edges`, by side and tensor, are those of each part in the order of part_names, which ascend; one list for a "
      "tensor\nof several parts is that of all its values. Tensors without edges have bins that adapt. Raises "
      "BadInput.");
  module.def("part_names", &part_names, py::arg("spec"), py::arg("is_output"),
             "The (kind, name) of each part of such a tensor that statistics count.");
}

}  // namespace edgeward
