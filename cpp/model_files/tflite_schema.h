// The .tflite format (schema version 3) as data: the layouts of its tables, their field ids, its tensor types.
// Facts; flatbuffer.h says how layouts are written, tflite_file.h who reads them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "model_files/flatbuffer.h"

namespace edgeward::tflite_schema {

// Field ids, by table.
namespace model {
enum : uint32_t {
  version,
  operator_codes,
  subgraphs,
  description,
  buffers,
  metadata_buffer,
  metadata,
  signature_defs,
  external_buffer_groups,
  external_buffers
};
}  // namespace model
namespace subgraph {
enum : uint32_t {
  tensors,
  inputs,
  outputs,
  operators,
  name,
  debug_metadata_index
};
}  // namespace subgraph
namespace tensor {
enum : uint32_t {
  shape,
  type,
  buffer,
  name,
  quantization,
  is_variable,
  sparsity,
  shape_signature,
  has_rank,
  variant_tensors,
  external_buffer
};
}  // namespace tensor
namespace quantization {
enum : uint32_t {
  min,
  max,
  scale,
  zero_point,
  details_type,
  details,
  quantized_dimension
};
}  // namespace quantization
namespace blockwise {
enum : uint32_t {
  scales,
  zero_points,
  block_size
};
}  // namespace blockwise
namespace multi_axis {
enum : uint32_t {
  scales,
  zero_points,
  block_size,
  quantized_dimensions
};
}  // namespace multi_axis
namespace sparsity {
enum : uint32_t {
  traversal_order,
  block_map,
  dim_metadata
};
}  // namespace sparsity
namespace dimension {
enum : uint32_t {
  format,
  dense_size,
  array_segments_type,
  array_segments,
  array_indices_type,
  array_indices
};
}  // namespace dimension
namespace operator_code {
enum : uint32_t {
  deprecated_builtin_code,
  custom_code,
  version,
  builtin_code
};
}  // namespace operator_code
namespace operation {
enum : uint32_t {
  opcode_index,
  inputs,
  outputs,
  builtin_options_type,
  builtin_options,
  custom_options,
  custom_options_format,
  mutating_variable_inputs,
  intermediates,
  large_custom_options_offset,
  large_custom_options_size,
  builtin_options_2_type,
  builtin_options_2,
  debug_metadata_index
};
}  // namespace operation
namespace buffer {
enum : uint32_t {
  data,
  offset,
  size
};
}  // namespace buffer
namespace metadata {
enum : uint32_t {
  name,
  buffer
};
}  // namespace metadata
namespace tensor_map {
enum : uint32_t {
  name,
  tensor_index
};
}  // namespace tensor_map
namespace signature {
enum : uint32_t {
  inputs,
  outputs,
  signature_key,
  deprecated_tag,
  subgraph_index
};
}  // namespace signature

// The layouts of BuiltinOptions' members, then of BuiltinOptions2's, QuantizationDetails' and SparseIndexVector's,
// each in the order of its union; then the other tables.
enum LayoutIndex : uint8_t {
  kFirstOptions = 0,
  kFirstOptions2 = 126,
  kFirstQuantizationDetails = 149,
  kFirstSparseIndex = 152,
  kQuantizationParameters = 155,
  kDimensionMetadata,
  kSparsityParameters,
  kVariantSubType,
  kTensor,
  kOperatorCode,
  kOperator,
  kSubGraph,
  kBuffer,
  kExternalBufferGroup,
  kExternalBuffer,
  kMetadata,
  kTensorMap,
  kSignatureDef,
  kModel,
};
enum UnionIndex : uint8_t {
  kBuiltinOptions,
  kBuiltinOptions2,
  kQuantizationDetails,
  kSparseIndexVector
};

inline constexpr uint8_t kQuantizationParametersChildren[] = {kQuantizationDetails};
inline constexpr uint8_t kDimensionMetadataChildren[] = {kSparseIndexVector, kSparseIndexVector};
inline constexpr uint8_t kSparsityParametersChildren[] = {kDimensionMetadata};
inline constexpr uint8_t kTensorChildren[] = {kQuantizationParameters, kSparsityParameters, kVariantSubType};
inline constexpr uint8_t kOperatorChildren[] = {kBuiltinOptions, kBuiltinOptions2};
inline constexpr uint8_t kSubGraphChildren[] = {kTensor, kOperator};
inline constexpr uint8_t kSignatureDefChildren[] = {kTensorMap, kTensorMap};
inline constexpr uint8_t kModelChildren[] = {kOperatorCode,        kSubGraph,      kBuffer, kMetadata, kSignatureDef,
                                             kExternalBufferGroup, kExternalBuffer};

inline constexpr Layout kLayouts[] = {
    {"Conv2DOptions", "1441441"},
    {"DepthwiseConv2DOptions", "1444144"},
    {"ConcatEmbeddingsOptions", "4ww"},
    {"LSHProjectionOptions", "1"},
    {"Pool2DOptions", "144441"},
    {"SVDFOptions", "411"},
    {"RNNOptions", "11"},
    {"FullyConnectedOptions", "11111"},
    {"SoftmaxOptions", "4"},
    {"ConcatenationOptions", "41"},
    {"AddOptions", "11"},
    {"L2NormOptions", "1"},
    {"LocalResponseNormalizationOptions", "4444"},
    {"LSTMOptions", "14411"},
    {"ResizeBilinearOptions", "4411"},
    {"CallOptions", "4"},
    {"ReshapeOptions", "w"},
    {"SkipGramOptions", "441"},
    {"SpaceToDepthOptions", "4"},
    {"EmbeddingLookupSparseOptions", "1"},
    {"MulOptions", "1"},
    {"PadOptions", ""},
    {"GatherOptions", "44"},
    {"BatchToSpaceNDOptions", ""},
    {"SpaceToBatchNDOptions", ""},
    {"TransposeOptions", ""},
    {"ReducerOptions", "1"},
    {"SubOptions", "11"},
    {"DivOptions", "1"},
    {"SqueezeOptions", "w"},
    {"SequenceRNNOptions", "111"},
    {"StridedSliceOptions", "444441"},
    {"ExpOptions", ""},
    {"TopKV2Options", ""},
    {"SplitOptions", "4"},
    {"LogSoftmaxOptions", ""},
    {"CastOptions", "11"},
    {"DequantizeOptions", ""},
    {"MaximumMinimumOptions", ""},
    {"ArgMaxOptions", "1"},
    {"LessOptions", ""},
    {"NegOptions", ""},
    {"PadV2Options", ""},
    {"GreaterOptions", ""},
    {"GreaterEqualOptions", ""},
    {"LessEqualOptions", ""},
    {"SelectOptions", ""},
    {"SliceOptions", ""},
    {"TransposeConvOptions", "14411"},
    {"SparseToDenseOptions", "1"},
    {"TileOptions", ""},
    {"ExpandDimsOptions", ""},
    {"EqualOptions", ""},
    {"NotEqualOptions", ""},
    {"ShapeOptions", "1"},
    {"PowOptions", ""},
    {"ArgMinOptions", "1"},
    {"FakeQuantOptions", "4441"},
    {"PackOptions", "44"},
    {"LogicalOrOptions", ""},
    {"OneHotOptions", "4"},
    {"LogicalAndOptions", ""},
    {"LogicalNotOptions", ""},
    {"UnpackOptions", "44"},
    {"FloorDivOptions", ""},
    {"SquareOptions", ""},
    {"ZerosLikeOptions", ""},
    {"FillOptions", ""},
    {"BidirectionalSequenceLSTMOptions", "144111"},
    {"BidirectionalSequenceRNNOptions", "1111"},
    {"UnidirectionalSequenceLSTMOptions", "144111"},
    {"FloorModOptions", ""},
    {"RangeOptions", ""},
    {"ResizeNearestNeighborOptions", "11"},
    {"LeakyReluOptions", "4"},
    {"SquaredDifferenceOptions", ""},
    {"MirrorPadOptions", "1"},
    {"AbsOptions", ""},
    {"SplitVOptions", "4"},
    {"UniqueOptions", "1"},
    {"ReverseV2Options", ""},
    {"AddNOptions", ""},
    {"GatherNdOptions", ""},
    {"CosOptions", ""},
    {"WhereOptions", ""},
    {"RankOptions", ""},
    {"ReverseSequenceOptions", "44"},
    {"MatrixDiagOptions", ""},
    {"QuantizeOptions", ""},
    {"MatrixSetDiagOptions", ""},
    {"HardSwishOptions", ""},
    {"IfOptions", "44"},
    {"WhileOptions", "44"},
    {"DepthToSpaceOptions", "4"},
    {"NonMaxSuppressionV4Options", ""},
    {"NonMaxSuppressionV5Options", ""},
    {"ScatterNdOptions", ""},
    {"SelectV2Options", ""},
    {"DensifyOptions", ""},
    {"SegmentSumOptions", ""},
    {"BatchMatMulOptions", "111"},
    {"CumsumOptions", "11"},
    {"CallOnceOptions", "4"},
    {"BroadcastToOptions", ""},
    {"Rfft2dOptions", ""},
    {"Conv3DOptions", "14441444"},
    {"HashtableOptions", "411"},
    {"HashtableFindOptions", ""},
    {"HashtableImportOptions", ""},
    {"HashtableSizeOptions", ""},
    {"VarHandleOptions", "ss"},
    {"ReadVariableOptions", ""},
    {"AssignVariableOptions", ""},
    {"RandomOptions", "88"},
    {"BucketizeOptions", "w"},
    {"GeluOptions", "1"},
    {"DynamicUpdateSliceOptions", ""},
    {"UnsortedSegmentProdOptions", ""},
    {"UnsortedSegmentMaxOptions", ""},
    {"UnsortedSegmentMinOptions", ""},
    {"UnsortedSegmentSumOptions", ""},
    {"ATan2Options", ""},
    {"SignOptions", ""},
    {"BitcastOptions", ""},
    {"BitwiseXorOptions", ""},
    {"RightShiftOptions", ""},
    {"StablehloConcatenateOptions", "8"},
    {"StablehloBroadcastInDimOptions", "d"},
    {"StablehloSliceOptions", "ddd"},
    {"StablehloConvolutionOptions", "ddddb88d88d88d88w"},
    {"StablehloCustomCallOptions", "s1s4wb"},
    {"StablehloReduceOptions", "d4"},
    {"StablehloScatterOptions", "1ddd814"},
    {"StablehloCompareOptions", "44"},
    {"StablehloDynamicSliceOptions", "d"},
    {"StablehloPadOptions", "ddd"},
    {"StablehloIotaOptions", "8"},
    {"StablehloDotGeneralOptions", "ddddw"},
    {"StablehloReduceWindowOptions", "ddddd4"},
    {"StablehloSortOptions", "814"},
    {"StablehloWhileOptions", "44"},
    {"StablehloGatherOptions", "ddd8d1"},
    {"StablehloTransposeOptions", "d"},
    {"DilateOptions", ""},
    {"StablehloRngBitGeneratorOptions", "1"},
    {"ReduceWindowOptions", "4"},
    {"StableHLOCompositeOptions", "s4b14"},
    {"StablehloShiftLeftOptions", ""},
    {"StablehloCaseOptions", "w"},
    {"CustomQuantization", "b", "custom"},
    {"BlockwiseQuantization", "444", "scales zero_points block_size"},
    {"MultiAxisQuantization", "444w", "scales zero_points block_size quantized_dimensions"},
    {"Int32Vector", "w"},
    {"Uint16Vector", "h"},
    {"Uint8Vector", "b"},
    {"QuantizationParameters", "wwwd1u4", "min max scale zero_point details_type details quantized_dimension",
     kQuantizationParametersChildren},
    {"DimensionMetadata", "141u1u",
     "format dense_size array_segments_type array_segments array_indices_type array_indices",
     kDimensionMetadataChildren},
    {"SparsityParameters", "wwv", "traversal_order block_map dim_metadata", kSparsityParametersChildren},
    {"VariantSubType", "w11", "shape type has_rank"},
    {"Tensor", "w14st1tw1v4",
     "shape type buffer name quantization is_variable sparsity "
     "shape_signature has_rank variant_tensors external_buffer",
     kTensorChildren},
    {"OperatorCode", "1s44", "deprecated_builtin_code custom_code version builtin_code"},
    {"Operator", "4ww1ub1bw881u4",
     "opcode_index inputs outputs builtin_options_type builtin_options "
     "custom_options custom_options_format mutating_variable_inputs intermediates large_custom_options_offset "
     "large_custom_options_size builtin_options_2_type builtin_options_2 debug_metadata_index",
     kOperatorChildren},
    {"SubGraph", "vwwvs4", "tensors inputs outputs operators name debug_metadata_index", kSubGraphChildren},
    {"Buffer", "b88", "data offset size"},
    {"ExternalBufferGroup", "s", "name"},
    {"ExternalBuffer", "4488s", "id group offset length packing"},
    {"Metadata", "s4", "name buffer"},
    {"TensorMap", "s4", "name tensor_index"},
    {"SignatureDef", "vvss4", "inputs outputs signature_key deprecated_tag subgraph_index", kSignatureDefChildren},
    {"Model", "4vvsvwvvvv",
     "version operator_codes subgraphs description buffers metadata_buffer "
     "metadata signature_defs external_buffer_groups external_buffers",
     kModelChildren},
};
static_assert(std::size(kLayouts) == kModel + 1);

inline constexpr Union kUnions[] = {
    {"BuiltinOptions", kFirstOptions, 126},
    {"BuiltinOptions2", kFirstOptions2, 23},
    {"QuantizationDetails", kFirstQuantizationDetails, 3},
    {"SparseIndexVector", kFirstSparseIndex, 3},
};

inline constexpr FlatSchema kSchema = {"TFL3", kLayouts, kUnions, kModel};

// The flatbuffer in a file that may be longer than any: constants may lie behind it. Throws as read_flatbuffer does.
inline ProvenFlatbuffer read_tables(Bytes file) {
  return read_flatbuffer(file.first(static_cast<size_t>(std::min<uint64_t>(file.size(), kMaxFlatbufferBytes))),
                         kSchema);
}

}  // namespace edgeward::tflite_schema
