#include "model_files/tflite_control_flow.h"

namespace edgeward::tflite_control_flow {

void call_if(const TfliteCheck& check) {
  if (check.operation().inputs.empty() || check.type(0) != TfliteType::boolean)
    check.refuse("input 0 must be a boolean");
  for (const uint32_t field : {0u, 1u}) {
    const TfliteInterface& branch = check.expect_subgraph(check.option(field, 4, 0));
    if (branch.input_count + 1 != check.operation().inputs.size() ||
        branch.output_count != check.operation().outputs.size()) {
      check.refuse("subgraph ", check.option(field, 4, 0), " has ", branch.input_count, " inputs and ",
                   branch.output_count, " outputs");
    }
  }
}

void call_while(const TfliteCheck& check) {
  const TfliteInterface& condition = check.expect_subgraph(check.option(0, 4, 0));
  const TfliteInterface& body = check.expect_subgraph(check.option(1, 4, 0));
  const uint32_t count = check.operation().inputs.size();
  if (condition.input_count != count || condition.output_count != 1) {
    check.refuse("condition has ", condition.input_count, " inputs and ", condition.output_count, " outputs, expected ",
                 count, " and 1");
  }
  if (body.input_count != count || body.output_count != count || check.operation().outputs.size() != count) {
    check.refuse("body has ", body.input_count, " inputs and ", body.output_count, " outputs, expected ", count,
                 " of each");
  }
}

// Its options are in the second of the unions: name, subgraph, attributes.
void call_composite(const TfliteCheck& check) {
  constexpr int kOptions = 21;
  const TfliteOperator& operation = check.operation();
  if (operation.options_2_type != kOptions)
    check.refuse("options of type ", int{operation.options_2_type}, ", expected ", kOptions);
  if (!operation.options_2.has(0)) check.refuse("no name");
  if (!operation.options_2.has(2)) check.refuse("no attributes");
  const auto index = operation.options_2.scalar<int32_t>(1, 0);
  const TfliteInterface& subgraph = check.expect_other_subgraph(index);
  if (subgraph.input_count != operation.inputs.size() || subgraph.output_count != operation.outputs.size()) {
    check.refuse("subgraph ", index, " has ", subgraph.input_count, " inputs and ", subgraph.output_count,
                 " outputs, expected ", operation.inputs.size(), " and ", operation.outputs.size());
  }
}

void call_once(const TfliteCheck& check) { check.expect_subgraph(check.option(0, 4, 0)); }

}  // namespace edgeward::tflite_control_flow
