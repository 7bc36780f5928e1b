// The layout of tensor-core products and the lanes' softmax, on the host: against a plain product and a plain softmax.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpu/arithmetic/matrix_fragment.h"
#include "gpu/arithmetic/tensor_softmax.h"
#include "tests/support/naive_ops.h"

using namespace headscope::gpu;
using headscope::core::Matrix;
using headscope::tests::randomMatrix;

TEST(GpuFragment, everyNumberHasOnePlaceAndTheProductIsTheMatrices) {
  const Matrix a = randomMatrix(16, 16, 1), b = randomMatrix(16, 8, 2);
  FactorFragments lanes[32] = {};
  Matrix seenA = Matrix::zeros(16, 16), seenB = Matrix::zeros(16, 8), seenC = Matrix::zeros(16, 8);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const FragmentPlace at = leftPlace(lane, i);
      lanes[lane].left.pair[i / 2] |= static_cast<uint32_t>(encodeBf16(a(at.row, at.column))) << (16 * (i % 2));
      seenA(at.row, at.column) += 1;
    }
    for (int i = 0; i < 4; ++i) {
      const FragmentPlace at = rightPlace(lane, i), sum = sumPlace(lane, i);
      lanes[lane].right.pair[i / 2] |= static_cast<uint32_t>(encodeBf16(b(at.row, at.column))) << (16 * (i % 2));
      seenB(at.row, at.column) += 1, seenC(sum.row, sum.column) += 1;
    }
  }
  for (const Matrix* seen : {&seenA, &seenB, &seenC}) {
    for (int64_t i = 0; i < seen->size(); ++i) EXPECT_EQ(seen->data()[i], 1.0f);
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const FragmentPlace at = sumPlace(lane, i);
      double expected = 0;
      for (int k = 0; k < 16; ++k)
        expected += static_cast<double>(decodeBf16(encodeBf16(a(at.row, k)))) * decodeBf16(encodeBf16(b(k, at.column)));
      EXPECT_NEAR(fragmentSum(lanes, lane, i), expected, 1e-6);
    }
  }
}

TEST(GpuTensorSoftmax, aRowInFourLanesOverTilesIsTheRow) {
  for (const auto& [count, isCausal, window] :
       {std::tuple<int64_t, bool, int64_t>{200, true, 0}, {200, false, 0}, {200, true, 40}, {65, false, 9}}) {
    const Matrix raw = randomMatrix(count, count, 3, 4.0);
    for (const int64_t query : {int64_t{0}, int64_t{1}, count / 2, count - 1}) {
      const SpanKeys keys = SpanKeys::of(query / 64 * 64, std::min(count, query / 64 * 64 + 64) - 1, count, isCausal, window);
      SoftmaxRow sums[4];
      Matrix weights = Matrix::zeros(1, count);  // as they stand to the maximum so far
      for (int64_t tile = 0; tile < keys.tiles(); ++tile) {
        LaneScores s[4] = {};
        const TileRow row = tileRow(keys, tile, query);
        float top = -INFINITY;
        for (int lane = 0; lane < 4; ++lane) {
          for (int c = 0; c < kTileSide; ++c) {
            const int64_t key = keys.key(tile, c);
            if (key >= 0 && c % 8 / 2 == lane) s[lane][c / 8][2 + c % 2] = raw(query, key);
          }
          top = LargerOf{}(top, scoreRow(s[lane], 1, lane, row, 0.5f, 3.0f));
        }
        float factor = 1;
        for (int lane = 0; lane < 4; ++lane) factor = weighRow(s[lane], 1, lane, row, LargerOf{}(top, sums[lane].max), sums[lane]);
        for (int64_t j = 0; j < count; ++j) weights(0, j) *= factor;
        for (int c = 0; c < kTileSide; ++c) {
          const int64_t key = keys.key(tile, c);
          const float weight = s[c % 8 / 2][c / 8][2 + c % 2];
          if (key >= 0) weights(0, key) = weight;
          EXPECT_TRUE(key >= 0 || weight == 0.0f);
        }
      }
      double sum = 0, entropy = 0, distance = 0, largest = -INFINITY;
      std::vector<double> scores(static_cast<size_t>(count), -INFINITY);
      for (int64_t j = 0; j < count; ++j) {
        if (!isVisible(query, j, isCausal, window)) continue;
        scores[static_cast<size_t>(j)] = 3.0 * std::tanh(raw(query, j) * 0.5 / 3.0);
        largest = std::max(largest, scores[static_cast<size_t>(j)]);
      }
      for (const double s : scores) sum += std::exp(s - largest);
      for (int64_t j = 0; j < count; ++j) {
        const double share = std::exp(scores[static_cast<size_t>(j)] - largest) / sum;
        entropy -= share > 0 ? share * std::log2(share) : 0;
        distance += share * static_cast<double>(std::abs(query - j));
        EXPECT_NEAR(weights(0, j) / sum, share, 1e-6);
      }
      SoftmaxRow all = sums[0];
      for (int lane = 1; lane < 4; ++lane) {
        EXPECT_EQ(sums[lane].max, all.max);
        all.sum += sums[lane].sum, all.scoreSum += sums[lane].scoreSum, all.distanceSum += sums[lane].distanceSum;
      }
      EXPECT_NEAR(logSumExpOf(all), largest + std::log(sum), 1e-5);
      EXPECT_NEAR(entropyBitsOf(all), entropy, 1e-5);
      EXPECT_NEAR(distanceOf(all), distance, 1e-4);
    }
  }
}

TEST(GpuTensorSoftmax, rowsBeyondTheLastSeeNothing) {
  const SpanKeys keys = SpanKeys::of(64, 69, 70, true, 0);
  const TileRow row = tileRow(keys, 0, 70);
  LaneScores s = {};
  SoftmaxRow sums;
  const float top = scoreRow(s, 0, 0, row, 1.0f, 0.0f);
  EXPECT_EQ(top, -INFINITY);
  EXPECT_EQ(weighRow(s, 0, 0, row, top, sums), 1.0f);
  EXPECT_EQ(sums.sum, 0.0f);
  EXPECT_EQ(s[3][1], 0.0f);
}
