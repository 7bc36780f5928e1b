// Parameters of 0 and beyond N, sizes that are no multiple, and spreads over seeds.
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/registry.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

TEST(BadInput, everySizeRefusesZeroAndStandsBeyondThePrompt) {
  RandomHead head(37, 6, 6);  // prime: no multiple of any block, landmark or cluster count
  head.input.layer = 1;
  const RandomHead earlier(37, 6, 6, 1.5, true, 9);
  head.input.keyValueOf = [&](int64_t) { return KeyValue{earlier.key, earlier.value}; };
  Job job;
  for (const MechanismKind& kind : allMechanisms()) {
    if (kind.name == "cope") continue;  // refuses its output without a table
    for (const Parameter& p : kind.parameters) {
      if (p.kind != Parameter::Kind::Integer || p.name == "seed" || p.name == "from") continue;
      if (p.low > 0) {
        EXPECT_THROW(parseMechanism(kind.name + ":" + p.name + "=0"), Error) << kind.name << " " << p.name;
      }
      for (const int64_t value : {static_cast<int64_t>(std::max(1.0, p.low)), int64_t{5}, int64_t{36}, int64_t{38}, int64_t{500}}) {
        const std::string word = kind.name + ":" + p.name + "=" + std::to_string(value);
        const auto run = parseMechanism(word)->bind(head.input, job);
        const Matrix out = wholeOutput(*run, 37, 6, job), map = wholeMap(*run, 37, job);
        for (int64_t i = 0; i < out.size(); ++i) ASSERT_TRUE(std::isfinite(out.data()[i])) << word;
        for (int64_t i = 0; i < map.size(); ++i) ASSERT_TRUE(std::isfinite(map.data()[i])) << word;
        std::vector<double> exact;
        for (int64_t i = 0; i < map.size(); ++i) exact.push_back(static_cast<double>(map.data()[i]));
        EXPECT_LE(relativeError(out, naiveOutput(exact, kind.name == "reuse" ? earlier.value : head.value)),
                  kind.name == "dense_attention" ? 1e30 : 1e-3)
            << word;
      }
    }
  }
}

TEST(Seeds, meanAndSpreadAreThoseOfTheSingleRuns) {
  const RandomHead head(60, 8, 8);
  Job job;
  for (const char* word :
       {"rfa:features=16", "performer:features=16", "linformer:rank=8,projection=gaussian", "clustered:clusters=6,visit=2"}) {
    const std::shared_ptr<const Mechanism> mechanism = parseMechanism(word);
    ASSERT_TRUE(mechanism->isRandom()) << word;
    ComparisonOptions options;
    options.seeds = 4;
    const std::shared_ptr<const Mechanism> one[] = {mechanism};
    const MechanismResult all = compareMechanisms(head.input, head.output, one, options, job)[0];
    EXPECT_EQ(all.seeds, 4);
    double sum = 0, squares = 0;
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      const std::shared_ptr<const Mechanism> single[] = {withSeed(*mechanism, seed)};
      const double error = compareMechanisms(head.input, head.output, single, {}, job)[0].errors.output;
      sum += error;
      squares += error * error;
    }
    const double mean = sum / 4;
    EXPECT_NEAR(all.errors.output, mean, 1e-9) << word;
    EXPECT_NEAR(all.outputSpread, std::sqrt(std::max(0.0, (squares - 4 * mean * mean) / 3)), 1e-6) << word;
    EXPECT_GT(all.outputSpread, 0) << word;
  }
  EXPECT_THROW(withSeed(*parseMechanism("local"), 2), Error);
}

}  // namespace
}  // namespace headscope::tests
