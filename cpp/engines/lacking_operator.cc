#include "engines/lacking_operator.h"

#include <algorithm>
#include <string_view>

#include "error.h"

namespace edgeward {
namespace {

// All custom kernels of the wheels.
constexpr std::string_view kCustomOperators[] = {"AudioSpectrogram",
                                                 "Convolution2DTransposeBias",
                                                 "MaxPoolingWithArgmax2D",
                                                 "MaxUnpooling2D",
                                                 "Mfcc",
                                                 "NumericVerify",
                                                 "TFLite_Detection_PostProcess",
                                                 "aeq.hadamard_rotation",
                                                 "odml.scaled_dot_product_attention"};

}  // namespace

std::string lacking_operator(const std::string& lines) {
  struct Phrase {
    std::string_view lack;    // what the library says
    std::string_view before;  // the name
    std::string_view after;
  };
  constexpr Phrase kPhrases[] = {{"Encountered unresolved custom op: ", "custom op: ", ".\n"},
                                 {"Make sure you apply/link the Flex delegate", "(", ")"},
                                 {"Didn't find op for builtin opcode ", "opcode '", "'"}};
  for (const Phrase& phrase : kPhrases) {
    const size_t lack = lines.find(phrase.lack);
    const size_t before = lack == std::string::npos ? lack : lines.find(phrase.before, lack);
    if (before == std::string::npos) continue;
    const size_t start = before + phrase.before.size();
    return lines.substr(start, lines.find(phrase.after, start) - start);
  }
  return "";
}

void require_custom_operators(const char* engine, const TfliteFile& facts) {
  if (std::all_of(facts.signatures.begin(), facts.signatures.end(),
                  [](const TfliteSignature& signature) { return signature.open_operator.empty(); }))
    return;
  for (const std::string& name : facts.custom_operators) {
    if (std::find(std::begin(kCustomOperators), std::end(kCustomOperators), name) != std::end(kCustomOperators))
      continue;
    throw Error(Code::unsupported_model, engine, ": operator \"", name, "\": ", kLacksOperator);
  }
}

}  // namespace edgeward
