// Clustered keys: separated groups are found, recall is right, odd sizes are finite.
#include <gtest/gtest.h>

#include "core/mechanisms/clustered.h"
#include "core/mechanisms/registry.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

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

}  // namespace
}  // namespace headscope::tests
