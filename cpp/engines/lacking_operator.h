// The operator that TFLite's own messages say it lacks: custom, of TensorFlow (Flex), or built in since.
#pragma once

#include <string>

namespace edgeward {

inline constexpr const char* kLacksOperator = "expected one that the engine has, got one that it lacks";

// Its name, as `lines` of the engine give it; empty when they name none.
std::string lacking_operator(const std::string& lines);

}  // namespace edgeward
