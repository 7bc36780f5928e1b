// The tiled attention kernel's block algorithm, thread by thread on the host and in both orders of its threads, against double loops:
// the model's own rules and listed masks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "gpu/arithmetic/attention_tile.h"
#include "gpu/arithmetic/tile_plan.h"
#include "tests/support/naive_ops.h"
#include "tests/support/op_cases.h"
#include "tests/support/op_checks.h"

using namespace headscope::gpu;
using namespace headscope::tests;
using headscope::core::AttentionRule;
using headscope::core::MaskedHead;
using headscope::core::Matrix;
using headscope::core::RangeList;

namespace {

template <int kGroups, typename Keys>
void attendBlock(const TileHead& head, int64_t firstQuery, const Keys& keys, const TileStatistics& statistics, bool isBackwards) {
  using Team = HostTileTeam<TileRegisters<kGroups>>;
  const auto team = std::make_unique<Team>(isBackwards);
  std::vector<float> memory(static_cast<size_t>(tileFloats(head.keyWidth)), std::nanf(""));
  TileAttention<kGroups, Team, Keys>(*team, head, firstQuery, keys, memory.data()).run(statistics);
}

template <typename Keys>
void attendAny(const TileHead& head, int64_t firstQuery, const Keys& keys, const TileStatistics& statistics, bool isBackwards) {
  const int groups = (head.valueWidth + kTileSide - 1) / kTileSide;
  if (groups <= 1) {
    attendBlock<1>(head, firstQuery, keys, statistics, isBackwards);
  } else if (groups == 2) {
    attendBlock<2>(head, firstQuery, keys, statistics, isBackwards);
  } else {
    attendBlock<4>(head, firstQuery, keys, statistics, isBackwards);
  }
}

double apart(const std::vector<float>& got, const Doubles& expected) {
  double scale = 1, worst = got.size() == expected.size() ? 0 : INFINITY;
  for (const double e : expected) scale = std::max(scale, std::isfinite(e) ? std::abs(e) : 0.0);
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - expected[i]) / scale;
    worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
  }
  return worst;
}

/// One head of the rule, all blocks.
void expectRule(int64_t count, const AttentionRule& rule, double spread, bool isBackwards) {
  const Matrix query = randomMatrix(count, rule.keyWidth + 3, 1, spread), key = randomMatrix(count, rule.keyWidth, 2, spread),
               value = randomMatrix(count, rule.valueWidth + 1, 3);
  const auto n = static_cast<size_t>(count);
  std::vector<float> out(n * static_cast<size_t>(rule.valueWidth), std::nanf("")), max(n), sums(n), entropy(n), distance(n);
  TileHead head{query.data() + 2,
                key.data(),
                value.data(),
                out.data(),
                query.cols(),
                key.cols(),
                value.cols(),
                rule.valueWidth,
                count,
                0,
                static_cast<int>(rule.keyWidth),
                static_cast<int>(rule.valueWidth),
                static_cast<float>(rule.scale),
                static_cast<float>(rule.softcap),
                0.0f};
  for (int64_t first = 0; first < count; first += kTileSide) {
    const SpanKeys keys = SpanKeys::of(first, std::min<int64_t>(first + kTileSide, count) - 1, count, rule.isCausal, rule.window);
    attendAny(head, first, keys, {max.data(), sums.data(), entropy.data(), distance.data()}, isBackwards);
  }
  const NaiveMap map = naiveMap(query.view().colsFrom(2, rule.keyWidth), key, rule);
  Doubles expected(out.size(), 0.0);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t c = 0; c < rule.valueWidth; ++c) expected[static_cast<size_t>(i * rule.valueWidth + c)] += map.at(i, j) * value(j, c);
    }
  }
  const std::string what = std::to_string(count) + " tokens, widths " + std::to_string(rule.keyWidth) + " and " +
                           std::to_string(rule.valueWidth) + ", window " + std::to_string(rule.window);
  EXPECT_LE(apart(out, expected), 5e-6) << what;
  EXPECT_LE(apart(max, map.max), 5e-6) << what;
  EXPECT_LE(apart(sums, map.logSumExp), 5e-6) << what;
  EXPECT_LE(apart(entropy, map.entropy), 5e-6) << what;
  EXPECT_LE(apart(distance, map.distance), 5e-6) << what;
}

}  // namespace

TEST(GpuTile, everyCaseOfTheTable) {
  for (const AttentionCase& c : attentionCases()) expectRule(c.count, c.rule, c.spread, c.count % 2 == 0);
}

TEST(GpuTile, widestHeads) {
  for (const auto& [k, v] : {std::pair<int64_t, int64_t>{256, 256}, {192, 128}, {65, 129}, {31, 255}, {128, 64}}) {
    expectRule(70, {1, 1, k, v, 0.1, 0, 0, true}, 1.0, false);
    expectRule(70, {1, 1, k, v, 0.1, 20.0, 5, true}, 1.0, true);
  }
}

TEST(GpuTile, windowsTouchOnlyTheirTiles) {
  for (const int64_t window : {1, 64, 65, 200}) {
    for (int64_t first = 0; first < 8192; first += kTileSide) {
      const SpanKeys keys = SpanKeys::of(first, first + kTileSide - 1, 8192, true, window);
      EXPECT_LE(keys.tiles(), (window + kTileSide - 1 + kTileSide - 1) / kTileSide);
      EXPECT_GE(keys.tiles(), 1);
    }
  }
}

TEST(GpuTile, everyMaskOfTheTable) {
  for (const MaskCase& c : maskCases()) {
    const Matrix query = randomMatrix(c.queries, c.keyWidth, 11, c.spread), key = randomMatrix(c.keys, c.keyWidth, 12, c.spread),
                 value = randomMatrix(c.keys, c.valueWidth, 13);
    const MaskedHead head{query, key, value, 0.25, c.softcap, c.slope, 3};
    std::vector<float> out(static_cast<size_t>(c.queries * c.valueWidth), std::nanf("")), sums(static_cast<size_t>(c.queries));
    const TileHead tiles{query.data(),
                         key.data(),
                         value.data(),
                         out.data(),
                         c.keyWidth,
                         c.keyWidth,
                         c.valueWidth,
                         c.valueWidth,
                         c.queries,
                         head.firstRow,
                         static_cast<int>(c.keyWidth),
                         static_cast<int>(c.valueWidth),
                         0.25f,
                         static_cast<float>(c.softcap),
                         static_cast<float>(c.slope)};
    const RangeList seen = seenKeys(c);
    const int64_t half = c.queries / 2 / kTileSide * kTileSide;  // two batches of rows, as the backend plans them
    for (const auto& [firstRow, rows] : {std::pair{int64_t{0}, half}, std::pair{half, c.queries - half}}) {
      const TilePlan plan = planTiles(seen, firstRow, rows);
      for (int64_t b = 0; b < plan.blocks(); ++b) {
        const int64_t from = plan.firstColumn[static_cast<size_t>(b)];
        const ListedKeys keys{plan.columns.data() + from, plan.masks.data() + plan.firstTile[static_cast<size_t>(b)] * kTileSide,
                              plan.firstColumn[static_cast<size_t>(b) + 1] - from};
        attendAny(tiles, firstRow + b * kTileSide, keys, {nullptr, sums.data(), nullptr, nullptr}, c.queries % 2 == 1);
      }
    }
    const NaiveMasked expected = naiveMasked(head, c);
    EXPECT_LE(apart(out, expected.out), 5e-6) << c.name;
    for (size_t i = 0; i < sums.size(); ++i) {
      if (std::isinf(expected.logSumExp[i])) {
        EXPECT_EQ(sums[i], -INFINITY) << c.name << " row " << i;
      } else {
        EXPECT_NEAR(sums[i], expected.logSumExp[i], 5e-6 * std::max(1.0, std::abs(expected.logSumExp[i]))) << c.name << " row " << i;
      }
    }
  }
}

TEST(GpuTile, plansListEachSeenKeyOnceAndNoOther) {
  for (const MaskCase& c : maskCases()) {
    const TilePlan plan = planTiles(seenKeys(c), 0, c.queries);
    ASSERT_EQ(plan.blocks(), (c.queries + kTileSide - 1) / kTileSide);
    for (int64_t b = 0; b < plan.blocks(); ++b) {
      const int64_t from = plan.firstColumn[static_cast<size_t>(b)], count = plan.firstColumn[static_cast<size_t>(b) + 1] - from,
                    tile = plan.firstTile[static_cast<size_t>(b)];
      EXPECT_TRUE(std::is_sorted(plan.columns.begin() + from, plan.columns.begin() + from + count));
      std::vector<bool> isListed(static_cast<size_t>(c.keys), false);
      for (int64_t at = 0; at < count; ++at) {
        const int64_t j = plan.columns[static_cast<size_t>(from + at)];
        EXPECT_FALSE(isListed[static_cast<size_t>(j)]);
        isListed[static_cast<size_t>(j)] = true;
        bool isSeen = false;
        for (int64_t r = 0; r < kTileSide; ++r) {
          const uint64_t mask = plan.masks[static_cast<size_t>((tile + at / kTileSide) * kTileSide + r)];
          const bool bit = (mask >> (at % kTileSide) & 1) != 0, wanted = b * kTileSide + r < c.queries && c.sees(b * kTileSide + r, j);
          EXPECT_EQ(bit, wanted) << c.name;
          isSeen = isSeen || bit;
        }
        EXPECT_TRUE(isSeen);
      }
      for (int64_t i = b * kTileSide; i < std::min<int64_t>((b + 1) * kTileSide, c.queries); ++i) {
        for (int64_t j = 0; j < c.keys; ++j) EXPECT_TRUE(!c.sees(i, j) || isListed[static_cast<size_t>(j)]) << c.name;
      }
    }
  }
}

TEST(GpuTile, aRowThatIsNotANumberStaysAlone) {
  Matrix query = randomMatrix(100, 8, 1);
  query(70, 2) = std::nanf("");
  const Matrix key = randomMatrix(100, 8, 2), value = randomMatrix(100, 8, 3);
  std::vector<float> out(800), sums(100), max(100);
  const TileHead head{query.data(), key.data(), value.data(), out.data(), 8, 8, 8, 8, 100, 0, 8, 8, 0.5f, 0.0f, 0.0f};
  for (int64_t first = 0; first < 100; first += kTileSide) {
    attendBlock<1>(head, first, SpanKeys::of(first, std::min<int64_t>(first + 63, 99), 100, true, 0),
                   {max.data(), sums.data(), nullptr, nullptr}, false);
  }
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(std::isnan(sums[i]), i == 70) << i;
    EXPECT_EQ(std::isnan(out[i * 8]), i == 70) << i;
  }
}
