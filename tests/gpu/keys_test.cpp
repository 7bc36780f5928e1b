// The search for the keys that reach a share, on the host, against sorted rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gpu/arithmetic/keys_search.h"
#include "gpu/arithmetic/team.h"
#include "tests/support/naive_ops.h"

using namespace headscope::gpu;
using headscope::core::Matrix;
using headscope::tests::naiveKeysNeeded;
using headscope::tests::randomMatrix;

namespace {

const std::vector<double> kShares = {0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999};

std::vector<float> counted(const std::vector<float>& weights, bool isShare, int64_t limit) {
  std::vector<float> out(kShares.size());
  countToShares(SerialTeam::Group{}, weights.data(), static_cast<int64_t>(weights.size()), isShare, kShares.data(),
                static_cast<int64_t>(kShares.size()), limit, out.data(), 1);
  return out;
}

/// Weights of any sum: what sorting says of their shares.
void expectAsSorted(const std::vector<float>& weights, const char* what) {
  double sum = 0;
  for (const float w : weights) sum += w;
  std::vector<double> shares;
  for (const float w : weights) shares.push_back(w / sum);
  const std::vector<float> found = counted(weights, false, static_cast<int64_t>(weights.size()));
  for (size_t s = 0; s < kShares.size(); ++s) EXPECT_EQ(found[s], naiveKeysNeeded(shares, kShares[s])) << what << ", share " << kShares[s];
}

}  // namespace

TEST(GpuKeys, asManyAsSortedRowsSay) {
  for (const int64_t n : {1, 2, 17, 300, 5000}) {
    const Matrix random = randomMatrix(1, n, static_cast<uint64_t>(n));
    for (const float sharpness : {0.0f, 1.0f, 8.0f}) {
      std::vector<float> weights;
      for (int64_t j = 0; j < n; ++j) weights.push_back(std::exp(sharpness * random(0, j)));
      if (sharpness == 0.0f) weights.resize(static_cast<size_t>(n), 1.0f);  // all alike: their number times the share, rounded up
      expectAsSorted(weights, ("random " + std::to_string(n)).c_str());
    }
  }
  expectAsSorted({0.5f, 0.25f, 0.25f, 0.0f, 0.0f}, "zeros");
  expectAsSorted({1e-30f, 1.0f, 1e-30f, 1e-38f}, "one far above the others");
  expectAsSorted({1e-42f, 2e-42f, 3e-42f}, "subnormals");
}

TEST(GpuKeys, sharesOfOneThatFallShortNeedThemAll) {
  const std::vector<float> found = counted({0.5f, 0.3f}, true, 70);
  EXPECT_EQ(found[3], 2.0f);   // 0.8
  EXPECT_EQ(found[4], 70.0f);  // 0.9 is not there
  EXPECT_EQ(found[1], 1.0f);
  for (const float count : counted({0.0f, 0.0f}, true, 70)) EXPECT_TRUE(count == 70.0f || count == 1.0f) << count;  // 1: a share of 0
}

TEST(GpuKeys, whatIsNoRowIsNotANumber) {
  for (const std::vector<float>& row : {std::vector<float>{0.5f, std::nanf("")}, {std::nanf("")}}) {
    for (const bool isShare : {false, true}) {
      for (const float count : counted(row, isShare, 5)) EXPECT_TRUE(std::isnan(count));
    }
  }
  for (const float count : counted({0.0f, 0.0f}, false, 5)) EXPECT_TRUE(std::isnan(count));
  for (const float count : counted({1.0f, INFINITY}, false, 5)) EXPECT_TRUE(std::isnan(count));
}
