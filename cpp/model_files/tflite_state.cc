#include "model_files/tflite_state.h"

#include <algorithm>
#include <iterator>

#include "model_files/tflite_code.h"
#include "model_files/tflite_operators.h"

namespace edgeward {

namespace code = tflite_code;

namespace {

int32_t called(const TfliteOperator& operation, uint32_t field) { return operation.options.scalar<int32_t>(field, 0); }

// The kernels copy as many bytes as dimensions and width give, which are none for strings.
void expect_number(const TfliteOperator& operation, const TfliteValue& value) {
  if (dtype(value.type)) return;
  throw Error(Code::unsupported_model, text(operation), ": expected a variable of numbers or booleans, got ",
              name(value.type));
}

}  // namespace

void TfliteState::enter(const FlatVector<int32_t>& inputs, size_t output_count, bool has_variable_tensors) {
  Subgraph& subgraph = subgraphs_[count_++];
  subgraph.has_interface = !inputs.empty() || output_count != 0;
  subgraph.has_variable_tensors = has_variable_tensors;
  for (const auto& [position, variable] : subgraph.passed) {
    if (position < inputs.size()) subgraph.handles[inputs[position]] = variable;
  }
}

void TfliteState::add(const TfliteOperator& operation, std::span<const TfliteValue> tensors) {
  Subgraph& subgraph = subgraphs_.at(count_ - 1);
  if (operation.code == code::kVarHandle) {
    const std::pair name(operation.options.string(0), operation.options.string(1));
    const auto entry = variables_.emplace(name, static_cast<int32_t>(variables_.size())).first;
    subgraph.handles[operation.outputs[0]] = entry->second;
    return;
  }
  subgraph.only_assigns = subgraph.only_assigns && operation.code == code::kAssignVariable;
  if (operation.code == code::kCallOnce) {
    subgraph.is_initialized_late = subgraph.is_initialized_late || subgraph.has_operators;
    if (std::find(subgraph.initializers.begin(), subgraph.initializers.end(), called(operation, 0)) ==
        subgraph.initializers.end())
      subgraph.initializers.push_back(called(operation, 0));
    return;
  }
  subgraph.has_operators = true;
  subgraph.has_calls = subgraph.has_calls || code::may_call(operation.code);
  if (operation.code == code::kReadVariable) note_early_read(operation);
  if (operation.code == code::kReadVariable) add_read(operation, tensors[static_cast<size_t>(operation.outputs[0])]);
  if (operation.code == code::kAssignVariable) {
    add_assignment(operation, tensors[static_cast<size_t>(operation.inputs[1])]);
    subgraph.assigned.insert(assignments_.back().variable);
  }
  if (operation.code == code::kIf || operation.code == code::kWhile) {
    for (const uint32_t field : {0u, 1u})
      pass_handles(operation, called(operation, field), operation.code == code::kIf ? 1 : 0);
  }
}

int32_t TfliteState::variable(const TfliteOperator& operation) const {
  const auto& handles = subgraphs_.at(count_ - 1).handles;
  const auto handle = handles.find(operation.inputs[0]);
  if (handle == handles.end() || handle->second == kUnknown) {
    throw Error(Code::unsupported_model, text(operation), ": expected a handle that VAR_HANDLE gives, got another");
  }
  return handle->second;
}

void TfliteState::add_read(const TfliteOperator& operation, const TfliteValue& value) {
  expect_number(operation, value);
  const int32_t read = variable(operation);
  // The kernel takes the variable's own shape for one without dimensions, and copies one element at least.
  if (value.shape.rank() == 0) return;
  int64_t elements = 1;
  for (const int64_t dim : value.shape) {
    if (!is_known(dim)) {
      throw Error(Code::unsupported_model, text(operation), ": expected an output of known shape, got ",
                  text(value.shape));
    }
    elements *= dim;
  }
  reads_.push_back({read, value.type, elements, text(operation)});
}

// What a subgraph that was called by then may have assigned counts as assigned.
void TfliteState::note_early_read(const TfliteOperator& operation) {
  const Subgraph& own = subgraphs_.at(count_ - 1);
  const int32_t read = variable(operation);
  if (own.has_calls || own.assigned.count(read) != 0) return;
  early_reads_.push_back({read, count_ - 1, own.initializers, text(operation)});
}

void TfliteState::check_assigned(const EarlyRead& read) const {
  const auto assigns = [&](const auto& entry) { return entry.second.assigned.count(read.variable) != 0; };
  const bool is_assigned = subgraphs_.at(read.subgraph).is_branch
                               ? std::any_of(subgraphs_.begin(), subgraphs_.end(), assigns)
                               : std::any_of(read.initializers.begin(), read.initializers.end(), [&](int32_t index) {
                                   return assigns(*subgraphs_.find(static_cast<size_t>(index)));
                                 });
  if (is_assigned) return;
  throw Error(Code::unsupported_model, read.operation,
              ": expected a variable that CALL_ONCE or an operator before it assigns, got one without a first value");
}

void TfliteState::add_assignment(const TfliteOperator& operation, const TfliteValue& value) {
  expect_number(operation, value);
  int64_t elements = 1;
  for (const int64_t dim : value.shape) elements *= is_known(dim) ? dim : 1;
  assignments_.push_back({variable(operation), value.type, elements, text(operation)});
}

// The callee's inputs are the operator's from `first_input` on.
void TfliteState::pass_handles(const TfliteOperator& operation, int32_t callee, uint32_t first_input) {
  const Subgraph& caller = subgraphs_.at(count_ - 1);
  Subgraph& branch = subgraphs_[static_cast<size_t>(callee)];
  branch.is_branch = true;
  std::map<uint32_t, int32_t>& passed = branch.passed;
  for (uint32_t i = first_input; i < operation.inputs.size(); ++i) {
    const auto handle = caller.handles.find(operation.inputs[i]);
    const int32_t variable = handle == caller.handles.end() ? kUnknown : handle->second;
    const auto [entry, is_new] = passed.emplace(i - first_input, variable);
    if (!is_new && entry->second != variable) entry->second = kUnknown;
  }
}

void TfliteState::check_variables() const {
  for (const EarlyRead& read : early_reads_) check_assigned(read);
  for (const Use& read : reads_) {
    for (const Use& assignment : assignments_) {
      // The kernel refuses to read another type than it holds.
      if (assignment.variable != read.variable || assignment.type != read.type) continue;
      if (assignment.least_elements >= read.least_elements) continue;
      throw Error(Code::malformed_model, read.operation, ": expected at most the ", assignment.least_elements,
                  " elements that ", assignment.operation, " assigns, got ", read.least_elements);
    }
  }
}

std::set<int32_t> TfliteState::assigned_outside(const std::vector<int32_t>& initializers) const {
  std::set<int32_t> assigned;
  for (const auto& [index, subgraph] : subgraphs_) {
    if (std::find(initializers.begin(), initializers.end(), static_cast<int32_t>(index)) == initializers.end())
      assigned.insert(subgraph.assigned.begin(), subgraph.assigned.end());
  }
  return assigned;
}

bool TfliteState::has_variable_tensors() const {
  return std::any_of(subgraphs_.begin(), subgraphs_.end(),
                     [](const auto& entry) { return entry.second.has_variable_tensors; });
}

// A variable that only initializers assign is a constant.
bool TfliteState::has_named_variables() const {
  std::vector<int32_t> initializers;
  for (const auto& [index, subgraph] : subgraphs_)
    initializers.insert(initializers.end(), subgraph.initializers.begin(), subgraph.initializers.end());
  return !assigned_outside(initializers).empty();
}

bool TfliteState::is_restorable(size_t subgraph) const {
  const Subgraph& own = subgraphs_.at(subgraph);
  for (const auto& [index, other] : subgraphs_) {
    if (index != subgraph && other.has_variable_tensors && own.has_calls) return false;
  }
  std::set<int32_t> restored;
  for (const int32_t index : own.initializers) {
    const Subgraph& initializer = subgraphs_.at(static_cast<size_t>(index));
    if (!initializer.only_assigns || initializer.has_interface || initializer.has_variable_tensors) return false;
    restored.insert(initializer.assigned.begin(), initializer.assigned.end());
  }
  const std::set<int32_t> changed = assigned_outside(own.initializers);
  return !own.is_initialized_late && std::includes(restored.begin(), restored.end(), changed.begin(), changed.end());
}

}  // namespace edgeward
