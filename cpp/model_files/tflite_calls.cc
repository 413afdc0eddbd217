#include "model_files/tflite_calls.h"

#include <algorithm>

#include "error.h"
#include "model_files/tflite_code.h"

namespace edgeward {

namespace code = tflite_code;

void TfliteCalls::add(const TfliteOperator& operation) {
  const auto call = [&](const FlatTable& options, uint32_t field) {
    calls_.emplace_back(operation.subgraph_index, static_cast<size_t>(options.scalar<int32_t>(field, 0)));
  };
  has_loop_ = has_loop_ || operation.code == code::kWhile;
  switch (operation.code) {
    case code::kIf:
    case code::kWhile:
      call(operation.options, 0);
      call(operation.options, 1);
      break;
    case code::kCallOnce: call(operation.options, 0); break;
    case code::kComposite: call(operation.options_2, 1); break;
    default: break;
  }
}

void TfliteCalls::check() const {
  std::vector<std::vector<size_t>> callers(subgraph_count_);
  std::vector<size_t> open_calls(subgraph_count_);
  for (const auto& [caller, callee] : calls_) {
    callers[callee].push_back(caller);
    ++open_calls[caller];
  }
  // From those that call none to those that call them.
  std::vector<size_t> known;
  for (size_t i = 0; i < subgraph_count_; ++i) {
    if (open_calls[i] == 0) known.push_back(i);
  }
  std::vector<uint32_t> depths(subgraph_count_);
  std::vector<uint64_t> prepared(subgraph_count_, 1);
  for (size_t i = 0; i < known.size(); ++i) {
    const size_t callee = known[i];
    if (depths[callee] > kMaxCallDepth) {
      throw Error(Code::unsupported_model, "subgraph ", callee, ": calls nest deeper than ", kMaxCallDepth);
    }
    if (prepared[callee] > kMaxPreparedSubgraphs) {
      throw Error(Code::unsupported_model, "subgraph ", callee, ": it and what it calls are prepared more than ",
                  kMaxPreparedSubgraphs, " times");
    }
    for (const size_t caller : callers[callee]) {
      depths[caller] = std::max(depths[caller], depths[callee] + 1);
      prepared[caller] += prepared[callee];
      if (--open_calls[caller] == 0) known.push_back(caller);
    }
  }
  const auto endless = std::find_if(open_calls.begin(), open_calls.end(), [](size_t count) { return count != 0; });
  if (endless != open_calls.end()) {
    throw Error(Code::malformed_model, "subgraph ", endless - open_calls.begin(), ": it calls itself by way of others");
  }
}

}  // namespace edgeward
