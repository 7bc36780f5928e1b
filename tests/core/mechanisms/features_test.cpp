// Attention by features against its formulas: across chunks, under exploding logits, orthogonal rows.
#include <gtest/gtest.h>

#include <cmath>

#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/random_features.h"
#include "core/mechanisms/registry.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

/// Normalised rows of phi(q).phi(k) over visible keys.
std::vector<double> featureMap(const HeadInput& in, bool isCausal, const std::function<double(int64_t, int64_t)>& kernel) {
  const int64_t n = in.count();
  std::vector<double> map(static_cast<size_t>(n * n), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < (isCausal ? i + 1 : n); ++j) sum += map[static_cast<size_t>(i * n + j)] = kernel(i, j);
    for (int64_t j = 0; j < n; ++j) map[static_cast<size_t>(i * n + j)] /= sum;
  }
  return map;
}

TEST(Features, linearAgreesWithTheFormulaAcrossChunks) {
  const auto phi = [](float x) { return x > 0 ? static_cast<double>(x) + 1 : std::exp(static_cast<double>(x)); };
  for (const bool isCausal : {true, false}) {
    for (const int64_t n : {1, 2, 127, 128, 129, 300}) {
      const RandomHead head(n, 5, 3, 1.5, isCausal);
      Job job;
      const auto run = parseMechanism("linear")->bind(head.input, job);
      expectMap("linear", head.input, *run, featureMap(head.input, isCausal, [&](int64_t i, int64_t j) {
                  double sum = 0;
                  for (int64_t c = 0; c < 5; ++c) sum += phi(head.query(i, c)) * phi(head.key(j, c));
                  return sum;
                }));
      // Counted: features 2 N m, sums and answers N (4 m v + 3 m + v), chunks 2 n^2 (m + v) each.
      double expected = static_cast<double>(n) * (2 * 5 + 4 * 5 * 3 + 3 * 5 + 3);
      for (int64_t at = 0; isCausal && at < n; at += 128)
        expected += 2.0 * std::pow(static_cast<double>(std::min<int64_t>(128, n - at)), 2) * (5 + 3);
      EXPECT_DOUBLE_EQ(run->cost().operations, expected) << n << isCausal;
    }
  }
}

TEST(Features, linearWorkGrowsLinearlyAndItsStateDoesNotGrow) {
  double perToken = 0, held = 0;
  for (const int64_t n : {1024, 8192, 32768}) {
    const RandomHead head(n, 8, 8, 1.0, true, 3, 1);
    Job job;
    const auto run = parseMechanism("linear")->bind(head.input, job);
    const Matrix out = wholeOutput(*run, n, 8, job);
    const Cost cost = run->cost();
    if (perToken > 0) {
      EXPECT_DOUBLE_EQ(cost.operations / static_cast<double>(n), perToken);
      EXPECT_EQ(cost.bytesHeld, held);
    }
    perToken = cost.operations / static_cast<double>(n);
    held = cost.bytesHeld;
  }
}

/// log sum_f exp(w_f.(q + k) - |q|^2/2 - |k|^2/2) with q, k scaled by the root of the model's scale.
double performerLog(const RandomHead& head, const Matrix& w, int64_t i, int64_t j) {
  std::vector<double> terms;
  for (int64_t f = 0; f < w.rows(); ++f) {
    double term = 0;
    for (int64_t c = 0; c < w.cols(); ++c) {
      const double q = static_cast<double>(head.query(i, c)) * std::sqrt(head.input.scale),
                   k = static_cast<double>(head.key(j, c)) * std::sqrt(head.input.scale);
      term += static_cast<double>(w(f, c)) * (q + k) - (q * q + k * k) / 2;
    }
    terms.push_back(term);
  }
  const double largest = *std::max_element(terms.begin(), terms.end());
  double sum = 0;
  for (const double t : terms) sum += std::exp(t - largest);
  return largest + std::log(sum);
}

TEST(Features, performerStaysFiniteWhenLogitsExplode) {
  for (const double spread : {1.0, 8.0, 40.0}) {  // logits of thousands at 40
    for (const bool isCausal : {true, false}) {
      const RandomHead head(150, 6, 3, spread, isCausal);
      const Matrix w = orthogonalRows(20, 6, 7);
      Job job;
      const auto run = performerRun(head.input, orthogonalRows(20, 6, 7));
      std::vector<double> map(150 * 150, 0.0);
      for (int64_t i = 0; i < 150; ++i) {  // each row against its own largest term
        double sum = 0, largest = -1e300;
        std::vector<double> logs(150, -1e300);
        for (int64_t j = 0; j < (isCausal ? i + 1 : 150); ++j)
          largest = std::max(largest, logs[static_cast<size_t>(j)] = performerLog(head, w, i, j));
        for (size_t j = 0; j < 150; ++j) sum += map[static_cast<size_t>(i) * 150 + j] = std::exp(logs[j] - largest);
        for (size_t j = 0; j < 150; ++j) map[static_cast<size_t>(i) * 150 + j] /= sum;
      }
      // Float32 logarithms of thousands carry 1e-4 each: tolerance grows with them.
      expectMap("performer " + std::to_string(spread), head.input, *run, map, spread < 2 ? 1e-4 : spread < 10 ? 2e-3 : 2e-2);
      EXPECT_TRUE(run->emptyRows().empty());
    }
  }
}

TEST(Features, orthogonalRowsAreOrthogonalInBlocksAndApproachTheSoftmax) {
  const Matrix w = orthogonalRows(13, 5, 3);
  for (int64_t a = 0; a < 13; ++a) {
    for (int64_t b = 0; b < a; ++b) {
      double dot = 0;
      for (int64_t c = 0; c < 5; ++c) dot += static_cast<double>(w(a, c)) * static_cast<double>(w(b, c));
      if (a / 5 == b / 5) {
        EXPECT_NEAR(dot, 0, 1e-5);
      }
    }
  }
  const RandomHead head(60, 8, 4, 0.7);
  Job job;
  std::vector<double> errors;
  for (const char* word : {"performer:features=16", "performer:features=4096"}) {
    const auto run = parseMechanism(word)->bind(head.input, job);
    const HeadRun* runs[] = {run.get()};
    errors.push_back(headErrors(head.input, runs, head.output, {}, job)[0].output);
  }
  EXPECT_LT(errors[1], 0.1);
  EXPECT_LT(errors[1], errors[0]);
}

TEST(Features, rfaIsSignedButSumsToOne) {
  const RandomHead head(33, 6, 4);
  Job job;
  const Matrix map = wholeMap(*parseMechanism("rfa:features=3000,seed=2")->bind(head.input, job), 33, job);
  for (int64_t r = 0; r < 33; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < 33; ++c) sum += static_cast<double>(map(r, c));
    EXPECT_NEAR(sum, 1.0, 1e-4);
  }
  // Many features: the kernel exp(-|x - y|^2 / 2) of unit vectors, exp(x.y) up to a constant.
  std::vector<double> norm;
  expectMap("rfa", head.input, *parseMechanism("rfa:features=60000,seed=2")->bind(head.input, job),
            featureMap(head.input, true,
                       [&](int64_t i, int64_t j) {
                         double qk = 0, qq = 0, kk = 0;
                         for (int64_t c = 0; c < 6; ++c) {
                           const double q = static_cast<double>(head.query(i, c)), k = static_cast<double>(head.key(j, c));
                           qk += q * k;
                           qq += q * q;
                           kk += k * k;
                         }
                         return std::exp(qk / std::sqrt(qq * kk));
                       }),
            3e-2);
}

}  // namespace
}  // namespace headscope::tests
