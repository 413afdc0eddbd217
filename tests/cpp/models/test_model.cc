#include "models/model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "rigs/child.h"
#include "rigs/litert_library.h"
#include "rigs/refusal.h"
#include "rigs/tflite_bytes.h"

namespace edgeward {
namespace {

const Opening kLitert{{"litert", FAKE_LITERT_PATH, "2.3.0"}};

std::unique_ptr<Model> open() { return std::make_unique<Model>(kLitert, tflite_file()); }

// Of a file that is large enough for packed weights to be shared.
std::unique_ptr<Model> open_large() {
  const Block small = tflite_file();
  Block file = Block::zeroed(size_t{1} << 20);
  std::memcpy(file.data(), small.data(), small.size_bytes());
  return std::make_unique<Model>(kLitert, std::move(file));
}

StridedView rows_of(const Block& block, int64_t rows) { return {block.data(), 4, {rows, 4}, {16, 4}}; }

Block filled(int64_t rows, float value) {
  Block block = Block::uninitialized(static_cast<size_t>(rows) * 16);
  std::fill_n(reinterpret_cast<float*>(block.data()), rows * 4, value);
  return block;
}

Lease predict(Model& model, const Block& input, int64_t rows) {
  const Model::Loan session(model);
  session->argument(0) = rows_of(input, rows);
  session->predict();
  return session->take(0);
}

bool is_all(const TensorView& view, int64_t rows, float value) {
  const auto* first = reinterpret_cast<const float*>(view.data);
  return view.shape == Shape{rows, 4} &&
         std::all_of(first, first + rows * 4, [&](float element) { return element == value; });
}

}  // namespace

TEST_CASE("a model predicts, and its results outlive it") {
  const LitertLibrary library;
  auto model = open();
  const Block input = filled(2, 3);
  const Lease first = predict(*model, input, 2);
  const Lease second = predict(*model, filled(3, 4), 3);
  CHECK(model->copies() == 0);
  model.reset();
  CHECK(library->live_buffers == 0);
  CHECK(is_all(first->view, 2, -3));
  CHECK(is_all(second->view, 3, -4));
}

TEST_CASE("what the engine cannot compile is an error of loading, and leaves nothing behind") {
  const LitertLibrary library;
  library->compile_status = 5;
  check_refusal(Code::unsupported_model, {"compiling"}, [] { (void)open(); });
}

TEST_CASE("a file of another format, or an unknown engine, is refused by name") {
  struct Row {
    const char* engine;
    bool is_tflite;
    Code code;
    const char* words;
  };
  const Row rows[] = {{"litert", false, Code::malformed_model, "a .tflite file for engine \"litert\""},
                      {"tflite", false, Code::malformed_model, "a .tflite file for engine \"tflite\""},
                      {"onnx", true, Code::malformed_model, "an .onnx or .ort file for engine \"onnx\", got tflite"},
                      {"torch", true, Code::bad_input, "got \"torch\""}};
  for (const Row& row : rows) {
    CAPTURE(row.engine);
    check_refusal(row.code, {row.words}, [&] {
      Model({{row.engine, FAKE_LITERT_PATH, "2.3.0"}}, row.is_tflite ? tflite_file() : Block::zeroed(16));
    });
  }
}

TEST_CASE("predictions in a row use one session; those at once use one each") {
  const LitertLibrary library;
  const auto model = open();
  const Block input = filled(1, 1);
  for (int i = 0; i < 10; ++i) (void)predict(*model, input, 1);
  CHECK(library->compilations == 1);
  {
    const Model::Loan first(*model);
    const Model::Loan second(*model);
    CHECK(first.operator->() != second.operator->());
  }
  CHECK(library->compilations == 2);
  const Model::Loan first(*model);
  const Model::Loan second(*model);
  CHECK(library->compilations == 2);
}

TEST_CASE("the session that was made with the model is handed out, once, unless it has predicted") {
  const LitertLibrary library;
  const auto model = open();
  const auto first = model->make_session(0);
  CHECK(library->compilations == 1);
  const auto second = model->make_session(0);
  CHECK(library->compilations == 2);
  (void)predict(*model, filled(2, 1), 2);
  CHECK(library->compilations == 3);
  const auto third = model->make_session(0);
  CHECK(library->compilations == 4);
  CHECK(third->input_shape(0) == Shape{1, 4});

  const auto other = open();
  (void)predict(*other, filled(2, 1), 2);
  CHECK(other->make_session(0)->input_shape(0) == Shape{1, 4});
}

TEST_CASE("every session shares the weights of the second, the first one too, in the memory that it has") {
  const LitertLibrary library;
  const auto model = open_large();
  const auto first = model->make_session(0);
  const Shape two_rows[] = {{2, 4}};
  first->resize(two_rows);
  const auto input = first->own_input(0);
  const auto output = first->own_output(0);
  std::fill_n(reinterpret_cast<float*>(input.view.data), 8, 3.0F);
  CHECK(library->mapped == 0);
  const auto second = model->make_session(0);
  CHECK(library->mapped == 2);
  CHECK(first->own_input(0).view.data == input.view.data);
  CHECK(first->own_output(0).view.data == output.view.data);
  first->run();
  CHECK(is_all(output.view, 2, -3));
  {
    const Model::Loan loan(*model);
    const Model::Loan another(*model);
  }
  CHECK(library->mapped == 2);  // the loans borrow the compiled model of the second
  (void)predict(*model, filled(2, 1), 2);
  CHECK(library->mapped == 3);
  CHECK(library->packs == 1);
}

TEST_CASE("a session that predicts while weights are packed ends after its call") {
  const LitertLibrary library;
  const auto model = open_large();
  const Block input = filled(2, 1);
  const auto predict_on = [&](const Model::Loan& loan) {
    loan->argument(0) = rows_of(input, 2);
    loan->predict();
    CHECK(is_all(loan->take(0)->view, 2, -1));
  };
  {
    const Model::Loan loan(*model);
    predict_on(loan);
    const Model::Loan another(*model);
    predict_on(another);
    CHECK(library->mapped == 1);
  }
  CHECK(library->mapped == 1);
  const Model::Loan loan(*model);
  const Model::Loan another(*model);
  predict_on(another);
  CHECK(library->mapped == 2);
}

TEST_CASE("a session that cannot be renewed goes on") {
  const LitertLibrary library;
  const auto model = open_large();
  const auto first = model->make_session(0);
  first->close();
  const auto second = model->make_session(0);
  CHECK(library->mapped == 1);
  check_refusal(Code::closed, {"session"}, [&] { first->run(); });
}

TEST_CASE("threads may run the first session while others are made") {
  const LitertLibrary library;
  for (int round = 0; round < 50; ++round) {
    const auto model = open_large();
    const auto first = model->make_session(0);
    std::atomic<bool> is_over{false};
    std::atomic<int> wrong{0};
    std::thread runner([&] {
      const auto own = first->own_input(0);
      for (int i = 0; !is_over || i < 100; ++i) {
        std::fill_n(reinterpret_cast<float*>(own.view.data), 4, static_cast<float>(i));
        first->run();  // throws Error(busy) unless it waits
        if (!is_all(first->own_output(0).view, 1, static_cast<float>(-i))) ++wrong;
      }
    });
    const auto second = model->make_session(0);
    const auto third = model->make_session(0);
    is_over = true;
    runner.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("trim ends what is idle, and nothing else") {
  const LitertLibrary library;
  const auto model = open();
  const auto session = model->make_session(0);
  const Lease result = predict(*model, filled(1, 1), 1);
  {
    const Model::Loan loan(*model);
    const Model::Loan another(*model);
    model->trim();
    loan->argument(0) = rows_of(filled(1, 1), 1);
  }
  const auto compilations = library->compilations.load();
  model->trim();
  model->trim();
  CHECK(is_all(result->view, 1, -1));
  session->run();
  CHECK(library->compilations == compilations);
  CHECK(is_all(predict(*model, filled(1, 2), 1)->view, 1, -2));
  CHECK(library->compilations == compilations + 1);

  const auto idle = open();
  const int with_first = library->live_objects;
  idle->trim();
  CHECK(library->live_objects < with_first);
  CHECK(is_all(predict(*idle, filled(1, 3), 1)->view, 1, -3));
  idle->close();
  check_refusal(Code::closed, {"model", "close()"}, [&] { idle->trim(); });
}

TEST_CASE("idle sessions that no call needs go one by one; those that are needed stay") {
  const LitertLibrary library;
  const auto model = open();
  const auto lend = [&](size_t at_once, uint32_t count) {
    for (uint32_t i = 0; i < count; i += static_cast<uint32_t>(at_once)) {
      std::vector<std::unique_ptr<Model::Loan>> loans;
      while (loans.size() < at_once) loans.push_back(std::make_unique<Model::Loan>(*model));
    }
  };
  lend(4, 4);
  CHECK(library->compilations == 4);
  const int with_four = library->live_objects;
  lend(4, 4 * Model::kIdleWindow);
  CHECK(library->live_objects == with_four);
  CHECK(library->compilations == 4);
  lend(1, 2 * Model::kIdleWindow);
  CHECK(library->live_objects < with_four);
  lend(1, 8 * Model::kIdleWindow);
  CHECK(library->compilations == 4);
  lend(2, 2);
  CHECK(library->compilations == 5);
}

TEST_CASE("copies of all predictions are counted, whichever session made them") {
  const LitertLibrary library;
  const auto model = open();
  const Block memory = Block::zeroed(kLargePageBytes);  // begins a page: at a page's end all inputs are copied
  {
    const Model::Loan first(*model);
    const Model::Loan second(*model);
    for (const Model::Loan* session : {&first, &second}) {
      (*session)->argument(0) = {memory.data() + 4, 4, {1, 4}, {16, 4}};
      (*session)->predict();
      (*session)->take(0).reset();
    }
  }
  CHECK(model->copies() == 2);
  (void)predict(*model, memory, 1);
  CHECK(model->copies() == 2);
}

TEST_CASE("what was asked of a session and never predicted does not reach who borrows it next") {
  const LitertLibrary library;
  const auto model = open();
  const Block target = filled(1, 7);
  {
    const Model::Loan session(*model);
    session->target(0) = rows_of(target, 1);
  }
  const Lease result = predict(*model, filled(1, 1), 1);
  CHECK(is_all({DType::float32, {1, 4}, target.data(), 16}, 1, 7));
  REQUIRE(result != nullptr);
  CHECK(is_all(result->view, 1, -1));
}

TEST_CASE("after close a model is refused; its sessions and results are not") {
  const LitertLibrary library;
  const auto model = open();
  const Lease result = predict(*model, filled(1, 1), 1);
  const auto session = model->make_session(0);
  {
    const Model::Loan loan(*model);
    model->close();
    loan->argument(0) = rows_of(filled(1, 1), 1);
  }
  model->close();
  check_refusal(Code::closed, {"model", "close()"}, [&] { const Model::Loan loan(*model); });
  check_refusal(Code::closed, {"model", "close()"}, [&] { (void)model->make_session(0); });
  session->run();
  CHECK(is_all(result->view, 1, -1));
  CHECK(model->signatures().size() == 1);
}

TEST_CASE("a session that cannot be used again is not lent again") {
  const LitertLibrary library;
  const auto model = open();
  {
    const Model::Loan session(*model);
    library->resize_status = 3;
    session->argument(0) = rows_of(filled(2, 1), 2);
    check_refusal(Code::engine_failed, {"resize"}, [&] { session->predict(); });
    library->resize_status = 0;
  }
  CHECK(is_all(predict(*model, filled(2, 1), 2)->view, 2, -1));
}

TEST_CASE("an engine that fails now and then fails those predictions alone") {
  const LitertLibrary library;
  const auto model = open();
  int failures = 0;
  for (int i = 0; i < 20; ++i) {
    library->run_status = i % 3 == 0 ? 3 : 0;
    library->buffer_status = i % 7 == 0 ? 3 : 0;
    const auto rows = int64_t{1} + i % 2;
    const Block input = filled(rows, 2);
    try {
      const Lease result = predict(*model, input, rows);
      CHECK(i % 3 != 0);
      CHECK(is_all(result->view, rows, -2));
    } catch (const Error& error) {
      ++failures;
      CHECK(code_name(error.code()) == "engine_failed");
      CHECK((i % 3 == 0 || i % 7 == 0));
    }
  }
  CHECK(failures >= 7);
}

TEST_CASE("a model beyond the budget is refused, and leaves nothing") {
  const LitertLibrary library;
  const uint64_t others_bytes = Account::all_bytes();
  const uint64_t file_bytes = tflite_file().size_bytes();
  Opening opening = kLitert;
  opening.budget.most_bytes = others_bytes + file_bytes / 2;
  check_refusal(Code::over_budget, {"memory: expected at most "}, [&] { Model(opening, tflite_file()); });
  CHECK(library->live_objects == 0);
  CHECK(Account::all_bytes() == others_bytes);
  opening.budget.most_bytes = others_bytes + (uint64_t{1} << 30);
  const Model model(opening, tflite_file());
  CHECK(model.memory().file_bytes == file_bytes);
  CHECK(model.memory().session_count == 1);
}

TEST_CASE("a child process is refused, and ends nothing of its parent's") {
  const LitertLibrary library;
  auto model = open();
  auto session = model->make_session(0);
  Lease result = predict(*model, filled(1, 1), 1);
  const int live = library->live_objects;
  const auto is_refused = [](auto&& call) {
    try {
      call();
      return false;
    } catch (const Error& error) {
      return error.code() == Code::forked;
    }
  };
  CHECK(outcome_in_child([&] {
          return is_refused([&] { (void)predict(*model, filled(1, 1), 1); }) &&
                 is_refused([&] { (void)model->make_session(0); }) && is_refused([&] { model->close(); }) &&
                 is_refused([&] { session->run(); });
        }) == "");
  CHECK(outcome_in_child([&] {
          result.reset();
          session.reset();
          model.reset();
          return library->live_objects == live && library->complaints == 0;
        }) == "");
  CHECK(outcome_in_child([&] {
          const auto own = open();  // a child may load for itself
          return is_all(predict(*own, filled(1, 5), 1)->view, 1, -5);
        }) == "");
  CHECK(is_all(predict(*model, filled(1, 2), 1)->view, 1, -2));
}

TEST_CASE(
    "eight threads on one model get right answers while leases wander, sessions are made, and the model is closed") {
  constexpr int kThreads = 8;
  constexpr int kPredictions = 3000;
  for (const bool is_closed_meanwhile : {false, true}) {
    CAPTURE(is_closed_meanwhile);
    const LitertLibrary library;
    const auto model = open();
    std::mutex mutex;
    std::vector<std::pair<float, Lease>> wandering;  // each with what it must hold
    std::atomic<int> wrong{0};
    std::atomic<int> answered{0};
    std::atomic<int> refused{0};

    const auto work = [&](uint32_t seed) {
      std::mt19937 random(seed);
      for (int i = 0; is_closed_meanwhile || i < kPredictions; ++i) {
        const auto rows = int64_t{1} + (random() % 64 == 0 ? random() % 3 : 0);
        const auto value = static_cast<float>(random() % 1000);
        try {
          const Block input = filled(rows, value);
          if (i % 500 == 17) {
            const auto session = model->make_session(0);
            const auto own = session->own_input(0);
            std::fill_n(reinterpret_cast<float*>(own.view.data), 4, value);
            session->run();
            if (!is_all(session->own_output(0).view, 1, -value)) ++wrong;
          }
          Lease lease = predict(*model, input, rows);
          ++answered;
          if (!is_all(lease->view, rows, -value)) ++wrong;
          std::pair<float, Lease> taken(-value, std::move(lease));
          {
            const std::lock_guard lock(mutex);
            if (wandering.size() < 20) wandering.emplace_back(0.0F, nullptr);
            std::swap(taken, wandering[random() % wandering.size()]);
          }
          if (taken.second != nullptr && reinterpret_cast<const float*>(taken.second->view.data)[0] != taken.first)
            ++wrong;
        } catch (const Error& error) {
          if (error.code() != Code::closed) ++wrong;
          ++refused;
          return;
        }
      }
    };
    std::vector<std::thread> threads;
    for (uint32_t seed = 0; seed < kThreads; ++seed) threads.emplace_back(work, seed);
    if (is_closed_meanwhile) {
      while (answered < kThreads * 100) std::this_thread::yield();
      model->close();
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(refused == (is_closed_meanwhile ? kThreads : 0));
    if (!is_closed_meanwhile) CHECK(answered == kThreads * kPredictions);
    for (const auto& [value, lease] : wandering) {
      if (lease != nullptr) CHECK(reinterpret_cast<const float*>(lease->view.data)[0] == value);
    }
  }
}

}  // namespace edgeward
