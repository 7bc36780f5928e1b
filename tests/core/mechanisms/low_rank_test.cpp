// Linformer and Nystrom: no padding leaks, the oracle is the best of its rank, exact with a landmark a token.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/mechanisms/linformer.h"
#include "core/mechanisms/registry.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

TEST(Linformer, poolingLeaksNoPaddingAtOddSizes) {
  for (const int64_t n : {1, 2, 7, 50}) {
    const RandomHead head(n, 4, 3);
    Job job;
    const int64_t p = std::min<int64_t>(n, 6);
    const auto part = [&](int64_t j) {  // longer parts first
      const int64_t q = n / p, longer = n % p;
      return j < longer * (q + 1) ? j / (q + 1) : longer + (j - longer * (q + 1)) / q;
    };
    std::vector<double> map(static_cast<size_t>(n * n));
    for (int64_t i = 0; i < n; ++i) {
      std::vector<double> score(static_cast<size_t>(p)), size(static_cast<size_t>(p));
      for (int64_t j = 0; j < n; ++j) ++size[static_cast<size_t>(part(j))];
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t c = 0; c < 4; ++c)
          score[static_cast<size_t>(part(j))] += head.input.scale * static_cast<double>(head.query(i, c)) *
                                                 static_cast<double>(head.key(j, c)) / size[static_cast<size_t>(part(j))];
      }
      double sum = 0;
      for (const double s : score) sum += std::exp(s);
      for (int64_t j = 0; j < n; ++j)
        map[static_cast<size_t>(i * n + j)] = std::exp(score[static_cast<size_t>(part(j))]) / sum / size[static_cast<size_t>(part(j))];
    }
    expectMap("pool " + std::to_string(n), head.input, *parseMechanism("linformer:rank=6")->bind(head.input, job), map);
  }
}

TEST(Linformer, oracleIsTheBestOfItsRank) {
  const RandomHead head(70, 6, 4, 1.0);
  Job job;
  double before = 1e9;
  for (const int64_t rank : {1, 4, 16, 70, 500}) {
    const auto run = parseMechanism("linformer:projection=svd,rank=" + std::to_string(rank))->bind(head.input, job);
    const Matrix map = wholeMap(*run, 70, job), truth = wholeMap(*parseMechanism("causal")->bind(head.input, job), 70, job);
    double error = 0;
    for (int64_t i = 0; i < map.size(); ++i) error += std::pow(static_cast<double>(map.data()[i] - truth.data()[i]), 2);
    EXPECT_LE(error, before);
    before = error;
    if (rank >= 70) {
      EXPECT_LT(error, 1e-8);
    }
    if (rank == 16) {  // no other projection on 16 directions does better
      const Matrix basis = leadingRowSpace(head.input, 16, 99, job);
      EXPECT_EQ(basis.cols(), 16);
      double energy = 0, total = 0;
      for (int64_t i = 0; i < truth.size(); ++i) total += std::pow(static_cast<double>(truth.data()[i]), 2);
      for (int64_t c = 0; c < 16; ++c) {
        for (int64_t j = 0; j < 70; ++j) {
          double dot = 0;
          for (int64_t i = 0; i < 70; ++i) dot += static_cast<double>(basis(i, c)) * static_cast<double>(truth(i, j));
          energy += dot * dot;
        }
      }
      EXPECT_NEAR(total - energy, error, 1e-4 * total);
    }
  }
}

TEST(Nystrom, isExactWithALandmarkATokenAndLeaksNoPadding) {
  for (const int64_t n : {1, 2, 7, 30}) {
    const RandomHead head(n, 4, 3, 0.8, false);
    Job job;
    const auto run = parseMechanism("nystrom:landmarks=64,inverse=exact")->bind(head.input, job);  // more landmarks than tokens
    expectMap("nystrom " + std::to_string(n), head.input, *run, naiveMap(head.input, [](int64_t, int64_t) { return true; }), 2e-3);
  }
  const RandomHead head(50, 4, 3, 0.8, false);  // 50 = 7 * 7 + 1: rows still sum to about one, nothing of padding is in them
  Job job;
  const Matrix map = wholeMap(*parseMechanism("nystrom:landmarks=7,inverse=exact")->bind(head.input, job), 50, job);
  for (int64_t r = 0; r < 50; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < 50; ++c) sum += static_cast<double>(map(r, c));
    EXPECT_NEAR(sum, 1.0, 1e-3);
  }
}

}  // namespace
}  // namespace headscope::tests
