// Fixed and chosen masks against naive loops at odd sizes: what they see, mark, save and count.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/mechanisms/registry.h"
#include "core/mechanisms/softmax_run.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;
using Sees = std::function<bool(int64_t, int64_t)>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(Masks, agreeWithNaiveLoopsAtOddSizes) {
  struct Case {
    const char* word;
    Sees sees;
  };
  const Case cases[] = {
      {"local:window=5", [](int64_t i, int64_t j) { return j <= i && i - j < 5; }},
      {"local:window=1", [](int64_t i, int64_t j) { return i == j; }},
      {"local:window=100000", [](int64_t i, int64_t j) { return j <= i; }},
      {"symmetric:window=7", [](int64_t i, int64_t j) { return std::abs(i - j) <= 3; }},
      {"strided:stride=5", [](int64_t i, int64_t j) { return j <= i && (i - j < 5 || (i - j) % 5 == 0); }},
      {"strided:stride=1", [](int64_t i, int64_t j) { return j <= i; }},
      {"fixed:stride=6,summary=2", [](int64_t i, int64_t j) { return j <= i && (i / 6 == j / 6 || j % 6 >= 4); }},
      {"fixed:stride=4,summary=9", [](int64_t i, int64_t j) { return j <= i; }},
      {"dilated:window=3,step=5", [](int64_t i, int64_t j) { return j <= i && i - j < 15 && (i - j) % 5 == 0; }},
      {"sinks:sinks=3,window=4", [](int64_t i, int64_t j) { return j <= i && (j < 3 || i - j < 4); }},
      {"sinks:sinks=0,window=4", [](int64_t i, int64_t j) { return j <= i && i - j < 4; }},
      {"global:tokens=2+5-6,window=3",
       [](int64_t i, int64_t j) {
         const auto isGlobal = [](int64_t t) { return t == 2 || t == 5 || t == 6; };
         return j <= i && (isGlobal(i) || isGlobal(j) || i - j < 3);
       }},
      {"block:size=6,blocks=previous+diagonal+5.1",
       [](int64_t i, int64_t j) { return j <= i && (i / 6 - j / 6 <= 1 || (i / 6 == 5 && j / 6 == 1)); }},
      {"source_local:window=6", [](int64_t i, int64_t j) { return j >= i - 3 && j < i + 3; }},
      {"source_strided:stride=5", [](int64_t i, int64_t j) { return j % 5 == 0 || i == j; }},
  };
  for (const int64_t n : {1, 2, 7, 65, 130}) {
    const RandomHead head(n, 5, 3);
    for (const Case& c : cases) {
      Job job;
      const auto run = parseMechanism(c.word)->bind(head.input, job);
      expectMap(std::string(c.word) + " N " + std::to_string(n), head.input, *run, naiveMap(head.input, c.sees));
      int64_t pairs = 0;
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) pairs += c.sees(i, j);
      }
      EXPECT_EQ(run->cost().keptPairs, static_cast<double>(pairs)) << c.word << " N " << n;
      EXPECT_GE(run->cost().pairs, static_cast<double>(pairs)) << c.word;
    }
  }
}

TEST(Masks, encodersSeeBothWays) {
  const RandomHead head(41, 4, 4, 1.5, false);
  Job job;
  expectMap("sinks", head.input, *parseMechanism("sinks:sinks=2,window=6")->bind(head.input, job),
            naiveMap(head.input, [](int64_t i, int64_t j) { return j < 2 || std::abs(i - j) <= 3; }));
  expectMap("global", head.input, *parseMechanism("global:tokens=9,window=4")->bind(head.input, job),
            naiveMap(head.input, [](int64_t i, int64_t j) { return i == 9 || j == 9 || std::abs(i - j) <= 2; }));
  expectMap("dense", head.input, *parseMechanism("dense")->bind(head.input, job),
            naiveMap(head.input, [](int64_t, int64_t) { return true; }));
  EXPECT_FALSE(parseMechanism("local")->bind(head.input, job)->notes().empty());  // causal on an encoder is said
}

TEST(Masks, keepTheModelsOwnWindowAndCap) {
  RandomHead head(90, 4, 4);
  head.input.window = 20;
  head.input.softcap = 2.0;
  Job job;
  expectMap("sinks", head.input, *parseMechanism("sinks:sinks=2,window=30")->bind(head.input, job),
            naiveMap(head.input, [](int64_t i, int64_t j) { return j <= i && i - j < 20; }));
  expectMap("topk", head.input, *parseMechanism("topk:k=100")->bind(head.input, job),
            naiveMap(head.input, [](int64_t i, int64_t j) { return j <= i && i - j < 20; }));
}

TEST(Masks, nonCausalOnesAreLabelled) {
  const RandomHead causal(9, 4, 4), both(9, 4, 4, 1.5, false);
  Job job;
  for (const char* word :
       {"symmetric", "source_local", "source_strided", "linformer:rank=3", "linformer:rank=3,projection=svd", "nystrom:landmarks=3"}) {
    const auto mechanism = parseMechanism(word);
    EXPECT_FALSE(mechanism->isCausal()) << word;
    const auto notes = mechanism->bind(causal.input, job)->notes();
    ASSERT_FALSE(notes.empty()) << word;
    EXPECT_EQ(notes[0].rfind("not causal", 0), 0u) << word;
    for (const std::string& note : mechanism->bind(both.input, job)->notes()) EXPECT_NE(note.rfind("not causal", 0), 0u) << word;
  }
}

TEST(Masks, rowsWithNothingLeftAreZeroAndMarked) {
  RandomHead head(40, 4, 4);
  Job job;
  // Hidden keys and values hold NaN: nothing of them may be read.
  for (int64_t j = 10; j < 20; ++j) {
    for (int64_t c = 0; c < 4; ++c) head.key(j, c) = head.value(j, c) = kNaN;
  }
  const auto run = parseMechanism("block:size=10,blocks=0.0+1.0+3.3")->bind(head.input, job);
  const Matrix out = wholeOutput(*run, 40, 4, job), map = wholeMap(*run, 40, job);
  std::vector<int64_t> expected(10);
  std::iota(expected.begin(), expected.end(), 20);
  EXPECT_EQ(run->emptyRows(), expected);
  for (int64_t i = 0; i < out.size(); ++i) ASSERT_TRUE(std::isfinite(out.data()[i]));
  for (int64_t i = 0; i < map.size(); ++i) ASSERT_TRUE(std::isfinite(map.data()[i]));
  for (int64_t r = 20; r < 30; ++r) {
    for (int64_t c = 0; c < 4; ++c) EXPECT_EQ(out(r, c), 0.0f);
  }
  const auto none = parseMechanism("source_local:window=1")->bind(head.input, job);  // [i, i): no key at all
  wholeOutput(*none, 40, 4, job);
  EXPECT_EQ(none->emptyRows().size(), 40u);
}

TEST(Masks, hiddenBlocksAreNeverComputed) {
  const int64_t n = 1024;
  const RandomHead head(n, 16, 16);
  Job job;
  const auto pairsOf = [&](const char* word) {
    const auto run = parseMechanism(word)->bind(head.input, job);
    wholeOutput(*run, n, 16, job);
    return run->cost();
  };
  const double all = pairsOf("causal").pairs;
  EXPECT_LE(all, 1.07 * static_cast<double>(n) * static_cast<double>(n + 1) / 2);
  const Cost local = pairsOf("local:window=128");
  EXPECT_LE(local.pairs, 1.5 * local.keptPairs);  // 64 rows share 191 keys
  EXPECT_LE(pairsOf("block:size=64,blocks=diagonal").pairs, 1024.0 * 64);
  const Cost strided = pairsOf("source_strided:stride=8");
  EXPECT_LE(strided.pairs, 1.6 * strided.keptPairs);  // scattered columns are gathered or done pair by pair
  const Cost child = pairsOf("strided:stride=16");
  EXPECT_LE(child.pairs, 1.5 * child.keptPairs);
  EXPECT_LT(pairsOf("dilated:window=8,step=16").pairs, 0.02 * all);
  // Counted operations are the formula's with the pairs really computed.
  EXPECT_DOUBLE_EQ(local.operations, local.pairs * (2 * 16 + 2 * 16 + 4) + static_cast<double>(n) * 16);
  EXPECT_DOUBLE_EQ(local.keptPairs, static_cast<double>(n) * 128 - 128.0 * 127 / 2);
}

TEST(Masks, blockStatesComeFromRanges) {
  const PatternMask mask(Visibility(32, true), nullptr);
  EXPECT_EQ(mask.block(0, 8, 8, 8), BlockState::Empty);
  EXPECT_EQ(mask.block(8, 8, 8, 8), BlockState::Partial);
  EXPECT_EQ(mask.block(16, 8, 8, 8), BlockState::Full);
  EXPECT_EQ(mask.pairs(), 32 * 33 / 2);
}

TEST(Selection, keepsTheLargestAndTheSmallestSufficientSet) {
  for (const int64_t n : {1, 2, 7, 70}) {
    const RandomHead head(n, 6, 4, 2.0);
    const std::vector<double> dense = naiveMap(head.input, [](int64_t i, int64_t j) { return j <= i; });
    Job job;
    const auto order = [&](int64_t i) {
      std::vector<int64_t> keys(static_cast<size_t>(i + 1));
      std::iota(keys.begin(), keys.end(), 0);
      std::sort(keys.begin(), keys.end(),
                [&](int64_t a, int64_t b) { return dense[static_cast<size_t>(i * n + a)] > dense[static_cast<size_t>(i * n + b)]; });
      return keys;
    };
    std::vector<std::vector<bool>> topk(static_cast<size_t>(n), std::vector<bool>(static_cast<size_t>(n))), topp = topk;
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      int64_t rank = 0;
      for (const int64_t j : order(i)) {
        topk[static_cast<size_t>(i)][static_cast<size_t>(j)] = rank++ < 3;
        topp[static_cast<size_t>(i)][static_cast<size_t>(j)] = sum < 0.9;
        sum += dense[static_cast<size_t>(i * n + j)];
      }
    }
    const auto in = [](const std::vector<std::vector<bool>>& set) {
      return [&set](int64_t i, int64_t j) { return set[static_cast<size_t>(i)][static_cast<size_t>(j)]; };
    };
    expectMap("topk", head.input, *parseMechanism("topk:k=3")->bind(head.input, job), naiveMap(head.input, in(topk)));
    expectMap("topp", head.input, *parseMechanism("topp:p=0.9")->bind(head.input, job), naiveMap(head.input, in(topp)));
  }
}

}  // namespace
}  // namespace headscope::tests
