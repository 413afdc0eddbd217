#include "models/model.h"

#include <algorithm>
#include <iterator>

#include "engines/litert.h"
#include "engines/onnx.h"
#include "engines/tflite.h"
#include "error.h"
#include "model_files/model_format.h"
#include "system/growth.h"
#include "system/resident.h"

namespace edgeward {
namespace {

std::shared_ptr<const Engine> open(const Opening& opening, Block file, std::vector<ExternalData> external) {
  const auto& [name, path, version, log, sharing] = opening.library;
  const ModelFormat format = model_format({file.data(), file.size_bytes()});
  const bool wants_tflite = name != "onnx";
  if (wants_tflite != (format == ModelFormat::tflite)) {
    throw Error(Code::malformed_model, "model: expected ", wants_tflite ? "a .tflite file" : "an .onnx or .ort file",
                " for engine \"", name, "\", got ",
                format == ModelFormat::onnx ? "a file with no .tflite or .ort identifier" : edgeward::name(format));
  }
  if (name == "litert")
    return open_litert(path, version, std::move(file), opening.threads, log, sharing, opening.source);
  if (name == "tflite") return open_tflite(path, version, std::move(file), opening.threads, log);
  if (name == "onnx")
    return open_onnx(path, version, std::move(file), opening.threads, std::move(external), log, sharing);
  throw Error(Code::bad_input, "engine: expected \"litert\", \"onnx\" or \"tflite\", got \"", name, "\"");
}

// A model that is opened later would take it without any growth.
void give_back_free() {
  give_back([] {});
}

uint64_t held_bytes(const Block& file, const std::vector<ExternalData>& external) {
  uint64_t held_bytes = resident_bytes(file.data(), file.size_bytes());
  for (const ExternalData& data : external) held_bytes += resident_bytes(data.bytes.data(), data.bytes.size_bytes());
  return held_bytes;
}

}  // namespace

Model::Model(const Opening& opening, Block file, std::vector<ExternalData> external)
    : Model(opening, std::move(file), std::move(external), open) {}

Model::Model(const Opening& opening, Block file, std::vector<ExternalData> external, const OpenEngine& open)
    : library_(opening.library), budget_(opening.budget), account_(Account::make()) {
  if (budget_.most_bytes != 0) budget_.require(held_bytes(file, external));
  try {
    open_measured(opening, std::move(file), std::move(external), open);
    budget_.require(engine_->packing_bytes());
    if (opening.reports_first) report_ = engine_->report();
    // The first session is created here, so that what the engine cannot compile is an error of loading, not of
    // predict().
    first_ = measured_session(engine_, 0);
    budget_.require(0);
  } catch (const Error& error) {
    if (error.code() != Code::over_budget) throw;
    first_.reset();
    engine_.reset();
    give_back_free();
    throw;
  }
  signatures_[0] = first_->signature();
}

void Model::open_measured(const Opening& opening, Block file, std::vector<ExternalData> external,
                          const OpenEngine& open) {
  // What is mapped is not measured as growth, and the kernel takes long to count its pages.
  const auto before_bytes = file.is_mapped() ? 0 : static_cast<int64_t>(held_bytes(file, external));
  give_back_free();
  Growth growth;
  engine_ = open(opening, std::move(file), std::move(external));
  account_->name_engine(engine_);
  const auto kept_bytes = engine_->is_file_mapped() ? 0 : static_cast<int64_t>(engine_->memory().file_bytes);
  account_->add_engine_arenas(growth.bytes() + before_bytes - kept_bytes);
  is_stateful_ = engine_->is_stateful();
  signatures_ = engine_->signatures();
}

std::unique_ptr<Session> Model::measured_session(const std::shared_ptr<const Engine>& engine,
                                                 size_t signature_index) const {
  Growth growth;
  auto session = std::make_unique<Session>(engine, signature_index, account_);
  session->add_arenas(growth.bytes());
  return session;
}

Model::~Model() {
  if (fork_mark_.is_foreign()) leave_alone(engine_);
}

void Model::close() {
  fork_mark_.require_same_process("model");
  {
    std::unique_ptr<Session> first;
    std::vector<std::unique_ptr<Session>> sessions;
    std::shared_ptr<const Engine> engine;
    const std::lock_guard lock(mutex_);
    first.swap(first_);
    sessions.swap(idle_);
    engine.swap(engine_);
  }
  give_back_free();
}

void Model::trim() {
  {
    std::unique_ptr<Session> first;
    std::vector<std::unique_ptr<Session>> sessions;
    const auto engine = open_engine();
    const std::lock_guard lock(mutex_);
    first.swap(first_);
    sessions.swap(idle_);
    least_idle_ = 0;
  }
  give_back_free();
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

MemoryReport Model::memory() const {
  fork_mark_.require_same_process("model");
  return account_->report();
}

std::unique_ptr<Session> Model::new_session(size_t signature_index) {
  const auto engine = open_engine();
  budget_.require(engine->packing_bytes());
  auto session = measured_session(engine, signature_index);
  bring_up_to_date(*session);
  renew_others();
  budget_.require(0);
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
  if (handed_out == nullptr && outdated.empty()) return;
  outdated.clear();
  give_back_free();
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
  if (session_ == nullptr) return;
  session_.reset();
  give_back_free();
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
