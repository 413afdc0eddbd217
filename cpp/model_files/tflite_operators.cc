#include "model_files/tflite_operators.h"

#include "model_files/tflite_arithmetic.h"
#include "model_files/tflite_code.h"
#include "model_files/tflite_control_flow.h"
#include "model_files/tflite_custom.h"
#include "model_files/tflite_layers.h"
#include "model_files/tflite_recurrent.h"
#include "model_files/tflite_shaping.h"

namespace edgeward {
namespace {

namespace arithmetic = tflite_arithmetic;
namespace control_flow = tflite_control_flow;
namespace layers = tflite_layers;
namespace recurrent = tflite_recurrent;
namespace code = tflite_code;
namespace shaping = tflite_shaping;

// What is known of one operator. `options` is the member of BuiltinOptions that its kernel reads, 0 for none.
struct Rule {
  std::string_view name;
  uint64_t optional_inputs = ~uint64_t{0};  // bit per input
  void (*check)(const TfliteCheck&) = nullptr;
  int32_t code = 0;  // of the builtin operator
  int16_t min_inputs = 0;
  int16_t max_inputs = TfliteCheck::kAnyCount;
  int16_t min_outputs = 0;
  int16_t max_outputs = TfliteCheck::kAnyCount;
  uint8_t options = 0;
  bool needs_options = false;  // without them the kernel would divide by, or index with, zeroes
};

struct Options {
  uint8_t member;
  bool needed;
};
constexpr Options no_options() { return {0, false}; }
constexpr Options reads(uint8_t member) { return {member, false}; }
constexpr Options needs(uint8_t member) { return {member, true}; }

struct Counts {
  int16_t min;
  int16_t max;
};
constexpr Counts exactly(int16_t count) { return {count, count}; }
constexpr Counts from(int16_t min, int16_t max) { return {min, max}; }
constexpr Counts at_least(int16_t min) { return {min, TfliteCheck::kAnyCount}; }

constexpr uint64_t kNone = 0;
constexpr uint64_t input_bit(uint32_t index) { return uint64_t{1} << index; }

constexpr Rule rule(int32_t code, std::string_view name, Options options, Counts inputs, Counts outputs,
                    void (*check)(const TfliteCheck&) = nullptr, uint64_t optional_inputs = kNone) {
  return {name,       optional_inputs, check,       code,           inputs.min,
          inputs.max, outputs.min,     outputs.max, options.member, options.needed};
}
// Known by name only.
constexpr Rule named(int32_t code, std::string_view name) {
  Rule rule{};
  rule.code = code;
  rule.name = name;
  return rule;
}

constexpr Rule kRules[] = {
    rule(0, "ADD", reads(11), exactly(2), exactly(1), arithmetic::sum),
    rule(1, "AVERAGE_POOL_2D", needs(5), exactly(1), exactly(1), layers::pool_2d),
    rule(2, "CONCATENATION", needs(10), at_least(1), exactly(1), shaping::concatenation),
    rule(3, "CONV_2D", needs(1), from(2, 3), exactly(1), layers::conv_2d, input_bit(2)),
    rule(4, "DEPTHWISE_CONV_2D", needs(2), exactly(3), exactly(1), layers::depthwise_conv_2d, input_bit(2)),
    rule(5, "DEPTH_TO_SPACE", needs(94), exactly(1), exactly(1), shaping::depth_to_space),
    rule(6, "DEQUANTIZE", no_options(), exactly(1), exactly(1), arithmetic::converting),
    rule(7, "EMBEDDING_LOOKUP", no_options(), exactly(2), exactly(1), layers::embedding_lookup),
    rule(8, "FLOOR", no_options(), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(9, "FULLY_CONNECTED", needs(8), from(2, 3), from(1, 2), layers::fully_connected, input_bit(2)),
    rule(10, "HASHTABLE_LOOKUP", no_options(), exactly(3), exactly(2)),
    rule(11, "L2_NORMALIZATION", reads(12), exactly(1), exactly(1), arithmetic::unary),
    rule(12, "L2_POOL_2D", needs(5), exactly(1), exactly(1), layers::pool_2d),
    rule(13, "LOCAL_RESPONSE_NORMALIZATION", needs(13), exactly(1), exactly(1), arithmetic::response_normalization),
    rule(14, "LOGISTIC", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(15, "LSH_PROJECTION", needs(4), from(2, 3), exactly(1), nullptr, input_bit(2)),
    rule(16, "LSTM", needs(14), from(5, 24), from(1, 4), recurrent::lstm, ~kNone),
    rule(17, "MAX_POOL_2D", needs(5), exactly(1), exactly(1), layers::pool_2d),
    rule(18, "MUL", reads(21), exactly(2), exactly(1), arithmetic::product),
    rule(19, "RELU", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(20, "RELU_N1_TO_1", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(21, "RELU6", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(22, "RESHAPE", reads(17), from(1, 2), exactly(1), shaping::reshape),
    rule(23, "RESIZE_BILINEAR", reads(15), exactly(2), exactly(1), layers::resize_image),
    rule(24, "RNN", needs(7), exactly(5), exactly(1), recurrent::rnn),
    rule(25, "SOFTMAX", needs(9), exactly(1), exactly(1), arithmetic::softmax),
    rule(26, "SPACE_TO_DEPTH", needs(19), exactly(1), exactly(1), shaping::space_to_depth),
    rule(27, "SVDF", needs(6), exactly(5), exactly(1), recurrent::svdf, input_bit(3)),
    rule(28, "TANH", no_options(), exactly(1), exactly(1), arithmetic::unary),
    named(29, "CONCAT_EMBEDDINGS"),
    named(30, "SKIP_GRAM"),
    rule(31, "CALL", needs(16), at_least(0), at_least(0), control_flow::call_once),
    named(32, "CUSTOM"),
    named(33, "EMBEDDING_LOOKUP_SPARSE"),
    rule(34, "PAD", no_options(), exactly(2), exactly(1), shaping::pad),
    rule(35, "UNIDIRECTIONAL_SEQUENCE_RNN", needs(31), exactly(5), exactly(1), recurrent::sequence_rnn),
    rule(36, "GATHER", reads(23), exactly(2), exactly(1), shaping::gather),
    rule(37, "BATCH_TO_SPACE_ND", no_options(), exactly(3), exactly(1), shaping::blocks_nd),
    rule(38, "SPACE_TO_BATCH_ND", no_options(), exactly(3), exactly(1), shaping::blocks_nd),
    rule(39, "TRANSPOSE", no_options(), exactly(2), exactly(1), shaping::transpose),
    rule(40, "MEAN", reads(27), exactly(2), exactly(1), arithmetic::reduce),
    rule(41, "SUB", reads(28), exactly(2), exactly(1), arithmetic::sum),
    rule(42, "DIV", reads(29), exactly(2), exactly(1), arithmetic::quotient),
    rule(43, "SQUEEZE", reads(30), exactly(1), exactly(1), shaping::squeeze),
    rule(44, "UNIDIRECTIONAL_SEQUENCE_LSTM", needs(71), from(20, 24), exactly(1), recurrent::sequence_lstm, ~kNone),
    rule(45, "STRIDED_SLICE", needs(32), exactly(4), exactly(1), shaping::strided_slice),
    rule(46, "BIDIRECTIONAL_SEQUENCE_RNN", needs(70), exactly(12), from(1, 2), recurrent::bidirectional_rnn, ~kNone),
    rule(47, "EXP", no_options(), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(48, "TOPK_V2", no_options(), exactly(2), exactly(2), shaping::top_k),
    rule(49, "SPLIT", needs(35), exactly(2), at_least(1), shaping::split),
    rule(50, "LOG_SOFTMAX", no_options(), exactly(1), exactly(1), arithmetic::log_softmax),
    named(51, "DELEGATE"),
    rule(52, "BIDIRECTIONAL_SEQUENCE_LSTM", needs(69), from(39, 48), from(1, 2), recurrent::bidirectional_lstm, ~kNone),
    rule(53, "CAST", reads(37), exactly(1), exactly(1), arithmetic::converting),
    rule(54, "PRELU", no_options(), exactly(2), exactly(1), arithmetic::prelu),
    rule(55, "MAXIMUM", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    rule(56, "ARG_MAX", needs(40), exactly(2), exactly(1), arithmetic::arg_extreme),
    rule(57, "MINIMUM", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    rule(58, "LESS", no_options(), exactly(2), exactly(1), arithmetic::comparison),
    rule(59, "NEG", no_options(), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(60, "PADV2", no_options(), exactly(3), exactly(1), shaping::pad),
    rule(61, "GREATER", no_options(), exactly(2), exactly(1), arithmetic::comparison),
    rule(62, "GREATER_EQUAL", no_options(), exactly(2), exactly(1), arithmetic::comparison),
    rule(63, "LESS_EQUAL", no_options(), exactly(2), exactly(1), arithmetic::comparison),
    rule(64, "SELECT", no_options(), exactly(3), exactly(1), arithmetic::select_old),
    rule(65, "SLICE", no_options(), exactly(3), exactly(1), shaping::slice),
    rule(66, "SIN", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(67, "TRANSPOSE_CONV", needs(49), from(3, 4), exactly(1), layers::transpose_conv, input_bit(3)),
    rule(68, "SPARSE_TO_DENSE", reads(50), exactly(4), exactly(1), shaping::sparse_to_dense),
    rule(69, "TILE", no_options(), exactly(2), exactly(1), shaping::tile),
    rule(70, "EXPAND_DIMS", no_options(), exactly(2), exactly(1), shaping::expand_dims),
    rule(71, "EQUAL", no_options(), exactly(2), exactly(1), arithmetic::comparison),
    rule(72, "NOT_EQUAL", no_options(), exactly(2), exactly(1), arithmetic::comparison),
    rule(73, "LOG", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(74, "SUM", reads(27), exactly(2), exactly(1), arithmetic::sum_or_product),
    rule(75, "SQRT", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(76, "RSQRT", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(77, "SHAPE", reads(55), exactly(1), exactly(1)),
    rule(78, "POW", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    rule(79, "ARG_MIN", needs(57), exactly(2), exactly(1), arithmetic::arg_extreme),
    rule(80, "FAKE_QUANT", needs(58), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(81, "REDUCE_PROD", reads(27), exactly(2), exactly(1), arithmetic::sum_or_product),
    rule(82, "REDUCE_MAX", reads(27), exactly(2), exactly(1), arithmetic::reduce),
    rule(83, "PACK", needs(59), at_least(1), exactly(1), shaping::pack),
    rule(84, "LOGICAL_OR", no_options(), exactly(2), exactly(1), arithmetic::predicate),
    rule(85, "ONE_HOT", needs(61), exactly(4), exactly(1), shaping::one_hot),
    rule(86, "LOGICAL_AND", no_options(), exactly(2), exactly(1), arithmetic::predicate),
    rule(87, "LOGICAL_NOT", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(88, "UNPACK", needs(64), exactly(1), at_least(1), shaping::unpack),
    rule(89, "REDUCE_MIN", reads(27), exactly(2), exactly(1), arithmetic::reduce),
    rule(90, "FLOOR_DIV", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    rule(91, "REDUCE_ANY", reads(27), exactly(2), exactly(1), arithmetic::reduce),
    rule(92, "SQUARE", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(93, "ZEROS_LIKE", no_options(), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(94, "FILL", no_options(), exactly(2), exactly(1), shaping::fill),
    rule(95, "FLOOR_MOD", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    rule(96, "RANGE", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    rule(97, "RESIZE_NEAREST_NEIGHBOR", reads(74), exactly(2), exactly(1), layers::resize_image),
    rule(98, "LEAKY_RELU", needs(75), exactly(1), exactly(1), arithmetic::leaky_relu),
    rule(99, "SQUARED_DIFFERENCE", no_options(), exactly(2), exactly(1), arithmetic::squared_difference),
    rule(100, "MIRROR_PAD", needs(77), exactly(2), exactly(1), shaping::mirror_pad),
    rule(101, "ABS", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(102, "SPLIT_V", needs(79), exactly(3), at_least(1), shaping::split_v),
    rule(103, "UNIQUE", needs(80), exactly(1), exactly(2)),
    rule(104, "CEIL", no_options(), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(105, "REVERSE_V2", no_options(), exactly(2), exactly(1), shaping::reverse),
    rule(106, "ADD_N", no_options(), at_least(2), exactly(1), arithmetic::like_first),
    rule(107, "GATHER_ND", no_options(), exactly(2), exactly(1), shaping::gather_nd),
    rule(108, "COS", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(109, "WHERE", no_options(), exactly(1), exactly(1)),
    rule(110, "RANK", no_options(), exactly(1), exactly(1)),
    rule(111, "ELU", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(112, "REVERSE_SEQUENCE", needs(87), exactly(2), exactly(1), shaping::reverse_sequence),
    rule(113, "MATRIX_DIAG", no_options(), exactly(1), exactly(1), arithmetic::like_first),
    rule(114, "QUANTIZE", no_options(), exactly(1), exactly(1), arithmetic::converting),
    rule(115, "MATRIX_SET_DIAG", no_options(), exactly(2), exactly(1), shaping::matrix_set_diag),
    rule(116, "ROUND", no_options(), exactly(1), exactly(1), arithmetic::unary_setting),
    rule(117, "HARD_SWISH", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(118, "IF", needs(92), at_least(1), at_least(0), control_flow::call_if),
    rule(119, "WHILE", needs(93), at_least(0), at_least(0), control_flow::call_while),
    rule(120, "NON_MAX_SUPPRESSION_V4", no_options(), exactly(5), exactly(2)),
    rule(121, "NON_MAX_SUPPRESSION_V5", no_options(), exactly(6), exactly(3)),
    rule(122, "SCATTER_ND", no_options(), exactly(3), exactly(1), shaping::scatter_nd),
    rule(123, "SELECT_V2", no_options(), exactly(3), exactly(1), arithmetic::select),
    rule(124, "DENSIFY", no_options(), exactly(1), exactly(1), shaping::densify),
    rule(125, "SEGMENT_SUM", no_options(), exactly(2), exactly(1), arithmetic::like_first),
    rule(126, "BATCH_MATMUL", reads(101), exactly(2), exactly(1), layers::batch_matmul),
    named(127, "PLACEHOLDER_FOR_GREATER_OP_CODES"),
    rule(128, "CUMSUM", reads(102), exactly(2), exactly(1), arithmetic::cumsum),
    rule(129, "CALL_ONCE", needs(103), exactly(0), exactly(0), control_flow::call_once),
    rule(130, "BROADCAST_TO", no_options(), exactly(2), exactly(1), shaping::broadcast_to),
    rule(131, "RFFT2D", no_options(), exactly(2), exactly(1), arithmetic::rfft_2d),
    rule(132, "CONV_3D", needs(106), from(2, 3), exactly(1), layers::conv_3d, input_bit(2)),
    rule(133, "IMAG", no_options(), exactly(1), exactly(1), arithmetic::converting),
    rule(134, "REAL", no_options(), exactly(1), exactly(1), arithmetic::converting),
    rule(135, "COMPLEX_ABS", no_options(), exactly(1), exactly(1), arithmetic::converting),
    rule(136, "HASHTABLE", needs(107), exactly(0), exactly(1)),
    rule(137, "HASHTABLE_FIND", no_options(), exactly(3), exactly(1)),
    rule(138, "HASHTABLE_IMPORT", no_options(), exactly(3), exactly(0)),
    rule(139, "HASHTABLE_SIZE", no_options(), exactly(1), exactly(1)),
    rule(140, "REDUCE_ALL", reads(27), exactly(2), exactly(1), arithmetic::reduce),
    rule(141, "CONV_3D_TRANSPOSE", needs(106), from(3, 4), exactly(1), layers::conv_3d_transpose, input_bit(3)),
    rule(142, "VAR_HANDLE", needs(111), exactly(0), exactly(1)),
    rule(143, "READ_VARIABLE", no_options(), exactly(1), exactly(1)),
    rule(144, "ASSIGN_VARIABLE", no_options(), exactly(2), exactly(0)),
    rule(145, "BROADCAST_ARGS", no_options(), exactly(2), exactly(1), shaping::broadcast_args),
    rule(146, "RANDOM_STANDARD_NORMAL", reads(114), exactly(1), exactly(1), shaping::random),
    rule(147, "BUCKETIZE", needs(115), exactly(1), exactly(1), arithmetic::converting),
    rule(148, "RANDOM_UNIFORM", reads(114), exactly(1), exactly(1), shaping::random),
    rule(149, "MULTINOMIAL", reads(114), exactly(2), exactly(1), shaping::multinomial),
    rule(150, "GELU", reads(116), exactly(1), exactly(1), arithmetic::unary),
    rule(151, "DYNAMIC_UPDATE_SLICE", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    rule(152, "RELU_0_TO_1", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(153, "UNSORTED_SEGMENT_PROD", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    rule(154, "UNSORTED_SEGMENT_MAX", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    rule(155, "UNSORTED_SEGMENT_SUM", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    rule(156, "ATAN2", no_options(), exactly(2), exactly(1), arithmetic::binary_plain),
    rule(157, "UNSORTED_SEGMENT_MIN", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    rule(158, "SIGN", no_options(), exactly(1), exactly(1), arithmetic::unary),
    rule(159, "BITCAST", no_options(), exactly(1), exactly(1)),
    rule(160, "BITWISE_XOR", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    rule(161, "RIGHT_SHIFT", no_options(), exactly(2), exactly(1), arithmetic::binary_setting),
    named(162, "STABLEHLO_LOGISTIC"),
    named(163, "STABLEHLO_ADD"),
    named(164, "STABLEHLO_DIVIDE"),
    named(165, "STABLEHLO_MULTIPLY"),
    named(166, "STABLEHLO_MAXIMUM"),
    named(167, "STABLEHLO_RESHAPE"),
    named(168, "STABLEHLO_CLAMP"),
    named(169, "STABLEHLO_CONCATENATE"),
    named(170, "STABLEHLO_BROADCAST_IN_DIM"),
    named(171, "STABLEHLO_CONVOLUTION"),
    named(172, "STABLEHLO_SLICE"),
    named(173, "STABLEHLO_CUSTOM_CALL"),
    named(174, "STABLEHLO_REDUCE"),
    named(175, "STABLEHLO_ABS"),
    named(176, "STABLEHLO_AND"),
    named(177, "STABLEHLO_COSINE"),
    named(178, "STABLEHLO_EXPONENTIAL"),
    named(179, "STABLEHLO_FLOOR"),
    named(180, "STABLEHLO_LOG"),
    named(181, "STABLEHLO_MINIMUM"),
    named(182, "STABLEHLO_NEGATE"),
    named(183, "STABLEHLO_OR"),
    named(184, "STABLEHLO_POWER"),
    named(185, "STABLEHLO_REMAINDER"),
    named(186, "STABLEHLO_RSQRT"),
    named(187, "STABLEHLO_SELECT"),
    named(188, "STABLEHLO_SUBTRACT"),
    named(189, "STABLEHLO_TANH"),
    named(190, "STABLEHLO_SCATTER"),
    named(191, "STABLEHLO_COMPARE"),
    named(192, "STABLEHLO_CONVERT"),
    named(193, "STABLEHLO_DYNAMIC_SLICE"),
    named(194, "STABLEHLO_DYNAMIC_UPDATE_SLICE"),
    named(195, "STABLEHLO_PAD"),
    named(196, "STABLEHLO_IOTA"),
    named(197, "STABLEHLO_DOT_GENERAL"),
    named(198, "STABLEHLO_REDUCE_WINDOW"),
    named(199, "STABLEHLO_SORT"),
    named(200, "STABLEHLO_WHILE"),
    rule(201, "STABLEHLO_GATHER", no_options(), exactly(2), exactly(1), shaping::stablehlo_gather),
    named(202, "STABLEHLO_TRANSPOSE"),
    rule(203, "DILATE", no_options(), exactly(3), exactly(1), arithmetic::like_first),
    named(204, "STABLEHLO_RNG_BIT_GENERATOR"),
    named(205, "REDUCE_WINDOW"),
    rule(206, "STABLEHLO_COMPOSITE", no_options(), at_least(1), at_least(0), tflite_custom::check_composite, ~kNone),
    named(207, "STABLEHLO_SHIFT_LEFT"),
    named(208, "STABLEHLO_CBRT"),
    named(209, "STABLEHLO_CASE"),
};

// Rules are found by their code, so that a row that is left out makes one operator unknown and moves no other.
static_assert(code::is_ordered(kRules));

std::string custom_text(const TfliteOperator& operation) { return "CUSTOM " + std::string(operation.custom_name); }

void check_counts_and_options(const TfliteCheck& check, const Rule& rule) {
  const TfliteOperator& operation = check.operation();
  check.expect_count("inputs", operation.inputs.size(), rule.min_inputs, rule.max_inputs);
  check.expect_count("outputs", operation.outputs.size(), rule.min_outputs, rule.max_outputs);
  if (rule.options == 0) return;
  if (operation.options_type != rule.options && (operation.options_type != 0 || rule.needs_options)) {
    check.refuse("options of type ", int{operation.options_type}, ", expected ", int{rule.options});
  }
}

}  // namespace

std::string text(const TfliteOperator& operation) {
  if (operation.code == code::kCustom && !operation.custom_name.empty()) return text(operation, custom_text(operation));
  const Rule* rule = code::find_rule(kRules, operation.code);
  return rule != nullptr ? text(operation, rule->name)
                         : text(operation, "operator code " + std::to_string(operation.code));
}

bool is_optional_input(const TfliteOperator& operation, uint32_t index) {
  const Rule* rule = code::find_rule(kRules, operation.code);
  if (rule == nullptr) return true;
  if (operation.code == code::kCustom) return !tflite_custom::has_rule(operation.custom_name);
  return index < 64 && (rule->optional_inputs & input_bit(index)) != 0;
}

void check_operator(const TfliteOperator& operation, std::span<TfliteValue> tensors,
                    std::span<const TfliteInterface> subgraphs) {
  const Rule* rule = code::find_rule(kRules, operation.code);
  if (rule == nullptr) return;
  if (operation.code == code::kCustom) {
    return tflite_custom::check_custom(TfliteCheck(operation, custom_text(operation), tensors, subgraphs));
  }
  const TfliteCheck check(operation, rule->name, tensors, subgraphs);
  check_counts_and_options(check, *rule);
  if (rule->check != nullptr) rule->check(check);
}

}  // namespace edgeward
