#include "models/session.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "rigs/child.h"
#include "rigs/fake_engine.h"
#include "rigs/guarded_pages.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr size_t kTensorBytes = 6;  // of the fake model's uint8 [2, 3]

// A session over a fake engine. `plan` may be changed between calls; the books are closed last.
struct Bench {
  explicit Bench(FakeModel model = {}) : plan(std::make_shared<FakeModel>(std::move(model))) { open(); }

  void open() {
    session = std::make_unique<Session>(std::make_shared<const FakeEngine>(plan, books), 0, Account::make());
  }
  Session* operator->() const { return session.get(); }

  Books books;
  std::shared_ptr<FakeModel> plan;
  std::unique_ptr<Session> session;
};

StridedView contiguous(std::byte* data, const Shape& shape) {
  StridedView view{data, 1, shape, {}};
  int64_t stride = 1;
  for (size_t axis = shape.rank(); axis-- > 0;) {
    view.strides[axis] = stride;
    stride *= shape[axis];
  }
  return view;
}

// Writes first, first + 1, ... to `count` bytes.
void fill(std::byte* data, size_t count, int first) {
  for (size_t i = 0; i < count; ++i) data[i] = static_cast<std::byte>(first + static_cast<int>(i));
}

std::vector<int> numbers(const std::byte* data, size_t count) {
  std::vector<int> values(count);
  std::transform(data, data + count, values.begin(), [](std::byte byte) { return std::to_integer<int>(byte); });
  return values;
}

std::vector<int> sequence(int first, size_t count) {
  std::vector<int> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

std::vector<int> predict(Session& session, const StridedView& argument) {
  session.argument(0) = argument;
  session.predict();
  const Lease result = session.take(0);
  return numbers(result->view.data, result->view.size_bytes);
}

FakeModel with_dynamic_rows() {
  FakeModel model;
  model.inputs[0].shape = {-1, 3};
  model.outputs[0].shape = {-1, 3};
  return model;
}

FakeModel with_output_by_value() {
  FakeModel model;
  model.outputs[0].shape = {-1};
  return model;
}

FakeModel with_two_of_each(const Shape& second_output = {4}) {
  FakeModel model;
  model.inputs.push_back({"u", DType::uint8, {4}, {}});
  model.outputs.push_back({"v", DType::uint8, second_output, {}});
  return model;
}

[[noreturn]] void refuse() { throw Error(Code::engine_failed, "fake: no"); }

}  // namespace

// ---- Unknown shapes.

TEST_CASE("an output of unknown shape has the one that inputs decide, unless they are open") {
  FakeModel model;
  model.outputs[0].shape = Shape::unknown();
  Bench closed(model);
  CHECK(closed->signature().outputs[0].shape == Shape{2, 3});
  model.inputs[0].shape = {-1, 3};
  Bench open(model);
  CHECK(open->signature().outputs[0].shape == Shape::unknown());
}

TEST_CASE("an input of unknown shape has one from the first resize or call on") {
  FakeModel model;
  model.inputs[0].shape = model.outputs[0].shape = Shape::unknown();
  Bench bench(model);
  check_refusal(Code::bad_input, {"does not tell the shape of input \"x\""}, [&] { bench->own_input(0); });
  check_refusal(Code::bad_input, {"expected a shape with", "got unknown"},
                [&] { bench->resize(std::vector<Shape>{Shape::unknown()}); });
  bench->resize(std::vector<Shape>{{6}});
  CHECK(bench->own_input(0).view.shape == Shape{6});
  CHECK(bench->own_output(0).view.shape == Shape{6});
}

// ---- Own memory.

TEST_CASE("a session runs on memory of its own, in place") {
  Bench bench;
  const Session::Own input = bench->own_input(0);
  const Session::Own output = bench->own_output(0);
  CHECK(input.view.shape == Shape{2, 3});
  CHECK(input.view.size_bytes == kTensorBytes);
  CHECK(numbers(input.view.data, kTensorBytes) == std::vector<int>(kTensorBytes, 0));
  for (int first = 1; first < 5; ++first) {
    fill(input.view.data, kTensorBytes, first);
    bench->run();
    CHECK(numbers(output.view.data, kTensorBytes) == sequence(first + 1, kTensorBytes));
  }
  CHECK(bench->own_input(0).view.data == input.view.data);
  CHECK(bench->own_output(0).view.data == output.view.data);
  CHECK(bench->copies() == 0);
  CHECK(bench.books.binds() == 2);
}

TEST_CASE("bare runs are as many calls of the engine") {
  Bench bench;
  bench->run_bare(17);
  CHECK(bench.books.runs == 17);
}

TEST_CASE("bytes that a run leaves out are zero, wherever the output goes") {
  constexpr size_t kWritten = 2;
  std::vector<int> expected = sequence(8, kWritten);
  expected.resize(kTensorBytes, 0);
  FakeModel model;
  model.written_bytes = kWritten;
  Bench bench(model);
  Block input = Block::zeroed(kTensorBytes);
  fill(input.data(), kTensorBytes, 7);

  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->predict();
  Lease lease = bench->take(0);
  const std::byte* lent = lease->view.data;
  fill(lease->view.data, kTensorBytes, 100);
  lease.reset();
  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->predict();
  lease = bench->take(0);
  CHECK(lease->view.data == lent);
  CHECK(numbers(lease->view.data, kTensorBytes) == expected);

  Block target = Block::zeroed(kTensorBytes);
  fill(target.data(), kTensorBytes, 100);
  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->target(0) = contiguous(target.data(), {2, 3});
  bench->predict();
  CHECK(numbers(target.data(), kTensorBytes) == expected);

  const Session::Own own = bench->own_output(0);
  fill(bench->own_input(0).view.data, kTensorBytes, 7);
  for (const bool is_bare : {false, true}) {
    fill(own.view.data, kTensorBytes, 100);
    is_bare ? bench->run_bare(1) : bench->run();
    CHECK(numbers(own.view.data, kTensorBytes) == expected);
  }
}

TEST_CASE("dynamic dimensions start at one, and packed ones are refused") {
  Bench bench(with_dynamic_rows());
  CHECK(bench->input_shape(0) == Shape{1, 3});

  FakeModel packed = with_dynamic_rows();
  packed.inputs[0].dtype = DType::int4;
  Books books;
  check_refusal(Code::unsupported_model, {"input \"x\"", "packed int4", "[-1, 3]"}, [&] {
    Session(std::make_shared<const FakeEngine>(std::make_shared<const FakeModel>(packed), books), 0, Account::make());
  });
}

TEST_CASE("memory that was shown stays readable after the session, and after a resize") {
  Bench bench(with_dynamic_rows());
  const Session::Own before = bench->own_input(0);
  fill(before.view.data, 3, 5);
  const Shape two_rows{2, 3};
  bench->resize({&two_rows, 1});
  const Session::Own after = bench->own_input(0);
  CHECK(after.view.shape == two_rows);
  CHECK(after.view.data != before.view.data);
  fill(after.view.data, 6, 9);
  bench.session.reset();
  CHECK(numbers(before.view.data, 3) == sequence(5, 3));
  CHECK(numbers(after.view.data, 6) == sequence(9, 6));
}

// ---- What is copied.

TEST_CASE("an input is copied only when the engine cannot use it in place") {
  struct Row {
    const char* what;
    ptrdiff_t offset_bytes;  // of the first element, from memory aligned to 64
    std::array<int64_t, Shape::kMaxRank> strides;
    MemoryRules rules;
    uint64_t copies;
  };
  const MemoryRules strict{64, 64};
  const MemoryRules lax{1, 0};
  const Row rows[] = {{"aligned", 0, {3, 1}, strict, 0},
                      {"aligned further on", 64, {3, 1}, strict, 0},
                      {"one byte off", 1, {3, 1}, strict, 1},
                      {"half an alignment off", 32, {3, 1}, strict, 1},
                      {"rows apart", 0, {4, 1}, strict, 1},
                      {"every second", 0, {6, 2}, strict, 1},
                      {"transposed", 0, {1, 2}, strict, 1},
                      {"backwards", 5, {-3, -1}, strict, 1},
                      {"one row, shown twice", 0, {0, 1}, strict, 1},
                      {"one byte off, engine does not mind", 1, {3, 1}, lax, 0},
                      {"every second, engine does not mind alignment", 0, {6, 2}, lax, 1}};
  for (const Row& row : rows) {
    CAPTURE(row.what);
    FakeModel model;
    model.rules = row.rules;
    Bench bench(model);
    const Block memory = Block::pages(256);  // not near a page's end, where another rule copies
    fill(memory.data(), 256, 0);
    const StridedView view{memory.data() + row.offset_bytes, 1, {2, 3}, row.strides};
    std::vector<int> expected;
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t k = 0; k < 3; ++k) {
        expected.push_back(static_cast<int>(row.offset_bytes + i * row.strides[0] + k * row.strides[1] + 1));
      }
    }
    CHECK(predict(*bench.session, view) == expected);
    CHECK(bench->copies() == row.copies);
    CHECK(predict(*bench.session, view) == expected);
    CHECK(bench->copies() == 2 * row.copies);
  }
}

TEST_CASE("an input whose end is too near the end of its page is copied, for the next page need not be there") {
  struct Row {
    size_t end_to_page_end_bytes;
    uint64_t copies;
  };
  // The engine reads 64 bytes past the end: up to the guard, and not beyond.
  const Row rows[] = {{0, 1}, {1, 1}, {32, 1}, {63, 1}, {64, 0}, {65, 0}, {4032, 0}};
  const GuardedPages pages(2);
  for (const Row& row : rows) {
    CAPTURE(row.end_to_page_end_bytes);
    FakeModel model;
    model.rules = {1, 64};
    Bench bench(model);
    std::byte* input = pages.end() - row.end_to_page_end_bytes - kTensorBytes;
    fill(input, kTensorBytes, 1);
    CHECK(predict(*bench.session, contiguous(input, {2, 3})) == sequence(2, kTensorBytes));
    CHECK(bench->copies() == row.copies);
  }
}

TEST_CASE("an input that lies where an output goes is copied, and only then") {
  struct Row {
    ptrdiff_t target_offset;  // from the input
    uint64_t copies;
  };
  // Of six bytes each; memory on every address suits this engine.
  const Row rows[] = {{-7, 0}, {-6, 0}, {-5, 1}, {-1, 1}, {0, 1}, {1, 1}, {5, 1}, {6, 0}, {7, 0}};
  for (const Row& row : rows) {
    CAPTURE(row.target_offset);
    FakeModel model;
    model.rules = {1, 0};
    Bench bench(model);
    std::byte memory[32];
    std::byte* input = memory + 12;
    fill(input, kTensorBytes, 1);
    bench->argument(0) = contiguous(input, {2, 3});
    bench->target(0) = contiguous(input + row.target_offset, {2, 3});
    bench->predict();
    CHECK(numbers(input + row.target_offset, kTensorBytes) == sequence(2, kTensorBytes));
    CHECK(bench->copies() == row.copies);
  }
}

TEST_CASE("memory given again is not bound again; other memory takes its place") {
  Bench bench;
  const Block first = Block::zeroed(kTensorBytes);
  const Block second = Block::zeroed(kTensorBytes);
  for (int i = 0; i < 5; ++i) (void)predict(*bench.session, contiguous(first.data(), {2, 3}));
  CHECK(bench.books.binds() == 2);
  CHECK(bench.books.live_bindings() == 2);
  (void)predict(*bench.session, contiguous(second.data(), {2, 3}));
  CHECK(bench.books.binds() == 3);
  CHECK(bench.books.live_bindings() == 2);
  CHECK(bench->copies() == 0);
}

// ---- Where outputs go.

TEST_CASE("an output goes where the caller wants it, and is copied there only when the engine cannot write there") {
  struct Row {
    ptrdiff_t offset_bytes;
    MemoryRules rules;
    uint64_t copies;
    size_t binds;
  };
  const Row rows[] = {{0, {64, 64}, 0, 2}, {1, {64, 64}, 1, 2}, {1, {1, 0}, 0, 2}};
  for (const Row& row : rows) {
    CAPTURE(row.offset_bytes);
    CAPTURE(row.copies);
    FakeModel model;
    model.rules = row.rules;
    Bench bench(model);
    const Block input = Block::zeroed(kTensorBytes);
    const Block memory = Block::zeroed(256);
    fill(input.data(), kTensorBytes, 1);
    for (uint64_t call = 1; call <= 3; ++call) {
      bench->argument(0) = contiguous(input.data(), {2, 3});
      bench->target(0) = contiguous(memory.data() + row.offset_bytes, {2, 3});
      bench->predict();
      CHECK(numbers(memory.data() + row.offset_bytes, kTensorBytes) == sequence(2, kTensorBytes));
      CHECK(memory.data()[row.offset_bytes + static_cast<ptrdiff_t>(kTensorBytes)] == std::byte{0});
      CHECK(bench->take(0) == nullptr);
      CHECK(bench->copies() == call * row.copies);
      CHECK(bench.books.binds() == row.binds);
    }
  }
}

TEST_CASE("a target serves one call") {
  Bench bench;
  const Block input = Block::zeroed(kTensorBytes);
  const Block target = Block::zeroed(kTensorBytes);
  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->target(0) = contiguous(target.data(), {2, 3});

  SUBCASE("that succeeds") { bench->predict(); }
  SUBCASE("that fails in the engine") {
    bench.plan->on_run = refuse;
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->predict(); });
    bench.plan->on_run = [] {};
  }
  SUBCASE("that fails on its input") {
    bench->argument(0).shape = {3, 2};
    check_refusal(Code::bad_input, {"input \"x\""}, [&] { bench->predict(); });
  }
  std::memset(target.data(), 0, kTensorBytes);
  CHECK(predict(*bench.session, contiguous(input.data(), {2, 3})) == std::vector<int>(kTensorBytes, 1));
  CHECK(numbers(target.data(), kTensorBytes) == std::vector<int>(kTensorBytes, 0));
}

TEST_CASE("fresh outputs are the caller's, and a steady loop binds nothing") {
  Bench bench;
  const Block input = Block::zeroed(kTensorBytes);
  std::vector<Lease> held;
  for (int first = 0; first < 10; ++first) {
    fill(input.data(), kTensorBytes, first);
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->predict();
    held.push_back(bench->take(0));
  }
  for (int first = 0; first < 10; ++first) {
    CHECK(numbers(held[static_cast<size_t>(first)]->view.data, kTensorBytes) == sequence(first + 1, kTensorBytes));
  }
  held.clear();
  const size_t binds = bench.books.binds();
  for (int i = 0; i < 100; ++i) (void)predict(*bench.session, contiguous(input.data(), {2, 3}));
  CHECK(bench.books.binds() == binds);
  CHECK(bench.books.live_bindings() == 4 + 1);  // as many idle outputs as a pool keeps; the input
}

TEST_CASE("a result that nobody took is dropped at the next call") {
  Bench bench;
  const Block input = Block::zeroed(kTensorBytes);
  for (int i = 0; i < 20; ++i) {
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->predict();
  }
  CHECK(bench.books.live_bindings() <= 3);
}

// ---- Checks.

TEST_CASE("a wrong argument is refused before anything is written or run") {
  Bench bench(with_two_of_each());
  const Block memory = Block::zeroed(kTensorBytes);
  const Block target = Block::zeroed(kTensorBytes);
  const Shape wrong[] = {{3, 2}, {6}, {2, 3, 1}, {}, {2, 0}, {2, -1}, {2, 4}};
  for (const Shape& shape : wrong) {
    CAPTURE(text(shape));
    fill(target.data(), kTensorBytes, 70);
    const auto give = [&](const Shape& first, const Shape& second) {
      bench->argument(0) = contiguous(memory.data(), first);
      bench->argument(1) = contiguous(memory.data(), second);
      bench->target(0) = contiguous(target.data(), {2, 3});
    };
    give(shape, {4});
    check_refusal(Code::bad_input, {"input \"x\"", "expected uint8 [2, 3]", "got " + text(shape)},
                  [&] { bench->predict(); });
    give({2, 3}, shape);
    check_refusal(Code::bad_input, {"input \"u\"", "expected uint8 [4]", "got " + text(shape)},
                  [&] { bench->predict(); });
    CHECK(numbers(target.data(), kTensorBytes) == sequence(70, kTensorBytes));
  }
  CHECK(bench.books.runs == 0);
  CHECK(bench.books.binds() == 0);
}

TEST_CASE("a wrong target is refused before anything is written or run") {
  Bench bench(with_two_of_each());
  const Block input = Block::zeroed(kTensorBytes);
  const Block target = Block::zeroed(64);
  struct Row {
    size_t index;
    StridedView target;
    const char* words;
  };
  const Row rows[] = {
      {0, contiguous(target.data(), {3, 2}), "output \"y\": expected a C-contiguous out= of [2, 3], got [3, 2]"},
      {0, contiguous(target.data(), {6}), "output \"y\": expected a C-contiguous out= of [2, 3], got [6]"},
      {1, contiguous(target.data(), {5}), "output \"v\": expected a C-contiguous out= of [4], got [5]"},
      {0, {target.data(), 1, {2, 3}, {4, 1}}, "got [2, 3] that is not C-contiguous"},
      {0, {target.data(), 1, {2, 3}, {1, 2}}, "got [2, 3] that is not C-contiguous"},
      {1, {target.data() + 3, 1, {4}, {-1}}, "got [4] that is not C-contiguous"}};
  for (const Row& row : rows) {
    CAPTURE(row.words);
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->argument(1) = contiguous(input.data(), {4});
    bench->target(row.index) = row.target;
    check_refusal(Code::bad_input, {row.words}, [&] { bench->predict(); });
    CHECK(numbers(target.data(), 64) == std::vector<int>(64, 0));
  }
  CHECK(bench.books.runs == 0);
}

TEST_CASE("two targets that overlap are refused by name, those that touch are not") {
  FakeModel model = with_two_of_each();
  model.rules = {1, 0};
  Bench bench(model);
  const Block input = Block::zeroed(kTensorBytes);
  std::byte memory[16]{};
  for (const ptrdiff_t offset : {3, 2, 8, 12}) {
    CAPTURE(offset);
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->argument(1) = contiguous(input.data(), {4});
    bench->target(0) = contiguous(memory + 6, {2, 3});
    bench->target(1) = contiguous(memory + offset, {4});
    if (offset == 2 || offset == 12) {
      bench->predict();
      CHECK(numbers(memory + offset, 4) == std::vector<int>(4, 1));
      CHECK(numbers(memory + 6, kTensorBytes) == std::vector<int>(kTensorBytes, 1));
      std::memset(memory, 0, sizeof memory);
    } else {
      check_refusal(Code::bad_input, {"output \"", "overlaps another"}, [&] { bench->predict(); });
      CHECK(numbers(memory, sizeof memory) == std::vector<int>(sizeof memory, 0));
    }
  }
}

TEST_CASE("an input that the model wants empty is refused where the engine takes none") {
  FakeModel model;
  model.inputs[0].shape = {2, 0};
  Books books;
  check_refusal(Code::unsupported_model, {"input \"x\"", "at least 1", "[2, 0]"}, [&] {
    Session(std::make_shared<const FakeEngine>(std::make_shared<const FakeModel>(model), books), 0, Account::make());
  });
}

TEST_CASE("inputs and outputs without elements go in and out where the engine takes them") {
  FakeModel model = with_dynamic_rows();
  model.rules = {1, 0, 0};
  Bench bench(model);
  std::byte nothing[1]{};
  StridedView empty = contiguous(nothing, {0, 3});
  empty.strides[0] = 16;  // numpy's are any
  CHECK(predict(*bench.session, empty).empty());
  bench->argument(0) = empty;
  bench->target(0) = empty;
  bench->predict();
  CHECK(bench->copies() == 0);
  CHECK(nothing[0] == std::byte{0});
  CHECK(bench->own_input(0).view.shape == Shape{0, 3});
  CHECK(bench->own_input(0).view.size_bytes == 0);
  bench->run();
  CHECK(bench->own_output(0).view.shape == Shape{0, 3});
  bench->resize(std::vector<Shape>{{2, 3}});
  bench->resize(std::vector<Shape>{{0, 3}});
  bench->run();
  CHECK(bench->own_output(0).view.size_bytes == 0);
  check_refusal(Code::bad_input, {"at least 0", "[-1, 3]"}, [&] { bench->resize(std::vector<Shape>{{-1, 3}}); });
}

TEST_CASE("an output of another shape than the model declares is left to the engine") {
  FakeModel model;
  model.is_declared_wrong = true;
  const Block memory = Block::zeroed(kTensorBytes);
  const Block target = Block::zeroed(kTensorBytes);
  fill(memory.data(), 4, 3);
  const StridedView argument = contiguous(memory.data(), {2, 3});
  Bench bench(model);
  SUBCASE("by predict, with the shape that it has") {
    for (int i = 0; i < 3; ++i) CHECK(predict(*bench.session, argument) == sequence(4, 4));
    CHECK(bench.books.runs == 4);  // one to find out
  }
  SUBCASE("by the session's own memory") {
    std::memcpy(bench->own_input(0).view.data, memory.data(), kTensorBytes);
    CHECK(bench->own_output(0).view.shape == Shape{2, 3});
    for (int i = 0; i < 3; ++i) {
      bench->run();
      CHECK(bench->has_engine_outputs());
      const Session::Own output = bench->own_output(0);
      CHECK(numbers(output.view.data, output.view.size_bytes) == sequence(4, 4));
    }
  }
  SUBCASE("and memory of the caller's is refused and not written") {
    for (int i = 0; i < 2; ++i) {
      bench->argument(0) = argument;
      bench->target(0) = contiguous(target.data(), {2, 3});
      check_refusal(Code::bad_input, {"output \"y\"", "no out=", "[-1]"}, [&] { bench->predict(); });
      CHECK(numbers(target.data(), kTensorBytes) == std::vector<int>(kTensorBytes, 0));
    }
    CHECK(predict(*bench.session, argument) == sequence(4, 4));
  }
}

TEST_CASE("packed elements go in and out as one row of bytes") {
  FakeModel model;
  model.inputs[0].dtype = DType::int4;
  model.inputs[0].shape = {3, 3};
  model.outputs[0].dtype = DType::int4;
  model.outputs[0].shape = {3, 3};
  Bench bench(model);
  const Block memory = Block::zeroed(9);
  const Block target = Block::zeroed(9);
  fill(memory.data(), 9, 1);
  CHECK(predict(*bench.session, contiguous(memory.data(), {5})) == sequence(2, 5));
  CHECK(bench->own_input(0).view.shape == Shape{3, 3});
  CHECK(bench->own_input(0).view.size_bytes == 5);

  bench->argument(0) = contiguous(memory.data(), {5});
  bench->target(0) = contiguous(target.data(), {5});
  bench->predict();
  CHECK(numbers(target.data(), 9) == std::vector<int>{2, 3, 4, 5, 6, 0, 0, 0, 0});
  CHECK(bench->copies() == 0);

  for (const Shape& wrong : {Shape{3, 3}, Shape{4}, Shape{6}, Shape{9}, Shape{}}) {
    CAPTURE(text(wrong));
    bench->argument(0) = contiguous(memory.data(), wrong);
    check_refusal(Code::bad_input, {"input \"x\"", "int4 packed into uint8 [5]", "got " + text(wrong)},
                  [&] { bench->predict(); });
    bench->argument(0) = contiguous(memory.data(), {5});
    bench->target(0) = contiguous(target.data(), wrong);
    check_refusal(Code::bad_input, {"output \"y\"", "[5]"}, [&] { bench->predict(); });
  }
}

// ---- Shapes.

TEST_CASE("a dynamic argument brings its shape with it") {
  Bench bench(with_dynamic_rows());
  const Block memory = Block::zeroed(64);
  fill(memory.data(), 64, 1);
  for (const int64_t rows : {1, 4, 4, 2}) {
    CAPTURE(rows);
    CHECK(predict(*bench.session, contiguous(memory.data(), {rows, 3})) == sequence(2, static_cast<size_t>(rows) * 3));
    CHECK(bench->input_shape(0) == Shape{rows, 3});
  }
  for (const Shape& wrong : {Shape{2, 4}, Shape{0, 3}, Shape{3}, Shape{-1, 3}}) {
    CAPTURE(text(wrong));
    bench->argument(0) = contiguous(memory.data(), wrong);
    check_refusal(Code::bad_input, {"input \"x\"", "[-1, 3]", "got " + text(wrong)}, [&] { bench->predict(); });
    CHECK(bench->input_shape(0) == Shape{2, 3});
  }
}

TEST_CASE("a resize refuses what the model does not admit, by name") {
  FakeModel model = with_two_of_each();
  model.inputs[1].shape = {-1};
  model.outputs[1].shape = {-1};
  Bench bench(model);
  const auto resize = [&](const Shape& first, const Shape& second) {
    const Shape shapes[] = {first, second};
    bench->resize(shapes);
  };
  check_refusal(Code::bad_input, {"input \"x\"", "[2, 3]", "got [3, 3]"}, [&] { resize({3, 3}, {1}); });
  check_refusal(Code::bad_input, {"input \"u\"", "[-1]", "got [0]"}, [&] { resize({2, 3}, {0}); });
  check_refusal(Code::bad_input, {"input \"u\"", "[-1]", "got [-1]"}, [&] { resize({2, 3}, {-1}); });
  check_refusal(Code::bad_input, {"input \"u\"", "[-1]", "got [1, 1]"}, [&] { resize({2, 3}, {1, 1}); });
  CHECK(bench.books.made_sessions == 1);
  resize({2, 3}, {7});
  CHECK(bench->input_shape(1) == Shape{7});
  CHECK(bench->own_output(1).view.shape == Shape{7});
}

TEST_CASE("a size past what memory can hold is refused, and the old shapes work on") {
  FakeModel model = with_dynamic_rows();
  model.inputs[0].shape = {-1, -1};
  model.outputs[0].shape = {-1, -1};
  Bench bench(model);
  const Shape huge{int64_t{1} << 40, int64_t{1} << 40};
  check_refusal(Code::bad_input, {"input \"x\"", "fits memory", text(huge)}, [&] { bench->resize({&huge, 1}); });
  CHECK(bench->input_shape(0) == Shape{1, 1});
  const Session::Own input = bench->own_input(0);
  CHECK(input.view.size_bytes == 1);
  input.view.data[0] = std::byte{8};
  bench->run();
  CHECK(bench->own_output(0).view.data[0] == std::byte{9});
}

TEST_CASE("a resize that the engine refuses leaves the old shapes working") {
  Bench bench(with_dynamic_rows());
  const Shape two_rows{2, 3};
  bench->resize({&two_rows, 1});
  (void)bench->own_input(0);
  (void)bench->own_output(0);
  bench->run();
  const Block memory = Block::zeroed(64);
  fill(memory.data(), 64, 1);
  bench->argument(0) = contiguous(memory.data(), {2, 3});
  bench->predict();
  const Lease lease = bench->take(0);

  bench.plan->on_resize = [](std::span<const Shape> shapes) {
    if (shapes[0] == Shape{5, 3}) refuse();
  };
  const Shape five_rows{5, 3};
  SUBCASE("asked for outright") {
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->resize({&five_rows, 1}); });
  }
  SUBCASE("asked for by an argument") {
    bench->argument(0) = contiguous(memory.data(), five_rows);
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->predict(); });
  }
  CHECK(bench->input_shape(0) == two_rows);
  CHECK(bench->own_input(0).view.size_bytes == kTensorBytes);
  CHECK(predict(*bench.session, contiguous(memory.data(), {2, 3})) == sequence(2, kTensorBytes));
  fill(bench->own_input(0).view.data, kTensorBytes, 3);
  bench->run();
  CHECK(numbers(bench->own_output(0).view.data, kTensorBytes) == sequence(4, kTensorBytes));
  CHECK(numbers(lease->view.data, kTensorBytes) == sequence(2, kTensorBytes));
}

TEST_CASE("where the engine cannot plan ones, the first shapes that it can decide") {
  FakeModel model = with_dynamic_rows();
  model.on_resize = [](std::span<const Shape> shapes) {
    if (shapes[0][0] % 2 != 0) refuse();
  };
  Bench bench(model);
  const Shape odd{3, 3}, even{2, 3};
  std::vector<std::byte> data(2 * kTensorBytes);
  fill(data.data(), data.size(), 7);
  for (int round = 0; round < 2; ++round) {
    CHECK(bench->input_shape(0) == Shape{-1, 3});
    check_refusal(Code::bad_input, {"expected resize() first", "\"x\" [-1, 3]"}, [&] { bench->own_input(0); });
    check_refusal(Code::bad_input, {"expected resize() first"}, [&] { bench->own_output(0); });
    check_refusal(Code::bad_input, {"expected resize() first"}, [&] { bench->run(); });
    check_refusal(Code::bad_input, {"expected resize() first"}, [&] { bench->run_bare(1); });
    bench->reset();
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->resize({&odd, 1}); });
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { predict(*bench.session, contiguous(data.data(), odd)); });
  }
  CHECK(predict(*bench.session, contiguous(data.data(), even)) == sequence(8, kTensorBytes));
  CHECK(bench->input_shape(0) == even);
  bench->run();
  check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->resize({&odd, 1}); });
  CHECK(bench->input_shape(0) == even);
}

TEST_CASE("an engine that cannot plan known shapes makes no session") {
  FakeModel model;
  model.on_resize = [](std::span<const Shape>) { refuse(); };
  Books books;
  const auto plan = std::make_shared<FakeModel>(model);
  check_refusal(Code::engine_failed, {"fake: no"},
                [&] { Session(std::make_shared<const FakeEngine>(plan, books), 0, Account::make()); });
}

TEST_CASE("a session that can go neither on nor back is closed") {
  Bench bench(with_dynamic_rows());
  const Block memory = Block::zeroed(64);
  bench->argument(0) = contiguous(memory.data(), {1, 3});
  bench->predict();
  const Lease lease = bench->take(0);
  (void)bench->own_input(0);

  SUBCASE("when no other engine session can be made") { bench.plan->on_session = refuse; }
  SUBCASE("when the other one cannot have the old shapes") {}
  bench.plan->on_resize = [](std::span<const Shape>) { refuse(); };
  const Shape two_rows{2, 3};
  check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->resize({&two_rows, 1}); });

  bench.plan->on_session = [] {};
  bench.plan->on_resize = [](std::span<const Shape>) {};
  CHECK_FALSE(bench->is_open());
  check_refusal(Code::closed, {"session"}, [&] { bench->run(); });
  bench->argument(0) = contiguous(memory.data(), {1, 3});
  check_refusal(Code::closed, {"session"}, [&] { bench->predict(); });
}

TEST_CASE("a session that cannot be made leaves nothing behind") {
  FakeModel model;
  SUBCASE("the engine has no session") { model.on_session = refuse; }
  SUBCASE("the engine does not take the first shapes") {
    model.on_resize = [](std::span<const Shape>) { refuse(); };
  }
  Books books;
  check_refusal(Code::engine_failed, {"fake: no"}, [&] {
    Session(std::make_shared<const FakeEngine>(std::make_shared<const FakeModel>(model), books), 0, Account::make());
  });
}

// ---- Outputs whose shape depends on values.

TEST_CASE("an output whose shape depends on values is the engine's memory, and other memory after each run") {
  Bench bench(with_output_by_value());
  CHECK(bench->has_engine_outputs());
  CHECK(bench->own_output(0).keeper == nullptr);
  CHECK(bench->own_output(0).view.data == nullptr);
  const Session::Own input = bench->own_input(0);
  input.view.data[1] = std::byte{4};
  bench->run();
  const Session::Own first = bench->own_output(0);
  fill(input.view.data, kTensorBytes, 1);
  bench->run();
  const Session::Own second = bench->own_output(0);
  CHECK(first.view.shape == Shape{1});
  CHECK(numbers(first.view.data, 1) == std::vector<int>{5});
  CHECK(second.view.shape == Shape{6});
  CHECK(numbers(second.view.data, 6) == sequence(2, 6));
  bench->close();
  CHECK(numbers(second.view.data, 6) == sequence(2, 6));
}

TEST_CASE("an output whose shape depends on values is predicted without a copy") {
  Bench bench(with_output_by_value());
  const Block input = Block::zeroed(kTensorBytes);
  fill(input.data(), kTensorBytes, 0);
  CHECK(predict(*bench.session, contiguous(input.data(), {2, 3})) == sequence(2, 5));
  CHECK(bench->copies() == 0);

  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->target(0) = contiguous(input.data(), {5});
  check_refusal(Code::bad_input, {"output \"y\"", "no out=", "[-1]", "depends on values"}, [&] { bench->predict(); });
  check_refusal(Code::unsupported_model, {"depends on values"}, [&] { bench->run_bare(1); });
}

TEST_CASE("a result by value that nobody took is dropped at the next call") {
  Bench bench(with_output_by_value());
  const Block input = Block::zeroed(kTensorBytes);
  for (int first = 0; first < 3; ++first) {
    fill(input.data(), kTensorBytes, first);
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->predict();
  }
  const Lease result = bench->take(0);
  CHECK(numbers(result->view.data, result->view.size_bytes) == sequence(3, 6));
}

TEST_CASE("outputs by value that the engine cannot describe are released") {
  FakeModel model = with_two_of_each({-1});
  model.outputs[0].shape = {-1};
  Bench bench(model);
  const Block input = Block::zeroed(kTensorBytes);
  int views = 0;
  for (const int refused : {1, 2}) {
    CAPTURE(refused);
    bench.plan->on_view = [&views, refused] {
      if (++views == refused) refuse();
    };
    const size_t live_before = bench.books.live_bindings();
    views = 0;
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->argument(1) = contiguous(input.data(), {4});
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->predict(); });
    CHECK(bench.books.live_bindings() <= live_before + 2);  // the inputs may be new
    views = 0;
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->run(); });
  }
  bench.plan->on_view = [] {};
  bench->run();
}

TEST_CASE("outputs of both kinds come from one run") {
  Bench bench(with_two_of_each({-1}));
  const Block input = Block::zeroed(kTensorBytes);
  fill(input.data(), kTensorBytes, 0);
  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->argument(1) = contiguous(input.data(), {4});
  bench->predict();
  const Lease known = bench->take(0);
  const Lease by_value = bench->take(1);
  CHECK(numbers(known->view.data, known->view.size_bytes) == sequence(1, 6));
  CHECK(numbers(by_value->view.data, by_value->view.size_bytes) == sequence(2, 3));
}

// ---- State.

TEST_CASE("a prediction starts from the initial state; runs keep theirs until reset") {
  FakeModel model;
  model.is_stateful = true;
  Bench bench(model);
  const Block input = Block::zeroed(kTensorBytes);
  for (int i = 0; i < 3; ++i) {
    CHECK(predict(*bench.session, contiguous(input.data(), {2, 3})) == std::vector<int>(kTensorBytes, 1));
  }
  bench->reset();
  for (int i = 1; i <= 3; ++i) {
    bench->run();
    CHECK(bench->own_output(0).view.data[0] == static_cast<std::byte>(i));
  }
  bench->reset();
  bench->run();
  CHECK(bench->own_output(0).view.data[0] == std::byte{1});
}

// ---- Failures of the engine.

TEST_CASE("a run that fails is an error of that run alone") {
  Bench bench;
  const Block input = Block::zeroed(kTensorBytes);
  bench.plan->on_run = refuse;
  check_refusal(Code::engine_failed, {"fake: no"}, [&] {
    (void)predict(*bench.session, contiguous(input.data(), {2, 3}));
  });
  check_refusal(Code::engine_failed, {"fake: no"}, [&] { bench->run(); });
  bench.plan->on_run = [] {};
  CHECK(predict(*bench.session, contiguous(input.data(), {2, 3})) == std::vector<int>(kTensorBytes, 1));
  bench->run();
  CHECK(bench->own_output(0).view.data[0] == std::byte{1});
}

TEST_CASE("a binding that fails is an error of that call alone, whichever it is") {
  const Block aligned = Block::zeroed(kTensorBytes);
  const Block room = Block::zeroed(128);
  std::byte* off = room.data() + 1;
  std::set<int> refused;
  for (int nth = 1; nth <= 8; ++nth) {
    CAPTURE(nth);
    Bench bench(with_two_of_each());
    int binds = 0;
    bench.plan->on_bind = [&](Side, size_t) {
      if (++binds == nth) refuse();
    };
    int failures = 0;
    for (int round = 0; round < 3; ++round) {
      // In place and copied, into fresh memory and into the caller's.
      const auto predict = [&](std::byte* input, std::byte* target) {
        bench->argument(0) = contiguous(input, {2, 3});
        bench->argument(1) = contiguous(input, {4});
        if (target != nullptr) bench->target(1) = contiguous(target, {4});
        try {
          bench->predict();
          CHECK(bench->take(0)->view.data[0] == std::byte{1});
        } catch (const Error&) {
          ++failures;
        }
      };
      std::memset(room.data(), 0, 128);
      predict(aligned.data(), nullptr);
      predict(off, nullptr);
      predict(aligned.data(), room.data() + 64);
      predict(aligned.data(), room.data() + 65);
    }
    CHECK(failures == (binds >= nth ? 1 : 0));
    if (failures == 1) refused.insert(nth);
  }
  CHECK(refused.size() >= 6);  // of both sides: fresh, own and the caller's
}

TEST_CASE("memory whose place other memory failed to take is bound again when it is given again") {
  Bench bench;
  const Block first = Block::zeroed(kTensorBytes);
  const Block second = Block::zeroed(kTensorBytes);
  const Block target = Block::zeroed(kTensorBytes);
  const auto answer = [&](const Block& input, const Block* output) {
    std::memset(target.data(), 0, kTensorBytes);
    bench->argument(0) = contiguous(input.data(), {2, 3});
    if (output != nullptr) bench->target(0) = contiguous(output->data(), {2, 3});
    bench->predict();
    const Lease lease = bench->take(0);
    return std::to_integer<int>((output != nullptr ? output->data() : lease->view.data)[0]);
  };
  SUBCASE("an input") {
    CHECK(answer(first, nullptr) == 1);
    bench.plan->on_bind = [](Side, size_t) { refuse(); };
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { (void)answer(second, nullptr); });
    bench.plan->on_bind = [](Side, size_t) {};
    CHECK(answer(first, nullptr) == 1);
  }
  SUBCASE("an output") {
    CHECK(answer(first, &target) == 1);
    bench.plan->on_bind = [](Side, size_t) { refuse(); };
    check_refusal(Code::engine_failed, {"fake: no"}, [&] { (void)answer(first, &second); });
    bench.plan->on_bind = [](Side, size_t) {};
    CHECK(answer(first, &target) == 1);
  }
}

// ---- The end.

TEST_CASE("after close everything but what was handed out is refused") {
  Bench bench(with_dynamic_rows());
  const Session::Own own = bench->own_input(0);
  const Block input = Block::zeroed(64);
  fill(input.data(), 3, 1);
  std::vector<Lease> held;
  for (int i = 0; i < 6; ++i) {
    bench->argument(0) = contiguous(input.data(), {1, 3});
    bench->predict();
    held.push_back(bench->take(0));
  }
  bench->close();
  bench->close();
  CHECK_FALSE(bench->is_open());
  CHECK(bench.books.live_bindings() == 0);
  CHECK(bench.books.live_sessions == 0);

  const Shape two_rows{2, 3};
  bench->argument(0) = contiguous(input.data(), {1, 3});
  check_refusal(Code::closed, {"session", "close()"}, [&] { bench->predict(); });
  check_refusal(Code::closed, {"session", "close()"}, [&] { bench->run(); });
  check_refusal(Code::closed, {"session", "close()"}, [&] { bench->run_bare(1); });
  check_refusal(Code::closed, {"session", "close()"}, [&] { bench->reset(); });
  check_refusal(Code::closed, {"session", "close()"}, [&] { bench->resize({&two_rows, 1}); });
  check_refusal(Code::closed, {"session", "close()"}, [&] { (void)bench->own_input(0); });
  check_refusal(Code::closed, {"session", "close()"}, [&] { (void)bench->own_output(0); });

  fill(own.view.data, 3, 1);
  for (const Lease& lease : held) CHECK(numbers(lease->view.data, 3) == sequence(2, 3));
  SUBCASE("leases end after the session") { bench.session.reset(); }
  SUBCASE("leases end before the session") {}
  std::thread([&] { held.clear(); }).join();
}

TEST_CASE("leases outlive the session, from any thread") {
  FakeModel model = with_two_of_each({-1});
  Bench bench(model);
  const Block input = Block::zeroed(kTensorBytes);
  fill(input.data(), kTensorBytes, 1);
  bench->argument(0) = contiguous(input.data(), {2, 3});
  bench->argument(1) = contiguous(input.data(), {4});
  bench->predict();
  Lease known = bench->take(0);
  Lease by_value = bench->take(1);
  std::thread([&] { bench.session.reset(); }).join();
  CHECK(numbers(known->view.data, 6) == sequence(2, 6));
  CHECK(numbers(by_value->view.data, 4) == sequence(2, 4));
  CHECK(bench.books.live_sessions == 1);  // its memory is still in use
  std::thread([&] { by_value.reset(); }).join();
  CHECK(bench.books.live_sessions == 0);
}

TEST_CASE("a second call during a run is refused, by whichever thread") {
  Bench bench;
  const Block input = Block::zeroed(kTensorBytes);
  (void)bench->own_input(0);
  bench.plan->on_run = [&] {
    std::thread([&] {
      const Shape shape{2, 3};
      check_refusal(Code::busy, {"session", "one thread at a time"}, [&] { bench->run(); });
      check_refusal(Code::busy, {"session", "one thread at a time"}, [&] { bench->predict(); });
      check_refusal(Code::busy, {"session", "one thread at a time"}, [&] { bench->resize({&shape, 1}); });
      check_refusal(Code::busy, {"session", "one thread at a time"}, [&] { bench->reset(); });
      check_refusal(Code::busy, {"session", "one thread at a time"}, [&] { (void)bench->own_output(0); });
      check_refusal(Code::busy, {"session", "one thread at a time"}, [&] { bench->close(); });
    }).join();
  };
  CHECK(predict(*bench.session, contiguous(input.data(), {2, 3})) == std::vector<int>(kTensorBytes, 1));
  bench.plan->on_run = [] {};
  CHECK(predict(*bench.session, contiguous(input.data(), {2, 3})) == std::vector<int>(kTensorBytes, 1));
}

TEST_CASE("many threads on one session: each call is answered rightly or refused as busy") {
  Bench bench;
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        try {
          bench->run();
          ++answered;
        } catch (const Error& error) {
          if (error.code() != Code::busy) bench.books.complain(error.what());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(answered > 0);
  CHECK(bench.books.runs == answered);
}

TEST_CASE("threads that close a session together, and one that runs it, do not collide") {
  for (int round = 0; round < 50; ++round) {
    Bench bench;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          try {
            if (t == 0) {
              bench->run();
            } else {
              bench->close();
            }
          } catch (const Error& error) {
            if (error.code() != Code::busy && error.code() != Code::closed) bench.books.complain(error.what());
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST_CASE("a child process is refused, and ends nothing of its parent's") {
  Bench bench(with_two_of_each({-1}));
  const Block input = Block::zeroed(kTensorBytes);
  fill(input.data(), kTensorBytes, 1);
  const auto predict_once = [&] {
    bench->argument(0) = contiguous(input.data(), {2, 3});
    bench->argument(1) = contiguous(input.data(), {4});
    bench->predict();
  };
  bench->run();
  predict_once();
  Lease known = bench->take(0);
  Lease by_value = bench->take(1);
  predict_once();  // whose results stay inside

  const size_t live = bench.books.live_bindings();
  const auto is_refused = [](auto&& call) {
    try {
      call();
      return false;
    } catch (const Error& error) {
      return error.code() == Code::forked;
    }
  };
  CHECK(outcome_in_child([&] {
          const bool all = is_refused([&] { bench->run(); }) && is_refused([&] { bench->run_bare(1); }) &&
                           is_refused(predict_once) && is_refused([&] { bench->reset(); }) &&
                           is_refused([&] { bench->close(); }) && is_refused([&] { (void)bench->own_input(0); }) &&
                           is_refused([&] { (void)bench->own_output(0); });
          return all;
        }) == "");
  CHECK(outcome_in_child([&] {
          bench.session.reset();
          return bench.books.live_bindings() == live && bench.books.live_sessions == 1 &&
                 bench.books.complaints().empty();
        }) == "");
  CHECK(outcome_in_child([&] {
          bench.session.reset();
          known.reset();
          by_value.reset();
          return bench.books.live_bindings() == live && bench.books.live_sessions == 1 &&
                 bench.books.complaints().empty();
        }) == "");
  bench->take(0).reset();
  bench->take(1).reset();
  predict_once();
  CHECK(numbers(known->view.data, 6) == sequence(2, 6));
}

TEST_CASE("a child process does not wait for a run that was under way when it was forked") {
  Bench bench;
  std::mutex gate;
  gate.lock();
  std::atomic<bool> is_inside{false};
  bench.plan->on_run = [&] {
    is_inside = true;
    is_inside.notify_all();
    const std::lock_guard wait(gate);
  };
  std::thread runner([&] { bench->run(); });
  is_inside.wait(false);
  CHECK(outcome_in_child([&] {
          bench.session.reset();
          return bench.books.live_sessions == 1;
        }) == "");
  gate.unlock();
  runner.join();
}

// ---- Everything at once.

TEST_CASE("any order of calls and failures: right answers, and every binding released once") {
  size_t predictions = 0;
  size_t failures = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto chance = [&](uint32_t one_in) { return random() % one_in == 0; };
    FakeModel model = chance(3) ? with_output_by_value() : chance(2) ? with_dynamic_rows() : FakeModel();
    const bool is_by_value = model.outputs[0].shape == Shape{-1};
    const bool is_dynamic = model.inputs[0].shape.is_dynamic();
    Bench bench(model);
    bool may_fail = true;
    const auto fail_sometimes = [&] {
      if (may_fail && random() % 12 == 0) refuse();
    };
    bench.plan->on_bind = [&](Side, size_t) { fail_sometimes(); };
    bench.plan->on_run = fail_sometimes;
    bench.plan->on_view = fail_sometimes;
    bench.plan->on_resize = [&](std::span<const Shape>) { fail_sometimes(); };

    const Block memory = Block::zeroed(512);
    fill(memory.data(), 256, 1);
    std::vector<Lease> held;
    std::vector<Session::Own> shown;
    for (int step = 0; step < 60; ++step) {
      try {
        const Shape shape{is_dynamic ? static_cast<int64_t>(1 + random() % 3) : 2, 3};
        const size_t bytes = *size_bytes(DType::uint8, shape);
        switch (random() % 8) {
          case 0:
          case 1:
          case 2: {
            const size_t from = chance(2) ? 64 * (random() % 3) : random() % 200;
            bench->argument(0) = contiguous(memory.data() + from, shape);
            const bool has_target = !is_by_value && chance(3);
            std::byte* target = memory.data() + 256 + (chance(2) ? 0 : random() % 100);
            if (has_target) bench->target(0) = contiguous(target, shape);
            bench->predict();
            ++predictions;
            Lease result = chance(6) ? Lease() : bench->take(0);
            const std::byte* got = has_target ? target : result != nullptr ? result->view.data : nullptr;
            if (got != nullptr) CHECK(got[bytes - 1] == static_cast<std::byte>(from + bytes + 1));
            if (result != nullptr && !chance(3)) held.push_back(std::move(result));
            break;
          }
          case 3: bench->run(); break;
          case 4: bench->resize({&shape, 1}); break;
          case 5: shown.push_back(bench->own_input(0)); break;
          case 6: shown.push_back(bench->own_output(0)); break;
          default:
            if (!held.empty()) held.erase(held.begin() + static_cast<ptrdiff_t>(random() % held.size()));
        }
      } catch (const Error& error) {
        ++failures;
        CHECK(code_name(error.code()) == code_name(Code::engine_failed));
      }
      may_fail = false;
      if (chance(40)) bench->close();
      if (!bench->is_open()) bench.open();
      may_fail = true;
    }
  }
  CHECK(predictions > 2000);
  CHECK(failures > 500);
}

}  // namespace edgeward
