#include "engines/lacking_operator.h"

#include <string_view>

namespace edgeward {

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

}  // namespace edgeward
