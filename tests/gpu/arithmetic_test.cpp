// The arithmetic of the kernels, on the host, against plain double loops and the core's own decoding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "gpu/arithmetic/decode.h"
#include "gpu/arithmetic/jacobi.h"
#include "gpu/arithmetic/online_softmax.h"

using namespace headscope::gpu;

namespace {

double halfByFormula(unsigned bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

double e4m3ByFormula(unsigned bits) {
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  const double sign = bits & 0x80 ? -1 : 1;
  return exponent == 0 ? sign * std::ldexp(mantissa, -9) : sign * std::ldexp(8 + mantissa, exponent - 10);
}

}  // namespace

TEST(GpuDecode, everyHalf) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    if (((bits >> 10) & 31) == 31) continue;
    EXPECT_EQ(decodeF16(static_cast<uint16_t>(bits)), halfByFormula(bits)) << bits;
  }
  EXPECT_TRUE(std::isinf(decodeF16(0x7C00)));
  EXPECT_TRUE(std::isnan(decodeF16(0x7C01)));
}

TEST(GpuDecode, everyE4M3) {
  for (unsigned bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(decodeE4M3(static_cast<uint8_t>(bits))));
    } else {
      EXPECT_EQ(decodeE4M3(static_cast<uint8_t>(bits)), e4m3ByFormula(bits)) << bits;
    }
  }
}

TEST(GpuSoftmax, rowMatchesTheDefinitionInTwoHalves) {
  std::mt19937 random(7);
  for (int n : {1, 2, 3, 17, 100}) {
    std::normal_distribution<float> normal(0, 6);
    std::vector<float> scores(n);
    for (float& s : scores) s = normal(random);
    SoftmaxRow left, right;
    for (int j = 0; j < n; ++j) addScore(j < n / 3 ? left : right, scores[j], static_cast<float>(n - 1 - j));
    const SoftmaxRow row = merged(left, right);
    double top = -INFINITY, sum = 0, entropy = 0, distance = 0;
    for (float s : scores) top = std::max<double>(top, s);
    for (float s : scores) sum += std::exp(s - top);
    for (int j = 0; j < n; ++j) {
      const double p = std::exp(scores[j] - top) / sum;
      if (p > 0) entropy -= p * std::log2(p);
      distance += p * (n - 1 - j);
    }
    EXPECT_NEAR(logSumExpOf(row), top + std::log(sum), 2e-6 * std::max(1.0, std::abs(top)));
    EXPECT_NEAR(entropyBitsOf(row), entropy, 1e-5);
    EXPECT_NEAR(distanceOf(row), distance, 1e-4);
  }
}

TEST(GpuSoftmax, hiddenRowIsEmpty) {
  const SoftmaxRow row = merged(SoftmaxRow{}, SoftmaxRow{});
  EXPECT_EQ(row.sum, 0);
  EXPECT_EQ(entropyBitsOf(row), 0);
  EXPECT_EQ(logSumExpOf(row), -INFINITY);
}

TEST(GpuSoftmax, spansAgreeWithVisibility) {
  for (bool isCausal : {true, false}) {
    for (long long window : {0, 1, 3, 50}) {
      for (long long i = 0; i < 20; ++i) {
        const KeySpan span = visibleKeys(i, 20, isCausal, window);
        for (long long j = 0; j < 20; ++j) EXPECT_EQ(isVisible(i, j, isCausal, window), j >= span.begin && j < span.end) << i << " " << j;
      }
    }
  }
}

TEST(GpuJacobi, tournamentMeetsEveryPairOnce) {
  for (int n : {2, 4, 8, 34}) {
    std::set<std::pair<int, int>> met;
    for (int round = 0; round < n - 1; ++round) {
      std::set<int> used;
      for (int lane = 0; lane < n / 2; ++lane) {
        const ColumnPair pair = tournamentPair(n, round, lane);
        EXPECT_LT(pair.p, pair.q);
        EXPECT_TRUE(used.insert(pair.p).second && used.insert(pair.q).second);
        EXPECT_TRUE(met.insert({pair.p, pair.q}).second);
      }
    }
    EXPECT_EQ(met.size(), static_cast<size_t>(n * (n - 1) / 2));
  }
}

TEST(GpuJacobi, findsPlantedSingularValuesOverEightDecades) {
  const int n = 12;
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  // Columns of U diag(s) V^T with U, V products of random plane rotations
  std::vector<double> a(n * n, 0.0);  // column-major
  std::vector<double> planted(n);
  for (int i = 0; i < n; ++i) a[i * n + i] = planted[i] = std::pow(10.0, -8.0 * i / (n - 1));
  for (int t = 0; t < 400; ++t) {
    const int p = t % n, q = (t * 7 + 1 + t / n) % n;
    if (p == q) continue;
    const double angle = normal(random), c = std::cos(angle), s = std::sin(angle);
    for (int i = 0; i < n; ++i) {
      double &x = a[p * n + i], &y = a[q * n + i];
      std::tie(x, y) = std::pair(c * x - s * y, s * x + c * y);
    }
    for (int j = 0; j < n; ++j) {
      double &x = a[j * n + p], &y = a[j * n + q];
      std::tie(x, y) = std::pair(c * x - s * y, s * x + c * y);
    }
  }
  for (int sweep = 0; sweep < 20; ++sweep) {
    for (int round = 0; round < n - 1; ++round) {
      for (int lane = 0; lane < n / 2; ++lane) {
        const auto [p, q] = tournamentPair(n, round, lane);
        double alpha = 0, beta = 0, gamma = 0;
        for (int i = 0; i < n; ++i) {
          alpha += a[p * n + i] * a[p * n + i];
          beta += a[q * n + i] * a[q * n + i];
          gamma += a[p * n + i] * a[q * n + i];
        }
        const auto r = rotationFor(alpha, beta, gamma, 1e-15);
        if (!r.isNeeded) continue;
        for (int i = 0; i < n; ++i) {
          const double x = a[p * n + i], y = a[q * n + i];
          a[p * n + i] = r.cosine * x - r.sine * y;
          a[q * n + i] = r.sine * x + r.cosine * y;
        }
      }
    }
  }
  std::vector<double> norms(n);
  for (int j = 0; j < n; ++j) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += a[j * n + i] * a[j * n + i];
    norms[j] = std::sqrt(sum);
  }
  std::sort(norms.rbegin(), norms.rend());
  for (int i = 0; i < n; ++i) EXPECT_NEAR(norms[i], planted[i], 1e-13) << i;
}
