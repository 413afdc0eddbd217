#include "models/model.h"

#include <algorithm>
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
    return open_litert(library.path, library.version, std::move(file), threads, library.log, library.sharing);
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
    : library_(std::move(library)), is_stateful_(engine->is_stateful()), engine_(std::move(engine)) {
  signatures_ = engine_->signatures();
  // The first session is created here, so that what the engine cannot compile is an error of loading, not of predict().
  first_ = std::make_unique<Session>(engine_, 0);
  signatures_[0] = first_->signature();
}

Model::~Model() {
  if (fork_mark_.is_foreign()) leave_alone(engine_);
}

void Model::close() {
  fork_mark_.require_same_process("model");
  std::unique_ptr<Session> first;
  std::vector<std::unique_ptr<Session>> sessions;
  std::shared_ptr<const Engine> engine;
  const std::lock_guard lock(mutex_);
  first.swap(first_);
  sessions.swap(idle_);
  engine.swap(engine_);
}

void Model::trim() {
  std::unique_ptr<Session> first;
  std::vector<std::unique_ptr<Session>> sessions;
  const auto engine = open_engine();
  const std::lock_guard lock(mutex_);
  first.swap(first_);
  sessions.swap(idle_);
  least_idle_ = 0;
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
    if (report_ && engine_ != nullptr) {
      report_->shares_weights = engine_->shares_weights();
      report_->is_shared = engine_->is_shared();
    }
    if (report_) return *report_;
    if (engine_ == nullptr) return {library_.name, library_.version, "", -1, -1};
    engine = engine_;
  }
  EngineReport report = engine->report();
  report.shares_weights = engine->shares_weights();
  report.is_shared = engine->is_shared();
  const std::lock_guard lock(mutex_);
  report_ = report;
  return report;
}

std::unique_ptr<Session> Model::new_session(size_t signature_index) {
  auto session = std::make_unique<Session>(open_engine(), signature_index);
  bring_up_to_date(*session);
  renew_others();
  return session;
}

void Model::renew_others() {
  std::vector<std::unique_ptr<Session>> outdated;
  std::shared_ptr<Session> handed_out;
  {
    const std::lock_guard lock(mutex_);
    has_others_ = true;
    const auto first_outdated =
        std::stable_partition(idle_.begin(), idle_.end(), [](const auto& session) { return !session->is_outdated(); });
    std::move(first_outdated, idle_.end(), std::back_inserter(outdated));
    idle_.erase(first_outdated, idle_.end());
    if (first_ != nullptr && first_->is_outdated()) outdated.push_back(std::move(first_));
    handed_out = handed_out_.lock();
  }
  if (handed_out != nullptr) handed_out->renew();
}

std::shared_ptr<Session> Model::make_session(size_t signature_index) {
  const auto engine = open_engine();
  std::shared_ptr<Session> session;
  if (signature_index == 0) {
    const std::lock_guard lock(mutex_);
    session = std::move(first_);
    if (session != nullptr) handed_out_ = session;
  }
  if (session == nullptr) return new_session(signature_index);
  bring_up_to_date(*session);
  return session;
}

void Model::attach(std::shared_ptr<Capture> capture) {
  const auto engine = open_engine();
  std::unique_ptr<Session> first;
  std::vector<std::unique_ptr<Session>> others;
  {
    const std::lock_guard lock(mutex_);
    first.swap(first_);
    others.swap(idle_);
  }
  if (first == nullptr && others.empty()) others.push_back(new_session(0));
  (first != nullptr ? first : others.back())->attach(capture);
  {
    const std::lock_guard lock(mutex_);
    capture_ = std::move(capture);
  }
  for (const auto& other : others) bring_up_to_date(*other);
  const std::lock_guard lock(mutex_);
  if (engine_ == nullptr) return;
  first_.swap(first);
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
    } else {
      session_ = std::move(model.first_);
    }
    if (session_ != nullptr) is_up_to_date = session_->capture() == model.capture_.get();
    model.least_idle_ = std::min(model.least_idle_, model.idle_.size());
  }
  if (session_ == nullptr) session_ = model.new_session(0);
  if (!is_up_to_date) model.bring_up_to_date(*session_);
  copies_before_ = session_->copies();
}

Model::Loan::~Loan() {
  session_->forget_targets();
  if (session_->copies() != copies_before_) {
    model_.copies_.fetch_add(session_->copies() - copies_before_, std::memory_order_relaxed);
  }
  session_ = model_.take_back(std::move(session_));
}

std::unique_ptr<Session> Model::take_back(std::unique_ptr<Session> session) {
  const std::lock_guard lock(mutex_);
  if (engine_ == nullptr || !session->is_open() || (has_others_ && session->is_outdated())) return session;
  idle_.push_back(std::move(session));
  if (++loan_count_ < kIdleWindow) return nullptr;
  // The last one lent comes back last, so the first has waited longest.
  if (least_idle_ > 0) {
    session = std::move(idle_.front());
    idle_.erase(idle_.begin());
  }
  least_idle_ = idle_.size();
  loan_count_ = 0;
  return session;
}

}  // namespace edgeward
