// DenseAttention's orders and schemes against naive loops, and its counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/registry.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;
using Sees = std::function<bool(int64_t, int64_t)>;

TEST(DenseAttention, ordersAgreeAndLocalSchemesSeeTheirWindows) {
  for (const bool isCausal : {true, false}) {
    for (const int64_t n : {1, 2, 7, 70, 131}) {
      const RandomHead head(n, 5, 5, 1.0, isCausal);
      Job job;
      struct Scheme {
        const char* word;
        Sees sees;
        double tokens;
      };
      const Scheme schemes[] = {
          {"global", [](int64_t, int64_t) { return true; }, static_cast<double>(n)},
          {"chunk", [](int64_t i, int64_t j) { return i / 6 == j / 6; }, static_cast<double>(std::min<int64_t>(n, 6))},
          {"shifted", [](int64_t i, int64_t j) { return (i + 3) / 6 == (j + 3) / 6; }, static_cast<double>(std::min<int64_t>(n, 6))},
          {"sliding", [](int64_t i, int64_t j) { return j <= i && i - j < 6; }, static_cast<double>(std::min<int64_t>(n, 6))},
      };
      for (const Scheme& scheme : schemes) {
        for (const bool hasCosine : {false, true}) {
          const auto project = [&](const Matrix& w, int64_t i, int64_t c) {
            double sum = 0, largest = 0;
            for (int64_t d = 0; d < 24; ++d) largest = std::max(largest, std::abs(static_cast<double>(head.normed(i, d))));
            for (int64_t d = 0; d < 24; ++d) {
              double x = static_cast<double>(head.normed(i, d)) / (largest + 1e-3) * std::pow(scheme.tokens, -1.0 / 3);
              if (hasCosine) x *= std::cos(static_cast<double>(i) * std::pow(10000.0, -static_cast<double>(d % 5) / 5));
              sum += x * static_cast<double>(w(c, d));
            }
            return sum;
          };
          std::vector<double> map(static_cast<size_t>(n * n), 0.0), out(static_cast<size_t>(n * 5), 0.0);
          std::vector<double> q, k, v;  // [N, 5]
          for (int64_t i = 0; i < n * 5; ++i) {
            q.push_back(project(head.queryWeight, i / 5, i % 5));
            k.push_back(project(head.keyWeight, i / 5, i % 5));
            v.push_back(project(head.valueWeight, i / 5, i % 5));
          }
          for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j < n; ++j) {
              if (!scheme.sees(i, j) || (isCausal && j > i)) continue;
              for (int64_t c = 0; c < 5; ++c)
                map[static_cast<size_t>(i * n + j)] += q[static_cast<size_t>(i * 5 + c)] * k[static_cast<size_t>(j * 5 + c)];
              for (int64_t c = 0; c < 5; ++c)
                out[static_cast<size_t>(i * 5 + c)] += map[static_cast<size_t>(i * n + j)] * v[static_cast<size_t>(j * 5 + c)];
            }
          }
          for (const char* order : {"linear", "quadratic", "auto"}) {
            const std::string word = std::string("dense_attention:window=6,order=") + order + ",scheme=" + scheme.word +
                                     ",relpe=" + (hasCosine ? "cosine" : "none");
            const auto run = parseMechanism(word)->bind(head.input, job);
            EXPECT_LE(relativeError(wholeMap(*run, n, job), map), 2e-5) << word << n;
            EXPECT_LE(relativeError(wholeOutput(*run, n, 5, job), out), 2e-5) << word << n;
            EXPECT_EQ(run->notes()[0].rfind("a what-if", 0), 0u);
          }
        }
      }
    }
  }
}

TEST(DenseAttention, countsBothOrdersAsTheFormulasSay) {
  const int64_t n = 256, k = 8;
  const RandomHead head(n, k, k, 1.0, false);
  Job job;
  const auto operations = [&](const char* order) {
    const auto run = parseMechanism(std::string("dense_attention:order=") + order)->bind(head.input, job);
    wholeOutput(*run, n, k, job);
    return run->cost().operations;
  };
  EXPECT_DOUBLE_EQ(operations("linear"), 2 * 2.0 * n * k * k);     // 2 N k^2 multiply-adds
  EXPECT_DOUBLE_EQ(operations("quadratic"), 2 * 2.0 * n * n * k);  // 2 N^2 k multiply-adds
  EXPECT_DOUBLE_EQ(operations("auto"), operations("linear"));
  HeadInput bare = head.input;
  bare.normedInput = {};
  EXPECT_THROW(parseMechanism("dense_attention")->bind(bare, job), Error);
}

}  // namespace
}  // namespace headscope::tests
