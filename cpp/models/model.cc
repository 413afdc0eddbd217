#include "models/model.h"

#include <iterator>

#include "engines/litert.h"
#include "engines/onnx.h"
#include "engines/tflite.h"
#include "error.h"
#include "model_files/model_format.h"

namespace edgeward {
namespace {

std::shared_ptr<const Engine> open(const EngineLibrary& library, Block file, int threads,
                                   std::vector<ExternalData> external) {
  const ModelFormat format = model_format({file.data(), file.size_bytes()});
  const bool wants_tflite = library.name != "onnx";
  if (wants_tflite != (format == ModelFormat::tflite)) {
    throw Error(Code::malformed_model, "model: expected ", wants_tflite ? "a .tflite file" : "an .onnx or .ort file",
                " for engine \"", library.name, "\", got ",
                format == ModelFormat::onnx ? "a file with no .tflite or .ort identifier" : name(format));
  }
  if (library.name == "litert")
    return open_litert(library.path, library.version, std::move(file), threads, library.log);
  if (library.name == "tflite")
    return open_tflite(library.path, library.version, std::move(file), threads, library.log);
  if (library.name == "onnx")
    return open_onnx(library.path, library.version, std::move(file), threads, std::move(external), library.log);
  throw Error(Code::bad_input, "engine: expected \"litert\", \"onnx\" or \"tflite\", got \"", library.name, "\"");
}

}  // namespace

Model::Model(const EngineLibrary& library, Block file, int threads, std::vector<ExternalData> external)
    : Model(library, open(library, std::move(file), threads, std::move(external))) {}

Model::Model(EngineLibrary library, std::shared_ptr<const Engine> engine)
    : library_(std::move(library)), engine_(std::move(engine)) {
  signatures_ = engine_->signatures();
  // The first session is created here, so that what the engine cannot compile is an error of loading, not of predict().
  idle_.push_back(make_session(0));
}

Model::~Model() {
  if (fork_mark_.is_foreign()) leave_alone(engine_);
}

void Model::close() {
  fork_mark_.require_same_process("model");
  std::vector<std::unique_ptr<Session>> sessions;
  std::shared_ptr<const Engine> engine;
  const std::lock_guard lock(mutex_);
  sessions.swap(idle_);
  engine.swap(engine_);
}

std::shared_ptr<const Engine> Model::open_engine() const {
  fork_mark_.require_same_process("model");
  const std::lock_guard lock(mutex_);
  if (engine_ == nullptr) throw Error(Code::closed, "model: expected use before close(), got a call after it");
  return engine_;
}

EngineReport Model::report() {
  fork_mark_.require_same_process("model");
  std::shared_ptr<const Engine> engine;
  {
    const std::lock_guard lock(mutex_);
    if (report_) return *report_;
    if (engine_ == nullptr) return {library_.name, library_.version, "", -1, -1};
    engine = engine_;
  }
  EngineReport report = engine->report();
  const std::lock_guard lock(mutex_);
  report_ = report;
  return report;
}

std::unique_ptr<Session> Model::make_session(size_t signature_index) const {
  auto session = std::make_unique<Session>(open_engine(), signature_index);
  bring_up_to_date(*session);
  return session;
}

void Model::attach(std::shared_ptr<Capture> capture) {
  Loan session(*this);
  session->attach(capture);
  std::vector<std::unique_ptr<Session>> others;
  {
    const std::lock_guard lock(mutex_);
    capture_ = std::move(capture);
    others.swap(idle_);
  }
  for (const auto& other : others) bring_up_to_date(*other);
  const std::lock_guard lock(mutex_);
  std::move(others.begin(), others.end(), std::back_inserter(idle_));
}

std::shared_ptr<Capture> Model::capture() const {
  const std::lock_guard lock(mutex_);
  return capture_;
}

void Model::bring_up_to_date(Session& session) const noexcept {
  const auto wanted = capture();
  if (session.capture() == wanted.get()) return;
  try {
    if (wanted == nullptr || !wanted->is_refused()) session.attach(wanted);
  } catch (const std::exception& error) {
    wanted->refuse(error.what());
  }
}

Model::Loan::Loan(Model& model) : model_(model) {
  model.fork_mark_.require_same_process("model");
  bool is_up_to_date = true;
  {
    const std::lock_guard lock(model.mutex_);
    if (!model.idle_.empty()) {
      session_ = std::move(model.idle_.back());
      model.idle_.pop_back();
      is_up_to_date = session_->capture() == model.capture_.get();
    }
  }
  if (session_ == nullptr) session_ = model.make_session(0);
  if (!is_up_to_date) model.bring_up_to_date(*session_);
  copies_before_ = session_->copies();
}

Model::Loan::~Loan() {
  for (size_t i = 0; i < session_->signature().outputs.size(); ++i) session_->target(i).data = nullptr;
  if (session_->copies() != copies_before_) {
    model_.copies_.fetch_add(session_->copies() - copies_before_, std::memory_order_relaxed);
  }
  const std::lock_guard lock(model_.mutex_);
  if (model_.engine_ != nullptr && session_->is_open()) model_.idle_.push_back(std::move(session_));
}

}  // namespace edgeward
