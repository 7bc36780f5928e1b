// Mechanisms whose outputs a backend computes are those that core/mechanisms computes itself: every mask and every exchange of
// positions, keys or values; and what can't be handed over stays.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/guarded_backend.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/softmax_elsewhere.h"
#include "tests/core/backend/fake_device.h"
#include "tests/core/mechanisms/head_fixture.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

/// Counts how often it is asked.
class CountingBackend : public CpuBackend {
 public:
  MaskedRows maskedAttention(const MaskedHead& head, const RangeList& seen, MatrixView out, const Job& job) override {
    ++calls;
    return CpuBackend::maskedAttention(head, seen, out, job);
  }
  ChosenRows chosenAttention(const MaskedHead& head, const KeyChoice& choice, MatrixView out, const Job& job) override {
    ++calls;
    return CpuBackend::chosenAttention(head, choice, out, job);
  }
  int calls = 0;
};

constexpr const char* kSoftmaxWords[] = {"dense",
                                         "causal",
                                         "local:window=20",
                                         "symmetric:window=9",
                                         "strided:stride=5",
                                         "fixed:stride=8,summary=2",
                                         "dilated:window=7,step=3",
                                         "sinks:sinks=3,window=10",
                                         "global:tokens=2,window=6",
                                         "block:size=16",
                                         "topk:k=5",
                                         "topp:p=0.7",
                                         "source_local:window=16",
                                         "source_strided:stride=8",
                                         "clustered:clusters=6,visit=2,seed=1",
                                         "alibi",
                                         "nope"};

struct Ran {
  Matrix out;
  Cost cost;
  std::vector<int64_t> emptyRows;
};

Ran run(const char* word, const HeadInput& input) {
  Job job;
  const auto bound = parseMechanism(word)->bind(input, job);
  Ran ran{wholeOutput(*bound, input.count(), input.value.cols, job), {}, {}};
  ran.cost = bound->cost(), ran.emptyRows = bound->emptyRows();
  return ran;
}

}  // namespace

TEST(Elsewhere, everyMaskAndExchangeIsTheSame) {
  for (const int64_t n : {1, 70, 150}) {
    for (const bool isCausal : {true, false}) {
      RandomHead head(n, 24, 16, 1.5, isCausal);
      head.input.head = 1, head.input.heads = 4;
      if (n == 150) head.input.softcap = 4.0, head.input.window = 40;
      const auto backend = std::make_shared<CountingBackend>();
      for (const char* word : kSoftmaxWords) {
        const Ran here = run(word, head.input);
        HeadInput away = head.input;
        away.backend = backend;
        const int before = backend->calls;
        const Ran there = run(word, away);
        EXPECT_EQ(backend->calls, before + 1) << word;
        EXPECT_EQ(here.emptyRows, there.emptyRows) << word;
        EXPECT_EQ(here.cost.keptPairs, there.cost.keptPairs) << word;
        for (int64_t i = 0; i < here.out.size(); ++i)
          ASSERT_NEAR(here.out.data()[i], there.out.data()[i], 1e-5) << word << " of " << n << " tokens";
      }
    }
  }
}

TEST(Elsewhere, manyRowsGoInPieces) {
  RandomHead head(4500, 4, 3);
  const auto backend = std::make_shared<CountingBackend>();
  HeadInput away = head.input;
  away.backend = backend;
  const Ran here = run("sinks:sinks=2,window=5", head.input), there = run("sinks:sinks=2,window=5", away);
  EXPECT_EQ(backend->calls, 2);
  EXPECT_EQ(here.cost.keptPairs, there.cost.keptPairs);
  for (int64_t i = 0; i < here.out.size(); ++i) ASSERT_NEAR(here.out.data()[i], there.out.data()[i], 1e-5);
}

TEST(Elsewhere, whatADeviceCanNotStaysHere) {
  RandomHead wide(20, 300, 8);
  SoftmaxHead head = SoftmaxHead::of(wide.input, std::make_shared<PatternMask>(Visibility(wide.input), nullptr));
  EXPECT_FALSE(canAttendElsewhere(head));
  head.backend = std::make_shared<CpuBackend>();
  EXPECT_FALSE(canAttendElsewhere(head));  // wider than a device's tiles
  RandomHead narrow(20, 30, 8);
  head.query = narrow.query, head.key = narrow.key;
  EXPECT_TRUE(canAttendElsewhere(head));
  class Odd : public ScoreBias {
    void add(int64_t, const int32_t*, int64_t, float*) const override {}
  };
  head.bias = std::make_shared<Odd>();
  EXPECT_FALSE(canAttendElsewhere(head));
}

TEST(Elsewhere, errorsOfManyMechanismsAreTheSame) {
  RandomHead head(90, 16, 16);
  std::vector<std::shared_ptr<const Mechanism>> all;
  for (const char* word : {"dense", "local:window=16", "topk:k=4", "linear", "nystrom:landmarks=8"}) all.push_back(parseMechanism(word));
  HeadInput away = head.input;
  away.backend = std::make_shared<CpuBackend>();
  Job job;
  const auto here = compareMechanisms(head.input, head.output, all, {}, job), there = compareMechanisms(away, head.output, all, {}, job);
  for (size_t m = 0; m < all.size(); ++m) {
    EXPECT_NEAR(here[m].errors.output, there[m].errors.output, 1e-5) << here[m].mechanism;
    EXPECT_NEAR(here[m].errors.meanMassKept, there[m].errors.meanMassKept, 1e-5) << here[m].mechanism;
  }
}

TEST(Elsewhere, rowsMeasuredFromSumsAreThoseMeasuredKeyByKey) {
  for (const bool isCausal : {true, false}) {
    RandomHead head(90, 16, 16, 1.5, isCausal);
    if (isCausal) head.input.softcap = 3.0, head.input.window = 50;
    std::vector<std::shared_ptr<const Mechanism>> all;
    for (const char* word : kSoftmaxWords) all.push_back(parseMechanism(word));
    all.push_back(parseMechanism("linear"));
    HeadInput away = head.input;
    const auto backend = std::make_shared<CountingBackend>();
    away.backend = backend;
    ErrorOptions options;
    options.hasRankCorrelation = false;
    Job job;
    std::vector<std::unique_ptr<HeadRun>> here, there;
    std::vector<const HeadRun*> runsHere, runsThere;
    for (const auto& mechanism : all) {
      here.push_back(mechanism->bind(head.input, job)), there.push_back(mechanism->bind(away, job));
      runsHere.push_back(here.back().get()), runsThere.push_back(there.back().get());
    }
    const auto a = headErrors(head.input, runsHere, head.output, options, job), b = headErrors(away, runsThere, head.output, options, job);
    int summed = 0;
    for (size_t m = 0; m < all.size(); ++m) {
      summed += there[m]->rowSums(away, job) ? 1 : 0;
      EXPECT_FALSE(here[m]->rowSums(head.input, job));
      for (const auto& [x, y] : {std::pair{&a[m].massKept, &b[m].massKept}, {&a[m].kl, &b[m].kl}, {&a[m].cosine, &b[m].cosine}}) {
        ASSERT_EQ(x->size(), y->size());
        for (size_t r = 0; r < x->size(); ++r) {
          ASSERT_EQ(std::isnan((*x)[r]), std::isnan((*y)[r])) << all[m]->spelled() << " row " << r;
          if (!std::isnan((*x)[r])) {
            ASSERT_NEAR((*x)[r], (*y)[r], 2e-5 * std::max(1.0f, std::abs((*x)[r]))) << all[m]->spelled() << " row " << r;
          }
        }
      }
    }
    EXPECT_GE(summed, 11);
    EXPECT_FALSE(there.back()->rowSums(away, job));  // no softmax of scores
  }
}

TEST(Elsewhere, tilesOfLargeMapsAreTheSame) {
  RandomHead head(1100, 12, 8);
  HeadInput away = head.input;
  away.backend = std::make_shared<CpuBackend>();
  Job job;
  for (const char* word : {"local:window=200", "topk:k=9", "topp:p=0.8", "strided:stride=50", "alibi", "linear"}) {
    const auto here = parseMechanism(word)->bind(head.input, job), there = parseMechanism(word)->bind(away, job);
    const TileRequest request{3, 2, 134, 5, 100, Pooling::Max};
    EXPECT_FALSE(here->tile(request, job));
    const auto cells = there->tile(request, job);
    ASSERT_EQ(cells.has_value(), std::string(word) != "linear") << word;
    if (!cells) continue;
    EXPECT_FALSE(there->tile({0, 3, 1, 0, 1100, Pooling::Max}, job));  // a row is sooner done here
    Matrix expected = Matrix::zeros(134, 100), rows(1, 1100);
    for (int64_t i = 16; i < 16 + 134 * 8; ++i) {
      here->mapRows(i, 1, rows.view(), job);
      for (int64_t j = 40; j < 840; ++j) {
        float& cell = expected((i - 16) / 8, (j - 40) / 8);
        cell = std::max(cell, rows(0, j));
      }
    }
    for (int64_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(cells->data()[i], expected.data()[i], 1e-5) << word;
  }
}

TEST(Elsewhere, aDeviceThatFailsIsMadeUpFor) {
  RandomHead head(1100, 12, 8);
  const TileRequest request{4, 0, 69, 0, 69, Pooling::Mean};
  for (const auto kind : {FakeDevice::Kind::OutOfMemory, FakeDevice::Kind::Lost}) {
    const auto device = std::make_shared<FakeDevice>();
    HeadInput away = head.input;
    const auto guard = std::make_shared<GuardedBackend>(device, std::make_shared<CpuBackend>());
    away.backend = guard;
    Job job;
    const auto there = parseMechanism("topk:k=6")->bind(away, job);
    device->failAfter(0, kind);
    const Matrix out = wholeOutput(*there, 1100, 8, job);
    EXPECT_TRUE(device->hasFailed());
    EXPECT_NE(guard->reason(), "");
    const Ran here = run("topk:k=6", head.input);
    for (int64_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out.data()[i], here.out.data()[i], 1e-5);
    if (kind == FakeDevice::Kind::OutOfMemory) device->failAfter(0, kind);
    const auto cells = there->tile(request, job);
    ASSERT_TRUE(cells);
    double sum = 0;
    for (int64_t i = 0; i < cells->size(); ++i) sum += static_cast<double>(cells->data()[i]);
    EXPECT_GT(sum, 0);
  }
}
