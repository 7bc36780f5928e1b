#include "core/base/stoppable_sort.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "core/base/error.h"

using namespace headscope::core;

TEST(StoppableSort, sortsAsStableSortDoes) {
  std::mt19937_64 engine(1);
  std::vector<std::pair<int, int>> values;
  for (int i = 0; i < 5000; ++i) values.emplace_back(static_cast<int>(engine() % 300), i);
  auto expected = values;
  const auto less = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(expected.begin(), expected.end(), less);
  stoppableSort(values.begin(), values.end(), less, Job());
  EXPECT_EQ(values, expected);
}

TEST(StoppableSort, endsSoonAfterTheJobIsCancelled) {
  std::mt19937_64 engine(2);
  std::vector<uint64_t> values(1 << 17);
  for (uint64_t& v : values) v = engine();
  Job job;
  int64_t comparisons = 0;
  const auto less = [&](uint64_t a, uint64_t b) {
    if (++comparisons == 100000) job.cancel();
    return a < b;
  };
  EXPECT_THROW(stoppableSort(values.begin(), values.end(), less, job), Cancelled);
  EXPECT_LE(comparisons, 100000 + (1 << 15));
}
