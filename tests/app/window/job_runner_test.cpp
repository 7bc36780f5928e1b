#include "app/window/job_runner.h"

#include <atomic>

#include "tests/app/window/window_fixture.h"

namespace headscope::app {
namespace {

class JobRunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!testApplication()) GTEST_SKIP() << "no display: run under xvfb-run";
  }
  static bool waitFor(const std::function<bool()>& condition) { return QTest::qWaitFor(condition, 30'000); }
};

/// Runs until cancelled.
JobRunner::Delivery endless(core::Job& job) {
  for (;;) {
    job.checkpoint();
    std::this_thread::yield();
  }
}

}  // namespace

TEST_F(JobRunnerTest, theNewestRequestOfALaneWins) {
  JobRunner runner(2);
  std::vector<int> delivered;
  for (int i = 0; i < 20; ++i) {
    runner.submit(
        "lane", "count",
        [&, i](core::Job& job) -> JobRunner::Delivery {
          job.checkpoint();
          return [&delivered, i] { delivered.push_back(i); };
        },
        nullptr);
  }
  ASSERT_TRUE(waitFor([&] { return runner.isIdle(); }));
  EXPECT_EQ(delivered, std::vector<int>{19});
}

TEST_F(JobRunnerTest, aNewRequestCancelsTheRunningOne) {
  JobRunner runner(1);
  bool isDone = false;
  const auto first = runner.submit("lane", "endless", endless, nullptr);
  runner.submit(
      "lane", "short", [&](core::Job&) -> JobRunner::Delivery { return [&] { isDone = true; }; }, nullptr);
  EXPECT_TRUE(waitFor([&] { return isDone; }));
  EXPECT_TRUE(first->cancelled());
}

TEST_F(JobRunnerTest, errorsComeBackOnceOnThisThread) {
  JobRunner runner(2);
  std::vector<std::string> faults;
  const auto here = std::this_thread::get_id();
  const auto failed = [&](const core::Error& e) {
    EXPECT_EQ(std::this_thread::get_id(), here);
    faults.push_back(e.fault());
  };
  runner.submit(
      "a", "a", [](core::Job&) -> JobRunner::Delivery { throw core::Error("no such thing", "file"); }, failed);
  runner.submit(
      "b", "b", [](core::Job&) -> JobRunner::Delivery { throw std::bad_alloc(); }, failed);
  ASSERT_TRUE(waitFor([&] { return runner.isIdle(); }));
  std::sort(faults.begin(), faults.end());
  EXPECT_EQ(faults, (std::vector<std::string>{"memory ran out", "no such thing"}));
}

TEST_F(JobRunnerTest, destructionCancelsAndWaits) {
  JobRunner runner(2);
  runner.submit("a", "a", endless, nullptr);
  runner.submit("b", "b", endless, nullptr);
  runner.submit("c", "c", endless, nullptr);
  EXPECT_EQ(runner.active().size(), 3u);
  runner.cancel("c");
  EXPECT_EQ(runner.active().size(), 2u);
}

}  // namespace headscope::app
