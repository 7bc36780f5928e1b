// The choice of keys of a row, by a team of one in both orders, against the rule as core/mechanisms/selection.h has it.
#include "gpu/arithmetic/row_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/mechanisms/selection.h"
#include "gpu/arithmetic/team.h"
#include "tests/support/naive_ops.h"

using namespace headscope::gpu;
using headscope::core::RowSelection;
using headscope::tests::randomMatrix;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<int32_t> chosen(const std::vector<float>& scores, const RowRule& rule, bool isBackwards, RowSums* sums = nullptr) {
  std::vector<float> x = scores;
  SerialTeam team(isBackwards);
  const RowSums found = chooseRow(team, x.data(), static_cast<int>(x.size()), rule);
  if (sums != nullptr) *sums = found;
  std::vector<int32_t> keys;
  double sum = 0;
  for (size_t j = 0; j < x.size(); ++j) {
    if (x[j] > 0) keys.push_back(static_cast<int32_t>(j));
    sum += x[j];
  }
  EXPECT_NEAR(sum, 1.0, 1e-5);
  EXPECT_EQ(found.kept, static_cast<double>(keys.size()));
  return keys;
}

void expectSame(const std::vector<float>& scores, int64_t keys, double mass) {
  RowSelection reference({keys, mass});
  const std::vector<int32_t> expected = reference.choose(scores.data(), static_cast<int64_t>(scores.size()));
  for (const bool isBackwards : {false, true}) EXPECT_EQ(chosen(scores, {keys, mass}, isBackwards), expected) << keys << " " << mass;
}

std::vector<float> row(int64_t n, uint64_t seed, double spread) {
  const auto m = randomMatrix(1, n, seed, spread);
  return {m.data(), m.data() + n};
}

}  // namespace

TEST(GpuRowChoice, ordersAreThoseOfTheNumbers) {
  const float numbers[] = {-kInfinity, -3e38f, -2.5f, -1e-40f, -0.0f, 0.0f, 1e-40f, 1.0f, 3e38f, kInfinity};
  for (size_t i = 0; i + 1 < std::size(numbers); ++i) EXPECT_LT(orderOf(numbers[i]), orderOf(numbers[i + 1])) << i;
  for (const float x : numbers) EXPECT_EQ(fromOrder(orderOf(x)), x);
  EXPECT_EQ(orderOf(-kInfinity), kUnseen);
  EXPECT_EQ(orderOf(std::nanf("")), 0u);
}

TEST(GpuRowChoice, keepsWhatTheMechanismsKeep) {
  for (const int64_t n : {1, 2, 17, 64, 300}) {
    for (const double spread : {0.1, 2.0, 9.0}) {
      const std::vector<float> scores = row(n, static_cast<uint64_t>(n) + 5, spread);
      for (const int64_t keys : {1, 3, 16, 299, 5000}) expectSame(scores, keys, 0);
      for (const double mass : {1e-6, 0.3, 0.9, 0.999}) expectSame(scores, 0, mass);
    }
  }
}

TEST(GpuRowChoice, tiesGoToTheEarlierKey) {
  std::vector<float> scores = row(40, 3, 1.0);
  for (const size_t j : {5u, 9u, 22u, 23u, 39u}) scores[j] = 4.0f;
  for (const int64_t keys : {1, 2, 4, 5, 6}) expectSame(scores, keys, 0);
  for (const double mass : {0.05, 0.2, 0.5, 0.8}) expectSame(scores, 0, mass);
  const std::vector<float> equal(33, -1.5f);
  for (const int64_t keys : {1, 7, 33}) expectSame(equal, keys, 0);
  EXPECT_EQ(chosen(equal, {0, 0.5}, false).size(), 17u);
  for (size_t j = 0; j < 17; ++j) EXPECT_EQ(chosen(equal, {0, 0.5}, true)[j], static_cast<int32_t>(j));
}

TEST(GpuRowChoice, keysThatAreNotSeenAreNeverKept) {
  std::vector<float> scores = row(50, 8, 2.0);
  for (size_t j = 0; j < 50; j += 3) scores[j] = -kInfinity;
  for (const RowRule rule : {RowRule{0, 0}, RowRule{100, 0}, RowRule{4, 0}, RowRule{0, 0.6}, RowRule{0, 1.0}}) {
    RowSums sums{};
    const std::vector<int32_t> keys = chosen(scores, rule, false, &sums);
    double sum = 0, squares = 0;
    for (const int32_t j : keys) {
      EXPECT_NE(j % 3, 0);
      sum += std::exp(static_cast<double>(scores[static_cast<size_t>(j)])), squares += std::exp(2.0 * scores[static_cast<size_t>(j)]);
    }
    EXPECT_NEAR(sums.logSumExp, std::log(sum), 1e-6);
    EXPECT_NEAR(sums.logSumSquares, std::log(squares), 1e-6);
  }
  std::vector<float> none(9, -kInfinity);
  SerialTeam team;
  const RowSums sums = chooseRow(team, none.data(), 9, {3, 0});
  EXPECT_EQ(sums.logSumExp, -INFINITY);
  EXPECT_EQ(sums.kept, 0);
  for (const float x : none) EXPECT_EQ(x, 0.0f);
  EXPECT_EQ(chooseRow(team, none.data(), 0, {0, 0.5}).logSumSquares, -INFINITY);
}

TEST(GpuRowChoice, aRowThatIsNotANumberSaysSo) {
  std::vector<float> scores = row(20, 9, 1.0);
  scores[7] = std::nanf("");
  for (const RowRule rule : {RowRule{0, 0}, RowRule{4, 0}, RowRule{0, 0.6}}) {
    std::vector<float> x = scores;
    SerialTeam team;
    EXPECT_TRUE(std::isnan(chooseRow(team, x.data(), 20, rule).logSumExp));
    EXPECT_TRUE(std::isnan(x[7]));
  }
}
