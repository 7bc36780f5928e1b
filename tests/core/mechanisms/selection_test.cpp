// Rows chosen without sorting against a sort: ties, plateaus, one key, all keys, masses that land between keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/mechanisms/registry.h"
#include "core/mechanisms/selection.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

std::vector<int32_t> sortedChoice(const std::vector<float>& scores, SelectionRule rule) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)]; });
  size_t kept = std::min(scores.size(), static_cast<size_t>(rule.keys));
  if (rule.keys == 0) {
    const float largest = *std::max_element(scores.begin(), scores.end());
    double total = 0, sum = 0;
    const auto weight = [&](int32_t j) { return static_cast<double>(std::exp(scores[static_cast<size_t>(j)] - largest)); };
    for (const int32_t j : order) total += weight(j);
    for (kept = 0; kept < order.size() && (kept == 0 || sum / total < rule.mass - 1e-12); ++kept) sum += weight(order[kept]);
  }
  order.resize(kept);
  std::sort(order.begin(), order.end());
  return order;
}

TEST(RowSelection, choosesWhatASortChooses) {
  Random random(4);
  for (const int64_t count : {1, 2, 3, 47, 48, 49, 200, 1500}) {
    for (const double spread : {0.0, 0.01, 1.0, 30.0}) {
      for (const double step : {0.0, 0.5}) {  // rounded to steps: many ties
        std::vector<float> scores;
        for (int64_t j = 0; j < count; ++j) {
          const double s = spread * random.normal();
          scores.push_back(static_cast<float>(step > 0 ? std::round(s / step) * step : s));
        }
        for (const int64_t keys : {1, 2, 16, 64, 5000}) {
          RowSelection selection({keys, 0});
          EXPECT_EQ(selection.choose(scores.data(), count), sortedChoice(scores, {keys, 0})) << count << " " << spread << " " << keys;
        }
        for (const double mass : {1e-6, 0.5, 0.9, 0.999, 1.0}) {
          RowSelection selection({0, mass});
          const auto got = selection.choose(scores.data(), count), want = sortedChoice(scores, {0, mass});
          // Sums of floats in another order may move the last key
          EXPECT_LE(std::abs(static_cast<double>(got.size()) - static_cast<double>(want.size())),
                    mass == 1.0 ? 0.02 * static_cast<double>(count) + 1 : 1)
              << count << " " << spread << " " << mass;
        }
      }
    }
  }
}

TEST(RowSelection, outputsAreTheMapsTimesValues) {
  const RandomHead head(300, 6, 5, 2.5);
  Job job;
  for (const char* word : {"topk:k=1", "topk:k=7", "topk:k=200", "topp:p=0.3", "topp:p=0.95", "topp:p=1"}) {
    const auto run = parseMechanism(word)->bind(head.input, job);
    const Matrix map = wholeMap(*run, 300, job), out = wholeOutput(*run, 300, 5, job);
    std::vector<double> exact(300 * 300);
    for (int64_t i = 0; i < map.size(); ++i) exact[static_cast<size_t>(i)] = static_cast<double>(map.data()[i]);
    EXPECT_LE(relativeError(out, naiveOutput(exact, head.value)), 2e-5) << word;
    const Cost cost = run->cost();
    EXPECT_GE(cost.pairs, 300.0 * 301 / 2);
    EXPECT_LE(cost.keptPairs, 300.0 * 301 / 2);
    EXPECT_GT(cost.operations, cost.pairs * (2 * 6 + 3));
    EXPECT_LT(cost.operations, cost.pairs * (2 * 6 + 3 + 120 + 2 * 5) + 300 * 5);
  }
}

}  // namespace
}  // namespace headscope::tests
