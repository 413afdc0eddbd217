// What of a .tflite lasts from one run to the next: variable tensors, and the variables that operators hold by name.
// Fed with every operator of a file, subgraph after subgraph, once its indices are checked. Keeps no view of the file.
// One thread. Rules: docs/model-files.md, section 2.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model_files/tflite_check.h"

namespace edgeward {

class TfliteState {
 public:
  // Begins the next subgraph.
  void enter(const FlatVector<int32_t>& inputs, size_t output_count, bool has_variable_tensors);

  // Adds an operator of that subgraph. Throws Error(unsupported_model) for a variable that cannot be told, and for one
  // that is read as a tensor of an unknown size.
  void add(const TfliteOperator& operation, std::span<const TfliteValue> tensors);

  // After the last operator. Throws Error(malformed_model) when a variable is read as more elements than are assigned
  // to it: the kernel copies as many as the reader's tensor has. Throws Error(unsupported_model) when a subgraph reads
  // a variable that nothing assigns before: the engine gives out what the memory held.
  void check_variables() const;

  // Whether a run may leave another state than it found, in either of the two.
  bool has_variable_tensors() const;
  bool has_named_variables() const;

  // True when `subgraph` has its initial state again once its own variable tensors have theirs and each of
  // initializers() is run, a subgraph without inputs and outputs that assigns first values.
  bool is_restorable(size_t subgraph) const;
  const std::vector<int32_t>& initializers(size_t subgraph) const { return subgraphs_.at(subgraph).initializers; }

 private:
  static constexpr int32_t kUnknown = -1;

  struct Subgraph {
    bool has_interface = false;  // inputs or outputs
    bool has_variable_tensors = false;
    bool has_operators = false;          // other than VAR_HANDLE and CALL_ONCE
    bool has_calls = false;              // operators that may run another subgraph, CALL_ONCE left out
    bool only_assigns = true;            // no operators but VAR_HANDLE and ASSIGN_VARIABLE
    bool is_branch = false;              // of an IF or a WHILE, whose callers may assign what it reads
    bool is_initialized_late = false;    // CALL_ONCE behind an operator that may read what it assigns
    std::map<int32_t, int32_t> handles;  // from tensor to variable
    std::map<uint32_t, int32_t> passed;  // from position among the inputs to variable, as callers pass them
    std::set<int32_t> assigned;
    std::vector<int32_t> initializers;
  };

  // One place where a variable is read or assigned.
  struct Use {
    int32_t variable;
    TfliteType type;
    int64_t least_elements;
    std::string operation;  // for messages
  };

  // A read of a variable that its own subgraph has not assigned by then.
  struct EarlyRead {
    int32_t variable;
    size_t subgraph;
    std::vector<int32_t> initializers;  // those that are called by then
    std::string operation;
  };

  int32_t variable(const TfliteOperator& operation) const;
  void note_early_read(const TfliteOperator& operation);
  void check_assigned(const EarlyRead& read) const;
  void add_read(const TfliteOperator& operation, const TfliteValue& value);
  void add_assignment(const TfliteOperator& operation, const TfliteValue& value);
  void pass_handles(const TfliteOperator& operation, int32_t callee, uint32_t first_input);
  // The variables that are assigned in other subgraphs than these.
  std::set<int32_t> assigned_outside(const std::vector<int32_t>& initializers) const;

  std::map<std::pair<std::string, std::string>, int32_t> variables_;  // from container and name
  std::map<size_t, Subgraph> subgraphs_;                              // callers reach those behind them
  size_t count_ = 0;                                                  // of those that were entered
  std::vector<Use> reads_;
  std::vector<Use> assignments_;
  std::vector<EarlyRead> early_reads_;
};

}  // namespace edgeward
