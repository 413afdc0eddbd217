// ONNX Runtime behind engine.h: the C API table of libonnxruntime.so (package onnxruntime), CPU provider.
// Asks for API version 18, which every release from 1.18 on serves; checked against 1.32.0, accepts 1.23 and later.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engines/engine.h"
#include "engines/last_words.h"
#include "engines/sharing.h"
#include "model_files/external_data.h"
#include "system/memory.h"

namespace edgeward {

// `file` is .onnx or .ort; it is checked here, before the library sees it. An .onnx is parsed into the engine's own
// memory and dropped, with the files that hold its external data; an .ort is kept and its initializers are read in
// place. Of an .onnx that `sharing` has unread, `file` is the head. Telemetry is off before the library is opened.
// Throws Error(malformed_model | unsupported_model | engine_*).
std::unique_ptr<Engine> open_onnx(const std::string& library_path, const std::string& version, Block file, int threads,
                                  std::vector<ExternalData> external, EngineLog log = EngineLog::quiet,
                                  const Sharing& sharing = {});

}  // namespace edgeward
