// LiteRT behind engine.h: the CompiledModel C API of libLiteRt.so (package ai-edge-litert), on the CPU.
// Checked against 2.3.0; accepts 2.2 and 2.3. Names, shapes and quantization are read from the file by model_files.
#pragma once

#include <memory>
#include <string>

#include "engines/engine.h"
#include "engines/last_words.h"
#include "engines/sharing.h"
#include "engines/weight_pages.h"
#include "system/memory.h"

namespace edgeward {

// `file` is a .tflite; it is checked here, before the library sees it, and kept as long as the engine: LiteRT reads
// constants from it in place. Of a sparse one, an outline, sessions are made without XNNPACK, and must not run. Throws
// Error(malformed_model | unsupported_model | engine_*).
// With `sharing` that has the digest of `file`, weights are packed before there is a session, if they can be shared.
// `source` is where `file` can be read again, if anywhere: with it, memory of `file`, which nothing else writes to,
// goes back to the system once a run has shown that it is only packed, unless another block has it too.
std::unique_ptr<Engine> open_litert(const std::string& library_path, const std::string& version, Block file,
                                    int threads, EngineLog log = EngineLog::quiet, const Sharing& sharing = {},
                                    WeightSource source = {});

}  // namespace edgeward
