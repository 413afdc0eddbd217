// The tables of an .ort file, as flatbuffer.h verifies them: layouts in the order of their fields, and the ids of the
// fields that the check reads. From onnxruntime's ort.fbs.
#pragma once

#include <cstdint>
#include <iterator>

#include "model_files/flatbuffer.h"

namespace edgeward::ort_schema {

// The layouts of the format's tables; the first three are the members of TypeInfoValue, in its order.
enum LayoutIndex : uint8_t {
  kTensorTypeAndShape,
  kSequenceType,
  kMapType,
  kSession,
  kModel,
  kOperatorSetId,
  kStringEntry,
  kGraph,
  kTensor,
  kSparseTensor,
  kValueInfo,
  kTypeInfo,
  kShape,
  kDimension,
  kDimensionValue,
  kNode,
  kNodeEdge,
  kAttribute,
  kRuntimeOptimizations,
  kOptimizerEntry,
  kOptimizationRecord,
  kNodesToOptimize,
  kNodeKernelHash,
  kSessionState,
  kKernelInfos,
  kSubgraphState,
  kTypeResolver,
  kOperatorEntry,
  kTypeEntry,
  kArgument,
};
enum UnionIndex : uint8_t {
  kTypeInfoValue
};

inline constexpr uint8_t kTensorTypeAndShapeChildren[] = {kShape};
inline constexpr uint8_t kSequenceTypeChildren[] = {kTypeInfo};
inline constexpr uint8_t kMapTypeChildren[] = {kTypeInfo};
inline constexpr uint8_t kSessionChildren[] = {kModel, kSessionState, kTypeResolver};
inline constexpr uint8_t kModelChildren[] = {kOperatorSetId, kGraph, kStringEntry};
inline constexpr uint8_t kGraphChildren[] = {kTensor,   kValueInfo,    kNode,
                                             kNodeEdge, kSparseTensor, kRuntimeOptimizations};
inline constexpr uint8_t kSparseTensorChildren[] = {kTensor, kTensor};
inline constexpr uint8_t kValueInfoChildren[] = {kTypeInfo};
inline constexpr uint8_t kTypeInfoChildren[] = {kTypeInfoValue};
inline constexpr uint8_t kShapeChildren[] = {kDimension};
inline constexpr uint8_t kDimensionChildren[] = {kDimensionValue};
inline constexpr uint8_t kNodeChildren[] = {kAttribute};
inline constexpr uint8_t kAttributeChildren[] = {kTensor, kGraph, kTensor, kGraph};
inline constexpr uint8_t kRuntimeOptimizationsChildren[] = {kOptimizerEntry};
inline constexpr uint8_t kOptimizerEntryChildren[] = {kOptimizationRecord};
inline constexpr uint8_t kOptimizationRecordChildren[] = {kNodesToOptimize, kNodeKernelHash};
inline constexpr uint8_t kSessionStateChildren[] = {kKernelInfos, kSubgraphState};
inline constexpr uint8_t kSubgraphStateChildren[] = {kSessionState};
inline constexpr uint8_t kTypeResolverChildren[] = {kOperatorEntry};
inline constexpr uint8_t kOperatorEntryChildren[] = {kTypeEntry};
inline constexpr uint8_t kTypeEntryChildren[] = {kArgument};

inline constexpr Layout kLayouts[] = {
    {"TensorTypeAndShape", "4t", "elem_type shape", kTensorTypeAndShapeChildren},
    {"SequenceType", "t", "elem_type", kSequenceTypeChildren},
    {"MapType", "4t", "key_type value_type", kMapTypeChildren},
    {"InferenceSession", "sttt", "ort_version model session_state kernel_type_str_resolver", kSessionChildren},
    {"Model", "8vsss8stsv",
     "ir_version opset_import producer_name producer_version domain model_version doc_string graph graph_doc_string "
     "metadata_props",
     kModelChildren},
    {"OperatorSetId", "s8", "domain version"},
    {"StringStringEntry", "ss", "key value"},
    {"Graph", "vvv4vSSvt",
     "initializers node_args nodes max_node_index node_edges inputs outputs sparse_initializers runtime_optimizations",
     kGraphChildren},
    {"Tensor", "ssd4bS8", "name doc_string dims data_type raw_data string_data external_data_offset"},
    {"SparseTensor", "ttd", "values indices dims", kSparseTensorChildren},
    {"ValueInfo", "sst", "name doc_string type", kValueInfoChildren},
    {"TypeInfo", "s1u", "denotation value_type value", kTypeInfoChildren},
    {"Shape", "v", "dim", kShapeChildren},
    {"Dimension", "ts", "value denotation", kDimensionChildren},
    {"DimensionValue", "18s", "dim_type dim_value dim_param"},
    {"Node", "sss44s4sSSvwS",
     "name doc_string domain since_version index op_type type execution_provider_type inputs outputs attributes "
     "input_arg_counts implicit_inputs",
     kNodeChildren},
    {"NodeEdge", "4cc", "node_index input_edges output_edges"},
    {"Attribute", "ss448sttwdSvv", "name doc_string type f i s t g floats ints strings tensors graphs",
     kAttributeChildren},
    {"RuntimeOptimizations", "v", "records", kRuntimeOptimizationsChildren},
    {"RuntimeOptimizationRecordContainerEntry", "sv", "optimizer_name runtime_optimization_records",
     kOptimizerEntryChildren},
    {"RuntimeOptimizationRecord", "stvS", "action_id nodes_to_optimize_indices produced_nodes produced_op_ids",
     kOptimizationRecordChildren},
    {"NodesToOptimizeIndices", "w441144",
     "node_indices num_inputs num_outputs has_variadic_input has_variadic_output num_variadic_inputs "
     "num_variadic_outputs"},
    {"NodeIndexAndKernelDefHash", "48", "node_index kernel_def_hash"},
    {"SessionState", "tv", "kernels sub_graph_session_states", kSessionStateChildren},
    {"KernelCreateInfos", "wd", "node_indices kernel_def_hashes"},
    {"SubGraphSessionState", "st", "graph_id session_state", kSubgraphStateChildren},
    {"KernelTypeStrResolver", "v", "op_kernel_type_str_args", kTypeResolverChildren},
    {"OpIdKernelTypeStrArgsEntry", "sv", "op_id kernel_type_str_args", kOperatorEntryChildren},
    {"KernelTypeStrArgsEntry", "sv", "kernel_type_str args", kTypeEntryChildren},
    {"ArgTypeAndIndex", "14", "arg_type index"},
};
static_assert(std::size(kLayouts) == kArgument + 1);
inline constexpr Union kUnions[] = {{"TypeInfoValue", kTensorTypeAndShape, 3}};
inline constexpr FlatSchema kSchema = {"ORTM", kLayouts, kUnions, kSession};

// Field ids, by table.
namespace session {
enum : uint32_t {
  ort_version,
  model,
  session_state,
  kernel_type_str_resolver
};
}  // namespace session
namespace model {
enum : uint32_t {
  ir_version,
  opset_import,
  graph = 7
};
}  // namespace model
namespace opset {
enum : uint32_t {
  domain,
  version
};
}  // namespace opset
namespace graph {
enum : uint32_t {
  initializers,
  node_args,
  nodes,
  max_node_index,
  node_edges,
  inputs,
  outputs,
  sparse_initializers,
  runtime_optimizations
};
}  // namespace graph
namespace tensor {
enum : uint32_t {
  name,
  doc_string,
  dims,
  data_type,
  raw_data,
  string_data,
  external_data_offset
};
}  // namespace tensor
namespace value_info {
enum : uint32_t {
  name,
  doc_string,
  type
};
}  // namespace value_info
namespace type_info {
enum : uint32_t {
  denotation,
  value_type,
  value
};
}  // namespace type_info
namespace tensor_type {
enum : uint32_t {
  elem_type,
  shape
};
}  // namespace tensor_type
namespace dimension {
enum : uint32_t {
  value,
  denotation
};
}  // namespace dimension
namespace dimension_value {
enum : uint32_t {
  dim_type,
  dim_value,
  dim_param
};
}  // namespace dimension_value
namespace node {
enum : uint32_t {
  name,
  doc_string,
  domain,
  since_version,
  index,
  op_type,
  type,
  execution_provider_type,
  inputs,
  outputs,
  attributes,
  input_arg_counts,
  implicit_inputs
};
}  // namespace node
namespace optimizer {
enum : uint32_t {
  name,
  records
};
}  // namespace optimizer
namespace record {
enum : uint32_t {
  action,
  nodes
};
}  // namespace record
namespace node_indices {
enum : uint32_t {
  nodes,
  input_count,
  output_count,
  is_input_variadic,
  is_output_variadic,
  variadic_input_count,
  variadic_output_count
};
}  // namespace node_indices
namespace node_edge {
enum : uint32_t {
  node_index,
  input_edges,
  output_edges
};
}  // namespace node_edge
namespace attribute {
enum : uint32_t {
  name,
  doc_string,
  type,
  f,
  i,
  s,
  t,
  g,
  floats,
  ints,
  strings,
  tensors,
  graphs
};
}  // namespace attribute

}  // namespace edgeward::ort_schema
