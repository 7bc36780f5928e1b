#include "core/weights/subspace_overlap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/base/error.h"
#include "core/base/job.h"

using namespace headscope::core;

namespace {

HeadWeights randomWeights(int64_t heads, int64_t k, int64_t d) {
  HeadWeights w;
  w.heads = w.kvHeads = heads, w.keyWidth = w.valueWidth = k;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (Matrix* m : {&w.query, &w.key, &w.value, &w.output}) {
    *m = Matrix(heads * k, d);
    for (int64_t i = 0; i < m->size(); ++i) m->data()[i] = normal(random);
  }
  return w;
}

}  // namespace

TEST(SubspaceOverlap, coordinateSpacesOverlapByWhatTheyShare) {
  // Head h writes to coordinates 2h .. 2h + 3: neighbours share two of four.
  HeadWeights w = randomWeights(3, 4, 9);
  for (int64_t h = 0; h < 3; ++h) {
    for (int64_t r = 0; r < 4; ++r) {
      for (int64_t c = 0; c < 9; ++c) {
        if (c < 2 * h || c >= 2 * h + 4) w.output(h * 4 + r, c) = 0;
      }
    }
  }
  Job job;
  const Matrix found = subspaceOverlaps(w, SubspaceSide::Output, job);
  const float expected[3][3] = {{1, 0.5F, 0}, {0.5F, 1, 0.5F}, {0, 0.5F, 1}};
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) EXPECT_NEAR(found(i, j), expected[i][j], 1e-5) << i << " " << j;
  }
}

TEST(SubspaceOverlap, isTheSameForAnyBasisAndCountsTheSmallerRank) {
  HeadWeights w = randomWeights(4, 6, 31);
  for (int64_t r = 0; r < 6; ++r) {
    for (int64_t c = 0; c < 31; ++c) {
      w.query(6 + r, c) = 3 * w.query(r, c) - w.query((r + 1) % 6, c);          // head 1: another basis of head 0's space
      w.query(12 + r, c) = r < 2 ? w.query(r, c) : w.query(12 + r % 2, c) * 2;  // head 2: two directions of it
    }
  }
  Job job;
  const Matrix found = subspaceOverlaps(w, SubspaceSide::Query, job);
  EXPECT_NEAR(found(0, 1), 1, 1e-4);
  EXPECT_NEAR(found(0, 2), 1, 1e-4);
  EXPECT_LT(found(0, 3), 0.6);
  EXPECT_NEAR(found(3, 3), 1, 1e-5);
}

TEST(SubspaceOverlap, manyHeadsAsTwoByTwo) {
  const HeadWeights w = randomWeights(9, 70, 200);  // more rows than one product takes
  const Matrix all = subspaceOverlaps(w, SubspaceSide::Output, Job());
  for (const auto& [i, j] : {std::pair<int64_t, int64_t>{0, 8}, {3, 7}, {6, 8}, {1, 2}}) {
    HeadWeights two = randomWeights(2, 70, 200);
    std::copy_n(w.output.row(i * 70), 70 * 200, two.output.row(0));
    std::copy_n(w.output.row(j * 70), 70 * 200, two.output.row(70));
    EXPECT_NEAR(all(i, j), subspaceOverlaps(two, SubspaceSide::Output, Job())(0, 1), 1e-5);
    EXPECT_EQ(all(i, j), all(j, i));
  }
}

TEST(SubspaceOverlap, brokenAndZeroHeads) {
  HeadWeights w = randomWeights(3, 4, 12);
  for (int64_t c = 0; c < 12; ++c) {
    for (int64_t r = 4; r < 8; ++r) w.value(r, c) = 0;
  }
  w.value(9, 3) = std::numeric_limits<float>::quiet_NaN();
  Job job;
  const Matrix found = subspaceOverlaps(w, SubspaceSide::Value, job);
  EXPECT_EQ(found(0, 1), 0);
  EXPECT_TRUE(std::isnan(found(0, 2)));
  EXPECT_NEAR(found(0, 0), 1, 1e-5);
  job.cancel();
  EXPECT_THROW(subspaceOverlaps(w, SubspaceSide::Value, job), Cancelled);
}
