// Mechanisms whose outputs a backend computes are those that core/mechanisms computes itself: every mask and every exchange of
// positions, keys or values; and what can't be handed over stays.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/backend/cpu/cpu_backend.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/softmax_elsewhere.h"
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
  int calls = 0;
};

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
      for (const char* word :
           {"dense", "causal", "local:window=20", "symmetric:window=9", "strided:stride=5", "fixed:stride=8,summary=2",
            "dilated:window=7,step=3", "sinks:sinks=3,window=10", "global:tokens=2,window=6", "block:size=16", "topk:k=5", "topp:p=0.7",
            "source_local:window=16", "source_strided:stride=8", "clustered:clusters=6,visit=2,seed=1", "alibi", "nope"}) {
        const Ran here = run(word, head.input);
        HeadInput away = head.input;
        away.backend = backend;
        const int before = backend->calls;
        const Ran there = run(word, away);
        // Those that choose by scores have them already and need only a few values more
        const std::string name = parseMechanism(word)->name();
        const bool isChosenByScore = name == "topk" || name == "topp" || name == "clustered";
        EXPECT_EQ(backend->calls, isChosenByScore ? before : before + 1) << word;
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
