// Model: one set of weights and the idle sessions that predict() borrows. Any number of threads may use it at once.
//
// A session that predict() has made stays for the next call. It goes when kIdleWindow calls in a row did not need it,
// since each holds memory for the tensors between the operators: docs/library.md, "Memory".
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engines/engine.h"
#include "engines/last_words.h"
#include "engines/sharing.h"
#include "engines/weight_pages.h"
#include "model_files/external_data.h"
#include "models/account.h"
#include "models/memory_budget.h"
#include "models/session.h"
#include "system/file.h"
#include "system/fork.h"

namespace edgeward {

// An engine's library, where it is located, and who sees what it writes. `name` is "litert", "onnx" or "tflite", or
// that of an engine which the caller opens.
struct EngineLibrary {
  std::string name;
  std::string path;
  std::string version;
  EngineLog log = EngineLog::quiet;
  Sharing sharing = {};
};

struct Opening {
  EngineLibrary library;
  int threads = 1;
  MemoryBudget budget{};
  bool reports_first = false;  // report() is called before there is a session, which saves an engine's compilation
  WeightSource source{};       // where the model can be read again, if anywhere
};

// Checks a model file and opens it.
using OpenEngine = std::function<std::shared_ptr<const Engine>(const Opening& opening, Block file,
                                                               std::vector<ExternalData> external)>;

class Model {
 public:
  // Checks `file` and opens it in the engine; `external` are the files that an .onnx keeps tensors in. Throws Error as
  // open_litert, open_onnx and open_tflite do, and Error(over_budget) before the engine has the file, before it packs
  // weights, or once it has, when that exceeds the budget.
  Model(const Opening& opening, Block file, std::vector<ExternalData> external = {});
  // The same, in the engine of `open`, whose errors it throws.
  Model(const Opening& opening, Block file, std::vector<ExternalData> external, const OpenEngine& open);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Existing sessions stay usable; every other call throws Error(closed) from then on.
  void close();

  const std::vector<Signature>& signatures() const { return signatures_; }
  // Determined by the first call, which may run the model once. After close(): what was known before.
  EngineReport report();

  // What the model holds now; after close(), what is left of it in sessions. Costs system calls.
  MemoryReport memory() const;

  // From then on, predict() and new sessions are captured; null ends that. Throws as Recorder does, and then captures
  // nothing. A session that later finds no room for a ring goes on without one, which Capture::failure() tells.
  void attach(std::shared_ptr<Capture> capture);
  std::shared_ptr<Capture> capture() const;

  // A session of the caller's own: the one that was created with the model, if nothing has used it, else a new one.
  // Throws Error(over_budget) when that one would exceed the budget.
  std::shared_ptr<Session> make_session(size_t signature_index);

  // Ends every idle session. The next predict() makes one. Throws Error(closed).
  void trim();

  // A session of the first signature, on loan until the end of a scope.
  class Loan {
   public:
    explicit Loan(Model& model);
    ~Loan();
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Session* operator->() const { return session_.get(); }

   private:
    Model& model_;
    std::unique_ptr<Session> session_;
    uint64_t copies_before_;
  };

  // How many loans in a row an idle session may be left over at before it goes.
  static constexpr uint32_t kIdleWindow = 1024;

  // How many inputs and outputs predict() has copied.
  uint64_t copies() const { return copies_.load(std::memory_order_relaxed); }

  // Whether a run of a session may depend on earlier ones.
  bool is_stateful() const { return is_stateful_; }

 private:
  std::shared_ptr<const Engine> open_engine() const;
  std::unique_ptr<Session> new_session(size_t signature_index);
  // Opens engine_ with `open`, and measures what that takes.
  void open_measured(const Opening& opening, Block file, std::vector<ExternalData> external, const OpenEngine& open);
  std::unique_ptr<Session> measured_session(const std::shared_ptr<const Engine>& engine, size_t signature_index) const;
  // Lets sessions that have weights for themselves share those of the latest session.
  void renew_others();
  // Takes back a session, and returns one that has been left over for long; null when there is none.
  std::unique_ptr<Session> take_back(std::unique_ptr<Session> session);
  // Attaches the model's capture to a session that has another.
  void bring_up_to_date(Session& session) const noexcept;

  ForkMark fork_mark_;
  EngineLibrary library_;
  MemoryBudget budget_;
  std::shared_ptr<Account> account_;
  std::vector<Signature> signatures_;
  bool is_stateful_ = false;
  std::atomic<uint64_t> copies_{0};
  mutable std::mutex mutex_;                    // guards what follows
  std::shared_ptr<const Engine> engine_;        // null once closed
  std::unique_ptr<Session> first_;              // created with the model; null once it is used
  std::vector<std::unique_ptr<Session>> idle_;  // the last is lent first
  std::weak_ptr<Session> handed_out_;           // what was first_, with a caller
  bool has_others_ = false;                     // a session was made after the first
  size_t least_idle_ = 0;                       // left over in each of the last `loan_count_` loans
  uint32_t loan_count_ = 0;
  std::shared_ptr<Capture> capture_;  // null: nothing is captured
  std::optional<EngineReport> report_;
};

}  // namespace edgeward
