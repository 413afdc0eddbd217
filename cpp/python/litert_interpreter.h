// The Interpreter of ai-edge-litert behind engine.h, by way of the extension module that its Python class stands on.
// It runs what CompiledModel, engines/litert.h, cannot: models with shapes that depend on values. Knows Python, which
// the other engines do not; each call takes the interpreter lock, and the engine releases it while a model runs.
#pragma once

#include <memory>
#include <string>

#include "engines/engine.h"
#include "engines/last_words.h"
#include "system/memory.h"

namespace edgeward {

inline constexpr const char* kLitertInterpreter = "litert-interpreter";  // its name

// `file` is a .tflite; it is checked here, before the engine sees it, and copied once, into memory that the engine
// reads in place: left out of core dumps, and wiped when the engine ends. Imports the module at its first use. To be
// called without the interpreter lock, or with it. Throws Error(malformed_model | unsupported_model | engine_*).
std::unique_ptr<Engine> open_litert_interpreter(const std::string& version, Block file, int threads, EngineLog log);

}  // namespace edgeward
