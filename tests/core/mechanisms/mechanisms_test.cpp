// Mechanisms on heads of awkward sizes against naive double loops; what they must refuse, mark, save and count.
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/mechanisms/clustered.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/linformer.h"
#include "core/mechanisms/positions.h"
#include "core/mechanisms/random_features.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/rotation.h"
#include "core/mechanisms/softmax_run.h"
#include "core/mechanisms/value_access.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;
using Sees = std::function<bool(int64_t, int64_t)>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void expectMap(const std::string& what, const HeadInput& input, const HeadRun& run, const std::vector<double>& map,
               double tolerance = 2e-5) {
  Job job;
  EXPECT_LE(relativeError(wholeMap(run, input.count(), job), map), tolerance) << what;
  EXPECT_LE(relativeError(wholeOutput(run, input.count(), input.value.cols, job), naiveOutput(map, input.value)), tolerance) << what;
}

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

TEST(Clusters, findSeparatedGroupsAndMeasureRecall) {
  RandomHead head(120, 4, 4, 1.0);
  for (int64_t j = 0; j < 120; ++j) {
    for (int64_t c = 0; c < 4; ++c) head.key(j, c) = 0.01f * head.key(j, c) + (j % 3 == c ? 5.0f : 0.0f);
  }
  Job job;
  const Matrix centres = fitCentres(head.key, 3, 1, job);
  ASSERT_EQ(centres.rows(), 3);
  const ClusterMask mask(head.input, centres.clone(), 1, ClusterOn::Keys);
  for (int64_t j = 3; j < 120; ++j) EXPECT_EQ(mask.clusterOf(j), mask.clusterOf(j % 3));
  const auto curve = clusterRecall(head.input, mask, job);
  ASSERT_EQ(curve.size(), 3u);
  EXPECT_NEAR(curve.back().recall, 1.0, 1e-5);
  EXPECT_NEAR(curve.back().shareRead, 1.0, 1e-9);
  for (const RecallPoint& p : curve) {
    EXPECT_GE(p.exact + 1e-6, p.recall);
    EXPECT_LE(p.shareRead, 1.0 + 1e-9);
  }
  EXPECT_GT(curve[0].recall, curve[0].random);
  for (const char* word : {"clustered:clusters=500,visit=2", "clustered:clusters=5,visit=1,on=queries", "clustered:clusters=1,visit=9"}) {
    const auto run = parseMechanism(word)->bind(head.input, job);
    const Matrix out = wholeOutput(*run, 120, 4, job);
    for (int64_t i = 0; i < out.size(); ++i) ASSERT_TRUE(std::isfinite(out.data()[i])) << word;
    EXPECT_TRUE(run->emptyRows().empty()) << word;
  }
  expectMap("all clusters", head.input, *parseMechanism("clustered:clusters=7,visit=7")->bind(head.input, job),
            naiveMap(head.input, [](int64_t i, int64_t j) { return j <= i; }));
  // The same seed gives the same centres.
  EXPECT_EQ(fitCentres(head.key, 3, 4, job)(2, 1), fitCentres(head.key, 3, 4, job)(2, 1));
}

RopeSpec ropeOf(int64_t dims, bool isInterleaved, double base = 10000.0) {
  RopeSpec rope;
  rope.dims = dims;
  rope.isInterleaved = isInterleaved;
  rope.magnitude = 1.2;
  for (int64_t i = 0; i < dims / 2; ++i)
    rope.frequencies.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims)));
  return rope;
}

TEST(Positions, rotationComesOffExactly) {
  for (const bool isInterleaved : {false, true}) {
    const RandomHead head(300, 10, 4);
    const RopeSpec rope = ropeOf(6, isInterleaved);
    const Matrix turned = rotated(head.query, rope, 3), back = unrotated(turned, rope, 3);
    for (int64_t i = 0; i < back.size(); ++i) ASSERT_NEAR(back.data()[i], head.query.data()[i], 3e-6);
    for (int64_t r = 0; r < 300; ++r) {
      for (const int64_t c : {0, 2, 9}) EXPECT_EQ(turned(r, c), head.query(r, c));
    }
    RandomHead placed(300, 10, 4);
    const Matrix q = rotated(head.query, rope, 3), k = rotated(head.key, rope, 3);
    placed.input.query = q;
    placed.input.key = k;
    placed.input.rope = &rope;
    placed.input.ropeFirst = 3;
    Job job;
    const Matrix a = wholeMap(*parseMechanism("nope")->bind(placed.input, job), 300, job);
    const Matrix b = wholeMap(*parseMechanism("causal")->bind(head.input, job), 300, job);
    for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], 2e-5);
    const Matrix same = wholeMap(*parseMechanism("rope")->bind(placed.input, job), 300, job);  // the model's own frequencies
    const Matrix own = wholeMap(*parseMechanism("causal")->bind(placed.input, job), 300, job);
    for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(same.data()[i], own.data()[i], 2e-5);
  }
}

TEST(Positions, alibiSlopesFollowThePaper) {
  EXPECT_DOUBLE_EQ(alibiSlope(0, 8), 0.5);
  EXPECT_DOUBLE_EQ(alibiSlope(7, 8), std::pow(2, -8));
  EXPECT_DOUBLE_EQ(alibiSlope(0, 16), std::pow(2, -0.5));
  EXPECT_DOUBLE_EQ(alibiSlope(7, 12), std::pow(2, -8));    // the 8 slopes of 8 heads,
  EXPECT_DOUBLE_EQ(alibiSlope(8, 12), std::pow(2, -0.5));  // then the 1st, 3rd, ... of 16
  EXPECT_DOUBLE_EQ(alibiSlope(9, 12), std::pow(2, -1.5));
  RandomHead head(50, 4, 4);
  head.input.head = 2;
  head.input.heads = 12;
  Job job;
  expectMap("alibi", head.input, *parseMechanism("alibi")->bind(head.input, job),
            naiveMap(
                head.input, [](int64_t i, int64_t j) { return j <= i; },
                [](int64_t i, int64_t j) { return -std::pow(2, -3) * static_cast<double>(i - j); }));
}

TEST(WhatIfs, sharedReusedAndOff) {
  RandomHead head(40, 6, 6), other(40, 6, 6, 1.5, true, 8);
  const RopeSpec rope = ropeOf(6, false);
  Job job;
  head.input.rope = &rope;
  const Matrix key = rotated(head.value, rope, 0);
  HeadInput shared = head.input;
  shared.key = key;
  expectMap("shared_kv", head.input, *parseMechanism("shared_kv")->bind(head.input, job),
            naiveMap(shared, [](int64_t i, int64_t j) { return j <= i; }));
  const RandomHead narrow(10, 6, 4);
  EXPECT_THROW(parseMechanism("shared_kv")->bind(narrow.input, job), Error);

  EXPECT_THROW(parseMechanism("reuse")->bind(head.input, job), Error);  // layer 0
  head.input.layer = 3;
  EXPECT_THROW(parseMechanism("reuse:from=3")->bind(head.input, job), Error);
  EXPECT_THROW(parseMechanism("reuse:from=1")->bind(head.input, job), Error);  // not at hand
  int64_t asked = -1;
  head.input.keyValueOf = [&](int64_t layer) {
    asked = layer;
    return KeyValue{other.key, other.value};
  };
  HeadInput reused = head.input;
  reused.key = other.key;
  const auto run = parseMechanism("reuse")->bind(head.input, job);
  EXPECT_EQ(asked, 2);
  const std::vector<double> map = naiveMap(reused, [](int64_t i, int64_t j) { return j <= i; });
  EXPECT_LE(relativeError(wholeOutput(*run, 40, 6, job), naiveOutput(map, other.value)), 2e-5);

  const auto off = parseMechanism("off")->bind(head.input, job);
  const Matrix out = wholeOutput(*off, 40, 6, job);
  for (int64_t i = 0; i < out.size(); ++i) EXPECT_EQ(out.data()[i], 0.0f);
  const HeadRun* runs[] = {off.get()};
  EXPECT_NEAR(headErrors(head.input, runs, head.output, {}, job)[0].output, 1.0, 1e-6);
}

TEST(Cope, withoutATableGivesGatesAndNoOutput) {
  const RandomHead head(20, 4, 4);
  Job job;
  const auto run = parseMechanism("cope")->bind(head.input, job);
  Matrix out(20, 4);
  EXPECT_THROW(run->output(out.view(), job), Error);
  EXPECT_THROW(run->mapRows(0, 20, Matrix(20, 20).view(), job), Error);
  const RandomHead both(20, 4, 4, 1.5, false);
  EXPECT_THROW(parseMechanism("cope")->bind(both.input, job), Error);
}

TEST(Errors, rowMeasuresMatchNaiveOnes) {
  const RandomHead head(77, 5, 4);
  Job job;
  const auto local = parseMechanism("local:window=9")->bind(head.input, job), linear = parseMechanism("linear")->bind(head.input, job),
             dense = parseMechanism("dense")->bind(head.input, job),
             symmetric = parseMechanism("symmetric:window=9")->bind(head.input, job);
  const HeadRun* runs[] = {local.get(), linear.get(), dense.get(), symmetric.get()};
  const auto errors = headErrors(head.input, runs, head.output, {}, job);
  const std::vector<double> truth = naiveMap(head.input, [](int64_t i, int64_t j) { return j <= i; });
  const Matrix map = wholeMap(*linear, 77, job);
  double difference = 0, size = 0;
  const std::vector<double> out = naiveOutput(truth, head.value);
  const Matrix have = wholeOutput(*linear, 77, 4, job);
  for (int64_t i = 0; i < 77; ++i) {
    double kl = 0, dot = 0, a2 = 0, b2 = 0;
    for (int64_t j = 0; j <= i; ++j) {
      const double a = truth[static_cast<size_t>(i * 77 + j)], b = static_cast<double>(map(i, j));
      kl += b * std::log(b / a);
      dot += a * b;
      a2 += a * a;
      b2 += b * b;
    }
    EXPECT_NEAR(errors[1].kl[static_cast<size_t>(i)], kl, 1e-4 + 1e-4 * kl);
    EXPECT_NEAR(errors[1].cosine[static_cast<size_t>(i)], dot / std::sqrt(a2 * b2), 1e-5);
    EXPECT_NEAR(errors[1].massKept[static_cast<size_t>(i)], 1.0, 1e-5);
    for (int64_t d = 0; d < 24; ++d) {
      double x = 0, y = 0;
      for (int64_t c = 0; c < 4; ++c) {
        x += (static_cast<double>(have(i, c)) - out[static_cast<size_t>(i * 4 + c)]) * static_cast<double>(head.output(c, d));
        y += out[static_cast<size_t>(i * 4 + c)] * static_cast<double>(head.output(c, d));
      }
      difference += x * x;
      size += y * y;
    }
  }
  EXPECT_NEAR(errors[1].output, std::sqrt(difference / size), 1e-5);
  EXPECT_NEAR(errors[2].output, 0, 1e-6);
  EXPECT_NEAR(errors[2].meanRankCorrelation, 1, 1e-6);
  EXPECT_TRUE(std::isnan(errors[3].kl[40]));  // looks at keys that the model hides
  EXPECT_FALSE(std::isnan(errors[0].meanKl));
  EXPECT_LT(errors[0].meanMassKept, 1.0);
}

TEST(Errors, rankCorrelationAveragesTies) {
  const float a[] = {1, 2, 3, 4}, b[] = {4, 3, 2, 1}, c[] = {0, 0, 1, 2}, flat[] = {5, 5, 5, 5};
  EXPECT_NEAR(rankCorrelation(a, a), 1, 1e-12);
  EXPECT_NEAR(rankCorrelation(a, b), -1, 1e-12);
  EXPECT_NEAR(rankCorrelation(a, c), 0.948683298, 1e-6);
  EXPECT_TRUE(std::isnan(rankCorrelation(a, flat)));
}

TEST(Values, accessCountsEveryRow) {
  const RandomHead head(5, 4, 4);
  Job job;
  const ValueAccess access = valueAccess(head.input, head.output, {0.5, 1.0}, job);
  EXPECT_EQ(access.plain[0][0], 1);
  EXPECT_EQ(access.plain[1][4], 5);
  EXPECT_FLOAT_EQ(access.sinkMass[0], 1.0f);
  const AccessSummary summary = summarise({1, 2, 3}, true);
  EXPECT_NEAR(summary.mean, 2, 1e-12);
  EXPECT_NEAR(summary.meanFraction, 1, 1e-12);
  EXPECT_EQ(pooled(summary, summarise({9}, false)).worst, 9);
}

TEST(Jobs, cancelledRunsStop) {
  const RandomHead head(200, 4, 4);
  for (const MechanismKind& kind : allMechanisms()) {
    if (kind.name == "off" || kind.name == "cope" || kind.name == "reuse") continue;
    Job job;
    HeadInput input = head.input;
    const auto run = parseMechanism(kind.name)->bind(input, job);
    job.cancel();
    Matrix out(200, 4);
    EXPECT_THROW(run->output(out.view(), job), Cancelled) << kind.name;
  }
}

}  // namespace
}  // namespace headscope::tests
