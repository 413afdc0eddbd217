#include "models/account.h"

#include <doctest/doctest.h>

#include "models/session.h"
#include "rigs/child.h"
#include "rigs/fake_engine.h"

namespace edgeward {
namespace {

// An engine with a session, both of which count in one account.
struct Counted {
  explicit Counted(bool keeps_arenas = false) {
    FakeModel model;
    model.memory = {1000, 200, 30};
    model.keeps_arenas = keeps_arenas;
    engine = std::make_shared<const FakeEngine>(std::make_shared<const FakeModel>(model), books);
    account->name_engine(engine);
    session = std::make_unique<Session>(engine, 0, account);
    session->add_arenas(5000);
  }

  Books books;
  std::shared_ptr<Account> account = Account::make();
  std::shared_ptr<const Engine> engine;
  std::unique_ptr<Session> session;
};

}  // namespace

TEST_CASE("an account has the engine's memory and what its session took") {
  const Counted counted;
  const MemoryReport report = counted.account->report();
  CHECK(report.file_bytes == 1000);
  CHECK(report.packed_bytes == 200);
  CHECK(report.arenas_bytes == 5030);
  CHECK(report.outputs_bytes == 0);
  CHECK(report.session_count == 1);
  CHECK(report.total_bytes() == 6230);
}

TEST_CASE("what a session took goes when it closes") {
  Counted counted;
  counted.session->close();
  CHECK(counted.account->report().arenas_bytes == 30);
  CHECK(counted.account->report().session_count == 0);
  counted.session.reset();
  CHECK(counted.account->report().session_count == 0);
}

TEST_CASE("what the engine keeps goes with the engine") {
  Counted counted(true);
  counted.session.reset();
  CHECK(counted.account->report().arenas_bytes == 5030);
  counted.engine.reset();
  CHECK(counted.account->report().total_bytes() == 0);
}

TEST_CASE("memory of inputs and outputs counts as long as anybody has it") {
  Counted counted;
  Session::Own input = counted.session->own_input(0);
  const Session::Own output = counted.session->own_output(0);
  const uint64_t both_bytes = input.view.size_bytes + output.view.size_bytes;
  CHECK(counted.account->report().outputs_bytes == both_bytes);
  counted.session.reset();
  CHECK(counted.account->report().outputs_bytes == both_bytes);
  input.keeper.reset();
  CHECK(counted.account->report().outputs_bytes == output.view.size_bytes);
}

TEST_CASE("results count while they are lent, and a few while they are idle") {
  Counted counted;
  const Session::Own input = counted.session->own_input(0);
  const uint64_t before_bytes = counted.account->report().outputs_bytes;
  const Block argument = Block::zeroed(input.view.size_bytes);
  std::vector<Lease> results;
  for (int i = 0; i < 9; ++i) {
    counted.session->argument(0) = {argument.data(), 1, {2, 3}, {3, 1}};
    counted.session->predict();
    results.push_back(counted.session->take(0));
  }
  const uint64_t result_bytes = results[0]->view.size_bytes;
  CHECK(counted.account->report().outputs_bytes == before_bytes + 9 * result_bytes);
  results.clear();
  CHECK(counted.account->report().outputs_bytes == before_bytes + 4 * result_bytes);
  counted.session.reset();
  CHECK(counted.account->report().outputs_bytes == input.view.size_bytes);
}

TEST_CASE("all accounts of the process are told, and none of its parent's") {
  const uint64_t before_bytes = Account::all_bytes();
  const Counted first;
  {
    const Counted second;
    CHECK(Account::all_bytes() == before_bytes + 2 * 6230);
  }
  CHECK(Account::all_bytes() == before_bytes + 6230);
  CHECK(outcome_in_child([&] { return Account::all_bytes() == 0; }) == "");
}

}  // namespace edgeward
