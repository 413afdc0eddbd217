#include "engines/litert.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "rigs/litert_library.h"
#include "rigs/refusal.h"
#include "rigs/tflite_bytes.h"

namespace edgeward {
namespace {

std::unique_ptr<Engine> open(const Negation& model = {}, int threads = 1) {
  return open_litert(FAKE_LITERT_PATH, "2.3.0", tflite_file(model), threads);
}

constexpr size_t kShared = size_t{1} << 20;  // the size of a file that is worth a cache

std::unique_ptr<Engine> open_large(size_t size_bytes = kShared, const std::string& version = "2.3.0") {
  const Block small = tflite_file();
  Block file = Block::zeroed(size_bytes);
  std::memcpy(file.data(), small.data(), small.size_bytes());
  return open_litert(FAKE_LITERT_PATH, version, std::move(file), 1);
}

TensorView view_of(const Block& block, int64_t rows) {
  return {DType::float32, {rows, 4}, block.data(), static_cast<size_t>(rows) * 16};
}

}  // namespace

TEST_CASE("names, shapes and dtypes are the file's own") {
  const LitertLibrary library;
  const auto engine = open();
  REQUIRE(engine->signatures().size() == 1);
  const Signature& signature = engine->signatures()[0];
  CHECK(signature.name == "<placeholder signature>");
  REQUIRE(signature.inputs.size() == 1);
  REQUIRE(signature.outputs.size() == 1);
  CHECK(signature.inputs[0].name == "x");
  CHECK(signature.outputs[0].name == "y");
  CHECK(signature.inputs[0].dtype == DType::float32);
  CHECK(signature.inputs[0].shape == Shape{-1, 4});
  CHECK(signature.outputs[0].shape == Shape{-1, 4});
}

TEST_CASE("the library is asked for the CPU alone, with as many threads as were wished") {
  const LitertLibrary library;
  const auto engine = open({}, 3);
  const auto session = engine->make_session(0);
  constexpr int kCpu = 1;
  CHECK(library->accelerators == kCpu);
  CHECK(library->looked_for_accelerators == kCpu);
  CHECK(library->threads == 3);
}

TEST_CASE("a session computes, resizes, and ends what it made") {
  const LitertLibrary library;
  const auto engine = open();
  const auto session = engine->make_session(0);
  const Block input = Block::zeroed(48);
  const Block output = Block::zeroed(48);
  for (const int64_t rows : {1, 3, 2}) {
    CAPTURE(rows);
    const Shape shape{rows, 4};
    session->resize({&shape, 1});
    CHECK(session->output_shape(0) == shape);
    const auto last = static_cast<size_t>(rows * 4 - 1);
    reinterpret_cast<float*>(input.data())[last] = 2.5F;
    const Binding in = session->bind(Side::input, 0, view_of(input, rows));
    Binding out = session->bind(Side::output, 0, view_of(output, rows));
    session->run({&in, 1}, {&out, 1});
    CHECK(reinterpret_cast<const float*>(output.data())[last] == -2.5F);
    session->release(in);
    session->release(out);
  }
}

TEST_CASE("each session has a compiled model of its own, and may outlive its engine") {
  const LitertLibrary library;
  auto engine = open();
  const auto first = engine->make_session(0);
  const auto second = engine->make_session(0);
  CHECK(library->compilations == 2);
  engine.reset();
  const Shape shape{2, 4};
  first->resize({&shape, 1});
  CHECK(first->output_shape(0) == Shape{2, 4});
  second->resize({&shape, 1});
}

// Runs the session once, and returns whether it negates.
bool negates(EngineSession& session, int64_t rows) {
  const Block input = Block::zeroed(48);
  const Block output = Block::zeroed(48);
  *reinterpret_cast<float*>(input.data()) = 2.5F;
  const Binding in = session.bind(Side::input, 0, view_of(input, rows));
  Binding out = session.bind(Side::output, 0, view_of(output, rows));
  const auto release = [&](Binding binding) { session.release(binding); };
  const std::unique_ptr<void, decltype(release)> in_owner(in, release);
  const std::unique_ptr<void, decltype(release)> out_owner(out, release);
  session.run({&in, 1}, {&out, 1});
  return *reinterpret_cast<const float*>(output.data()) == -2.5F;
}

TEST_CASE("an input is registered when its binding or the shapes are others, and after a failure") {
  const LitertLibrary library;
  const auto engine = open();
  const auto session = engine->make_session(0);
  const Shape shape{1, 4};
  session->resize({&shape, 1});
  const Block inputs[] = {Block::zeroed(16), Block::zeroed(16)};
  const Block output = Block::zeroed(16);
  const auto bind = [&](const Block& input) { return session->bind(Side::input, 0, view_of(input, 1)); };
  Binding out = session->bind(Side::output, 0, view_of(output, 1));
  const auto negates_at = [&](Binding in, const Block& input, float value) {
    *reinterpret_cast<float*>(input.data()) = value;
    session->run({&in, 1}, {&out, 1});
    return *reinterpret_cast<const float*>(output.data()) == -value;
  };
  Binding in = bind(inputs[0]);
  for (const float value : {1.0F, 2.0F, 3.0F}) CHECK(negates_at(in, inputs[0], value));
  CHECK(library->registrations == 1);

  // The library may make the next object where this one was.
  session->release(in);
  in = bind(inputs[1]);
  CHECK(negates_at(in, inputs[1], 4.0F));
  CHECK(library->registrations == 2);
  const Binding other = bind(inputs[0]);
  CHECK(negates_at(other, inputs[0], 5.0F));
  CHECK(negates_at(in, inputs[1], 6.0F));
  CHECK(library->registrations == 4);

  session->resize({&shape, 1});
  CHECK(negates_at(in, inputs[1], 7.0F));
  CHECK(library->registrations == 5);
  library->run_status = 3;
  check_refusal(Code::engine_failed, {"running"}, [&] { (void)negates_at(in, inputs[1], 8.0F); });
  library->run_status = 0;
  CHECK(negates_at(in, inputs[1], 9.0F));
  CHECK(library->registrations == 6);
  CHECK(library->runs == 9);
  for (const Binding binding : {in, other, out}) session->release(binding);
}

TEST_CASE("sessions of the first shapes run on one compiled model, until one has other shapes") {
  const LitertLibrary library;
  auto engine = open_large();
  const Shape one_row{1, 4};
  const Shape two_rows{2, 4};
  std::vector<std::unique_ptr<EngineSession>> sessions;
  for (int i = 0; i < 3; ++i) {
    sessions.push_back(engine->make_session(0));
    sessions.back()->resize({&one_row, 1});
    CHECK(sessions.back()->output_shape(0) == one_row);
    CHECK(negates(*sessions.back(), 1));
  }
  for (const auto& session : sessions) CHECK(negates(*session, 1));
  CHECK(library->compilations == 1);
  CHECK(library->packs == 0);

  sessions[0]->resize({&two_rows, 1});
  CHECK(library->packs == 1);
  CHECK(library->mapped == 1);
  CHECK(negates(*sessions[0], 2));
  CHECK(negates(*sessions[1], 1));
  sessions[0]->resize({&one_row, 1});
  CHECK(negates(*sessions[0], 1));
  engine.reset();
  for (const auto& session : sessions) CHECK(negates(*session, 1));
  CHECK(library->mapped == 2);
}

TEST_CASE("a single session that changes its shapes keeps its compiled model") {
  const LitertLibrary library;
  const auto engine = open_large();
  const auto session = engine->make_session(0);
  for (const int64_t rows : {1, 2, 1, 3}) {
    const Shape shape{rows, 4};
    session->resize({&shape, 1});
    CHECK(negates(*session, rows));
  }
  CHECK(library->compilations == 1);
}

TEST_CASE("a compiled model in which a run failed is not lent again") {
  const LitertLibrary library;
  const auto engine = open_large();
  const Shape shape{1, 4};
  const auto session = engine->make_session(0);
  session->resize({&shape, 1});
  library->run_status = 3;
  check_refusal(Code::engine_failed, {"running"}, [&] { (void)negates(*session, 1); });
  library->run_status = 0;
  const int compilations = library->compilations;
  CHECK(negates(*session, 1));
  CHECK(library->compilations > compilations);
}

TEST_CASE("a status of the library is an error that names the doing and the status") {
  struct Row {
    std::atomic<int> FakeLitert::*where;
    const char* doing;
  };
  const Row rows[] = {{&FakeLitert::environment_status, "creating the environment"},
                      {&FakeLitert::model_status, "reading the model"},
                      {&FakeLitert::compile_status, "compiling the model"},
                      {&FakeLitert::resize_status, "expected to resize to [2, 4]"},
                      {&FakeLitert::buffer_status, "binding memory"},
                      {&FakeLitert::run_status, "running"}};
  struct Verdict {
    int status;
    const char* name;
    Code code;
  };
  const Verdict verdicts[] = {{2, "out of memory", Code::out_of_memory},
                              {3, "runtime failure", Code::engine_failed},
                              {5, "unsupported", Code::unsupported_model},
                              {77, "unknown status", Code::engine_failed}};
  for (const Row& row : rows) {
    for (const Verdict& verdict : verdicts) {
      const LitertLibrary library;
      CAPTURE(row.doing);
      const bool is_resize = row.where == &FakeLitert::resize_status;
      const auto engine = [&]() -> std::unique_ptr<Engine> {
        if (row.where != &FakeLitert::environment_status && row.where != &FakeLitert::model_status) return open();
        return nullptr;
      }();
      (library.operator->())->*row.where = verdict.status;
      const std::string status = "status " + std::to_string(verdict.status) + " (" + verdict.name + ")";
      check_refusal(is_resize ? Code::engine_failed : verdict.code, {row.doing, status}, [&] {
        if (engine == nullptr) (void)open();
        const auto session = engine->make_session(0);
        const Shape shape{2, 4};
        session->resize({&shape, 1});
        const Block memory = Block::zeroed(32);
        Binding bound = session->bind(Side::input, 0, view_of(memory, 2));
        try {
          session->run({&bound, 1}, {&bound, 1});
        } catch (...) {
          session->release(bound);
          throw;
        }
      });
    }
  }
}

TEST_CASE("an output that turns out to have another shape after its run is refused, and no answer given") {
  const LitertLibrary library;
  const auto engine = open();
  const auto session = engine->make_session(0);
  const Shape shape{2, 4};
  session->resize({&shape, 1});
  const Block memory = Block::zeroed(64);
  Binding bound = session->bind(Side::input, 0, view_of(memory, 2));
  library->rows_after_run = 1;
  for (int i = 0; i < 2; ++i) {
    check_refusal(Code::unsupported_model, {"litert", "depends on values", "engine=\"litert-interpreter\""}, [&] {
      session->run({&bound, 1}, {&bound, 1});
    });
  }
  session->release(bound);
}

TEST_CASE("a dimension past what the library can count is refused") {
  const LitertLibrary library;
  const auto session = open()->make_session(0);
  const Shape shape{int64_t{1} << 31, 4};
  check_refusal(Code::bad_input, {"input \"x\"", "below 2^31", "[2147483648, 4]"}, [&] {
    session->resize({&shape, 1});
  });
}

TEST_CASE("the report says how many nodes fell back, found by running") {
  const LitertLibrary library;
  const auto engine = open();
  CHECK(engine->report().name == "litert");
  CHECK(engine->report().version == "2.3.0");
  CHECK(engine->report().node_count == 1);
  CHECK(engine->report().fallback_count == 0);
  CHECK(engine->report().delegate == "XNNPACK");
  library->fallback_count = 1;
  CHECK(engine->report().fallback_count == 1);
  CHECK(engine->report().delegate == "none");
}

TEST_CASE("a model is refused before the library is opened") {
  const std::string nowhere = "/nowhere/libLiteRt.so";
  check_refusal(Code::engine_mismatch, {"ai-edge-litert", "got 2.1.0"},
                [&] { (void)open_litert(nowhere, "2.1.0", tflite_file(), 1); });
  check_refusal(Code::malformed_model, {}, [&] { (void)open_litert(nowhere, "2.3.0", Block::zeroed(64), 1); });
  check_refusal(Code::engine_missing, {nowhere}, [&] { (void)open_litert(nowhere, "2.3.0", tflite_file(), 1); });
}

TEST_CASE("a library whose names are not the file's is refused") {
  const LitertLibrary library;
  library->input_name = "z";
  check_refusal(Code::engine_failed, {"litert", "got \"z\""}, [] { (void)open(); });
}

TEST_CASE("weights are packed once, when a second session is made; the first session is told") {
  const LitertLibrary library;
  const auto engine = open_large();
  CHECK(engine->shares_weights());
  const auto first = engine->make_session(0);
  CHECK(library->packs == 0);
  CHECK_FALSE(first->is_outdated());
  const auto second = engine->make_session(0);
  const auto third = engine->make_session(0);
  CHECK(library->packs == 1);
  CHECK(library->mapped == 2);
  CHECK(first->is_outdated());
  CHECK_FALSE(second->is_outdated());
  CHECK(engine->shares_weights());
}

TEST_CASE("small files and versions that were not tested share nothing") {
  const LitertLibrary library;
  for (const auto& engine : {open_large(kShared - 1), open_large(kShared, "2.2.0")}) {
    CHECK_FALSE(engine->shares_weights());
    const auto first = engine->make_session(0);
    const auto second = engine->make_session(0);
    CHECK_FALSE(first->is_outdated());
  }
  CHECK(library->packs == 0);
}

TEST_CASE("a library that takes no cache packs for each session, and is asked once") {
  const LitertLibrary library;
  library->takes_caches = false;
  const auto engine = open_large();
  const auto first = engine->make_session(0);
  const auto second = engine->make_session(0);
  CHECK_FALSE(engine->shares_weights());
  CHECK_FALSE(first->is_outdated());
  const int compilations = library->compilations;
  const auto third = engine->make_session(0);
  CHECK(library->compilations == compilations + 1);
}

TEST_CASE("a library that stops to take the cache is not asked again") {
  const LitertLibrary library;
  const auto engine = open_large();
  const auto first = engine->make_session(0);
  {
    const auto second = engine->make_session(0);
    CHECK(library->mapped == 1);
  }
  library->takes_caches = false;
  const auto third = engine->make_session(0);
  CHECK_FALSE(engine->shares_weights());
  CHECK_FALSE(first->is_outdated());
}

TEST_CASE("a model that cannot be packed is compiled without a cache") {
  const LitertLibrary library;
  const auto engine = open_large();
  const auto first = engine->make_session(0);
  library->compile_status = 3;
  check_refusal(Code::engine_failed, {"compiling"}, [&] { (void)engine->make_session(0); });
  library->compile_status = 0;
  CHECK_FALSE(engine->shares_weights());
  const auto second = engine->make_session(0);
  CHECK(library->packs == 0);
}

TEST_CASE("threads that make sessions at once wait for one pack") {
  const LitertLibrary library;
  const auto engine = open_large();
  const auto first = engine->make_session(0);
  std::vector<std::unique_ptr<EngineSession>> sessions(8);
  std::vector<std::thread> threads;
  for (auto& session : sessions) threads.emplace_back([&] { session = engine->make_session(0); });
  for (std::thread& thread : threads) thread.join();
  CHECK(library->packs == 1);
  CHECK(library->mapped == 8);
}

}  // namespace edgeward
