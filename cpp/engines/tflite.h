// tflite-runtime behind engine.h: the C++ symbols that the extension module in its wheel exports, called without
// Python. Its last release is frozen at 2.14, and nothing else is accepted; checked against 2.14.0. Runs models with
// state, which LiteRT's CompiledModel refuses. Names, shapes and quantization are read from the file by model_files.
// Why it stays: docs/decisions/0012.
#pragma once

#include <memory>
#include <string>

#include "engines/engine.h"
#include "engines/last_words.h"
#include "system/memory.h"

namespace edgeward {

// `file` is a .tflite; it is checked here, before the library sees it, and kept as long as the engine: constants are
// read from it in place. Throws Error(malformed_model | unsupported_model | engine_*).
std::unique_ptr<Engine> open_tflite(const std::string& library_path, const std::string& version, Block file,
                                    int threads, EngineLog log = EngineLog::quiet);

}  // namespace edgeward
